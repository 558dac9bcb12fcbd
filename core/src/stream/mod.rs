//! [`DurableStream`]: a stream by its URL.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Options, Scope};
use crate::pending::Pending;
use crate::producer::config::{request_timeout, retries};
use crate::producer::{CloseResult, IdempotentProducer, Outcome, Reason};
use crate::protocol::json::is_json;
use crate::runtime::{Runtime, lock, lock_inherited, made_in, process};
use crate::transport::Request;
use crate::transport::plain::Retries;

mod anonymous;
mod feed;
#[cfg(test)]
mod forked;
mod line;
mod read;
mod source;
pub(crate) mod wire;
mod writers;

pub use feed::{Feed, Next};
pub(crate) use line::Lines;
use line::{Anonymous, Line};
pub use read::{Chunk, StreamReader};
use writers::Writer;
pub(crate) use writers::Writers;

/// The content type of a stream that was created without one (PROTOCOL.md 5.1).
const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// What `live` may be: the way of reading that is there, and those that follow a stream beyond its
/// end (PROTOCOL.md 5.7 and 5.8), which are not there yet.
const LIVE_OFF: &str = "off";
const LIVE: [&str; 3] = ["auto", "long-poll", "sse"];

/// The number of the next handle.
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1);

/// What a stream is, and where it ends (PROTOCOL.md 5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Whether there is one; if not, nothing else is known either.
    pub exists: bool,
    /// Its content type, where the server says it.
    pub content_type: Option<Arc<str>>,
    /// The offset of its tail, opaque: where the next message will begin. Every stream has one.
    pub offset: Option<Arc<str>>,
    /// Whether it has ended.
    pub stream_closed: bool,
    /// Its lifetime in seconds since the last read or write, if it has one.
    pub ttl_seconds: Option<u64>,
    /// When it expires (RFC 3339), if that is fixed.
    pub expires_at: Option<Arc<str>>,
}

/// A stream by its URL: create it, append to it, read it, end it, delete it.
///
/// Cheap to clone; any thread may use it. Appends carry a random identity, so that even they are
/// not doubled by retries (PROTOCOL.md 5.2.1): one per process and stream, which handles with the
/// same options share, unless they have header functions.
#[derive(Clone)]
pub struct DurableStream {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    endpoint: Endpoint,
    content_type: String,
    writer: Mutex<Option<Arc<Writer>>>,
    /// Which handle this is of those that share the writer.
    number: u64,
    /// The fork generation it was made in.
    generation: u64,
    /// Where the stream ended when this handle created it, until a writer was told.
    tail: Mutex<Option<Arc<str>>>,
    /// The appends that carry no identity.
    line: Line,
}

impl DurableStream {
    /// A handle on a stream that exists or will exist. Sends nothing.
    ///
    /// `content_type` has to be the stream's own; without it bytes are assumed.
    ///
    /// # Errors
    /// `InvalidArgument`: an option is wrong, or there is no URL.
    pub fn connect(options: Options) -> Result<Self> {
        options.check(Scope::Stream)?;
        let endpoint = Endpoint::resolve(&options)?;
        let content_type = match options.content_type.as_deref().map(str::trim) {
            None | Some("") => DEFAULT_CONTENT_TYPE.to_owned(),
            Some(own) => own.to_owned(),
        };
        wire::create_headers(&options, &content_type)?;
        Ok(Self::new(options, endpoint, content_type))
    }

    fn new(options: Options, endpoint: Endpoint, content_type: String) -> Self {
        let (writer, tail, line) = (Mutex::default(), Mutex::default(), Line::new());
        let number = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
        let generation = made_in();
        let shared =
            Shared { options, endpoint, content_type, writer, number, generation, tail, line };
        DurableStream { shared: Arc::new(shared) }
    }

