//! The core's log on their way to `logging.getLogger("durstream")`.

use std::sync::atomic::{AtomicBool, Ordering};

use durstream_core::LogLevel;
use pyo3::prelude::*;

use crate::{dispatcher, imported};

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Takes the core's log over from standard error. Not by a `Once`: a child that was forked in
/// the middle of one would wait for its end.
pub(crate) fn install() {
    if INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // The core's thread for its log does nothing else, so it may wait for the GIL.
    durstream_core::set_log_sink(|level, line| {
        let mut is_taken = false;
        dispatcher::with_python(|py| {
            let taken = imported::LOG
                .get(py)
                .and_then(|log| log.call1((level == LogLevel::Info, line))?.extract());
            is_taken = taken.unwrap_or_else(|error| {
                dispatcher::report(py, error, None);
                true // a handler that raises has had it
            });
        });
        if !is_taken {
            let _ = durstream_core::log_to_stderr(line); // the interpreter is gone
        }
    });
    INSTALLED.store(true, Ordering::Release);
}
