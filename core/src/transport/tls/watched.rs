//! What was read from files, and is read again when they were replaced.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::runtime::log::{inform_of_connection, warn_of_connection};
use crate::runtime::notice::Notice;
use crate::runtime::threads::lock;
use crate::transport::tls::pem::{Pem, Stamp};

type Read<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

pub(super) struct Watched<T> {
    files: Vec<Pem>,
    read: Read<T>,
    current: Mutex<(Vec<Option<Stamp>>, Arc<T>)>,
}

impl<T> Watched<T> {
    pub(super) fn new(
        files: Vec<Pem>,
        read: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Before they are read: what is replaced meanwhile is read once more.
        let stamps = files.iter().map(Pem::stamp).collect();
        let current = Mutex::new((stamps, Arc::new(read()?)));
        Ok(Watched { files, read: Box::new(read), current })
    }

    /// What the files hold now; while that is of no use, what they held before.
    pub(super) fn get(&self) -> Arc<T> {
        let stamps: Vec<_> = self.files.iter().map(Pem::stamp).collect();
        let mut current = lock(&self.current);
        if current.0 != stamps {
            current.0 = stamps;
            match (self.read)() {
                Ok(new) => {
                    let text = format!("{self:?} was replaced, and is read again");
                    inform_of_connection(&text);
                    current.1 = Arc::new(new);
                }
                Err(why) => {
                    let text = format!(
                        "{self:?} was replaced by what is of no use, so what it held before \
                         stays in use: {why}"
                    );
                    warn_of_connection(Notice::CertificateFile, &text);
                }
            }
        }
        current.1.clone()
    }
}

/// Its files, as a sentence names them.
impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.iter().map(|file| format!("{file:?}")).collect();
        f.write_str(&files.join(" or "))
    }
}
