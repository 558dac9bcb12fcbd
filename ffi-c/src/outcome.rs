//! The outcome of a write, and the failures a callback receives.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::LazyLock;

use durstream_core::{Failure, Outcome, Reason, Status, uncut};

use crate::ffi_guard::get;
use crate::given::{c_string, pointer, take};
use crate::problem::{Problem, durstream_error};

/// The final status of a write. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_status {
    /// In the stream, once, in the order of the calls.
    DURSTREAM_STATUS_DELIVERED = 1,
    /// Possibly in the stream: it was sent, and nothing decided whether it was stored.
    DURSTREAM_STATUS_DELIVERY_UNKNOWN = 2,
    /// Refused for good, certainly not in the stream.
    DURSTREAM_STATUS_REJECTED = 3,
    /// Accepted, certainly not in the stream, and nobody refused it.
    DURSTREAM_STATUS_CANCELLED = 4,
    /// Settled so long ago that its outcome is forgotten; it may not have been plainly delivered.
    DURSTREAM_STATUS_FORGOTTEN = 5,
    /// Still in the outbox: not in the stream as far as is known, and delivered once the producer
    /// is opened again, or starts over.
    DURSTREAM_STATUS_KEPT = 6,
}

/// Why a write was not delivered. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_reason {
    /// It was delivered.
    DURSTREAM_REASON_NONE = 0,
    /// There is no such collection.
    DURSTREAM_REASON_INVALID_ENTITY = 1,
    /// The primary key is missing, empty, or neither text, an integer nor a boolean.
    DURSTREAM_REASON_INVALID_KEY = 2,
    /// The schema refused the value, or it is empty or no JSON.
    DURSTREAM_REASON_INVALID_VALUE = 3,
    /// The value could not be serialised.
    DURSTREAM_REASON_SERIALIZATION_FAILED = 4,
    /// Larger than `max_write_bytes`, the buffer, or what the server takes.
    DURSTREAM_REASON_TOO_LARGE = 5,
    /// `max_buffer_items` is reached.
    DURSTREAM_REASON_BUFFER_COUNT_EXCEEDED = 6,
    /// `max_buffer_bytes` is reached.
    DURSTREAM_REASON_BUFFER_BYTES_EXCEEDED = 7,
    /// The producer is being closed.
    DURSTREAM_REASON_PRODUCER_STOPPING = 8,
    /// The producer was stopped.
    DURSTREAM_REASON_PRODUCER_STOPPED = 9,
    /// The producer failed for good.
    DURSTREAM_REASON_PRODUCER_FAILED = 10,
    /// The server refused this write.
    DURSTREAM_REASON_REFUSED = 11,
    /// The server does not accept the credentials.
    DURSTREAM_REASON_UNAUTHORIZED = 12,
    /// There is no such stream.
    DURSTREAM_REASON_NOT_FOUND = 13,
    /// The server refused the batch as conflicting, e.g. for its content type.
    DURSTREAM_REASON_CONFLICT = 14,
    /// The `Stream-Seq` was not greater than the last one.
    DURSTREAM_REASON_SEQUENCE_CONFLICT = 15,
    /// `delivery_timeout_ms` ran out.
    DURSTREAM_REASON_EXPIRED = 16,
    /// Another producer took the identity over.
    DURSTREAM_REASON_FENCED = 17,
    /// The stream was closed.
    DURSTREAM_REASON_STREAM_CLOSED = 18,
    /// The stream was deleted.
    DURSTREAM_REASON_GONE = 19,
    /// The server lost its memory of the session, and nothing else decides whether it is stored.
    DURSTREAM_REASON_RETRY_EXHAUSTED = 20,
    /// The server takes no further producers on this stream.
    DURSTREAM_REASON_PRODUCER_LIMIT = 21,
    /// A callback waited for the library, which waits for the callback.
    DURSTREAM_REASON_WOULD_DEADLOCK = 22,
    /// The stream is there, and the server no longer keeps what was at this offset.
    DURSTREAM_REASON_OFFSET_GONE = 23,
    /// A header of the event is one that it cannot have, or its `txid` or `timestamp` is none.
    DURSTREAM_REASON_INVALID_HEADERS = 24,
    /// `outbox_max_bytes` is reached, or the disk of the outbox has no room.
    DURSTREAM_REASON_OUTBOX_FULL = 25,
}

fn status_of(status: Status) -> durstream_status {
    use durstream_status::*;
    match status {
        Status::Delivered => DURSTREAM_STATUS_DELIVERED,
        Status::Rejected => DURSTREAM_STATUS_REJECTED,
        Status::Cancelled => DURSTREAM_STATUS_CANCELLED,
        Status::Forgotten => DURSTREAM_STATUS_FORGOTTEN,
        Status::Kept => DURSTREAM_STATUS_KEPT,
        _ => DURSTREAM_STATUS_DELIVERY_UNKNOWN,
    }
}

