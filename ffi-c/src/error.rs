//! Errors: a code for the program, everything else for whoever wants to know.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{LazyLock, OnceLock};

use durstream_core::{Detail, Error, ErrorKind, uncut};
use serde_json::json;

use crate::args::{c_string, give, pointer, take};
use crate::doorway::get;

/// What a call came to. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_code {
    /// It worked.
    DURSTREAM_OK = 0,
    /// An option, URL, schema or argument is missing or wrong; `durstream_error_option` names it.
    DURSTREAM_INVALID_ARGUMENT = 1,
    /// A value was refused before it was accepted: by the schema, for its key, or as no JSON;
    /// `durstream_error_collection`, `_key` and `_issue_count`.
    DURSTREAM_VALIDATION = 2,
    /// A write is larger than the producer or the server takes.
    DURSTREAM_TOO_LARGE = 3,
    /// The producer's buffer has no room for the write now.
    DURSTREAM_BUFFER_FULL = 4,
    /// The producer is closed, detached or stopped, or the library was shut down.
    DURSTREAM_PRODUCER_CLOSED = 5,
    /// Another producer with the same id took over; `durstream_error_current_epoch`.
    DURSTREAM_STALE_EPOCH = 6,
    /// The server expects another sequence number of this producer;
    /// `durstream_error_expected_seq` and `_received_seq`.
    DURSTREAM_SEQUENCE_GAP = 7,
    /// A `Stream-Seq` was not greater than the last one.
    DURSTREAM_SEQUENCE_CONFLICT = 8,
    /// The stream has ended; `durstream_error_final_offset`.
    DURSTREAM_STREAM_CLOSED = 9,
    /// There is no stream at this URL.
    DURSTREAM_STREAM_NOT_FOUND = 10,
    /// The stream was deleted and its URL is blocked.
    DURSTREAM_STREAM_GONE = 11,
    /// A stream with another configuration is at this URL.
    DURSTREAM_STREAM_EXISTS = 12,
    /// The server refused the request as conflicting, e.g. for its content type.
    DURSTREAM_CONFLICT = 13,
    /// The server did not accept the credentials.
    DURSTREAM_UNAUTHORIZED = 14,
    /// Not done by the server or here; with the reason `would-deadlock`, not inside a callback.
    DURSTREAM_NOT_SUPPORTED = 15,
    /// The server's answer breaks the protocol.
    DURSTREAM_PROTOCOL = 16,
    /// No usable answer: connection refused or cut, or a server-side failure that persisted.
    DURSTREAM_TRANSPORT = 17,
    /// A time limit ran out; what was begun goes on.
    DURSTREAM_TIMEOUT = 18,
    /// Writes since the last flush were not delivered; `durstream_error_undelivered` and `_cause`.
    DURSTREAM_DELIVERY = 19,
    /// The handle came through `fork`; open another one in the child.
    DURSTREAM_FORKED = 20,
    /// A bug in the library, caught.
    DURSTREAM_INTERNAL = 21,
}

/// An error: what happened, and what is known about it. Immutable; any thread may read it.
pub struct durstream_error {
    problem: Problem,
    message: CString,
    reason: Option<CString>,
    option: Option<CString>,
    url: Option<CString>,
    final_offset: Option<CString>,
    refusal: Option<Refusal>,
    cause: Option<Box<durstream_error>>,
    json: OnceLock<CString>,
}

/// What a validation error says of the value.
struct Refusal {
    collection: CString,
    key: Option<CString>,
    /// Paths and messages.
    issues: Vec<(CString, CString)>,
}

impl Refusal {
    fn of(detail: Option<&Detail>) -> Option<Self> {
        let Some(Detail::Validation { collection, key, issues }) = detail else { return None };
        let issues = issues.iter().map(|issue| (c_string(&issue.path), c_string(&issue.message)));
        Some(Refusal {
            collection: c_string(collection),
            key: key.as_deref().map(c_string),
            issues: issues.collect(),
        })
    }
}

/// Why a call failed, before it has the form C sees.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The core's.
    Core(Error),
    /// An argument that is wrong by C's own rules.
    Argument { name: &'static str, text: String },
    /// A handle that came through `fork`.
    Forked,
    /// A caught panic.
    Panic(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::Core(error)
    }
}

impl Problem {
    pub(crate) fn argument(name: &'static str, text: String) -> Self {
        Problem::Argument { name, text }
    }

    pub(crate) fn null(name: &'static str) -> Self {
        Problem::argument(name, format!("`{name}` is NULL"))
    }

    pub(crate) fn code(&self) -> durstream_code {
        match self {
            Problem::Core(error) => code_of(error.kind()),
            Problem::Argument { .. } => durstream_code::DURSTREAM_INVALID_ARGUMENT,
            Problem::Forked => durstream_code::DURSTREAM_FORKED,
            Problem::Panic(_) => durstream_code::DURSTREAM_INTERNAL,
        }
    }

    fn core(&self) -> Option<&Error> {
        match self {
            Problem::Core(error) => Some(error),
            _ => None,
        }
    }

