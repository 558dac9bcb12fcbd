//! One attempt at one request, and the trait of transports: HTTP on reqwest, or a script in tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::error::{Error, ErrorKind};
use crate::protocol::answer::Response;
use crate::runtime::notice::Notice;
use crate::transport::departure::Departure;
use crate::transport::endpoint::Endpoint;
use crate::transport::header_values::HeaderValues;
use crate::transport::progress::Progress;

/// One attempt at one request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) endpoint: Arc<Endpoint>,
    /// The protocol's own headers; they win over the endpoint's. Shared: a request is cloned on
    /// its way.
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) body: Bytes,
    /// The longest time without progress.
    pub(crate) timeout: Duration,
    pub(crate) keep: Keep,
    /// The values of the endpoint's header functions for it.
    pub(crate) header_values: HeaderValues,
    /// Whether its bytes may have left. Each attempt has its own; its redirects share it.
    pub(crate) departure: Departure,
    /// When its attempt last made progress.
    pub(crate) progress: Progress,
}

impl Request {
    /// A request without headers of its own and without a body.
    pub(crate) fn new(method: Method, endpoint: Arc<Endpoint>, timeout: Duration) -> Self {
        let (headers, body) = (Arc::default(), Bytes::new());
        let (keep, header_values) = (Keep::Excerpt, HeaderValues::default());
        let (departure, progress) = (Departure::default(), Progress::begin());
        Request {
            method,
            endpoint,
            headers,
            body,
            timeout,
            keep,
            header_values,
            departure,
            progress,
        }
    }

    /// A copy for another attempt, with a departure of its own.
    pub(crate) fn again(&self) -> Self {
        let (departure, progress) = (Departure::default(), Progress::begin());
        Request { departure, progress, ..self.clone() }
    }

    /// A copy for an attempt at another server, while this one is not answered.
    pub(super) fn beside(&self) -> Self {
        let (departure, progress) = (self.departure.beside(), Progress::begin());
        Request { departure, progress, ..self.clone() }
    }
}

/// How much of an answer's body is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The beginning, for an error text; status and headers decide.
    Excerpt,
    /// All of it, up to this many bytes; without its end the answer is none.
    Whole(usize),
}

/// No complete answer.
#[derive(Debug, Clone)]
pub(crate) struct SendError {
    /// Whether any byte of the request may have left: then the server may have stored it.
    pub(crate) sent: bool,
    /// This side gave it up, it was not cut: the server may still get it.
    pub(crate) late: bool,
    /// No connection came about.
    pub(crate) unreachable: bool,
    /// The next attempt would fail the same way: who answers is not who it has to be, say.
    pub(crate) lasting: bool,
    /// What the log calls it.
    pub(crate) notice: Notice,
    pub(crate) message: String,
}

impl SendError {
    pub(crate) fn error(&self, doing: &str, url: &Arc<str>) -> Error {
        Error::new(ErrorKind::Transport, format!("{doing} failed: {}", self.message))
            .with_url(url)
            .with_definite(!self.sent)
            .with_retryable(!self.lasting)
    }

    /// No byte of the request left, and the next attempt may fare better.
    pub(crate) fn unsent(message: impl Into<String>) -> Self {
        let (notice, message) = (Notice::Failing, message.into());
        SendError { sent: false, late: false, unreachable: false, lasting: false, notice, message }
    }

    /// The connection was cut behind bytes that left.
    pub(crate) fn cut(message: impl Into<String>) -> Self {
        SendError { sent: true, ..SendError::unsent(message) }
    }

    /// No connection came about.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        let notice = Notice::Unreachable;
        SendError { unreachable: true, notice, ..SendError::unsent(message) }
    }

    /// This side gave it up for want of progress, `sent` or not.
    pub(crate) fn stalled(sent: bool, message: impl Into<String>) -> Self {
        let failed =
            if sent { SendError::unsent(message) } else { SendError::unreachable(message) };
        SendError { sent, late: sent, ..failed }
    }
}

/// The innermost cause: "Connection refused (os error 111)", not "error sending request".
pub(super) fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send>>;

/// Sends one request once: no retries, no redirects, no decisions.
///
/// Dropping the future gives the answer up, not the request: that may still leave and arrive. Only
/// [`Departure::withdraw`] keeps it back, and says whether it could.
pub(crate) trait Transport: Send + Sync + 'static {
    fn send(&self, request: Request) -> Sending;
}
