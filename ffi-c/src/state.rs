//! The entity-state writer, one per stream in a process.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use durstream_core::{Producer, StateProducer, WriteOptions, create_durable_stream_with};

use crate::args::{bytes, handle, let_go, limit, optional_out, out, text};
use crate::either::{Opened, accepted, ended};
use crate::ffi_guard::{call, get};
use crate::given::{give, take};
use crate::options::durstream_options;
use crate::outcome::durstream_outcome;
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::schema::durstream_schema;
use crate::stats::{durstream_flush_report, durstream_lifecycle, durstream_stats};

/// Publishes the state of entities to one stream, each change exactly once, in call order.
pub struct durstream_state {
    /// Kept by its transactions, too.
    pub(crate) opened: Arc<Opened<StateProducer>>,
}

/// Opens the writer of entity state for a stream, or one more handle on the open one: there is one
/// per stream in a process. The options name the stream (`url` or `stream_path`) and `producer_id`.
/// Sends nothing itself: the stream is created or checked in the background, so a producer may
/// start before its server does. Each handle is for `durstream_state_free`. The callbacks of each
/// handle receive the reports of every write, but only the tags of their own handle. Any thread;
/// does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: an option or the schema is wrong, no server is
/// configured, or the stream's open producer has other options or another schema.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_open(
    options: *const durstream_options,
    schema: *const durstream_schema,
    state: *mut *mut durstream_state,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (options, schema) = (handle(options, "options")?, handle(schema, "schema")?);
            let state = out(state, "state")?;
            let (options, callbacks) = options.for_producer();
            let opened = create_durable_stream_with(options, schema.get(), callbacks)?;
            state.set(|| give(durstream_state { opened: Arc::new(Opened::new(opened)) }));
            Ok(())
        })
    }
}

/// Lets a handle go. The last one lets the producer go: accepted writes are delivered in the
/// background, until `durstream_shutdown`. While others stay, the callbacks of this handle are
/// called no more: flush first for the reports of pending writes. NULL is fine. Any thread, as its
/// last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_free(state: *mut durstream_state) {
    // SAFETY: the caller gives back what `durstream_state_open` gave out.
    unsafe { get((), || let_go(take(state), |state| state.opened.producer.is_inherited())) }
}

/// Publishes an entity's whole new state: `value` is a JSON object with its primary key, and
/// reaches the stream unchanged. `id` (may be NULL) receives its receipt: 1 and up in call order.
/// `tag` (0 for none) comes back in this handle's callbacks, which may run before this has
/// returned; it counts 16 bytes against the buffer. A call that fails here is not reported to a
/// callback. Any thread; blocks only while the buffer is full, at most `max_block_ms`, and never
/// inside a callback.
///
/// Errors: a refused value is not sent, gets no id, and the error's reason says why:
/// `DURSTREAM_VALIDATION` (`invalid-entity`, `invalid-key`, `invalid-value`), `_TOO_LARGE`,
/// `_BUFFER_FULL`, `_PRODUCER_CLOSED`, or the error that the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_upsert(
    state: *const durstream_state,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            upsert(state, collection, value, length, WriteOptions { tag, block: true }, id)
        })
    }
}

/// Publishes an entity's whole new state as `durstream_state_upsert` does, without waiting for
/// room: a full buffer answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_state_upsert`; the reason of `DURSTREAM_BUFFER_FULL` says which
/// bound is reached (`buffer-bytes-exceeded`, `buffer-count-exceeded`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_try_upsert(
    state: *const durstream_state,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            upsert(state, collection, value, length, WriteOptions { tag, block: false }, id)
        })
    }
}

/// Publishes that an entity is gone, by its key. `id` and `tag` are those of
/// `durstream_state_upsert`. Any thread; blocks only while the buffer is full, at most
/// `max_block_ms`, and never inside a callback.
///
/// Errors: those of `durstream_state_upsert`: `DURSTREAM_VALIDATION` (`invalid-entity`,
/// `invalid-key`), `_BUFFER_FULL`, ...
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_delete(
    state: *const durstream_state,
    collection: *const c_char,
    key: *const c_char,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || delete(state, collection, key, WriteOptions { tag, block: true }, id)) }
}

