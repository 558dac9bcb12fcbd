//! Why a call failed: as a code, in Rust, and in the form C sees.

use std::ffi::CString;
use std::sync::OnceLock;

use durstream_core::{Detail, Error, ErrorKind};
use serde_json::json;

use crate::given::{c_string, give};

/// The result of a call. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_code {
    /// The call succeeded.
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
    /// The stream was deleted and its URL is blocked (of a read: reason `gone`), or the server no
    /// longer keeps what a read asked for (reason `offset-gone`; `durstream_error_earliest_offset`).
    DURSTREAM_STREAM_GONE = 11,
    /// A stream with another configuration is at this URL.
    DURSTREAM_STREAM_EXISTS = 12,
    /// The server refused the request as conflicting, e.g. for its content type.
    DURSTREAM_CONFLICT = 13,
    /// The server did not accept the credentials.
    DURSTREAM_UNAUTHORIZED = 14,
    /// The server or the library does not do this; with the reason `would-deadlock`, not inside a
    /// callback.
    DURSTREAM_NOT_SUPPORTED = 15,
    /// The server's answer breaks the protocol.
    DURSTREAM_PROTOCOL = 16,
    /// No usable answer: connection refused or cut, or a server-side failure that persisted.
    DURSTREAM_TRANSPORT = 17,
    /// A time limit ran out; the operation goes on.
    DURSTREAM_TIMEOUT = 18,
    /// Writes since the last flush were not delivered; `durstream_error_undelivered`,
    /// `_kept` and `_cause`.
    DURSTREAM_DELIVERY = 19,
    /// The handle came through `fork`; open another one in the child.
    DURSTREAM_FORKED = 20,
    /// A bug in the library, caught at the boundary.
    DURSTREAM_INTERNAL = 21,
    /// Another process, or another producer of this one, has the outbox open; the text names it.
    DURSTREAM_OUTBOX_IN_USE = 22,
    /// A file of the outbox does not say what it should; the text names the file and the place.
    DURSTREAM_OUTBOX_DAMAGED = 23,
    /// The outbox cannot be made, opened, written or made durable, or a newer version made it.
    DURSTREAM_OUTBOX_FAILED = 24,
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
        ErrorKind::OutboxInUse => DURSTREAM_OUTBOX_IN_USE,
        ErrorKind::OutboxDamaged => DURSTREAM_OUTBOX_DAMAGED,
        ErrorKind::OutboxFailed => DURSTREAM_OUTBOX_FAILED,
        _ => DURSTREAM_INTERNAL,
    }
}

/// Why a call failed, before it has the form C sees.
#[derive(Debug)]
pub(crate) enum Problem {
    /// An error of the core.
    Core(Error),
    /// An argument that is wrong by C's own rules.
    Argument { name: &'static str, text: String },
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
            Problem::Panic(_) => durstream_code::DURSTREAM_INTERNAL,
        }
    }

    pub(crate) fn core(&self) -> Option<&Error> {
        match self {
            Problem::Core(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn detail(&self) -> Option<&Detail> {
        self.core().and_then(Error::detail)
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Problem::Core(error) => error.to_string(),
            Problem::Argument { text, .. } => text.clone(),
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

    pub(crate) fn definite(&self) -> bool {
        match self {
            Problem::Core(error) => error.definite(),
            Problem::Panic(_) => false,
            _ => true,
        }
    }

    pub(crate) fn json(&self) -> String {
        if let Problem::Core(error) = self {
            return error.to_json().to_string();
        }
        let kind = match self {
            Problem::Argument { .. } => ErrorKind::InvalidArgument,
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

/// An error: what happened, and what is known about it. Immutable; any thread may read it.
pub struct durstream_error {
    pub(crate) problem: Problem,
    pub(crate) message: CString,
    pub(crate) reason: Option<CString>,
    pub(crate) option: Option<CString>,
    pub(crate) url: Option<CString>,
    pub(crate) final_offset: Option<CString>,
    pub(crate) earliest_offset: Option<CString>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) cause: Option<Box<durstream_error>>,
    pub(crate) json: OnceLock<CString>,
}

/// The details of a validation error.
pub(crate) struct Refusal {
    pub(crate) collection: CString,
    pub(crate) key: Option<CString>,
    /// Paths and messages.
    pub(crate) issues: Vec<(CString, CString)>,
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

impl durstream_error {
    pub(crate) fn new(problem: Problem) -> Self {
        let core = problem.core();
        let earliest_offset = match problem.detail() {
            Some(Detail::OffsetGone { earliest_offset }) => earliest_offset.as_deref(),
            _ => None,
        };
        let (final_offset, cause) = match problem.detail() {
            Some(Detail::StreamClosed { final_offset }) => (final_offset.as_deref(), None),
            Some(Detail::Delivery { cause, .. } | Detail::Timeout { cause }) => {
                (None, Some(Box::new(Self::new(Problem::Core(cause.clone())))))
            }
            _ => (None, None),
        };
        durstream_error {
            message: c_string(&problem.text()),
            reason: core.and_then(Error::reason).map(|reason| c_string(reason.as_str())),
            option: problem.option().map(c_string),
            url: core.and_then(Error::url).map(c_string),
            final_offset: final_offset.map(c_string),
            earliest_offset: earliest_offset.map(c_string),
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
