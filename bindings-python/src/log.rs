//! The core's log on its way to `logging.getLogger("durstream")`.

use std::sync::atomic::{AtomicBool, Ordering};

use durstream_core::{LogLevel, LogLine};
use pyo3::prelude::*;

use crate::{dispatcher, imported};

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// A handler that raises was reported.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Takes the core's log over from standard error. Not by a `Once`: a child that was forked in
/// the middle of one would wait for its end.
pub(crate) fn install() {
    if INSTALLED.load(Ordering::Acquire) {
        return;
    }
    // The core's thread for its log does nothing else, so it may wait for the GIL. Standard error
    // gets what Python does not take, as where the interpreter is gone.
    durstream_core::set_log_taker(|line| {
        let mut is_taken = false;
        dispatcher::with_python(|py| {
            is_taken = log(py, line).unwrap_or_else(|error| {
                if !IS_TOLD.swap(true, Ordering::Relaxed) {
                    dispatcher::report(py, error, None);
                }
                false
            });
        });
        is_taken
    });
    INSTALLED.store(true, Ordering::Release);
}

fn log(py: Python<'_>, line: &LogLine) -> PyResult<bool> {
    let fields = (line.stream(), line.producer_id(), line.epoch(), line.attempt());
    let (level, text) = (line.level() as i32, line.text());
    imported::LOG.get(py)?.call1((level, text, line.target(), fields))?.extract()
}

/// Sets the last level that the core has lines of, by its number; 0 for none.
#[pyfunction]
pub(crate) fn set_log_level(level: i32) {
    durstream_core::set_log_level(LogLevel::from_number(level));
}
