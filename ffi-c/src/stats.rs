//! Counters and reports, as structs whose size the caller states, so that both sides may grow.

use std::ffi::c_char;
use std::mem::size_of;
use std::ptr;

use durstream_core::{Distribution, Exposition, FlushReport, Lifecycle, Stats};

use crate::ffi_guard::get;
use crate::given::given;
use crate::problem::Problem;

/// The largest size a caller may state: beyond it, the field was never set.
const MAX_SIZE: usize = 4096;

/// What a distribution comes to. Each number but the sum is known to 3.2 %; 0 where there are none.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct durstream_distribution {
    /// How many there are.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// As large as half of them, or larger.
    pub p50: u64,
    /// As large as 90 % of them, or larger.
    pub p90: u64,
    /// As large as 99 % of them, or larger.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl From<Distribution> for durstream_distribution {
    fn from(found: Distribution) -> Self {
        let Distribution { count, sum, p50, p90, p99, max, .. } = found;
        durstream_distribution { count, sum, p50, p90, p99, max }
    }
}

/// The counters, gauges and distributions of a producer. At every instant `accepted = delivered + rejected + cancelled +
/// unknown + kept + pending`. Set `size` to `sizeof(durstream_stats)` before the call: fields that the
/// library does not know read 0. A name that ends in `_us` is in microseconds, `_ms` in milliseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct durstream_stats {
    /// `sizeof(durstream_stats)`, set by the caller.
    pub size: usize,
    /// Writes accepted, and those found in the outbox.
    pub accepted: u64,
    /// Writes in the stream.
    pub delivered: u64,
    /// Of these, the writes that the server said it had already. They are there once.
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
    /// Of the accepted writes, those of an earlier life that were found in the outbox.
    pub recovered: u64,
    /// Accepted writes that stay in the outbox: they are delivered once the producer is opened
    /// again.
    pub kept: u64,
    /// Of the cancelled and unknown writes, those that waited longer than `delivery_timeout_ms`.
    pub expired: u64,
    /// Batches in the stream.
    pub batches: u64,
    /// Bytes of the delivered writes, without framing.
    pub delivered_bytes: u64,
    /// Bytes of batches sent, framing and repeats included.
    pub sent_bytes: u64,
    /// Requests answered with success.
    pub answers_2xx: u64,
    /// Requests answered with a redirect that was not followed.
    pub answers_3xx: u64,
    /// Requests refused: by status 4xx.
    pub answers_4xx: u64,
    /// Requests answered with an error of the server.
    pub answers_5xx: u64,
    /// Requests that ended without an answer: no connection, cut, or nothing came in time.
    pub unanswered: u64,
    /// Looks at the stream itself for what it holds of batches in doubt.
    pub reconciliations: u64,
    /// How often another producer with the same id took over.
    pub fenced: u64,
    /// Requests with batches that are under way.
    pub in_flight: u64,
    /// The bytes that may be buffered: `max_buffer_bytes`, with an outbox `outbox_max_bytes`.
    pub buffer_limit_bytes: u64,
    /// The age of the oldest pending write; 0 while none is pending.
    pub oldest_pending_ms: u64,
    /// How long ago a batch was acknowledged; before the first one, since the producer was opened.
    pub since_acknowledgement_ms: u64,
    /// From the call of a batch's first write to the acknowledgement of the batch, once a batch.
    pub delivery_latency_us: durstream_distribution,
    /// From the call of a batch's first write to the batch's first request, once a batch.
    pub queue_latency_us: durstream_distribution,
    /// From the start of a request with a batch to its answer, repeats included.
    pub request_latency_us: durstream_distribution,
    /// Writes of each delivered batch.
    pub batch_writes: durstream_distribution,
    /// Bytes of each delivered batch, without framing.
    pub batch_bytes: durstream_distribution,
    /// Of the accepted writes that were not delivered, how many for each `durstream_reason`, by its
    /// number; the first is of reasons that have no place here.
    pub undelivered: [u64; 32],
    /// The bytes of the `recovered` writes, without framing.
    pub recovered_bytes: u64,
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
            recovered: stats.recovered,
            kept: stats.kept,
            expired: stats.expired,
            batches: stats.batches,
            delivered_bytes: stats.delivered_bytes,
            sent_bytes: stats.sent_bytes,
            answers_2xx: stats.answers_2xx,
            answers_3xx: stats.answers_3xx,
            answers_4xx: stats.answers_4xx,
            answers_5xx: stats.answers_5xx,
            unanswered: stats.unanswered,
            reconciliations: stats.reconciliations,
            fenced: stats.fenced,
            in_flight: stats.in_flight,
            buffer_limit_bytes: stats.buffer_limit_bytes,
            oldest_pending_ms: stats.oldest_pending_ms,
            since_acknowledgement_ms: stats.since_acknowledgement_ms,
            delivery_latency_us: stats.delivery_latency_us.into(),
            queue_latency_us: stats.queue_latency_us.into(),
            request_latency_us: stats.request_latency_us.into(),
            batch_writes: stats.batch_writes.into(),
            batch_bytes: stats.batch_bytes.into(),
            undelivered: stats.undelivered,
            recovered_bytes: stats.recovered_bytes,
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
pub unsafe extern "C" fn durstream_lifecycle_name(lifecycle: i32) -> *const c_char {
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

pub(crate) fn exposition(openmetrics: i32) -> Exposition {
    if openmetrics == 0 { Exposition::Prometheus } else { Exposition::OpenMetrics }
}

/// The text for Prometheus about all producers of this process, to be answered as
/// `text/plain; version=0.0.4`, or with `openmetrics` not 0 as
/// `application/openmetrics-text; version=1.0.0`. Producers of one stream and one id are one series.
/// Free it with `durstream_string_free`. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stats_prometheus(openmetrics: i32) -> *mut c_char {
    get(ptr::null_mut(), || {
        Some(given(Some(&durstream_core::stats_prometheus(exposition(openmetrics)))))
    })
}

/// A struct of ours whose first field is the size its owner knows it with.
///
/// # Safety
/// `repr(C)`, plain numbers, no padding, and the first field is `size: usize`.
pub(crate) unsafe trait Sizeable: Copy {}

// SAFETY: `repr(C)`, one `usize` and `u64`s, some of them in structs and an array.
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
