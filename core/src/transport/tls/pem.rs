//! PEM that an option gives: the text itself, or the path of a file, which may be replaced.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// More than any file of certificates has: the platform's own have a quarter of a megabyte.
const LONGEST: u64 = 16 << 20;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Pem {
    Text(Arc<str>),
    File(Arc<Path>),
}

impl Pem {
    pub(crate) fn of(value: &str) -> Self {
        match value.contains("-----BEGIN ") {
            true => Pem::Text(value.into()),
            false => Pem::File(Path::new(value).into()),
        }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        let path = match self {
            Pem::Text(text) => return Ok(text.as_bytes().to_vec()),
            Pem::File(path) => path,
        };
        let wrong = |why: String| format!("{} {why}", self.named());
        let unreadable = |e: std::io::Error| wrong(format!("cannot be read: {e}"));
        // A pipe or a device might never end.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(wrong("is no regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match bytes.len() as u64 > LONGEST {
            true => Err(wrong(format!("is longer than {} MiB", LONGEST >> 20))),
            false => Ok(bytes),
        }
    }

    /// What changes when the file is replaced.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let Pem::File(path) = self else { return None };
        let known = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&known);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Stamp { modified: known.modified().ok(), length: known.len(), inode })
    }

    /// For an error's text.
    fn named(&self) -> String {
        match self {
            Pem::Text(_) => "the text".to_owned(),
            // What is no path may be a key, encoded in another way.
            Pem::File(path) if fs::metadata(path).is_ok() || is_like_a_path(path) => {
                format!("the file {}", path.display())
            }
            Pem::File(_) => "what is neither PEM nor the path of a file".to_owned(),
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let found = found.map_err(|e| format!("{} is no PEM: {}", self.named(), plain(&e)))?;
        match found.is_empty() {
            true => Err(format!("{} has no certificate (`BEGIN CERTIFICATE`)", self.named())),
            false => Ok(found),
        }
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let bytes = self.read()?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            Error::NoItemsFound if find(&bytes, b"BEGIN ENCRYPTED PRIVATE KEY") => {
                format!("the private key in {} is encrypted: decrypt it first", self.named())
            }
            Error::NoItemsFound => {
                format!("{} has no private key (`BEGIN PRIVATE KEY`)", self.named())
            }
            error => format!("{} is no PEM: {}", self.named(), plain(&error)),
        })
    }
}

/// Base64 has no dots.
fn is_like_a_path(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains('.') && !text.contains(char::is_control))
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// The library's texts quote bytes of the file, which may be of a key.
fn plain(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a section has no end",
        Error::IllegalSectionStart { .. } => "a section begins in a wrong way",
        Error::Base64Decode(_) => "a section is not encoded in base64",
        _ => "a section cannot be read",
    }
}

/// Paths are shown, keys are not.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}
