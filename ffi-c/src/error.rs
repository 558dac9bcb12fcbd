//! The questions a program may ask of an error.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::LazyLock;

use durstream_core::{Detail, Error, ErrorKind, uncut};

use crate::ffi_guard::get;
use crate::given::{c_string, pointer, take};
use crate::problem::{durstream_code, durstream_error};

/// Frees an error. NULL is fine. Not for errors another object owns (`_cause`, `_outcome_error`,
/// `_failure_error`). Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_free(error: *mut durstream_error) {
    // SAFETY: the caller gives back what a call gave out.
    unsafe { get((), || take(error).map(drop)) }
}

/// The code that the call returned; `DURSTREAM_OK` for NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_code(error: *const durstream_error) -> durstream_code {
    // SAFETY: NULL or a live error.
    unsafe { get(durstream_code::DURSTREAM_OK, || Some(error.as_ref()?.problem.code())) }
}

/// The text for a person, with the stream's URL where there is one. Owned by the error; NULL
/// only for NULL. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_message(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(error.as_ref()?.message.as_ptr())) }
}

/// Everything known about the error as one JSON object: `name`, `code`, `message`, `reason`, `url`,
/// `status`, `retryable`, `definite`, and by kind `option`, `collection`, `key`, `issues` (each
/// with `path` and `message`), `current_epoch`, `expected_seq`, `received_seq`, `final_offset`,
/// `earliest_offset`, `delivered`, `undelivered`, `kept`, `cause`. Owned by the error. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_json(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe {
        get(ptr::null(), || {
            let error = error.as_ref()?;
            Some(uncut(|| error.json.get_or_init(|| c_string(&error.problem.json())).as_ptr()))
        })
    }
}

/// Why a write was refused or a call not done (`invalid-key`, `buffer-bytes-exceeded`,
/// `would-deadlock`, ...: the names of `durstream_reason`), or NULL. Owned by the
/// error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_reason(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.reason.as_ref()))) }
}

/// The option or argument a `DURSTREAM_INVALID_ARGUMENT` is about, or NULL. Owned by the error.
/// Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_option(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.option.as_ref()))) }
}

/// The stream's URL, without user info and query, or NULL. Owned by the error. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_url(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.url.as_ref()))) }
}

/// The HTTP status, 0 where there was no answer. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_status(error: *const durstream_error) -> i32 {
    // SAFETY: NULL or a live error.
    unsafe { get(0, || error.as_ref()?.problem.core()?.status().map(i32::from)) }
}

/// Whether the same call may succeed later. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_retryable(error: *const durstream_error) -> bool {
    // SAFETY: NULL or a live error.
    unsafe { get(false, || error.as_ref()?.problem.core().map(Error::retryable)) }
}

/// Whether it is certain that the data is *not* in the stream. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_definite(error: *const durstream_error) -> bool {
    // SAFETY: NULL or a live error.
    unsafe { get(false, || Some(error.as_ref()?.problem.definite())) }
}

/// Of a `DURSTREAM_STALE_EPOCH`: the epoch the server has now; else 0. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_current_epoch(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::StaleEpoch { current_epoch } => Some(*current_epoch),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_SEQUENCE_GAP`: the sequence number the server expects; else 0. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_expected_seq(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::SequenceGap { expected, .. } => Some(*expected),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_SEQUENCE_GAP`: the sequence number that was sent; else 0. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_received_seq(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::SequenceGap { received, .. } => Some(*received),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_VALIDATION`: the collection, empty for plain appends; else NULL. Owned by the
/// error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_collection(
    error: *const durstream_error,
) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(error.as_ref()?.refusal.as_ref()?.collection.as_ptr())) }
}

/// Of a `DURSTREAM_VALIDATION`: the entity's key, where it was known; else NULL. Owned by the
/// error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_key(error: *const durstream_error) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.refusal.as_ref()?.key.as_ref()))) }
}

