//! The one error type. Its [`ErrorKind`] has fixed numbers that every binding shows unchanged.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::reason::Reason;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The longest text of an error, in bytes, whatever names are in it.
pub(crate) const MAX_TEXT: usize = 2048;
/// The longest name shown in a text, in bytes.
const MAX_NAME: usize = 256;
/// The mark at the end of a text that was cut.
pub(crate) const CUT: &str = "…";
/// How many findings of a validator an error has at most.
const MAX_ISSUES: usize = 32;

/// A text, cut at a character where it is too long.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(start(&text, MAX_TEXT - CUT.len()).len());
        text.push_str(CUT);
        text.shrink_to_fit();
    }
    text
}

/// At most so many bytes of a text, cut at a character.
pub(crate) fn start(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// As much of a text as an error keeps, and a little more if it is cut, so that a long text is not
/// copied whole.
fn kept(text: &str) -> String {
    start(text, MAX_TEXT + 4).to_owned()
}

/// A name in an error's text: its beginning, clean.
pub(crate) fn shown(name: &str) -> String {
    let beginning = start(name, MAX_NAME);
    let cut = if beginning.len() < name.len() { CUT } else { "" };
    format!("{}{cut}", beginning.escape_debug())
}

/// So many of something, whose word takes an `s` where there are several.
pub(crate) fn amount(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $code:literal;)*) => {
        /// The kind of an error, which says what the caller can do about it.
        ///
        /// The numbers are the C ABI's `durstream_code`; they are never changed or used again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum ErrorKind { $($(#[doc = $doc])* $variant = $number,)* }

        impl ErrorKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The name shown as `code` in Python and Node, e.g. `STALE_EPOCH`.
            pub fn code(self) -> &'static str {
                match self { $(ErrorKind::$variant => $code,)* }
            }

            /// The class of this kind in Python and Node, e.g. `StaleEpochError`.
            pub fn class_name(self) -> &'static str {
                match self { $(ErrorKind::$variant => concat!(stringify!($variant), "Error"),)* }
            }

            /// What it means, as the reference page says it.
            #[cfg(test)]
            pub(crate) fn meaning(self) -> &'static str {
                match self { $(ErrorKind::$variant => concat!($($doc),*),)* }
            }
        }
    };
}

kinds! {
    /// An option, URL, schema or argument is missing or wrong. The error names it.
    InvalidArgument = 1, "INVALID_ARGUMENT";
    /// A value was refused before it was accepted: by the schema, for its key, or as no JSON.
    Validation = 2, "VALIDATION";
    /// A write is larger than the producer or the server takes.
    TooLarge = 3, "TOO_LARGE";
    /// The producer's buffer has no room for the write now.
    BufferFull = 4, "BUFFER_FULL";
    /// The producer is closed, detached or stopped.
    ProducerClosed = 5, "PRODUCER_CLOSED";
    /// Another producer with the same id took over (PROTOCOL.md 5.2.1, zombie fencing).
    StaleEpoch = 6, "STALE_EPOCH";
    /// The server expects another sequence number of this producer.
    SequenceGap = 7, "SEQUENCE_GAP";
    /// A `Stream-Seq` was not greater than the last one.
    SequenceConflict = 8, "SEQUENCE_CONFLICT";
    /// The stream has ended; nothing can be appended.
    StreamClosed = 9, "STREAM_CLOSED";
    /// There is no stream at this URL.
    StreamNotFound = 10, "STREAM_NOT_FOUND";
    /// The stream was deleted and its URL is blocked (reason `gone`), or the server no longer keeps
    /// what a read asked for (reason `offset-gone`).
    StreamGone = 11, "STREAM_GONE";
    /// A stream with another configuration is at this URL.
    StreamExists = 12, "STREAM_EXISTS";
    /// The server refused the request as conflicting, e.g. for its content type.
    Conflict = 13, "CONFLICT";
    /// The server did not accept the credentials.
    Unauthorized = 14, "UNAUTHORIZED";
    /// The server or this library does not do what was asked.
    NotSupported = 15, "NOT_SUPPORTED";
    /// The server's answer breaks the protocol.
    Protocol = 16, "PROTOCOL";
    /// No usable answer: connection refused or cut, or a server-side failure that persisted.
    Transport = 17, "TRANSPORT";
    /// A time limit ran out.
    Timeout = 18, "TIMEOUT";
    /// Some writes since the last flush were not delivered: counts and first cause.
    Delivery = 19, "DELIVERY";
    /// The handle was inherited through `fork`; open another one in the child.
    Forked = 20, "FORKED";
    /// A bug in this library, caught at the boundary.
    Internal = 21, "INTERNAL";
    /// Another process, or another producer of this one, has the outbox open. The error names it.
    OutboxInUse = 22, "OUTBOX_IN_USE";
    /// A file of the outbox does not say what it should. The error names the file and the place.
    OutboxDamaged = 23, "OUTBOX_DAMAGED";
    /// The outbox cannot be made, opened, written or made durable, or a newer version made it.
    OutboxFailed = 24, "OUTBOX_FAILED";
}

