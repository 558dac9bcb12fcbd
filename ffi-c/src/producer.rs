//! The exactly-once writer of bytes or JSON.

use std::ffi::c_char;
use std::ptr;

use durstream_core::{IdempotentProducer, Producer, WriteOptions};

use crate::args::{bytes, handle, let_go, limit, list, optional_bytes, optional_out, out, text};
use crate::either::{Opened, accepted, ended};
use crate::ffi_guard::{call, get};
use crate::given::{give, take};
use crate::options::durstream_options;
use crate::outcome::durstream_outcome;
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::stats::{SizedOut, durstream_flush_report, durstream_lifecycle, durstream_stats};
use crate::stream::durstream_stream;

/// Writes messages to a stream, each exactly once, in the order of the calls.
pub struct durstream_producer {
    opened: Opened<IdempotentProducer>,
}

/// Opens a producer on a stream, for `durstream_producer_free`. Sends nothing before the first
/// write. `producer_id` stays the same over restarts: 1 to 256 visible ASCII characters. A new
/// producer takes over from an older one of the same id, and the messages of both are in the stream
/// once. `options` may be NULL. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` naming the option.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_open(
    stream: *const durstream_stream,
    producer_id: *const c_char,
    options: *const durstream_options,
    producer: *mut *mut durstream_producer,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (stream, id) = (handle(stream, "stream")?, text(producer_id, "producer_id")?);
            let producer = out(producer, "producer")?;
            let (options, callbacks) =
                options.as_ref().map(durstream_options::for_producer).unwrap_or_default();
            let opened = IdempotentProducer::open_with(&stream.stream, id, options, callbacks)?;
            producer.set(|| give(durstream_producer { opened: Opened::new(opened) }));
            Ok(())
        })
    }
}

/// Lets a producer go; accepted writes are delivered in the background, until `durstream_shutdown`.
/// To know their end, call `durstream_producer_detach` before. NULL is fine. Any thread, as its
/// last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_free(producer: *mut durstream_producer) {
    // SAFETY: the caller gives back what `durstream_producer_open` gave out.
    unsafe {
        get((), || let_go(take(producer), |producer| producer.opened.producer.is_inherited()))
    }
}

/// Accepts one message: one JSON value on a JSON stream, bytes on any other. `id` (may be NULL)
/// receives its receipt: 1 and up in call order. `tag` (0 for none) comes back in the callbacks,
/// which may run before this has returned; it counts 16 bytes against the buffer. A call that fails
/// here is not reported to a callback. Any thread; blocks only while the buffer is full, at most
/// `max_block_ms`, and never inside a callback.
///
/// Errors: `DURSTREAM_VALIDATION` (empty, or no JSON), `_TOO_LARGE`, `_BUFFER_FULL`,
/// `_PRODUCER_CLOSED`, `_STALE_EPOCH` once fenced (until `durstream_producer_restart`), or the
/// error that the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_append(
    producer: *const durstream_producer,
    message: *const u8,
    length: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || append(producer, message, length, WriteOptions { tag, block: true }, id))
    }
}

/// Accepts one message as `durstream_producer_append` does, without waiting for room: a full buffer
/// answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_producer_append`; the reason of `DURSTREAM_BUFFER_FULL` says which
/// bound is reached (`buffer-bytes-exceeded`, `buffer-count-exceeded`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_try_append(
    producer: *const durstream_producer,
    message: *const u8,
    length: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || append(producer, message, length, WriteOptions { tag, block: false }, id))
    }
}

/// Accepts messages as one group: they travel in one request, nothing else of this producer stands
/// between them, and all of them are stored or none is. `messages` and `lengths` have `count` entries. `id`
/// (may be NULL) receives the receipt of the last one, whose outcome is that of all: the others have the
/// ids before it, without a gap; 0 where there are no messages. `tag` is that of each. Any thread; blocks
/// only while the buffer is full, at most `max_block_ms`, and never inside a callback.
///
/// Errors: those of `durstream_producer_append`, for the first message that is refused; `_TOO_LARGE`
/// also for a group that is larger than `max_write_bytes`, `max_batch_items` or the buffer. Nothing is
/// accepted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_append_group(
    producer: *const durstream_producer,
    messages: *const *const u8,
    lengths: *const usize,
    count: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let options = WriteOptions { tag, block: true };
            append_group(producer, (messages, lengths, count), options, id)
        })
    }
}

