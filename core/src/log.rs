//! What the library has to say when nobody asked: one line, to the host's sink or stderr.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::runtime::lock;

type Sink = Arc<dyn Fn(&str) + Send + Sync>;

static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Sends the library's warnings to `sink` in place of standard error. Called from any thread;
/// it must not block and must not call back into the library.
pub fn set_log_sink(sink: impl Fn(&str) + Send + Sync + 'static) {
    *lock(&SINK) = Some(Arc::new(sink));
}

pub(crate) fn warn(text: &str) {
    // Not waited for: in a forked child the lock may be held by a thread that is not there.
    let sink = SINK.try_lock().ok().and_then(|sink| sink.clone());
    match sink {
        Some(sink) => sink(text),
        // A closed stderr is no reason to fail.
        None => drop(writeln!(std::io::stderr(), "durstream: {text}")),
    }
}