fn reason_of(reason: Option<Reason>) -> durstream_reason {
    use durstream_reason::*;
    match reason {
        None => DURSTREAM_REASON_NONE,
        Some(Reason::InvalidEntity) => DURSTREAM_REASON_INVALID_ENTITY,
        Some(Reason::InvalidKey) => DURSTREAM_REASON_INVALID_KEY,
        Some(Reason::InvalidValue) => DURSTREAM_REASON_INVALID_VALUE,
        Some(Reason::SerializationFailed) => DURSTREAM_REASON_SERIALIZATION_FAILED,
        Some(Reason::TooLarge) => DURSTREAM_REASON_TOO_LARGE,
        Some(Reason::BufferCountExceeded) => DURSTREAM_REASON_BUFFER_COUNT_EXCEEDED,
        Some(Reason::BufferBytesExceeded) => DURSTREAM_REASON_BUFFER_BYTES_EXCEEDED,
        Some(Reason::ProducerStopping) => DURSTREAM_REASON_PRODUCER_STOPPING,
        Some(Reason::ProducerStopped) => DURSTREAM_REASON_PRODUCER_STOPPED,
        Some(Reason::Refused) => DURSTREAM_REASON_REFUSED,
        Some(Reason::Unauthorized) => DURSTREAM_REASON_UNAUTHORIZED,
        Some(Reason::NotFound) => DURSTREAM_REASON_NOT_FOUND,
        Some(Reason::Conflict) => DURSTREAM_REASON_CONFLICT,
        Some(Reason::SequenceConflict) => DURSTREAM_REASON_SEQUENCE_CONFLICT,
        Some(Reason::Expired) => DURSTREAM_REASON_EXPIRED,
        Some(Reason::Fenced) => DURSTREAM_REASON_FENCED,
        Some(Reason::StreamClosed) => DURSTREAM_REASON_STREAM_CLOSED,
        Some(Reason::Gone) => DURSTREAM_REASON_GONE,
        Some(Reason::RetryExhausted) => DURSTREAM_REASON_RETRY_EXHAUSTED,
        Some(Reason::ProducerLimit) => DURSTREAM_REASON_PRODUCER_LIMIT,
        Some(Reason::WouldDeadlock) => DURSTREAM_REASON_WOULD_DEADLOCK,
        Some(Reason::OffsetGone) => DURSTREAM_REASON_OFFSET_GONE,
        Some(Reason::InvalidHeaders) => DURSTREAM_REASON_INVALID_HEADERS,
        Some(Reason::OutboxFull) => DURSTREAM_REASON_OUTBOX_FULL,
        Some(_) => DURSTREAM_REASON_PRODUCER_FAILED,
    }
}

/// The outcome of a write. Immutable; any thread may read it.
pub struct durstream_outcome {
    outcome: Outcome,
    offset: Option<CString>,
    error: Option<durstream_error>,
}

impl durstream_outcome {
    pub(crate) fn new(outcome: Outcome) -> Self {
        let error = outcome.error.clone().map(|error| durstream_error::new(Problem::Core(error)));
        durstream_outcome { offset: outcome.offset.as_deref().map(c_string), error, outcome }
    }
}

/// Frees an outcome. NULL is fine. Not for one a failure owns. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_free(outcome: *mut durstream_outcome) {
    // SAFETY: the caller gives back what a wait gave out.
    unsafe { get((), || take(outcome).map(drop)) }
}

/// The status of the write. `DURSTREAM_STATUS_FORGOTTEN` for NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_status(
    outcome: *const durstream_outcome,
) -> durstream_status {
    // SAFETY: NULL or a live outcome.
    unsafe {
        get(durstream_status::DURSTREAM_STATUS_FORGOTTEN, || {
            Some(status_of(outcome.as_ref()?.outcome.status))
        })
    }
}

/// Why the write was not delivered; `DURSTREAM_REASON_NONE` if it was. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_reason(
    outcome: *const durstream_outcome,
) -> durstream_reason {
    // SAFETY: NULL or a live outcome.
    unsafe {
        get(durstream_reason::DURSTREAM_REASON_NONE, || {
            Some(reason_of(outcome.as_ref()?.outcome.reason))
        })
    }
}

/// Whether the server said it had the write already. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_duplicate(outcome: *const durstream_outcome) -> bool {
    // SAFETY: NULL or a live outcome.
    unsafe { get(false, || Some(outcome.as_ref()?.outcome.duplicate)) }
}