/// Accepts messages as one group as `durstream_producer_append_group` does, without waiting for room: a
/// full buffer answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_producer_append_group`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_try_append_group(
    producer: *const durstream_producer,
    messages: *const *const u8,
    lengths: *const usize,
    count: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let options = WriteOptions { tag, block: false };
            append_group(producer, (messages, lengths, count), options, id)
        })
    }
}

/// Accepts messages as one group.
///
/// # Safety
/// The pointers are those of `durstream_producer_append_group`.
unsafe fn append_group(
    producer: *const durstream_producer,
    (messages, lengths, count): (*const *const u8, *const usize, usize),
    options: WriteOptions,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let producer = &handle(producer, "producer")?.opened.producer;
        let messages = list(messages, count, "messages")?;
        let lengths = list(lengths, count, "lengths")?;
        let pairs = messages.iter().zip(lengths);
        let group = pairs.map(|(message, length)| bytes(*message, *length, "messages"));
        let group = group.collect::<Result<Vec<&[u8]>, Problem>>()?;
        match producer.append_group_with(&group, options)? {
            Some(receipt) => accepted(&receipt, optional_out(id)),
            None => {
                optional_out(id).set(|| 0);
                Ok(())
            }
        }
    }
}

/// Accepts one message.
///
/// # Safety
/// The pointers are those of `durstream_producer_append`.
unsafe fn append(
    producer: *const durstream_producer,
    message: *const u8,
    length: usize,
    options: WriteOptions,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let producer = &handle(producer, "producer")?.opened.producer;
        let message = bytes(message, length, "message")?;
        accepted(&producer.append_with(message, options)?, optional_out(id))
    }
}

/// Waits for the outcome of an accepted write. `DURSTREAM_OK` says that it is settled, well or not:
/// `outcome` (may be NULL) receives how, for `durstream_outcome_free`. Any thread; blocks, at most
/// `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`; `DURSTREAM_INVALID_ARGUMENT` for an id never given out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_wait(
    producer: *const durstream_producer,
    id: u64,
    timeout_ms: i64,
    outcome: *mut *mut durstream_outcome,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.wait(id, timeout_ms, outcome)) }
}

/// Waits until everything accepted before this call is settled, not for later writes. `report`
/// may be NULL. Any thread; blocks, at most `timeout_ms`. Giving up the wait cancels no write.
///
/// Errors: `DURSTREAM_DELIVERY`, with counts and first cause, if any call since the last flush
/// ended undelivered; `DURSTREAM_TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_flush(
    producer: *const durstream_producer,
    timeout_ms: i64,
    report: *mut durstream_flush_report,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.flush(timeout_ms, report)) }
}

/// Waits until writes are taken at once: the buffer has room for the write that last found none, or
/// for any other. For hosts that write with `durstream_producer_try_append`. Any thread; blocks, at
/// most `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`; `_PRODUCER_CLOSED`, `_STALE_EPOCH` once fenced, or the error that
/// the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_wait_ready(
    producer: *const durstream_producer,
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            handle(producer, "producer")?.opened.wait_ready(timeout_ms, "there was no room")
        })
    }
}

/// Begins a fresh session, which may claim the id, once everything accepted so far is settled; what is
/// in the outbox of a fenced producer is delivered then. It is the way back after another producer took
/// over (`DURSTREAM_STALE_EPOCH`). Any thread; blocks, at most `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`, and the restart goes on; `_PRODUCER_CLOSED`, or the error that the
/// producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_restart(
    producer: *const durstream_producer,
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.restart(timeout_ms)) }
}

/// Flushes, then ends the *stream* for everybody, a last message (NULL for none) in the same
/// request. If the flush fails the stream is not ended, and close may be called again; repeats give
/// the first result. `final_offset` (may be NULL) receives the end, for `durstream_string_free`, or
/// NULL if the server did not say it. Any thread; blocks, at most `timeout_ms`. The handle is still
/// to be freed.
///
/// Errors: those of flush; why the stream was not ended, `DURSTREAM_STREAM_CLOSED` if another
/// producer had ended it; `DURSTREAM_TIMEOUT`, and the close goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_close(
    producer: *const durstream_producer,
    message: *const u8,
    length: usize,
    timeout_ms: i64,
    final_offset: *mut *mut c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let producer = &handle(producer, "producer")?.opened.producer;
            let message = optional_bytes(message, length, "message")?;
            ended(producer.close(message), timeout_ms, final_offset)
        })
    }
}