/// Publishes that an entity is gone as `durstream_state_delete` does, without waiting for room: a
/// full buffer answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_state_delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_try_delete(
    state: *const durstream_state,
    collection: *const c_char,
    key: *const c_char,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || delete(state, collection, key, WriteOptions { tag, block: false }, id))
    }
}

/// Publishes an entity's state.
///
/// # Safety
/// The pointers are those of `durstream_state_upsert`.
unsafe fn upsert(
    state: *const durstream_state,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    options: WriteOptions,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = &handle(state, "state")?.opened.producer;
        let (collection, value) = (text(collection, "collection")?, bytes(value, length, "value")?);
        accepted(&state.upsert_json_with(collection, value, options)?, optional_out(id))
    }
}

/// Publishes that an entity is gone.
///
/// # Safety
/// The pointers are those of `durstream_state_delete`.
unsafe fn delete(
    state: *const durstream_state,
    collection: *const c_char,
    key: *const c_char,
    options: WriteOptions,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = &handle(state, "state")?.opened.producer;
        let (collection, key) = (text(collection, "collection")?, text(key, "key")?);
        accepted(&state.delete_with(collection, key, options)?, optional_out(id))
    }
}

/// Waits for the outcome of an accepted write. `DURSTREAM_OK` says that it is settled, well or not:
/// `outcome` (may be NULL) receives how, for `durstream_outcome_free`. Any thread; blocks, at most
/// `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`; `DURSTREAM_INVALID_ARGUMENT` for an id never given out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_wait(
    state: *const durstream_state,
    id: u64,
    timeout_ms: i64,
    outcome: *mut *mut durstream_outcome,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.wait(id, timeout_ms, outcome)) }
}

/// Waits until everything accepted before this call is settled, not for later writes. `report`
/// may be NULL. Any thread; blocks, at most `timeout_ms`. Giving up the wait cancels no write.
///
/// Errors: `DURSTREAM_DELIVERY`, with counts and first cause, if any call since the last flush
/// ended undelivered (refused values excepted); `DURSTREAM_TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_flush(
    state: *const durstream_state,
    timeout_ms: i64,
    report: *mut durstream_flush_report,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.flush(timeout_ms, report)) }
}

/// Waits until the stream was created or found and the buffer has room for the write that last
/// found none, or for any other. Any thread; blocks, at most `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`; `_PRODUCER_CLOSED`, or the error that the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_wait_ready(
    state: *const durstream_state,
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            handle(state, "state")?
                .opened
                .wait_ready(timeout_ms, "the stream was not found or created, or there was no room")
        })
    }
}

/// Flushes and closes the producer for all its handles; a later open makes a new one. The stream
/// goes on, as it outlives a deploy, unless `end_stream`: then it is ended for everybody, if the
/// flush succeeded. `final_offset` (may be NULL) receives its end, for `durstream_string_free`,
/// else NULL. Any thread; blocks, at most `timeout_ms`. The handle is still to be freed.
///
/// Errors: those of flush; why the stream was not ended; `DURSTREAM_TIMEOUT`, and the close goes
/// on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_close(
    state: *const durstream_state,
    end_stream: bool,
    timeout_ms: i64,
    final_offset: *mut *mut c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let state = &handle(state, "state")?.opened.producer;
            if end_stream {
                return ended(state.close_stream(), timeout_ms, final_offset);
            }
            state.close().wait_or_timeout(limit(timeout_ms), "close")?;
            optional_out(final_offset).set(ptr::null_mut);
            Ok(())
        })
    }
}

/// Begins the end for all handles: no new writes, accepted ones are delivered, then the producer
/// stops by itself. Any thread, signal handlers excepted; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_begin_shutdown(
    state: *const durstream_state,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.begin_shutdown()) }
}

/// Ends now, for all handles: pending writes settle as cancelled, or as unknown where they were
/// under way; with an outbox as kept, and they stay there. Any thread; does not block. The handle is still to be freed.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_stop(
    state: *const durstream_state,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.stop()) }
}

