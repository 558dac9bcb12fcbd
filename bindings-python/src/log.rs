//! The core's warnings on their way to `logging.getLogger("durstream")`.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::{dispatcher, imported};

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Takes the core's warnings over from standard error. Not by a `Once`: a child that was forked in
/// the middle of one would wait for its end.
pub(crate) fn install() {
    if INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // The core's thread for its log does nothing else, so it may wait for the GIL.
    durstream_core::set_log_sink(|line| {
        dispatcher::with_python(|py| {
            let written = imported::WARN.get(py).and_then(|w| w.call1((line,)));
            if let Err(error) = written {
                dispatcher::report(py, error, None);
            }
        });
    });
    INSTALLED.store(true, Ordering::Release);
}
