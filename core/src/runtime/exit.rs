//! The end of the process: how long it waits, and the handler that makes it wait.
#![cfg_attr(unix, allow(unsafe_code, reason = "the one call that registers the handler"))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Long enough for a batch and a repeat or two, short enough for an operator who stops the process.
const DEFAULT_MS: u64 = 3_000;

static LIMIT_MS: AtomicU64 = AtomicU64::new(DEFAULT_MS);

/// How long the normal end of the process (`main` returns, or `exit` is called) waits for accepted
/// writes to settle: 3 seconds unless set; with 0 it does not wait. The log says how many writes
/// are given up. A signal and `abort` wait for nothing. On Windows no end waits, since the
/// library's threads are gone by then: call [`shutdown`](crate::runtime::lifecycle::shutdown)
/// there.
pub fn set_exit_timeout(limit: Duration) {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    LIMIT_MS.store(ms, Ordering::Relaxed);
}

pub(super) fn exit_timeout() -> Duration {
    Duration::from_millis(LIMIT_MS.load(Ordering::Relaxed))
}

/// Runs a handler first when the process ends. Not by a `Once`: a child that was forked in the
/// middle of one would wait for its end.
#[cfg(unix)]
pub(super) fn register(handler: extern "C" fn()) {
    use std::sync::atomic::AtomicBool;

    static REGISTERED: AtomicBool = AtomicBool::new(false);
    crate::runtime::fork::uncut(|| {
        if !REGISTERED.load(Ordering::Acquire) {
            // SAFETY: the handler stays where it is: the library is linked with `-z nodelete`.
            let _ = unsafe { libc::atexit(handler) }; // without room for it the end does not wait
            REGISTERED.store(true, Ordering::Release);
        }
    });
}

#[cfg(not(unix))]
pub(super) fn register(_handler: extern "C" fn()) {}
