//! Counters and reports, as structs whose size the caller states, so that both sides may grow.

use std::mem::size_of;

use durstream_core::{FlushReport, Lifecycle, Stats};

use crate::ffi_guard::get;
use crate::problem::Problem;

/// The largest size a caller may state: beyond it, the field was never set.
const MAX_SIZE: usize = 4096;

/// The counters of a producer. At every instant `accepted = delivered + rejected + cancelled +
/// unknown + pending`. Set `size` to `sizeof(durstream_stats)` before the call: fields that the
/// library does not know read 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct durstream_stats {
    /// `sizeof(durstream_stats)`, set by the caller.
    pub size: usize,
    /// Writes accepted.
    pub accepted: u64,
    /// Writes in the stream.
    pub delivered: u64,
    /// Of these, the writes that the server said it had already.
    pub duplicates: u64,
    /// Of the delivered writes, those that may be in the stream twice.
    pub uncertain: u64,
    /// Accepted writes the server refused.
    pub rejected: u64,
    /// Accepted writes that were given up and are certainly not in the stream.
    pub cancelled: u64,
    /// Accepted writes that stay in doubt: nothing said whether they are stored.
    pub unknown: u64,
    /// Accepted writes not settled yet.
    pub pending: u64,
    /// Calls turned away before accepting: invalid values.
    pub refused_invalid: u64,
    /// Calls turned away before accepting: buffer full, too large, producer closed.
    pub refused: u64,
    /// Bytes reserved by pending writes, overhead included.
    pub buffered_bytes: u64,
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Requests that repeated a batch.
    pub retries: u64,
    /// Sessions begun, the first included.
    pub sessions: u64,
}

impl From<Stats> for durstream_stats {
    fn from(stats: Stats) -> Self {
        durstream_stats {
            size: size_of::<Self>(),
            accepted: stats.accepted,
            delivered: stats.delivered,
            duplicates: stats.duplicates,
            uncertain: stats.uncertain,
            rejected: stats.rejected,
            cancelled: stats.cancelled,
            unknown: stats.unknown,
            pending: stats.pending,
            refused_invalid: stats.refused_invalid,
            refused: stats.refused,
            buffered_bytes: stats.buffered_bytes,
            requests: stats.requests,
            retries: stats.retries,
            sessions: stats.sessions,
        }
    }
}

/// The report of a flush, since the last one. Set `size` to `sizeof(durstream_flush_report)` before
/// the call.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct durstream_flush_report {
    /// `sizeof(durstream_flush_report)`, set by the caller.
    pub size: usize,
    /// Writes delivered since the last flush.
    pub delivered: u64,
    /// Of these, the writes that the server said it had already.
    pub duplicates: u64,
    /// Of the delivered writes, those that may be in the stream twice.
    pub uncertain: u64,
    /// Calls turned away for their value since the last flush: nothing was accepted, and no flush
    /// fails of it.
    pub refused: u64,
}

impl From<FlushReport> for durstream_flush_report {
    fn from(report: FlushReport) -> Self {
        durstream_flush_report {
            size: size_of::<Self>(),
            delivered: report.delivered,
            duplicates: report.duplicates,
            uncertain: report.uncertain,
            refused: report.refused,
        }
    }
}

/// The state of a producer. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_lifecycle {
    /// There is no producer here: NULL, or it came through `fork`.
    DURSTREAM_LIFECYCLE_NONE = 0,
    /// Nothing was acknowledged yet.
    DURSTREAM_LIFECYCLE_CONNECTING = 1,
    /// Writes go through.
    DURSTREAM_LIFECYCLE_READY = 2,
    /// The first contact failed; waiting to try again.
    DURSTREAM_LIFECYCLE_BACKOFF = 3,
    /// Contact was lost; waiting to try again.
    DURSTREAM_LIFECYCLE_RECONNECTING = 4,
    /// No new writes; the accepted ones are being delivered.
    DURSTREAM_LIFECYCLE_STOPPING = 5,
    /// Stopped, with everything settled.
    DURSTREAM_LIFECYCLE_STOPPED = 6,
    /// Ended for a reason that will not go away.
    DURSTREAM_LIFECYCLE_FAILED = 7,
    /// Another producer with the same id took over.
    DURSTREAM_LIFECYCLE_FENCED = 8,
}

