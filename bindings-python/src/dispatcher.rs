//! Python on the core's dispatcher thread, and the end of it.
//!
//! A callback that still runs when the interpreter is about to finalise is interrupted.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::gil::{self, Inside};
use crate::imported;

/// The time a callback gets to end once it was interrupted.
const GRACE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);

static CALLING: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn calling() -> MutexGuard<'static, Vec<u64>> {
    CALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Forgets the parent's thread; called in the child after a fork.
pub(crate) fn forked() {
    calling().clear();
}

/// Runs a job with the GIL, unless the interpreter ends. For the dispatcher thread.
pub(crate) fn with_python(job: impl FnOnce(Python<'_>)) {
    let Some(_inside) = Inside::try_enter() else { return };
    gil::keep_state();
    Python::try_attach(|py| {
        let ident = imported::THREAD_IDENT.get(py);
        let ident = ident.and_then(|get| get.call0()?.extract::<u64>()).unwrap_or_default();
        calling().push(ident);
        job(py);
        calling().retain(|other| *other != ident);
    });
}

/// Runs a job with the GIL on the dispatcher thread, unless the interpreter ends.
pub(crate) fn dispatch(job: impl FnOnce(Python<'_>) + Send + 'static) {
    durstream_core::behind_reports(move || with_python(job));
}

/// Reports what a callback raised, unless it was interrupted here.
pub(crate) fn report(py: Python<'_>, error: PyErr, raised_in: Option<&Bound<'_, PyAny>>) {
    if !(gil::is_finalising() && error.is_instance_of::<PySystemExit>(py)) {
        error.write_unraisable(py, raised_in);
    }
}

/// The last step before the interpreter finalises.
pub(crate) fn end(py: Python<'_>) {
    gil::finalise();
    let until = Instant::now() + GRACE;
    while gil::is_busy() && Instant::now() < until {
        let threads = calling().clone();
        for ident in threads {
            interrupt(py, ident);
        }
        py.detach(|| std::thread::sleep(PAUSE));
    }
}

/// Raises `SystemExit` in a thread's Python.
fn interrupt(py: Python<'_>, ident: u64) {
    let exception = py.get_type::<PySystemExit>();
    // SAFETY: the GIL is held, and the exception is a class. An ident that is none any more is
    // not found, which is fine.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, exception.as_ptr()) };
}
