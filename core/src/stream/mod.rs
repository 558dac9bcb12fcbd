//! [`DurableStream`]: a stream by its URL.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use once_cell::sync::OnceCell;

use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::options::{Options, Scope};
use crate::pending::Pending;
use crate::producer::config::{request_timeout, retries};
use crate::producer::{CloseResult, IdempotentProducer, Outcome};
use crate::protocol::json::is_json;
use crate::runtime::process;
use crate::transport::Request;

pub(crate) mod wire;

/// The content type of a stream that was created without one (PROTOCOL.md 5.1).
const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// A stream by its URL: create it, append to it, end it.
///
/// Cheap to clone; any thread may use it. Appending opens a writer of its own with a random
/// identity, so that even plain appends are not doubled by retries (PROTOCOL.md 5.2.1).
#[derive(Clone)]
pub struct DurableStream {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    endpoint: Endpoint,
    content_type: String,
    writer: OnceCell<IdempotentProducer>,
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
        let writer = OnceCell::new();
        let shared = Shared { options, endpoint, content_type, writer };
        Ok(DurableStream { shared: Arc::new(shared) })
    }

    /// Creates the stream (PROTOCOL.md 5.1) with `body` as its first content, which may be empty.
    /// One with the same configuration that is there already is fine. Transient failures are
    /// repeated up to `max_retries` times.
    ///
    /// # Errors
    /// `InvalidArgument` at once; else `StreamExists`, `Unauthorized`, `Transport`, ...
    pub fn create(options: Options, body: impl Into<Bytes>) -> Pending<DurableStream> {
        let prepared = Self::connect(options).and_then(|stream| {
            let headers =
                wire::create_headers(&stream.shared.options, &stream.shared.content_type)?;
            Ok((stream, headers, process().runtime()?))
        });
        let (stream, headers, runtime) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Pending::ready(Err(error)),
        };
        let request = Request {
            method: Method::PUT,
            endpoint: Arc::new(stream.shared.endpoint.clone()),
            headers,
            body: body.into(),
            timeout: request_timeout(&stream.shared.options),
        };
        let (transport, retries) = (runtime.transport.clone(), retries(&stream.shared.options));
        runtime.run(async move {
            wire::create(&*transport, request, &retries).await?;
            Ok(stream)
        })
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

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// The retry and time limits of this handle, for producers that set none of their own.
    pub(crate) fn limits(&self) -> &Options {
        &self.shared.options
    }

    /// Appends one message and waits for its outcome: one JSON value on a JSON stream, bytes
    /// on any other. Concurrent calls travel together.
    ///
    /// # Errors
    /// `Validation` for an empty message or broken JSON; else why it was not delivered.
    pub fn append(&self, message: impl AsRef<[u8]>) -> Pending<Outcome> {
        let outcome = self.writer().and_then(|writer| {
            let receipt = writer.append(message)?;
            Ok(writer.wait(receipt.id()))
        });
        let pending = match outcome {
            Ok(pending) => pending,
            Err(error) => return Pending::ready(Err(error)),
        };
        crate::producer::or_error(pending)
    }

    /// Ends the stream: nothing can be appended any more. Messages appended before are
    /// delivered first; a last `message` is appended in the same request.
    ///
    /// Without a message it may be repeated, by anybody.
    pub fn close(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        match self.writer() {
            Ok(writer) => writer.close(message),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// This handle's writer, opened at first need under an identity of its own.
    fn writer(&self) -> Result<&IdempotentProducer> {
        self.shared.writer.get_or_try_init(|| {
            let id = format!("durstream-{:016x}", rand::random::<u64>());
            IdempotentProducer::open(self, &id, Options::new())
        })
    }
}

impl std::fmt::Debug for DurableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableStream({})", self.url())
    }
}