/// Flushes and stops the producer without ending the stream: no new writes. `report` may be NULL.
/// Any thread; blocks, at most `timeout_ms`. The handle is still to be freed.
///
/// Errors: those of flush.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_detach(
    producer: *const durstream_producer,
    timeout_ms: i64,
    report: *mut durstream_flush_report,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let producer = &handle(producer, "producer")?.opened.producer;
            let report = SizedOut::optional(report, "report")?;
            let found = producer.detach().wait_or_timeout(limit(timeout_ms), "detach")?;
            SizedOut::set_optional(report, found);
            Ok(())
        })
    }
}

/// Begins the end: no new writes, accepted ones are delivered, then the producer stops by itself.
/// Any thread, signal handlers excepted; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_begin_shutdown(
    producer: *const durstream_producer,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.begin_shutdown()) }
}

/// Ends now: pending writes settle as cancelled, or as unknown where they were under way; with an
/// outbox as kept, and they stay there. Any thread; does not block. The handle is still to be freed.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_stop(
    producer: *const durstream_producer,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.stop()) }
}

/// Ends now and drops what the outbox holds: `dropped` (may be NULL) receives how many writes that
/// were. They settle as cancelled, or as unknown where they were under way. It is the other way out,
/// beside `durstream_producer_restart`, for a producer that was fenced. Any thread; blocks, at most
/// `timeout_ms`. The handle is still to be freed.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` without `outbox_dir`; `_PRODUCER_CLOSED` where the producer
/// has ended and its outbox is closed; `_OUTBOX_FAILED`; `DURSTREAM_TIMEOUT`, and the dropping goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_discard_outbox(
    producer: *const durstream_producer,
    timeout_ms: i64,
    dropped: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || handle(producer, "producer")?.opened.discard_outbox(timeout_ms, dropped))
    }
}

/// Fills `stats`, whose `size` the caller has set. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL or a `size` that was not set;
/// `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_stats(
    producer: *const durstream_producer,
    stats: *mut durstream_stats,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(producer, "producer")?.opened.stats(stats)) }
}

/// The text for Prometheus about this producer, as `durstream_stats_prometheus` gives it about all of
/// the process. Free it with `durstream_string_free`; NULL if `producer` is NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_stats_prometheus(
    producer: *const durstream_producer,
    openmetrics: i32,
) -> *mut c_char {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        get(ptr::null_mut(), || Some(producer.as_ref()?.opened.stats_prometheus(openmetrics)))
    }
}

/// The producer's state. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_state(
    producer: *const durstream_producer,
) -> durstream_lifecycle {
    // SAFETY: NULL or a live producer.
    unsafe {
        get(durstream_lifecycle::DURSTREAM_LIFECYCLE_NONE, || producer.as_ref()?.opened.state())
    }
}

/// The epoch in use; 0 before the first write, for NULL and in a forked child. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_epoch(producer: *const durstream_producer) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(producer.as_ref()?.opened.epoch())) }
}

/// The next sequence number in this epoch. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_next_seq(producer: *const durstream_producer) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(producer.as_ref()?.opened.next_seq())) }
}

/// Writes accepted and not settled. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_pending_count(
    producer: *const durstream_producer,
) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(producer.as_ref()?.opened.pending_count())) }
}

/// Requests under way. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_in_flight_count(
    producer: *const durstream_producer,
) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(producer.as_ref()?.opened.in_flight_count())) }
}

/// The stream's offset after the last acknowledged batch, for `durstream_string_free`; NULL
/// before the first. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_last_offset(
    producer: *const durstream_producer,
) -> *mut c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null_mut(), || Some(producer.as_ref()?.opened.last_offset())) }
}

/// The most recent failure, transient ones included, for `durstream_error_free`; NULL if there
/// was none. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_last_error(
    producer: *const durstream_producer,
) -> *mut durstream_error {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null_mut(), || Some(producer.as_ref()?.opened.last_error())) }
}

/// The producer id as sent: with its suffix if `shared`. Owned by the handle. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_id(
    producer: *const durstream_producer,
) -> *const c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null(), || Some(producer.as_ref()?.opened.id())) }
}

/// The stream's URL, without user info and query. Owned by the handle. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_producer_url(
    producer: *const durstream_producer,
) -> *const c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null(), || Some(producer.as_ref()?.opened.url())) }
}
