//! Changes of entities that say more than their value, and control messages.

use std::ffi::c_char;
use std::mem::{MaybeUninit, size_of};
use std::{ptr, slice};

use durstream_core::{Control, EventOptions, Operation, Timestamp, WriteOptions};

use crate::args::{bytes, handle, list, optional_bytes, optional_out, optional_text, text};
use crate::either::accepted;
use crate::ffi_guard::call;
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::state::durstream_state;

/// The largest size a caller may state: beyond it, the field was never set.
const MAX_SIZE: usize = 4096;

/// What a change does to its entity (STATE-PROTOCOL.md 4.1). The numbers are fixed.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_operation {
    /// The entity's whole new state, whether there was one before or not.
    DURSTREAM_OPERATION_UPSERT = 1,
    /// An entity that there was not before.
    DURSTREAM_OPERATION_INSERT = 2,
    /// The whole new state of an entity that there was before.
    DURSTREAM_OPERATION_UPDATE = 3,
    /// The entity is gone.
    DURSTREAM_OPERATION_DELETE = 4,
}

/// A message about the stream in place of an entity (STATE-PROTOCOL.md 4.2). The numbers are fixed.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_control {
    /// The changes from here to the end of the snapshot are the whole state.
    DURSTREAM_CONTROL_SNAPSHOT_START = 1,
    /// The whole state has been written.
    DURSTREAM_CONTROL_SNAPSHOT_END = 2,
    /// Readers forget what they have, and begin again.
    DURSTREAM_CONTROL_RESET = 3,
}

/// What a change says beside its entity. Zero it, set `size` to `sizeof(durstream_event)`, and set
/// what is wanted. The call copies everything.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct durstream_event {
    /// `sizeof(durstream_event)`, set by the caller.
    pub size: usize,
    /// The transaction that the change belongs to, not empty; NULL for none.
    pub txid: *const c_char,
    /// When the change happened: a time in RFC 3339, or `now`; NULL for none.
    pub timestamp: *const c_char,
    /// Further headers: name, value, name, value, ... The protocol's own names are refused, and with
    /// the option `operations` set to `strict` all are.
    pub headers: *const *const c_char,
    /// How many headers there are: half as many as texts.
    pub header_count: usize,
    /// The key where the value does not hold it; one that it holds has to be the same. NULL for none.
    pub key: *const c_char,
    /// The entity's state before, as JSON; NULL for none.
    pub old_value: *const u8,
    /// The bytes of `old_value`.
    pub old_value_length: usize,
    /// A number that comes back in the callbacks of this handle; 0 for none.
    pub tag: u64,
    /// The context of the trace that the call belongs to, as W3C Trace Context writes it; NULL for
    /// none. Events carry it where the option `trace` is set; one that is none is left out, and logged
    /// once.
    pub traceparent: *const c_char,
    /// What tracing systems keep beside the `traceparent`; NULL for none.
    pub tracestate: *const c_char,
}

impl durstream_event {
    const NONE: durstream_event = durstream_event {
        size: size_of::<durstream_event>(),
        txid: ptr::null(),
        timestamp: ptr::null(),
        headers: ptr::null(),
        header_count: 0,
        key: ptr::null(),
        old_value: ptr::null(),
        old_value_length: 0,
        tag: 0,
        traceparent: ptr::null(),
        tracestate: ptr::null(),
    };

    /// Reads what both sides know.
    ///
    /// # Safety
    /// `from` is NULL or may be read for as many bytes as its first field says.
    unsafe fn read(from: *const durstream_event) -> Result<Self, Problem> {
        if from.is_null() {
            return Ok(Self::NONE);
        }
        // SAFETY: not NULL, and the first field is the size.
        let size = unsafe { from.cast::<usize>().read() };
        if !(2 * size_of::<usize>()..=MAX_SIZE).contains(&size) {
            let text = format!("`event` says its size is {size}: set `size` to its sizeof first");
            return Err(Problem::argument("event", text));
        }
        let own = size_of::<Self>();
        // SAFETY: the caller's promise.
        let given = unsafe { slice::from_raw_parts(from.cast::<u8>(), size) };
        if given.iter().skip(own).any(|byte| *byte != 0) {
            let text = format!(
                "`event` has fields that this library does not know: the program was built for a \
                 newer one (its event has {size} bytes, this one's {own})"
            );
            return Err(Problem::argument("event", text));
        }
        let mut event = MaybeUninit::new(Self::NONE);
        // SAFETY: both have so many bytes; any bytes of it are numbers and pointers.
        Ok(unsafe {
            event.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(given.as_ptr(), size.min(own));
            event.assume_init()
        })
    }
}

/// Publishes a change of an entity, with what `event` (may be NULL) says beside it. `operation` is a
/// `durstream_operation`; `value` is a JSON object with its primary key and reaches the stream
/// unchanged. To delete, it is an entity with its primary key, or NULL where `event` has the key.
/// `id` (may be NULL) receives its receipt. Any thread; blocks only while the buffer is full, at most
/// `max_block_ms`, and never inside a callback.
///
/// Errors: those of `durstream_state_upsert`; `DURSTREAM_VALIDATION` with the reason
/// `invalid-headers`: an empty `txid`, a timestamp that is none, or a header that the event cannot
/// have; `DURSTREAM_INVALID_ARGUMENT`: no such operation, or an `event` of no known size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_change(
    state: *const durstream_state,
    operation: i32,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    event: *const durstream_event,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || change(state, operation, collection, (value, length), event, true, id))
    }
}

