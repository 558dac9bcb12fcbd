//! The plain requests: create, check, end and delete a stream (PROTOCOL.md 5.1 and 5.3 to 5.5).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{self, Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::answer::{Answer, Response, number_in, text_in};
use crate::protocol::headers::*;
use crate::protocol::json::is_json;
use crate::requests::retry::{Reply, Retries, attempt, send};
use crate::runtime::io::Runtime;
use crate::transport::endpoint::Endpoint;
use crate::transport::request::Request;

/// A stream's metadata, and where it ends (PROTOCOL.md 5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Whether the stream exists; if not, nothing else is known either.
    pub exists: bool,
    /// Its content type, if the server says it.
    pub content_type: Option<Arc<str>>,
    /// The offset of its tail, opaque: the next message will begin there. Every stream has one.
    pub offset: Option<Arc<str>>,
    /// Whether the stream has ended.
    pub stream_closed: bool,
    /// Its lifetime in seconds since the last read or write, if it has one.
    pub ttl_seconds: Option<u64>,
    /// When it expires (RFC 3339), if that is fixed.
    pub expires_at: Option<Arc<str>>,
}

/// The result of checking a stream at open.
pub(crate) enum Opened {
    /// The stream exists, is open, and has the right type; with its end, if the server said it.
    Ready(Option<Arc<str>>),
    /// The server could not say now.
    Later(Error, Option<Duration>),
    /// The stream exists and cannot be written to, or cannot be created.
    Never(Error),
}

/// The headers of a PUT.
pub(crate) fn create_headers(options: &Options, content_type: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let value = |option, text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| Error::option(option, format!("`{option}` cannot be sent as a header")))
    };
    // A fork has its source's content type, unless it is told to insist on one.
    if options.fork_from.is_none() || options.content_type.is_some() {
        headers.insert(header::CONTENT_TYPE, value("content_type", content_type)?);
    }
    if options.closed == Some(true) {
        headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
    }
    match &options.fork_from {
        Some(path) if path.starts_with('/') => {
            headers.insert(STREAM_FORKED_FROM, value("fork_from", path)?);
        }
        Some(_) => {
            let text = "`fork_from` is the path of the source's URL and begins with `/`";
            return Err(Error::option("fork_from", text));
        }
        None if options.fork_offset.is_some() || options.fork_sub_offset.is_some() => {
            return Err(Error::option("fork_from", "a fork's offset needs `fork_from`"));
        }
        None => {}
    }
    if let Some(offset) = &options.fork_offset {
        headers.insert(STREAM_FORK_OFFSET, value("fork_offset", offset)?);
    }
    if let Some(beyond) = options.fork_sub_offset {
        headers.insert(STREAM_FORK_SUB_OFFSET, beyond.into());
    }
    if let Some(seconds) = options.ttl_seconds {
        headers.insert(STREAM_TTL, seconds.into());
    }
    if let Some(time) = &options.expires_at {
        if options.ttl_seconds.is_some() {
            return Err(Error::option(
                "expires_at",
                "give `ttl_seconds` or `expires_at`, not both",
            ));
        }
        headers.insert(STREAM_EXPIRES_AT, value("expires_at", time)?);
    }
    Ok(headers)
}

/// Creates a stream; one that exists with the same configuration is fine.
pub(crate) async fn create(
    runtime: &Runtime,
    request: Request,
    retries: &Retries,
) -> Result<Answer> {
    let url = request.endpoint.shown.clone();
    let answer = send(runtime, request, retries, "create").await?.answer;
    match answer.status {
        200 | 201 => Ok(answer),
        409 => Err(Error::new(
            ErrorKind::StreamExists,
            "create failed with status 409: a stream with another configuration is there",
        )
        .with_url(&url)
        .with_status(409)),
        _ => Err(answer.error("create", &url)),
    }
}