/// One finding of a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where in the value, as a JSON Pointer (`/address/city`); empty for the whole value.
    pub path: String,
    /// The text: what is wrong there.
    pub message: String,
}

/// The details of an error beyond its text. Each text of it is cut beyond 2 KiB, with an
/// ellipsis, and a validator's findings beyond 32 are left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// [`ErrorKind::InvalidArgument`]: the option, in the core's spelling (`linger_ms`); an unknown
    /// one as it was given.
    Option(Cow<'static, str>),
    /// [`ErrorKind::Validation`].
    Validation {
        /// The collection, empty for plain appends.
        collection: String,
        /// The entity's key, where it was known.
        key: Option<String>,
        /// The findings of the validator.
        issues: Vec<Issue>,
    },
    /// [`ErrorKind::StaleEpoch`]: the epoch the server has now.
    StaleEpoch {
        /// `Producer-Epoch` of the answer.
        current_epoch: u64,
    },
    /// [`ErrorKind::SequenceGap`].
    SequenceGap {
        /// `Producer-Expected-Seq` of the answer.
        expected: u64,
        /// The sequence number that was sent.
        received: u64,
    },
    /// [`ErrorKind::StreamClosed`]: where the stream ended, if the server said so.
    StreamClosed {
        /// `Stream-Next-Offset` of the answer.
        final_offset: Option<Arc<str>>,
    },
    /// [`ErrorKind::StreamGone`], reason `offset-gone`: how far back the stream is still kept.
    OffsetGone {
        /// The earliest offset that can be read, if the server said so.
        earliest_offset: Option<Arc<str>>,
    },
    /// [`ErrorKind::Delivery`]: what became of the writes since the last flush.
    Delivery {
        /// Writes delivered.
        delivered: u64,
        /// Writes refused, cancelled, unknown, or turned away by a full buffer.
        undelivered: u64,
        /// Of these, the writes that stay in the outbox, to be delivered when the producer is opened
        /// again.
        kept: u64,
        /// The first failure.
        cause: Error,
    },
    /// [`ErrorKind::Timeout`]: what keeps the operation from ending.
    Timeout {
        /// The last failure of the producer.
        cause: Error,
    },
}

impl Detail {
    /// Cuts the texts that are too long.
    fn bounded(self) -> Self {
        match self {
            Detail::Option(Cow::Owned(name)) => Detail::Option(bounded(name).into()),
            Detail::Validation { collection, key, mut issues } => {
                issues.truncate(MAX_ISSUES);
                let issues = issues.into_iter().map(|Issue { path, message }| Issue {
                    path: bounded(path),
                    message: bounded(message),
                });
                Detail::Validation {
                    collection: bounded(collection),
                    key: key.map(bounded),
                    issues: issues.collect(),
                }
            }
            // Numbers, and texts that are bounded at their source.
            other => other,
        }
    }
}

