//! The threads that have the GIL or ask for it, and the end of that.
//!
//! Up to Python 3.13 a thread that asks for the GIL while the interpreter finalises is ended by an
//! unwinding, which Rust answers by aborting the process. So before that, threads that run Python
//! below a frame of Rust are waited for, and threads that come later are parked until the process
//! ends.

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, AtomicPtr, Ordering};
use std::thread::ThreadId;

use durstream_core::{Producer, uncut};
use pyo3::ffi;
use pyo3::prelude::*;

/// Threads that have, or ask for, the GIL below a frame of Rust.
static INSIDE: AtomicIsize = AtomicIsize::new(0);
thread_local! {
    /// This thread's share of these: a callback may fork.
    static OWN: Cell<isize> = const { Cell::new(0) };
}
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
        count(1);
        let inside = Inside(());
        (!is_over()).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        count(-1);
    }
}

fn count(step: isize) {
    INSIDE.fetch_add(step, Ordering::SeqCst);
    OWN.set(OWN.get() + step);
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
        count(-1);
        let result = work();
        match Inside::try_enter() {
            Some(inside) => std::mem::forget(inside), // the caller's count goes on
            None => park(),
        }
        result
    })
}

/// Makes a write without the GIL where it waits for the disk, so that threads share one sync. For
/// threads inside.
pub(crate) fn writing<T: Send>(
    py: Python<'_>,
    core: &impl Producer,
    write: impl FnOnce() -> T + Send,
) -> T {
    match core.waits_for_disk() {
        true => detach(py, write),
        false => write(),
    }
}

/// Whether any thread is inside.
pub(crate) fn is_busy() -> bool {
    INSIDE.load(Ordering::SeqCst) > 0
}

/// Lets no thread in any more but this one.
pub(crate) fn finalise() {
    let _ = FINALISING.set(std::thread::current().id());
}

/// Whether the interpreter finalises.
pub(crate) fn is_finalising() -> bool {
    FINALISING.get().is_some()
}

/// Forgets the parent's other threads; called in the child after a fork.
pub(crate) fn forked() {
    INSIDE.store(OWN.get(), Ordering::SeqCst);
}

/// The interpreter that imported the package first, where its threads' states are kept.
static INTERPRETER: AtomicPtr<ffi::PyInterpreterState> = AtomicPtr::new(ptr::null_mut());

/// Remembers the interpreter for the library's own threads, where they need it.
pub(crate) fn note_interpreter(py: Python<'_>) {
    if py.version_info() >= (3, 12) {
        return; // its children make the lock anew first, and its forks hold it
    }
    // SAFETY: the GIL is held.
    let own = unsafe { ffi::PyInterpreterState_Get() };
    let (set, unset) = (Ordering::Release, Ordering::Relaxed);
    let _ = INTERPRETER.compare_exchange(ptr::null_mut(), own, set, unset); // only the first interpreter's
}

thread_local! {
    static KEPT: KeptState = KeptState::new();
}

/// Keeps this thread's state of Python's until the thread ends; for the library's own threads.
///
/// Python makes such a state without the GIL, each time a thread without one asks for it, under a
/// lock that a child of Python 3.11 and earlier takes before it has made it anew: forked in that
/// moment, it waits for ever. So a state is made once, and a fork waits for it.
pub(crate) fn keep_state() {
    // While the thread ends there is none to keep: then Python makes one for the call.
    let _ = KEPT.try_with(|_| ());
}

/// NULL for a thread that has a state of its own.
struct KeptState(*mut ffi::PyThreadState);

impl KeptState {
    fn new() -> Self {
        let interpreter = INTERPRETER.load(Ordering::Acquire);
        // SAFETY: asks about this thread alone, at any time.
        let has_one = !unsafe { ffi::PyGILState_GetThisThreadState() }.is_null();
        if has_one || interpreter.is_null() {
            return KeptState(ptr::null_mut());
        }
        // SAFETY: the interpreter lives as long as anybody is inside, as the caller is.
        KeptState(uncut(|| unsafe { ffi::PyThreadState_New(interpreter) }))
    }
}

impl Drop for KeptState {
    fn drop(&mut self) {
        let Some(_inside) = Inside::try_enter().filter(|_| !self.0.is_null()) else { return };
        // SAFETY: the state is this thread's, which ends and holds no GIL; the interpreter lives.
        unsafe {
            ffi::PyEval_RestoreThread(self.0);
            ffi::PyThreadState_Clear(self.0);
            ffi::PyEval_SaveThread();
            uncut(|| ffi::PyThreadState_Delete(self.0));
        }
    }
}