    /// Creates the stream (PROTOCOL.md 5.1) with `body` as its first content, which may be empty.
    /// One with the same configuration that is there already is fine. Transient failures are
    /// repeated up to `max_retries` times. With `closed` the stream is ended from the start; with
    /// `fork_from` it begins with another stream's content (PROTOCOL.md 4.2).
    ///
    /// # Errors
    /// `InvalidArgument` at once; else `StreamExists`, `Unauthorized`, `Transport`, ...
    pub fn create(options: Options, body: impl Into<Bytes>) -> Pending<DurableStream> {
        let had_type = options.content_type.is_some() || options.fork_from.is_none();
        let prepared = Self::connect(options).and_then(|stream| {
            let headers =
                wire::create_headers(&stream.shared.options, &stream.shared.content_type)?;
            Ok((stream, headers, process().runtime()?))
        });
        let (stream, headers, runtime) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Pending::ready(Err(error)),
        };
        let request =
            Request { headers: headers.into(), body: body.into(), ..stream.request(Method::PUT) };
        let (transport, retries) = (runtime.transport.clone(), stream.retries());
        runtime.run(async move {
            let answer = wire::create(&*transport, request, &retries).await?;
            if answer.status == 201 {
                process().writers.forget(&stream);
            }
            // A fork's content type is its source's.
            let stream = match answer.content_type {
                Some(found) if !had_type => {
                    let Shared { options, endpoint, .. } = &*stream.shared;
                    Self::new(options.clone(), endpoint.clone(), found)
                }
                _ => stream,
            };
            *lock(&stream.shared.tail) = answer.next_offset;
            Ok(stream)
        })
    }

    fn request(&self, method: Method) -> Request {
        let endpoint = Arc::new(self.shared.endpoint.clone());
        Request::new(method, endpoint, request_timeout(&self.shared.options))
    }

    fn retries(&self) -> Retries {
        retries(&self.shared.options)
    }

    /// Runs a request that needs no body, on the hidden runtime.
    fn plain<T, F>(&self, work: impl FnOnce(Arc<Runtime>, Retries) -> F) -> Pending<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match process().runtime() {
            Ok(runtime) => runtime.clone().run(work(runtime, self.retries())),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> &str {
        &self.shared.endpoint.shown
    }

    /// The stream's content type, as given.
    pub fn content_type(&self) -> &str {
        &self.shared.content_type
    }

    /// Whether messages are JSON values: the content type is `application/json`.
    pub fn is_json(&self) -> bool {
        is_json(self.content_type())
    }

    /// Where the stream ended when this handle created it: for the first writer that asks, since
    /// the next one's stream holds what that one wrote.
    pub(crate) fn take_tail(&self) -> Option<Arc<str>> {
        // Unknown in a forked child whose parent was about to take it.
        lock_inherited(&self.shared.tail, self.shared.generation).ok()?.take()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// The retry and time limits of this handle, for producers that set none of their own.
    pub(crate) fn limits(&self) -> &Options {
        &self.shared.options
    }

    /// Asks whether the stream is there, what it is and where it ends. Repeated up to
    /// `max_retries` times.
    ///
    /// # Errors
    /// `StreamGone` where its URL is blocked, `Unauthorized`, `Protocol`, `Transport`, ...
    pub fn head(&self) -> Pending<Metadata> {
        let request = self.request(Method::HEAD);
        self.plain(|runtime, retries| async move {
            wire::head(&*runtime.transport, request, &retries).await
        })
    }

    /// Appends one message and waits for its outcome: one JSON value on a JSON stream, bytes
    /// on any other. Concurrent calls travel together. It is repeated through failures, and still
    /// appended once, unless the option `idempotent` is off.
    ///
    /// # Errors
    /// `Validation` for an empty message or broken JSON; else why it was not delivered:
    /// [`definite`](Error::definite) says whether it is certainly not in the stream.
    pub fn append(&self, message: impl AsRef<[u8]>) -> Pending<Outcome> {
        self.append_as(message.as_ref(), None)
    }

    /// The same with a `Stream-Seq`: the server takes the message only if `seq` sorts after the
    /// one of the last such message (PROTOCOL.md 5.2). It travels in a request of its own.
    ///
    /// # Errors
    /// As `append`; `SequenceConflict` if `seq` is not above the last one, `InvalidArgument`
    /// unless it is 1 to 256 visible ASCII characters.
    pub fn append_with_seq(&self, message: impl AsRef<[u8]>, seq: &str) -> Pending<Outcome> {
        self.append_as(message.as_ref(), Some(seq))
    }

    fn append_as(&self, message: &[u8], seq: Option<&str>) -> Pending<Outcome> {
        let writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return Pending::ready(Err(error)),
        };
        let anonymous =
            || Anonymous { message: Bytes::copy_from_slice(message), seq: seq.map(str::to_owned) };
        if !self.is_idempotent() {
            return match writer.check_append(message, seq) {
                Ok(()) => self.append_anonymously(anonymous()),
                Err(error) => Pending::ready(Err(error)),
            };
        }
        // A server that has too many producers already takes appends without an identity.
        match writer.append_awaited(message, seq) {
            Ok(pending) if writer.is_known() => crate::producer::or_error(pending),
            Ok(pending) => self.unless_delivered(anonymous(), crate::producer::or_error(pending)),
            Err(error) if is_end(&error) && writer.is_one_too_many() => {
                self.append_anonymously(anonymous())
            }
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// The error of a message that could not be serialised. For the bindings, which have serialisers
    /// of their own.
    #[doc(hidden)]
    pub fn unserialisable(&self, why: &str) -> Error {
        crate::producer::unserialisable(why).with_url(&self.endpoint().shown)
    }

    /// Waits until there is room for an append that found none.
    fn room(&self) -> Pending<()> {
        match self.writer() {
            Ok(writer) if self.is_idempotent() && !writer.is_one_too_many() => writer.ready(),
            Ok(_) => self.shared.line.room(),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Whether appends carry an identity, as long as the server takes it.
    fn is_idempotent(&self) -> bool {
        self.shared.options.idempotent.unwrap_or(true)
    }

    /// Reads what is there from `offset` on, or from the start: catching up, not following
    /// (PROTOCOL.md 5.6). Sends nothing before the first chunk is asked for.
    ///
    /// # Errors
    /// `InvalidArgument` (`offset`) for one that is empty, has control characters or is longer than
    /// 4096 bytes.
    pub fn read(&self, offset: Option<&str>) -> Result<StreamReader> {
        StreamReader::new(self.clone(), offset)
    }

    /// The same, following the stream beyond its present end as `live` says: `off` does not, and
    /// is all there is for now.
    ///
    /// # Errors
    /// As `read`; `NotSupported` for `auto`, `long-poll` and `sse`, `InvalidArgument` (`live`) for
    /// any other text.
    pub fn read_live(&self, offset: Option<&str>, live: &str) -> Result<StreamReader> {
        if live == LIVE_OFF {
            return self.read(offset);
        }
        let shown: String = live.chars().take(60).collect();
        let shown = shown.escape_debug();
        if LIVE.contains(&live) {
            let text = format!(
                "following a stream (`live`: `{shown}`) is not there yet: `{LIVE_OFF}` reads what \
                 is there, and a reader that is asked again what came since"
            );
            return Err(Error::new(ErrorKind::NotSupported, text).with_url(&self.endpoint().shown));
        }
        let words = LIVE.join(", ");
        let text = format!("`live` takes one of {LIVE_OFF}, {words}, not `{shown}`");
        Err(Error::option("live", text))
    }

    /// Ends the stream: nothing can be appended any more. Messages appended before are
    /// delivered first; a last `message` is appended in the same request.
    ///
    /// Without a message it may be repeated, by anybody.
    pub fn close(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        // Also where another handle ends it: that one's result is this one's, too.
        match self.writer_if(|_, _| true) {
            Ok(writer) if !self.is_idempotent() || writer.is_one_too_many() => {
                match writer.check_close(message) {
                    Ok(()) => self.close_anonymously(message),
                    Err(error) => Pending::ready(Err(error)),
                }
            }
            Ok(writer) => {
                let attempt = writer.close_plainly(message, self.number());
                self.unless_closed(message, writer, attempt)
            }
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Deletes the stream with everything in it (PROTOCOL.md 5.4).
    ///
    /// # Errors
    /// `StreamNotFound` if there is none, `NotSupported`, `Unauthorized`, `Transport`, ...
    pub fn delete(&self) -> Pending<()> {
        let request = self.request(Method::DELETE);
        let stream = self.clone();
        self.plain(|runtime, retries| async move {
            let deleted = wire::delete(&*runtime.transport, request, &retries).await;
            process().writers.forget(&stream);
            deleted
        })
    }

    /// This handle's writer, found or opened at first need, or where another handle ends the stream
    /// through the one it had: what becomes of an append then is for the server to say.
    fn writer(&self) -> Result<Arc<Writer>> {
        self.writer_if(IdempotentProducer::is_open_to)
    }

    fn writer_if(&self, is_fit: fn(&IdempotentProducer, u64) -> bool) -> Result<Arc<Writer>> {
        // The parent's, in a forked child, refuses by itself; its locks are not to be touched.
        let is_fit = |writer: &Arc<Writer>| writer.is_foreign() || is_fit(writer, self.number());
        let shared = &self.shared;
        let own = lock_inherited(&shared.writer, shared.generation)?.clone();
        if let Some(own) = own.filter(is_fit) {
            return Ok(own);
        }
        let found = process().writers.of(self)?;
        let mut own = lock_inherited(&shared.writer, shared.generation)?;
        let writer = own.clone().filter(is_fit).unwrap_or_else(|| found.clone());
        let before = own.replace(writer.clone());
        drop(own);
        drop((before, found)); // not under the lock: one may end
        Ok(writer)
    }

    /// Which handle this is of those that share a writer.
    fn number(&self) -> u64 {
        self.shared.number
    }
}

/// Whether a write was turned away for its producer's end, and not for its value.
fn is_end(error: &Error) -> bool {
    error.reason() == Some(Reason::ProducerFailed.as_str())
}

impl std::fmt::Debug for DurableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableStream({})", self.url())
    }
}