/// Publishes a change as `durstream_state_change` does, without waiting for room: a full buffer
/// answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_state_change`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_try_change(
    state: *const durstream_state,
    operation: i32,
    collection: *const c_char,
    value: *const u8,
    length: usize,
    event: *const durstream_event,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || change(state, operation, collection, (value, length), event, false, id))
    }
}

/// Publishes a message about the stream, in order with the changes. `control` is a
/// `durstream_control`; `offset` (NULL for none) is the place in the stream that it speaks of. `id`
/// and `tag` are those of `durstream_state_upsert`. Any thread; blocks only while the buffer is full,
/// at most `max_block_ms`, and never inside a callback.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: no such message, or no offset; `_BUFFER_FULL`,
/// `_PRODUCER_CLOSED`, or the error that the producer failed with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_control(
    state: *const durstream_state,
    control: i32,
    offset: *const c_char,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || tell(state, control, offset, WriteOptions { tag, block: true }, id)) }
}

/// Publishes a message about the stream as `durstream_state_control` does, without waiting for room:
/// a full buffer answers `DURSTREAM_BUFFER_FULL` at once. Any thread; does not block.
///
/// Errors: those of `durstream_state_control`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_state_try_control(
    state: *const durstream_state,
    control: i32,
    offset: *const c_char,
    tag: u64,
    id: *mut u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || tell(state, control, offset, WriteOptions { tag, block: false }, id)) }
}

/// Publishes a change.
///
/// # Safety
/// The pointers are those of `durstream_state_change`.
unsafe fn change(
    state: *const durstream_state,
    operation: i32,
    collection: *const c_char,
    value: (*const u8, usize),
    event: *const durstream_event,
    block: bool,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = &handle(state, "state")?.opened.producer;
        let receipt = told(operation, collection, value, event, |change| {
            let options = EventOptions { write: change.write(block), ..change.options };
            let Change { operation, collection, value, .. } = change;
            Ok(state.change_json_with(operation, collection, value, options)?)
        })?;
        accepted(&receipt, optional_out(id))
    }
}

/// A change as C tells it.
pub(crate) struct Change<'a> {
    pub(crate) operation: Operation,
    pub(crate) collection: &'a str,
    pub(crate) value: &'a [u8],
    pub(crate) options: EventOptions<'a>,
}

impl Change<'_> {
    fn write(&self, block: bool) -> WriteOptions {
        WriteOptions { block, ..self.options.write }
    }
}

/// Has a change that is told by its arguments.
///
/// # Safety
/// The pointers are those of `durstream_state_change`.
pub(crate) unsafe fn told<T>(
    operation: i32,
    collection: *const c_char,
    (value, length): (*const u8, usize),
    event: *const durstream_event,
    take: impl FnOnce(Change<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let collection = text(collection, "collection")?;
        let event = durstream_event::read(event)?;
        let headers = headers(&event)?;
        let options = EventOptions {
            txid: optional_text(event.txid, "txid")?,
            timestamp: optional_text(event.timestamp, "timestamp")?.map(Timestamp::from),
            headers: &headers,
            key: optional_text(event.key, "key")?,
            old_value: optional_bytes(event.old_value, event.old_value_length, "old_value")?,
            traceparent: optional_text(event.traceparent, "traceparent")?,
            tracestate: optional_text(event.tracestate, "tracestate")?,
            write: WriteOptions { tag: event.tag, block: false },
        };
        let (operation, value) = (operation_of(operation)?, bytes(value, length, "value")?);
        take(Change { operation, collection, value, options })
    }
}

/// Publishes a message about the stream.
///
/// # Safety
/// The pointers are those of `durstream_state_control`.
unsafe fn tell(
    state: *const durstream_state,
    control: i32,
    offset: *const c_char,
    write: WriteOptions,
    id: *mut u64,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let state = &handle(state, "state")?.opened.producer;
        let offset = optional_text(offset, "offset")?;
        accepted(&state.control(control_of(control)?, offset, write)?, optional_out(id))
    }
}

/// The headers of an event.
///
/// # Safety
/// `headers` is NULL or leads to twice `header_count` texts.
unsafe fn headers<'a>(event: &durstream_event) -> Result<Vec<(&'a str, &'a str)>, Problem> {
    let Some(count) = event.header_count.checked_mul(2) else {
        let text = format!("`headers` cannot be {} headers", event.header_count);
        return Err(Problem::argument("headers", text));
    };
    // SAFETY: the caller's promise.
    let texts = unsafe { list(event.headers, count, "headers") }?;
    let pairs = texts.chunks_exact(2);
    // SAFETY: the caller's promise.
    pairs
        .map(|pair| unsafe { Ok((text(pair[0], "headers")?, text(pair[1], "headers")?)) })
        .collect()
}

fn operation_of(number: i32) -> Result<Operation, Problem> {
    use durstream_operation::*;
    let all = [
        DURSTREAM_OPERATION_UPSERT,
        DURSTREAM_OPERATION_INSERT,
        DURSTREAM_OPERATION_UPDATE,
        DURSTREAM_OPERATION_DELETE,
    ];
    let found = all.iter().position(|operation| *operation as i32 == number);
    found
        .map(|at| Operation::ALL[at])
        .ok_or_else(|| Problem::argument("operation", format!("there is no operation {number}")))
}

fn control_of(number: i32) -> Result<Control, Problem> {
    use durstream_control::*;
    let all =
        [DURSTREAM_CONTROL_SNAPSHOT_START, DURSTREAM_CONTROL_SNAPSHOT_END, DURSTREAM_CONTROL_RESET];
    let found = all.iter().position(|control| *control as i32 == number);
    found.map(|at| Control::ALL[at]).ok_or_else(|| {
        Problem::argument("control", format!("there is no control message {number}"))
    })
}
