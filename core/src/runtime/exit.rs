//! The end of the process: what was accepted is still delivered, for a bounded time.
#![cfg_attr(unix, allow(unsafe_code, reason = "the one call that registers the handler"))]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::fork::{generation, uncut};
use super::{MIN_GRACE, flush_all, guarded, log, on_own_thread, pending_count, still_pending};

/// Long enough for a batch and a repeat or two, short enough for whoever stops the process.
const DEFAULT_MS: u64 = 3_000;

static LIMIT_MS: AtomicU64 = AtomicU64::new(DEFAULT_MS);

/// How long the normal end of the process (`main` returns, or `exit` is called) waits for what was
/// accepted and not settled: 3 seconds unless set, 0 is not at all. What is given up is counted in
/// the log. A signal and `abort` wait for nothing, and so does every end on Windows, where the
/// library's threads are gone by then: call [`shutdown`](crate::shutdown) there.
pub fn set_exit_timeout(limit: Duration) {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    LIMIT_MS.store(ms, Ordering::Relaxed);
}

/// Prepares the end, with the first open. Not by a `Once`: a child that was forked in the middle
/// of one would wait for its end.
#[cfg(unix)]
pub(crate) fn register() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    /// The generation whose end has begun, plus one: two registrations are no two ends.
    static ENDING: AtomicU64 = AtomicU64::new(0);
    extern "C" fn at_exit() {
        let own = generation() + 1;
        if ENDING.swap(own, Ordering::AcqRel) != own {
            guarded(drain);
        }
    }
    uncut(|| {
        if !REGISTERED.load(Ordering::Acquire) {
            // SAFETY: the handler stays where it is: the library is linked with `-z nodelete`.
            let _ = unsafe { libc::atexit(at_exit) }; // without room for it the end waits for nothing
            REGISTERED.store(true, Ordering::Release);
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn register() {}

#[cfg_attr(not(unix), allow(dead_code))]
fn drain() {
    let limit = Duration::from_millis(LIMIT_MS.load(Ordering::Relaxed));
    // Whoever ends the process from a callback would wait for itself.
    if on_own_thread() {
        return;
    }
    if !limit.is_zero() {
        // What is left is in the log, unless a callback blocks the thread that would say so.
        let flushed = flush_all(limit).wait_for(limit.saturating_add(MIN_GRACE));
        if flushed.is_none() {
            log::warn(&still_pending(pending_count(), limit));
        }
    }
    log::close(MIN_GRACE);
}
