//! The recorders of a process, by the hosts of their URLs.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use url::Url;

use crate::error::{Error, Result};
use crate::runtime::fork::PerProcess;
use crate::runtime::threads::lock;

/// What the hosts of recorders begin and end with: the end is nobody's on any network (RFC 2606).
const BEGINNING: &str = "recorder-";
const END: &str = ".invalid";

/// The number of the next one. A child goes on counting: no two hosts of a family are the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What an endpoint keeps of the recorder that its requests go to.
pub(crate) type Recorder = dyn Any + Send + Sync;

static RECORDERS: PerProcess<Mutex<BTreeMap<String, Weak<Recorder>>>> =
    PerProcess::new(Mutex::default);

/// A host for one more recorder.
pub(super) fn next() -> String {
    format!("{BEGINNING}{}{END}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn is_recorders(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.starts_with(BEGINNING) && host.ends_with(END))
}

/// Has opens find a recorder, until it is removed or gone.
pub(super) fn add(host: &str, recorder: Weak<Recorder>) {
    lock(RECORDERS.get()).insert(host.to_owned(), recorder);
}

pub(super) fn remove(host: &str) {
    lock(RECORDERS.get()).remove(host);
}

/// The recorder that a stream's addresses lead to; `None` where they lead to servers.
///
/// # Errors
/// The recorder is not there, or its address is not the only one.
pub(crate) fn find(urls: &[Url]) -> Result<Option<Arc<Recorder>>> {
    let Some(url) = urls.iter().find(|url| is_recorders(url)) else { return Ok(None) };
    if urls.len() > 1 {
        let text = "a recorder's URL stands alone in `endpoints`";
        return Err(Error::option("endpoints", text));
    }
    let host = url.host_str().unwrap_or_default();
    let known = lock(RECORDERS.get()).get(host).and_then(Weak::upgrade);
    known.map(Some).ok_or_else(|| {
        let text = format!(
            "there is no recorder at http://{host} in this process: it is gone, or of another process"
        );
        Error::option("url", text)
    })
}
