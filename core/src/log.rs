//! What the library has to say when nobody asked: one line, to the host's sink or stderr.

use std::sync::Mutex;

use crate::runtime::lock;

type Sink = Box<dyn Fn(&str) + Send>;

static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Sends the library's warnings to `sink` in place of standard error. Called from any thread;
/// it must not block and must not call back into the library.
pub fn set_log_sink(sink: impl Fn(&str) + Send + 'static) {
    *lock(&SINK) = Some(Box::new(sink));
}

pub(crate) fn warn(text: &str) {
    match &*lock(&SINK) {
        Some(sink) => sink(text),
        None => {
            use std::io::Write;
            // A closed stderr is no reason to fail.
            let _ = writeln!(std::io::stderr(), "durstream: {text}");
        }
    }
}