/// Of a `DURSTREAM_VALIDATION`: the number of issues the validator found; else 0. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_issue_count(error: *const durstream_error) -> usize {
    // SAFETY: NULL or a live error.
    unsafe { get(0, || Some(error.as_ref()?.refusal.as_ref()?.issues.len())) }
}

/// Where in the value an issue is, from 0 on, as a JSON Pointer (`/address/city`); empty for the
/// whole value, NULL if there is no such issue. Owned by the error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_issue_path(
    error: *const durstream_error,
    issue: usize,
) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe {
        get(ptr::null(), || {
            let (path, _) = error.as_ref()?.refusal.as_ref()?.issues.get(issue)?;
            Some(path.as_ptr())
        })
    }
}

/// The text of an issue: what is wrong at its path; NULL if there is no such issue. Owned by the
/// error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_issue_message(
    error: *const durstream_error,
    issue: usize,
) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe {
        get(ptr::null(), || {
            let (_, message) = error.as_ref()?.refusal.as_ref()?.issues.get(issue)?;
            Some(message.as_ptr())
        })
    }
}

/// Of a `DURSTREAM_STREAM_CLOSED`: where the stream ended, if the server said so; else NULL.
/// Owned by the error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_final_offset(
    error: *const durstream_error,
) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.final_offset.as_ref()))) }
}

/// Of a `DURSTREAM_STREAM_GONE` with the reason `offset-gone`: the earliest offset that can still be
/// read, if the server said so; else NULL. Owned by the error. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_earliest_offset(
    error: *const durstream_error,
) -> *const c_char {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(pointer(error.as_ref()?.earliest_offset.as_ref()))) }
}

/// Of a `DURSTREAM_DELIVERY`: writes delivered since the last flush; else 0. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_delivered(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::Delivery { delivered, .. } => Some(*delivered),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_DELIVERY`: writes since the last flush that were refused, cancelled, are
/// unknown, stay in the outbox, or were turned away by a full buffer; else 0. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_undelivered(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::Delivery { undelivered, .. } => Some(*undelivered),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_DELIVERY`: of the undelivered writes, those that stay in the outbox and are
/// delivered once the producer is opened again; else 0. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_kept(error: *const durstream_error) -> u64 {
    // SAFETY: NULL or a live error.
    unsafe {
        get(0, || match error.as_ref()?.problem.detail()? {
            Detail::Delivery { kept, .. } => Some(*kept),
            _ => None,
        })
    }
}

/// Of a `DURSTREAM_DELIVERY`: the first failure. Of a `DURSTREAM_TIMEOUT`: the failure that the
/// producer is in, if it is in one. Else NULL. Owned by the error, not to be freed. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_cause(
    error: *const durstream_error,
) -> *const durstream_error {
    // SAFETY: NULL or a live error.
    unsafe { get(ptr::null(), || Some(&raw const **error.as_ref()?.cause.as_ref()?)) }
}

/// The name of a `durstream_code` (`STALE_EPOCH`); `UNKNOWN` for any other number. Static. Any
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_code_name(code: i32) -> *const c_char {
    get(c"UNKNOWN".as_ptr(), || match code {
        0 => Some(c"OK".as_ptr()),
        _ => {
            let at = ErrorKind::ALL.iter().position(|kind| *kind as i32 == code)?;
            Some(uncut(|| CODE_NAMES[at].as_ptr()))
        }
    })
}

static CODE_NAMES: LazyLock<Vec<CString>> =
    LazyLock::new(|| ErrorKind::ALL.iter().map(|kind| c_string(kind.code())).collect());

/// Frees a text this library gave out as `char *`. NULL is fine. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_string_free(text: *mut c_char) {
    // SAFETY: the caller gives back what a call gave out, which came from `CString::into_raw`.
    unsafe { get((), || (!text.is_null()).then(|| drop(CString::from_raw(text)))) }
}
