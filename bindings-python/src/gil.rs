//! Who has the GIL or asks for it, and the end of that.
//!
//! Up to Python 3.13 a thread that asks for the GIL while the interpreter finalises is ended by an
//! unwinding, which Rust answers by aborting the process. So before that, whoever runs Python
//! below a frame of Rust is waited for, and whoever comes later is parked until the process ends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread::ThreadId;

use pyo3::prelude::*;

/// Threads that have, or ask for, the GIL below a frame of Rust.
static INSIDE: AtomicIsize = AtomicIsize::new(0);
/// The thread that finalises the interpreter, once it does.
static FINALISING: OnceLock<ThreadId> = OnceLock::new();

/// Counts this thread among those inside.
pub(crate) struct Inside(());

impl Inside {
    /// Enters a call of Python's.
    pub(crate) fn enter(py: Python<'_>) -> Self {
        match Self::try_enter() {
            Some(inside) => inside,
            None => py.detach(park),
        }
    }

    /// Enters without the GIL; none once the interpreter finalises.
    pub(crate) fn try_enter() -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(());
        (!is_over()).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the interpreter finalises, on another thread than this.
fn is_over() -> bool {
    FINALISING.get().is_some_and(|thread| *thread != std::thread::current().id())
}

/// Until the process ends.
fn park<T>() -> T {
    loop {
        std::thread::park();
    }
}

/// Lets go of the GIL for something that takes its time. For threads inside.
pub(crate) fn detach<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        let result = work();
        match Inside::try_enter() {
            Some(inside) => std::mem::forget(inside), // the caller's count goes on
            None => park(),
        }
        result
    })
}

/// Whether anybody is inside.
pub(crate) fn is_busy() -> bool {
    INSIDE.load(Ordering::SeqCst) > 0
}

/// Lets nobody in any more but this thread.
pub(crate) fn finalise() {
    let _ = FINALISING.set(std::thread::current().id());
}

/// Whether the interpreter finalises.
pub(crate) fn is_finalising() -> bool {
    FINALISING.get().is_some()
}

/// Forgets the parent's threads; called in the child after a fork.
pub(crate) fn forked() {
    INSIDE.store(0, Ordering::SeqCst);
}