/// An error of this library. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Error(Arc<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    kind: ErrorKind,
    message: String,
    reason: Option<Reason>,
    url: Option<Arc<str>>,
    status: Option<u16>,
    retryable: bool,
    definite: bool,
    detail: Option<Detail>,
}

impl Error {
    /// An error of a kind with its text; `definite`, not `retryable`, until said otherwise. A text
    /// beyond 2 KiB is cut, with an ellipsis.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable =
            matches!(kind, ErrorKind::BufferFull | ErrorKind::Transport | ErrorKind::Timeout);
        let definite = !matches!(
            kind,
            ErrorKind::Transport | ErrorKind::Timeout | ErrorKind::Delivery | ErrorKind::Internal
        );
        let (reason, url, status, detail) = (None, None, None, None);
        let message = bounded(message.into());
        Error(Arc::new(Inner { kind, message, reason, url, status, retryable, definite, detail }))
    }

    pub(crate) fn option(option: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidArgument, message).with_detail(Detail::Option(option.into()))
    }

    /// The error of a handle that came through `fork`. For the bindings, whose calls check that.
    #[doc(hidden)]
    pub fn forked(what: &str) -> Self {
        let text = format!("{what} was opened before fork; open another one in the child");
        Error::new(ErrorKind::Forked, text)
    }

    pub(crate) fn closed() -> Self {
        Error::new(ErrorKind::ProducerClosed, "the producer is closed")
    }

    pub(crate) fn validation(
        reason: Reason,
        collection: &str,
        key: Option<&str>,
        issues: Vec<Issue>,
        message: impl Into<String>,
    ) -> Self {
        Error::new(ErrorKind::Validation, message).with_reason(reason).with_detail(
            Detail::Validation { collection: kept(collection), key: key.map(kept), issues },
        )
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn with_detail(self, detail: Detail) -> Self {
        self.change(|e| e.detail = Some(detail.bounded()))
    }

    pub(crate) fn with_reason(self, reason: Reason) -> Self {
        self.change(|e| e.reason = Some(reason))
    }

    pub(crate) fn with_url(self, url: &Arc<str>) -> Self {
        self.change(|e| e.url = Some(url.clone()))
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        self.change(|e| e.status = Some(status))
    }

    pub(crate) fn with_definite(self, definite: bool) -> Self {
        self.change(|e| e.definite = definite)
    }

    pub(crate) fn with_retryable(self, retryable: bool) -> Self {
        self.change(|e| e.retryable = retryable)
    }

    /// With a text before its own.
    pub(crate) fn prefixed(&self, before: &str) -> Self {
        let text = format!("{before}{}", self.message());
        self.clone().change(|e| e.message = bounded(text))
    }

    /// Whether no connection that is of use will come about without a change.
    pub(crate) fn is_lasting(&self) -> bool {
        self.kind() == ErrorKind::Transport && !self.retryable()
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text for a person, without the URL.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The reason of a write that was refused with this error, for any error.
    pub fn refusal(&self) -> Reason {
        self.reason().unwrap_or(match self.kind() {
            ErrorKind::StreamClosed => Reason::StreamClosed,
            ErrorKind::StreamNotFound => Reason::NotFound,
            ErrorKind::StreamGone => Reason::Gone,
            ErrorKind::StreamExists | ErrorKind::Conflict => Reason::Conflict,
            ErrorKind::SequenceConflict => Reason::SequenceConflict,
            ErrorKind::Unauthorized => Reason::Unauthorized,
            ErrorKind::TooLarge => Reason::TooLarge,
            ErrorKind::ProducerClosed => Reason::ProducerStopping,
            ErrorKind::Forked | ErrorKind::Internal => Reason::ProducerFailed,
            _ => Reason::Refused,
        })
    }

    /// Why a write was refused at the call (`invalid-key`, ...), or a call was not done.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// The HTTP status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether it is certain that the data is *not* in the stream.
    pub fn definite(&self) -> bool {
        self.0.definite
    }

    /// The details beyond the text.
    pub fn detail(&self) -> Option<&Detail> {
        self.0.detail.as_ref()
    }

    /// The option an [`ErrorKind::InvalidArgument`] is about, in the core's spelling; an unknown
    /// one as it was given.
    pub fn option_name(&self) -> Option<&str> {
        match self.detail() {
            Some(Detail::Option(name)) => Some(name),
            _ => None,
        }
    }

    /// All of the error as one JSON object: the form in which Python and Node receive errors.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "name": self.kind().class_name(),
            "code": self.kind().code(),
            "message": self.message(),
            "reason": self.reason().map(Reason::as_str),
            "url": self.url(),
            "status": self.status(),
            "retryable": self.retryable(),
            "definite": self.definite(),
        });
        let extra = match self.detail() {
            None => json!({}),
            Some(Detail::Option(option)) => json!({ "option": option }),
            Some(Detail::Validation { collection, key, issues }) => json!({
                "collection": collection,
                "key": key,
                "issues": issues.iter().map(|i| json!({ "path": i.path, "message": i.message }))
                    .collect::<Vec<_>>(),
            }),
            Some(Detail::StaleEpoch { current_epoch }) => json!({ "current_epoch": current_epoch }),
            Some(Detail::SequenceGap { expected, received }) => {
                json!({ "expected_seq": expected, "received_seq": received })
            }
            Some(Detail::StreamClosed { final_offset }) => {
                json!({ "final_offset": final_offset.as_deref() })
            }
            Some(Detail::OffsetGone { earliest_offset }) => {
                json!({ "earliest_offset": earliest_offset.as_deref() })
            }
            Some(Detail::Delivery { delivered, undelivered, kept, cause }) => json!({
                "delivered": delivered, "undelivered": undelivered, "kept": kept,
                "cause": cause.to_json(),
            }),
            Some(Detail::Timeout { cause }) => json!({ "cause": cause.to_json() }),
        };
        if let (Value::Object(out), Value::Object(extra)) = (&mut out, extra) {
            out.extend(extra);
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        if let Some(url) = self.url() {
            write!(f, " ({url})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind().class_name())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.detail() {
            Some(Detail::Delivery { cause, .. } | Detail::Timeout { cause }) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the error names, and however long the name is.
    #[test]
    fn no_name_makes_an_error_long() {
        use crate::options::Options;
        use crate::producer::IdempotentProducer;
        use crate::state::schema::{Collection, StreamSchema};
        use crate::stream::handle::DurableStream;
        let long = "é\n".repeat(50 << 20 >> 2);
        let words = "x".repeat(50 << 20);
        let here = || Options::new().url("http://127.0.0.1:9/s");
        let stream = DurableStream::connect(here()).unwrap();
        let any = |name: &str| Collection::new(name, name, crate::state::schema::Validator::Any);
        let state = |id: &str, schema| {
            crate::state::producer::create_durable_stream(here().producer_id(id), schema)
        };
        let open = state("names", StreamSchema::new().collection("c", any(&words))).unwrap();
        let twice = StreamSchema::new().collection(&long, any("a"));
        let same = StreamSchema::new().collection(&long, any(&words));
        let broken = crate::state::schema::Validator::JsonSchema(json!({ "type": words }));
        let broken = Collection::new("a", "id", broken);
        let path = |path: &str| Options::new().stream_path(path).endpoints("http://h");
        let connect = |options| DurableStream::connect(options).map(drop).unwrap_err();
        let refused = |receipt: Result<crate::Receipt>| {
            receipt.unwrap().refusal().and_then(|outcome| outcome.error.clone()).unwrap()
        };
        for (what, error) in [
            ("option", Options::new().set(&long, "1").unwrap_err()),
            ("value", Options::new().set("linger_ms", &long).unwrap_err()),
            ("header", Options::new().set_header(&long, "1").unwrap_err()),
            ("header", Options::new().set_header(&format!("stream-{words}"), "1").unwrap_err()),
            ("header", Options::new().set_header("a", &long).unwrap_err()),
            ("header", connect(here().header(&long, "1"))),
            ("url", connect(Options::new().url(&long))),
            ("url", connect(Options::new().url(format!("{words}://h")))),
            ("stream_path", connect(path(&long))),
            ("stream_path", connect(path(&words))),
            ("stream_path", connect(Options::new().stream_path(&words))),
            ("path_prefix", connect(path("a").path_prefix(&long))),
            ("endpoints", connect(Options::new().stream_path("a").endpoints(&long))),
            ("params", connect(here().param("a", &long))),
            ("content_type", connect(here().content_type(&long))),
            ("expires_at", connect(here().expires_at(&long))),
            ("fork_from", connect(here().fork_from(format!("/{long}")))),
            ("on_uncertain", Options::new().set("on_uncertain", &long).unwrap_err()),
            ("seq", stream.append_with_seq("a", &long).wait().unwrap_err()),
            ("offset", stream.read(Some(&long)).map(drop).unwrap_err()),
            ("live", stream.read_live(None, &long).map(drop).unwrap_err()),
            (
                "producer_id",
                IdempotentProducer::open(&stream, &long, Options::new()).map(drop).unwrap_err(),
            ),
            (
                "producer_id",
                state(&long, StreamSchema::new().collection("c", any("a"))).unwrap_err(),
            ),
            ("collection", refused(open.delete(&long, "1"))),
            ("collection", refused(open.upsert_json(&long, b"{}"))),
            ("primary key", refused(open.upsert_json("c", b"{}"))),
            ("collection", twice.clone().collection(&long, any("b")).check().unwrap_err()),
            ("collection", same.collection("b", any(&words)).check().unwrap_err()),
            ("schema", StreamSchema::new().add("a", broken).unwrap_err()),
        ] {
            let (shown, json) = (error.to_string().len(), error.to_json().to_string().len());
            assert!(shown <= MAX_TEXT + 200 && json < 8 * MAX_TEXT, "{what}: {shown}, {json}");
        }
        open.stop();
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        for unit in ["x", "é", "€", "🦀"] {
            for more in ["", "a", "aa", "aaa"] {
                let long = format!("{more}{}", unit.repeat(20_000));
                let error = Error::option(long.clone(), long.clone());
                for text in [error.message(), error.option_name().unwrap()] {
                    assert!(text.len() <= MAX_TEXT && text.len() > MAX_TEXT - 8, "{}", text.len());
                    assert!(long.starts_with(text.strip_suffix(CUT).unwrap()));
                }
                let whole = start(&long, MAX_TEXT);
                assert_eq!(Error::option("a", whole).message(), whole);
                let issue = Issue { path: long.clone(), message: long.clone() };
                let error = Error::validation(
                    Reason::InvalidValue,
                    &long,
                    Some(&long),
                    vec![issue; 99],
                    "",
                );
                let Some(Detail::Validation { collection, key, issues }) = error.detail() else {
                    panic!("{error:?}")
                };
                assert_eq!(issues.len(), MAX_ISSUES);
                let texts =
                    [collection, key.as_ref().unwrap(), &issues[0].path, &issues[0].message];
                assert!(texts.iter().all(|text| text.len() <= MAX_TEXT && text.ends_with(CUT)));
            }
        }
        assert_eq!(shown("a\nb"), "a\\nb");
        assert!(shown(&"é".repeat(20_000)).len() <= MAX_NAME + CUT.len());
    }

    #[test]
    fn numbers_are_fixed() {
        let numbers: Vec<i32> = ErrorKind::ALL.iter().map(|k| *k as i32).collect();
        assert_eq!(numbers, (1..=24).collect::<Vec<_>>());
        assert_eq!(ErrorKind::Internal as i32, 21);
    }

    #[test]
    fn json_form_carries_the_detail() {
        let e = Error::new(ErrorKind::StaleEpoch, "taken over")
            .with_detail(Detail::StaleEpoch { current_epoch: 7 })
            .with_status(403);
        let json = e.to_json();
        assert_eq!(json["name"], "StaleEpochError");
        assert_eq!(json["current_epoch"], 7);
        assert_eq!(json["status"], 403);
        assert_eq!(json["definite"], true);
    }
}