/// Whether the write may be in the stream twice: see the option `on_uncertain`. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_maybe_duplicate(
    outcome: *const durstream_outcome,
) -> bool {
    // SAFETY: NULL or a live outcome.
    unsafe { get(false, || Some(outcome.as_ref()?.outcome.maybe_duplicate)) }
}

/// Requests sent for the write; 0 if no caller waited before it settled. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_attempts(outcome: *const durstream_outcome) -> u32 {
    // SAFETY: NULL or a live outcome.
    unsafe { get(0, || Some(outcome.as_ref()?.outcome.attempts)) }
}

/// An offset behind the write, if it was delivered: that after its own batch where it is still
/// known, else a later one. A reader that has come that far has the write. NULL if there is none.
/// Owned by the outcome. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_offset(
    outcome: *const durstream_outcome,
) -> *const c_char {
    // SAFETY: NULL or a live outcome.
    unsafe { get(ptr::null(), || Some(pointer(outcome.as_ref()?.offset.as_ref()))) }
}

/// The error of a write that was not delivered; NULL if it was. Owned by the outcome, not to be
/// freed. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_outcome_error(
    outcome: *const durstream_outcome,
) -> *const durstream_error {
    // SAFETY: NULL or a live outcome.
    unsafe { get(ptr::null(), || Some(&raw const *outcome.as_ref()?.error.as_ref()?)) }
}

/// The name of a `durstream_status` (`delivery-unknown`); `unknown` for any other number.
/// Static. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_status_name(status: i32) -> *const c_char {
    get(c"unknown".as_ptr(), || {
        let name = match status {
            1 => c"delivered",
            2 => c"delivery-unknown",
            3 => c"rejected",
            4 => c"cancelled",
            5 => c"forgotten",
            6 => c"kept",
            _ => return None,
        };
        Some(name.as_ptr())
    })
}

/// The name of a `durstream_reason` (`invalid-key`); `none` for 0, `unknown` for any other
/// number. Static. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reason_name(reason: i32) -> *const c_char {
    get(c"unknown".as_ptr(), || match reason {
        0 => Some(c"none".as_ptr()),
        _ => {
            let at = Reason::ALL.iter().position(|known| *known as i32 == reason)?;
            Some(uncut(|| REASON_NAMES[at].as_ptr()))
        }
    })
}

static REASON_NAMES: LazyLock<Vec<CString>> =
    LazyLock::new(|| Reason::ALL.iter().map(|reason| c_string(reason.as_str())).collect());

/// A write that was not delivered, as the error callback receives it. Owned by the library until
/// the callback returns.
pub struct durstream_failure {
    failure: Failure,
    outcome: durstream_outcome,
    error: durstream_error,
}

impl durstream_failure {
    pub(crate) fn new(failure: Failure) -> Self {
        let outcome = durstream_outcome::new(failure.outcome.clone());
        let error = durstream_error::new(Problem::Core(failure.error.clone()));
        durstream_failure { failure, outcome, error }
    }
}

/// The write's receipt id; 0 for a failure that is not about one write. The callback's thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_failure_id(failure: *const durstream_failure) -> u64 {
    // SAFETY: NULL or the failure the callback is about.
    unsafe { get(0, || Some(failure.as_ref()?.failure.id)) }
}

/// The tag the write was made with; 0 for none. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_failure_tag(failure: *const durstream_failure) -> u64 {
    // SAFETY: NULL or the failure the callback is about.
    unsafe { get(0, || Some(failure.as_ref()?.failure.tag)) }
}

/// The write's bytes as the library would have sent them, `*length` of them (may be NULL). Owned by
/// the failure: copy them to keep them after the callback. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_failure_payload(
    failure: *const durstream_failure,
    length: *mut usize,
) -> *const u8 {
    // SAFETY: NULL or the failure the callback is about; `length` is NULL or writable.
    unsafe {
        get(ptr::null(), || {
            let payload = &failure.as_ref()?.failure.payload;
            if let Some(length) = length.as_mut() {
                *length = payload.len();
            }
            Some(payload.as_ptr())
        })
    }
}

/// The write's outcome. Owned by the failure, not to be freed. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_failure_outcome(
    failure: *const durstream_failure,
) -> *const durstream_outcome {
    // SAFETY: NULL or the failure the callback is about.
    unsafe { get(ptr::null(), || Some(&raw const failure.as_ref()?.outcome)) }
}

/// The error: why the write was not delivered. Owned by the failure, not to be freed. The
/// callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_failure_error(
    failure: *const durstream_failure,
) -> *const durstream_error {
    // SAFETY: NULL or the failure the callback is about.
    unsafe { get(ptr::null(), || Some(&raw const failure.as_ref()?.error)) }
}