/// Begins a fresh session for all handles, which may claim the id, once everything accepted so far is
/// settled; what is in the outbox of a fenced producer is delivered then. It is the way back after
/// another producer took over (`DURSTREAM_STALE_EPOCH`). With strict operations the keys that were
/// written before count as written. Any thread; blocks, at most `timeout_ms`.
///
/// Errors: `DURSTREAM_TIMEOUT`, and the restart goes on; `_PRODUCER_CLOSED`, also where another producer
/// of the stream was opened since; or the error that the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_restart(
    state: *const durstream_state,
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.restart(timeout_ms)) }
}

/// Ends now, for all handles, and drops what the outbox holds: `dropped` (may be NULL) receives how
/// many writes that were. They settle as cancelled, or as unknown where they were under way. It is the
/// other way out, beside `durstream_state_restart`, for a producer that was fenced. Any thread; blocks,
/// at most `timeout_ms`. The handle is still to be freed.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` without `outbox_dir`; `_PRODUCER_CLOSED` where the producer
/// has ended and its outbox is closed; `_OUTBOX_FAILED`; `DURSTREAM_TIMEOUT`, and the dropping goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_discard_outbox(
    state: *const durstream_state,
    timeout_ms: i64,
    dropped: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.discard_outbox(timeout_ms, dropped)) }
}

/// Fills `stats`, whose `size` the caller has set. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for NULL or a `size` that was not set;
/// `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_stats(
    state: *const durstream_state,
    stats: *mut durstream_stats,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || handle(state, "state")?.opened.stats(stats)) }
}

/// The text for Prometheus about this producer, as `durstream_stats_prometheus` gives it about all of
/// the process. Free it with `durstream_string_free`; NULL if `state` is NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_stats_prometheus(
    state: *const durstream_state,
    openmetrics: i32,
) -> *mut c_char {
    // SAFETY: the pointers are as the header asks.
    unsafe { get(ptr::null_mut(), || Some(state.as_ref()?.opened.stats_prometheus(openmetrics))) }
}

/// The producer's state. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_state(
    state: *const durstream_state,
) -> durstream_lifecycle {
    // SAFETY: NULL or a live producer.
    unsafe { get(durstream_lifecycle::DURSTREAM_LIFECYCLE_NONE, || state.as_ref()?.opened.state()) }
}

/// The epoch in use; 0 before the first write, for NULL and in a forked child. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_epoch(state: *const durstream_state) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(state.as_ref()?.opened.epoch())) }
}

/// The next sequence number in this epoch. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_next_seq(state: *const durstream_state) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(state.as_ref()?.opened.next_seq())) }
}

/// Writes accepted and not settled. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_pending_count(state: *const durstream_state) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(state.as_ref()?.opened.pending_count())) }
}

/// Requests under way. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_in_flight_count(state: *const durstream_state) -> u64 {
    // SAFETY: NULL or a live producer.
    unsafe { get(0, || Some(state.as_ref()?.opened.in_flight_count())) }
}

/// The stream's offset after the last acknowledged batch, for `durstream_string_free`; NULL
/// before the first. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_last_offset(state: *const durstream_state) -> *mut c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null_mut(), || Some(state.as_ref()?.opened.last_offset())) }
}

/// The most recent failure, transient ones included, for `durstream_error_free`; NULL if there
/// was none. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_last_error(
    state: *const durstream_state,
) -> *mut durstream_error {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null_mut(), || Some(state.as_ref()?.opened.last_error())) }
}

/// The producer id as sent: with its suffix if `shared`. Owned by the handle. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_id(state: *const durstream_state) -> *const c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null(), || Some(state.as_ref()?.opened.id())) }
}

/// The stream's URL, without user info and query. Owned by the handle. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_url(state: *const durstream_state) -> *const c_char {
    // SAFETY: NULL or a live producer.
    unsafe { get(ptr::null(), || Some(state.as_ref()?.opened.url())) }
}
