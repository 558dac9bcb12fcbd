//! The core's warnings on their way to `logging.getLogger("durstream")`.
//!
//! They arise on the I/O thread, which must never wait for the GIL. So they are queued, and the
//! dispatcher thread hands them to Python.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::{dispatcher, gil};

/// How many lines are kept for a Python that does not get round to them.
const CAPACITY: usize = 1000;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static STOPPING: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();
static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn lines() -> MutexGuard<'static, VecDeque<String>> {
    LINES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Takes the core's warnings over from standard error.
pub(crate) fn install() {
    INSTALL.call_once(|| {
        durstream_core::set_log_sink(|line| {
            {
                let mut lines = lines();
                if lines.len() < CAPACITY {
                    lines.push_back(line.to_owned());
                }
            }
            // While the library stops, whoever stops it writes the lines afterwards.
            if !STOPPING.load(Ordering::Acquire) {
                dispatcher::dispatch(write);
            }
        });
    });
}

/// Writes the queued lines.
fn write(py: Python<'_>) {
    loop {
        let Some(line) = lines().pop_front() else { return };
        let written = WARN.import(py, "durstream._log", "warn").and_then(|w| w.call1((line,)));
        if let Err(error) = written {
            dispatcher::report(py, error, None);
        }
    }
}

/// Runs what stops the library, then writes what it had to say meanwhile.
pub(crate) fn around_stop<T: Send>(py: Python<'_>, stop: impl FnOnce() -> T + Send) -> T {
    STOPPING.store(true, Ordering::Release);
    let stopped = gil::detach(py, stop);
    STOPPING.store(false, Ordering::Release);
    write(py);
    stopped
}
