//! Functions for the whole process.

use std::ffi::c_char;
use std::time::Duration;

use crate::args::limit;
use crate::ffi_guard::{call, get};
use crate::problem::{durstream_code, durstream_error};
use crate::version;

/// "No limit" for calls of the core that need one.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn bounded(timeout_ms: i64) -> Duration {
    limit(timeout_ms).unwrap_or(FOREVER).min(FOREVER)
}

/// The library's version, e.g. `0.1.0`. Static. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_version() -> *const c_char {
    get(c"".as_ptr(), || Some(concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()))
}

/// Whether this library has what a header of that version declares; `DURSTREAM_CHECK_VERSION(error)`
/// asks for the header that a program was compiled with. A library may be newer than the header, up to
/// the next version that may break programs: the next minor one until 1.0, then the next major one.
/// Any thread; does not block.
///
/// Errors: `DURSTREAM_NOT_SUPPORTED`, whose message names both versions and what to do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_check_version(
    major: u32,
    minor: u32,
    patch: u32,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: `error` is as the header asks.
    unsafe { call(error, || Ok(version::check([major, minor, patch])?)) }
}

/// Writes of this process accepted and not settled, over all producers. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_pending_count() -> u64 {
    get(0, || Some(durstream_core::pending_count()))
}

/// Bounds the bytes that all producers of this process together may buffer: 512 MiB until it is
/// set. Each producer has room for one batch (`max_batch_bytes`) of its own, whatever the others
/// hold; bytes beyond that come out of this bound, first come, first served. A smaller bound takes
/// nothing back. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_set_buffer_budget(bytes: u64) {
    get((), || {
        durstream_core::set_buffer_budget(bytes);
        Some(())
    })
}

/// Waits until every write accepted so far, by any producer of this process, is settled, well or
/// not: for the end of a process, not in place of a producer's flush. Any thread; blocks, at most
/// `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_flush_all(
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: `error` is as the header asks.
    unsafe { call(error, || Ok(durstream_core::flush_all(bounded(timeout_ms)).wait()?)) }
}

/// How long the normal end of the process (`main` returns, or `exit` is called) waits for accepted
/// writes to settle: 3 seconds unless set; with 0 it does not wait, below 0 there is no limit. The
/// log says how many writes are given up. A signal, `abort` and `_exit` wait for nothing, and no
/// end waits on Windows. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_set_exit_timeout(timeout_ms: i64) {
    get((), || {
        durstream_core::set_exit_timeout(bounded(timeout_ms));
        Some(())
    })
}

/// Stops everything: no new writes, accepted ones get until `timeout_ms` to be delivered, the rest
/// settles as `producer-stopped`, and the library's threads end. Handles stay safe to use, answer
/// `DURSTREAM_PRODUCER_CLOSED`, and are still to be freed; a later open starts afresh. Any thread;
/// blocks, at most `timeout_ms` and a moment.
///
/// Errors: `DURSTREAM_TIMEOUT` if writes were given up; `DURSTREAM_NOT_SUPPORTED`
/// (`would-deadlock`) inside a callback, where nothing is stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_shutdown(
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: `error` is as the header asks.
    unsafe { call(error, || Ok(durstream_core::shutdown(bounded(timeout_ms))?)) }
}