pub(crate) fn lifecycle_of(state: Lifecycle) -> durstream_lifecycle {
    use durstream_lifecycle::*;
    match state {
        Lifecycle::Connecting => DURSTREAM_LIFECYCLE_CONNECTING,
        Lifecycle::Ready => DURSTREAM_LIFECYCLE_READY,
        Lifecycle::Backoff => DURSTREAM_LIFECYCLE_BACKOFF,
        Lifecycle::Reconnecting => DURSTREAM_LIFECYCLE_RECONNECTING,
        Lifecycle::Stopping => DURSTREAM_LIFECYCLE_STOPPING,
        Lifecycle::Stopped => DURSTREAM_LIFECYCLE_STOPPED,
        Lifecycle::Fenced => DURSTREAM_LIFECYCLE_FENCED,
        _ => DURSTREAM_LIFECYCLE_FAILED,
    }
}

/// The name of a `durstream_lifecycle` (`reconnecting`); `none` for 0, `unknown` for any other
/// number. Static. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_lifecycle_name(lifecycle: i32) -> *const std::ffi::c_char {
    get(c"unknown".as_ptr(), || {
        let name = match lifecycle {
            0 => c"none",
            1 => c"connecting",
            2 => c"ready",
            3 => c"backoff",
            4 => c"reconnecting",
            5 => c"stopping",
            6 => c"stopped",
            7 => c"failed",
            8 => c"fenced",
            _ => return None,
        };
        Some(name.as_ptr())
    })
}

/// A struct of ours whose first field is the size its owner knows it with.
///
/// # Safety
/// `repr(C)`, plain numbers, no padding, and the first field is `size: usize`.
pub(crate) unsafe trait Sizeable: Copy {}

// SAFETY: `repr(C)`, one `usize` and `u64`s.
unsafe impl Sizeable for durstream_stats {}
// SAFETY: `repr(C)`, one `usize` and `u64`s.
unsafe impl Sizeable for durstream_flush_report {}

/// A caller's struct, its size checked before anything is done.
pub(crate) struct SizedOut<T> {
    to: *mut T,
    size: usize,
}

impl<T: Sizeable> SizedOut<T> {
    /// # Safety
    /// `to` is NULL or may be written to for as many bytes as its first field says.
    pub(crate) unsafe fn new(to: *mut T, name: &'static str) -> Result<Self, Problem> {
        if to.is_null() {
            return Err(Problem::null(name));
        }
        // SAFETY: not NULL, and the first field is the size.
        let size = unsafe { to.cast::<usize>().read() };
        if !(2 * size_of::<u64>()..=MAX_SIZE).contains(&size) {
            let text = format!("`{name}` says its size is {size}: set `size` to its sizeof first");
            return Err(Problem::argument(name, text));
        }
        Ok(SizedOut { to, size })
    }

    /// # Safety
    /// The promises of [`new`](Self::new); NULL is fine and stays unwritten.
    pub(crate) unsafe fn optional(to: *mut T, name: &'static str) -> Result<Option<Self>, Problem> {
        if to.is_null() {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        unsafe { Self::new(to, name) }.map(Some)
    }

    /// Writes where the caller wants it.
    pub(crate) fn set_optional(to: Option<Self>, value: impl Into<T>) {
        if let Some(to) = to {
            to.set(value);
        }
    }

    /// Writes what both sides know, and 0 where only the caller knows a field.
    pub(crate) fn set(self, value: impl Into<T>) {
        let value = value.into();
        let known = self.size.min(size_of::<T>());
        // SAFETY: `new` asked for `size` writable bytes; the value has `known` readable ones.
        unsafe {
            let to = self.to.cast::<u8>();
            to.write_bytes(0, self.size);
            to.copy_from_nonoverlapping((&raw const value).cast(), known);
            to.cast::<usize>().write(self.size);
        }
    }
}
