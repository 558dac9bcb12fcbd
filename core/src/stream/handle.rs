//! [`DurableStream`]: a stream by its URL.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;

use crate::error::Result;
use crate::options::{Options, Scope};
use crate::protocol::stream_type::{DEFAULT_CONTENT_TYPE, StreamType};
use crate::requests::operations::{Metadata, create, create_headers, delete, head};
use crate::requests::retry::Retries;
use crate::runtime::fork::generation;
use crate::runtime::io::Runtime;
use crate::runtime::lifecycle;
use crate::runtime::pending::Pending;
use crate::stream::target::Target;
use crate::stream::writer::{Writer, Writers};
use crate::transport::endpoint::Endpoint;
use crate::transport::request::Request;

/// The number of the next handle.
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1);

/// A stream by its URL: create it, append to it, read it, end it, delete it.
///
/// Cheap to clone; any thread may use it. Appends carry a random identity, so that retries never
/// double them either (PROTOCOL.md 5.2.1). There is one identity per process and stream: handles
/// with the same options share it, unless they have header functions.
#[derive(Clone)]
pub struct DurableStream {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) writer: Mutex<Option<Arc<Writer>>>,
    /// The number of this handle among those that share the writer.
    pub(super) number: u64,
}

impl DurableStream {
    /// A handle on a stream that exists or will exist. Sends nothing.
    ///
    /// `content_type` has to be the stream's own. Without it the server is asked for it, once, before
    /// something is appended.
    ///
    /// # Errors
    /// `InvalidArgument`: an option is wrong, or there is no URL.
    pub fn connect(options: Options) -> Result<Self> {
        options.check(Scope::Stream)?;
        let endpoint = Endpoint::resolve(&options)?;
        let content_type = match options.content_type.as_deref().map(str::trim) {
            None | Some("") => StreamType::default(),
            Some(own) => StreamType::given(own),
        };
        create_headers(&options, content_type.text().unwrap_or(DEFAULT_CONTENT_TYPE))?;
        Ok(Self::new(Target::new(options, Arc::new(endpoint), content_type)))
    }

    fn new(target: Target) -> Self {
        let number = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
        let writer = Mutex::default();
        DurableStream { shared: Arc::new(Shared { target, writer, number }) }
    }

    /// Creates the stream (PROTOCOL.md 5.1) with `body` as its first content, which may be empty. A
    /// stream that exists with the same configuration is fine. Transient failures are repeated up
    /// to `max_retries` times. With `closed` the stream is ended from the start; with `fork_from`
    /// it begins with another stream's content (PROTOCOL.md 4.2).
    ///
    /// # Errors
    /// `InvalidArgument` at once; else `StreamExists`, `Unauthorized`, `Transport`, ...
    pub fn create(options: Options, body: impl Into<Bytes>) -> Pending<DurableStream> {
        let is_fork = options.fork_from.is_some();
        let prepared = Self::connect(options).and_then(|stream| {
            let target = stream.target();
            if !is_fork {
                target.content_type.learn(DEFAULT_CONTENT_TYPE);
            }
            let content_type = target.content_type.text().unwrap_or_default();
            let headers = create_headers(&target.options, content_type)?;
            Ok((stream, headers, lifecycle::runtime()?))
        });
        let (stream, headers, runtime) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Pending::ready(Err(error)),
        };
        let request = Request {
            headers: headers.into(),
            body: body.into(),
            ..stream.target().request(Method::PUT)
        };
        let (own, retries) = (runtime.clone(), stream.target().retries().clone());
        runtime.run(async move {
            let answer = create(&own, request, &retries).await?;
            if answer.status == 201 {
                Writers::of_process().forget(stream.target());
            }
            if let Some(found) = answer.content_type {
                stream.target().content_type.learn(&found); // a fork's is its source's
            }
            stream.target().set_tail(answer.next_offset);
            stream.target().endpoint().route.seen.note(own.chance().unix_ms());
            Ok(stream)
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Runs a request that needs no body, on the hidden runtime.
    fn plain<T, F>(&self, work: impl FnOnce(Arc<Runtime>, Retries) -> F) -> Pending<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match lifecycle::runtime() {
            Ok(runtime) => runtime.run(work(runtime.clone(), self.target().retries().clone())),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> &str {
        self.target().url()
    }

    /// Whether it came through `fork`: this process has to make a handle of its own.
    pub fn is_inherited(&self) -> bool {
        self.target().generation != generation()
    }

    /// The stream's content type, as given or as the server said it; `None` while it is unknown.
    pub fn content_type(&self) -> Option<&str> {
        self.target().content_type.text()
    }

    /// Whether messages are JSON values: the content type is known to be `application/json`.
    pub fn is_json(&self) -> bool {
        self.target().content_type.is_json() == Some(true)
    }

    /// Whether a value may be serialised as JSON and appended: unless the stream is known to hold
    /// something else. For the bindings, which serialise.
    #[doc(hidden)]
    pub fn takes_values(&self) -> bool {
        self.target().content_type.is_json() != Some(false)
    }

    /// Asks whether the stream exists, what it is and where it ends. Repeated up to `max_retries`
    /// times.
    ///
    /// # Errors
    /// `StreamGone` where its URL is blocked, `Unauthorized`, `Protocol`, `Transport`, ...
    pub fn head(&self) -> Pending<Metadata> {
        let request = self.target().request(Method::HEAD);
        self.plain(|runtime, retries| async move { head(&runtime, request, &retries).await })
    }

    /// Deletes the stream with everything in it (PROTOCOL.md 5.4).
    ///
    /// # Errors
    /// `StreamNotFound` if there is no stream, `NotSupported`, `Unauthorized`, `Transport`, ...
    pub fn delete(&self) -> Pending<()> {
        let request = self.target().request(Method::DELETE);
        let stream = self.clone();
        self.plain(|runtime, retries| async move {
            let deleted = delete(&runtime, request, &retries).await;
            Writers::of_process().forget(stream.target());
            deleted
        })
    }
}

impl std::fmt::Debug for DurableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableStream({})", self.url())
    }
}
