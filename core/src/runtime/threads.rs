//! The library's own threads, and locks that outlive a panic or a fork.
#![cfg_attr(unix, allow(unsafe_code, reason = "signal masks"))]

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::reason::Reason;
use crate::runtime::chance::real_now;
use crate::runtime::fork::generation;

/// How long a child waits for a lock that came through `fork`.
const INHERITED_LOCK_LIMIT: Duration = Duration::from_secs(1);

/// Locks, whatever a panicking thread left: the data is guarded by its own invariants.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Locks a mutex that may have come through `fork`, with the generation it was made in: a thread
/// that the child has not may hold it for good, and the threads it has hold it for moments.
pub(crate) fn lock_inherited<T>(mutex: &Mutex<T>, made_in: u64) -> Result<MutexGuard<'_, T>> {
    if made_in == generation() {
        return Ok(lock(mutex));
    }
    let started = real_now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if started.elapsed() > INHERITED_LOCK_LIMIT => {
                return Err(Error::forked("this handle"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

thread_local! {
    /// Set on the library's own threads: a wait that blocks there would wait for itself.
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is one of the library's own threads, as it is inside callbacks.
pub(crate) fn on_own_thread() -> bool {
    OWN_THREAD.with(Cell::get)
}

pub(crate) fn would_deadlock() -> Error {
    Error::new(
        ErrorKind::NotSupported,
        "a callback must not wait for the library: that would deadlock",
    )
    .with_reason(Reason::WouldDeadlock)
}

/// Starts one of the library's threads. Signals are the host's: they stay blocked here, SIGPIPE
/// from a cut connection above all, which would end a host that does not ignore it.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let _blocked = SignalsBlocked::new();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        OWN_THREAD.with(|own| own.set(true));
        body();
    })
}

/// Blocks every signal that is sent from outside, on this thread, until dropped; a thread
/// started meanwhile inherits the mask.
struct SignalsBlocked {
    #[cfg(unix)]
    before: libc::sigset_t,
}

impl SignalsBlocked {
    #[cfg(unix)]
    fn new() -> Self {
        // SAFETY: plain libc calls on sets that live on this stack frame.
        unsafe {
            let mut set = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut set);
            // These are raised by the thread's own instructions; blocked, they kill anyway,
            // but past the host's crash reporter. Profilers need theirs on every thread.
            for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                libc::sigdelset(&mut set, own);
            }
            libc::sigdelset(&mut set, libc::SIGPROF);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before);
            SignalsBlocked { before }
        }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        SignalsBlocked {}
    }
}

#[cfg(unix)]
impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled by `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}