/// Creates the stream, or finds out why it cannot be written to: closed, or of another type. A
/// different lifetime is fine. One attempt; the caller repeats.
pub(crate) async fn ensure(runtime: &Runtime, request: Request) -> Opened {
    let url = request.endpoint.shown.clone();
    let put = match attempt(runtime, request.clone(), "create").await {
        Ok((answer, _)) => answer,
        Err((error, after)) => return Opened::Later(error, after),
    };
    match put.status {
        _ if put.is_foreign(&Method::PUT, false) => {
            return Opened::Later(put.error("create", &url), None);
        }
        200 | 201 => return Opened::Ready(put.next_offset),
        409 => {}
        // A function may give better credentials later.
        401 | 403 if request.endpoint.functions.is_some() => {
            return Opened::Later(put.error("create", &url), put.retry_after);
        }
        _ => return Opened::Never(put.error("create", &url)),
    }
    let wanted = request.headers.clone();
    let look = Request::new(Method::HEAD, request.endpoint, request.timeout);
    let head = match attempt(runtime, look, "head").await {
        Ok((answer, _)) => answer,
        Err((error, after)) => return Opened::Later(error, after),
    };
    if head.status != 200 {
        return Opened::Never(put.error("create", &url));
    }
    if !head.has_offset {
        return Opened::Later(head.error("head", &url), None); // no server of streams: see `head`
    }
    let (kind, text) = if head.closed {
        (ErrorKind::StreamClosed, "the stream is closed".to_owned())
    } else if !head.content_type.as_deref().is_some_and(is_json) {
        let found = head.content_type.as_deref().unwrap_or("none");
        let found = error::shown(found);
        (ErrorKind::StreamExists, format!("the stream's content type is `{found}`, not JSON"))
    } else if wanted.contains_key(STREAM_TTL) || wanted.contains_key(STREAM_EXPIRES_AT) {
        (ErrorKind::StreamExists, "the stream is there with another lifetime".to_owned())
    } else {
        return Opened::Ready(head.next_offset); // the lifetime is the creator's to choose
    };
    Opened::Never(Error::new(kind, text).with_url(&url).with_status(409))
}

/// Ends the stream without a message. Idempotent by the protocol, so it carries no identity.
pub(crate) async fn close(
    runtime: &Runtime,
    endpoint: Arc<Endpoint>,
    timeout: Duration,
    retries: &Retries,
) -> Result<Option<Arc<str>>> {
    let url = endpoint.shown.clone();
    let mut headers = HeaderMap::new();
    headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
    let request =
        Request { headers: headers.into(), ..Request::new(Method::POST, endpoint, timeout) };
    let answer = send(runtime, request, retries, "close").await?.answer;
    match answer.status {
        200 | 204 => Ok(answer.next_offset),
        409 if answer.closed => Ok(answer.next_offset),
        _ => Err(answer.error("close", &url)),
    }
}

/// Asks whether the stream exists, what it is and where it ends.
pub(crate) async fn head(
    runtime: &Runtime,
    request: Request,
    retries: &Retries,
) -> Result<Metadata> {
    let url = request.endpoint.shown.clone();
    let Reply { answer, response, .. } = send(runtime, request, retries, "head").await?;
    match (answer.status, &answer.next_offset) {
        // 410 is no such answer: there can be no stream at that URL.
        (404, _) => Ok(Metadata::default()),
        (200, Some(offset)) => Ok(Metadata {
            exists: true,
            content_type: text_in(&response, header::CONTENT_TYPE),
            offset: Some(offset.clone()),
            stream_closed: answer.closed,
            ttl_seconds: number_in(&response, STREAM_TTL),
            expires_at: text_in(&response, STREAM_EXPIRES_AT),
        }),
        (200, None) => {
            let text = "head failed: the answer has no Stream-Next-Offset, so this is no stream";
            Err(Error::new(ErrorKind::Protocol, text).with_url(&url).with_status(200))
        }
        _ => Err(answer.error("head", &url)),
    }
}

/// Whether the server refused an append that does not fit the stream.
pub(crate) fn is_misfit(runtime: &Runtime, response: &Response) -> bool {
    // Every acknowledgement comes through here: only a conflict is read for it.
    response.status == 409 && Answer::read(response, runtime.chance().now()).is_misfit()
}

/// The stream's content type, if an append did not fit because of it.
pub(crate) async fn conflicting_type(runtime: &Runtime, append: &Request) -> Option<String> {
    if append.headers.contains_key(STREAM_SEQ) {
        return None;
    }
    let head = Request::new(Method::HEAD, append.endpoint.clone(), append.timeout);
    let (head, _) = attempt(runtime, head, "head").await.ok()?;
    let sent = append.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_streams = head.status == 200 && head.has_offset;
    head.content_type.filter(|found| is_streams && Some(found.as_str()) != sent)
}

/// Deletes the stream.
pub(crate) async fn delete(runtime: &Runtime, request: Request, retries: &Retries) -> Result<()> {
    let url = request.endpoint.shown.clone();
    let Reply { answer, repeated, .. } = send(runtime, request, retries, "delete").await?;
    match answer.status {
        200 | 202 | 204 => Ok(()),
        // The answer to the first attempt was lost; with forks the stream is only out of sight.
        404 | 410 if repeated => Ok(()),
        _ => Err(answer.error("delete", &url)),
    }
}