    fn detail(&self) -> Option<&Detail> {
        self.core().and_then(Error::detail)
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Problem::Core(error) => error.to_string(),
            Problem::Argument { text, .. } => text.clone(),
            Problem::Forked => {
                "this handle was made before fork; open another one in the child".to_owned()
            }
            Problem::Panic(text) => {
                let text = format!("a bug in the library: {text}");
                Error::new(ErrorKind::Internal, text).message().to_owned() // as short as the core's
            }
        }
    }

    fn option(&self) -> Option<&str> {
        match self {
            Problem::Core(error) => error.option_name(),
            Problem::Argument { name, .. } => Some(name),
            _ => None,
        }
    }

    fn definite(&self) -> bool {
        match self {
            Problem::Core(error) => error.definite(),
            Problem::Panic(_) => false,
            _ => true,
        }
    }

    fn json(&self) -> String {
        if let Problem::Core(error) = self {
            return error.to_json().to_string();
        }
        let kind = match self {
            Problem::Argument { .. } => ErrorKind::InvalidArgument,
            Problem::Forked => ErrorKind::Forked,
            _ => ErrorKind::Internal,
        };
        // The text is the core's shape, so that every error reads the same.
        let mut shown = Error::new(kind, self.text()).to_json();
        if let Some(option) = self.option() {
            shown["option"] = json!(option);
        }
        shown.to_string()
    }
}

fn code_of(kind: ErrorKind) -> durstream_code {
    use durstream_code::*;
    match kind {
        ErrorKind::InvalidArgument => DURSTREAM_INVALID_ARGUMENT,
        ErrorKind::Validation => DURSTREAM_VALIDATION,
        ErrorKind::TooLarge => DURSTREAM_TOO_LARGE,
        ErrorKind::BufferFull => DURSTREAM_BUFFER_FULL,
        ErrorKind::ProducerClosed => DURSTREAM_PRODUCER_CLOSED,
        ErrorKind::StaleEpoch => DURSTREAM_STALE_EPOCH,
        ErrorKind::SequenceGap => DURSTREAM_SEQUENCE_GAP,
        ErrorKind::SequenceConflict => DURSTREAM_SEQUENCE_CONFLICT,
        ErrorKind::StreamClosed => DURSTREAM_STREAM_CLOSED,
        ErrorKind::StreamNotFound => DURSTREAM_STREAM_NOT_FOUND,
        ErrorKind::StreamGone => DURSTREAM_STREAM_GONE,
        ErrorKind::StreamExists => DURSTREAM_STREAM_EXISTS,
        ErrorKind::Conflict => DURSTREAM_CONFLICT,
        ErrorKind::Unauthorized => DURSTREAM_UNAUTHORIZED,
        ErrorKind::NotSupported => DURSTREAM_NOT_SUPPORTED,
        ErrorKind::Protocol => DURSTREAM_PROTOCOL,
        ErrorKind::Transport => DURSTREAM_TRANSPORT,
        ErrorKind::Timeout => DURSTREAM_TIMEOUT,
        ErrorKind::Delivery => DURSTREAM_DELIVERY,
        ErrorKind::Forked => DURSTREAM_FORKED,
        _ => DURSTREAM_INTERNAL,
    }
}

impl durstream_error {
    pub(crate) fn new(problem: Problem) -> Self {
        let core = problem.core();
        let (final_offset, cause) = match problem.detail() {
            Some(Detail::StreamClosed { final_offset }) => (final_offset.as_deref(), None),
            Some(Detail::Delivery { cause, .. }) => {
                (None, Some(Box::new(Self::new(Problem::Core(cause.clone())))))
            }
            _ => (None, None),
        };
        durstream_error {
            message: c_string(&problem.text()),
            reason: core.and_then(Error::reason).map(c_string),
            option: problem.option().map(c_string),
            url: core.and_then(Error::url).map(c_string),
            final_offset: final_offset.map(c_string),
            refusal: Refusal::of(problem.detail()),
            cause,
            json: OnceLock::new(),
            problem,
        }
    }

    pub(crate) fn boxed(problem: Problem) -> *mut Self {
        give(Self::new(problem))
    }
}

/// Frees an error. NULL is fine. Not for errors another object owns (`_cause`, `_outcome_error`,
/// `_failure_error`). Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_free(error: *mut durstream_error) {
    // SAFETY: the caller gives back what a call gave out.
    unsafe { get((), || take(error).map(drop)) }
}

/// The code, the same as the call returned; `DURSTREAM_OK` for NULL. Any thread; does not block.
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

/// Everything known as one JSON object: `name`, `code`, `message`, `reason`, `url`, `status`,
/// `retryable`, `definite`, and by kind `option`, `collection`, `key`, `issues` (each with `path`
/// and `message`), `current_epoch`, `expected_seq`, `received_seq`, `final_offset`, `delivered`,
/// `undelivered`, `cause`. Owned by the error. Any thread; does not block.
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
/// `would-deadlock`, ...: the names of `durstream_reason` and a few more), or NULL. Owned by the
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

/// Of a `DURSTREAM_VALIDATION`: how much the validator found; else 0. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_error_issue_count(error: *const durstream_error) -> usize {
    // SAFETY: NULL or a live error.
    unsafe { get(0, || Some(error.as_ref()?.refusal.as_ref()?.issues.len())) }
}

/// Where in the value an issue is, from 0 on, as a JSON Pointer (`/address/city`); empty for the
/// whole value, NULL for an issue there is not. Owned by the error. Any thread; does not block.
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

/// What is wrong there, the text of an issue; NULL for one there is not. Owned by the error. Any
/// thread; does not block.
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
/// unknown, or were turned away by a full buffer; else 0. Any thread; does not block.
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

/// Of a `DURSTREAM_DELIVERY`: the first failure; else NULL. Owned by the error, not to be freed.
/// Any thread; does not block.
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
