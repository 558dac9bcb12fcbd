//! The plain requests: create, check, and end a stream (PROTOCOL.md 5.1, 5.3, 5.5).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::answer::Answer;
use crate::protocol::headers::*;
use crate::protocol::json::is_json;
use crate::transport::plain::{self, Retries};
use crate::transport::{Request, Transport};

/// What checking a stream at open found.
pub(crate) enum Opened {
    /// It is there, open, and of the right type.
    Ready,
    /// Nobody could say now.
    Later(Error, Option<Duration>),
    /// It is there and cannot be written to, or cannot be created.
    Never(Error),
}

/// The headers of a PUT.
pub(crate) fn create_headers(options: &Options, content_type: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let value = |option, text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| Error::option(option, format!("`{option}` cannot be sent as a header")))
    };
    headers.insert(header::CONTENT_TYPE, value("content_type", content_type)?);
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

/// Creates a stream; one with the same configuration that is there already is fine.
pub(crate) async fn create(
    transport: &dyn Transport,
    request: Request,
    retries: &Retries,
) -> Result<()> {
    let url = request.endpoint.shown.clone();
    let answer = plain::send(transport, request, retries, "create").await?;
    match answer.status {
        200 | 201 => Ok(()),
        409 => Err(Error::new(
            ErrorKind::StreamExists,
            "create failed with status 409: a stream with another configuration is there",
        )
        .with_url(&url)
        .with_status(409)),
        _ => Err(answer.error("create", &url)),
    }
}

/// Creates the stream or finds out why it cannot be written to: closed, another type, or only
/// another lifetime. One attempt; the caller repeats.
pub(crate) async fn ensure(transport: &dyn Transport, request: Request) -> Opened {
    let url = request.endpoint.shown.clone();
    let put = match attempt(transport, request.clone(), "create").await {
        Ok(answer) => answer,
        Err((error, after)) => return Opened::Later(error, after),
    };
    match put.status {
        200 | 201 => return Opened::Ready,
        409 => {}
        _ => return Opened::Never(put.error("create", &url)),
    }
    let wanted = request.headers.clone();
    let mut look = request;
    (look.method, look.headers, look.body) = (Method::HEAD, HeaderMap::new(), Bytes::new());
    let head = match attempt(transport, look, "HEAD").await {
        Ok(answer) => answer,
        Err((error, after)) => return Opened::Later(error, after),
    };
    if head.status != 200 {
        return Opened::Never(put.error("create", &url));
    }
    let (kind, text) = if head.closed {
        (ErrorKind::StreamClosed, "the stream is closed".to_owned())
    } else if !head.content_type.as_deref().is_some_and(is_json) {
        let found = head.content_type.as_deref().unwrap_or("none");
        (ErrorKind::StreamExists, format!("the stream's content type is `{found}`, not JSON"))
    } else if wanted.contains_key(STREAM_TTL) || wanted.contains_key(STREAM_EXPIRES_AT) {
        (ErrorKind::StreamExists, "the stream is there with another lifetime".to_owned())
    } else {
        return Opened::Ready; // a lifetime was set by whoever created it: theirs to choose
    };
    Opened::Never(Error::new(kind, text).with_url(&url).with_status(409))
}

async fn attempt(
    transport: &dyn Transport,
    request: Request,
    doing: &str,
) -> Result<Answer, (Error, Option<Duration>)> {
    let url = request.endpoint.shown.clone();
    match transport.send(request).await {
        Ok(response) => {
            let answer = Answer::read(&response, SystemTime::now());
            if answer.is_transient() {
                return Err((answer.error(doing, &url), answer.retry_after));
            }
            Ok(answer)
        }
        Err(failure) => Err((failure.error(doing, &url), None)),
    }
}

/// Ends the stream without a message. Idempotent by the protocol, so it carries no identity.
pub(crate) async fn close(
    transport: &dyn Transport,
    endpoint: Arc<Endpoint>,
    timeout: Duration,
    retries: &Retries,
) -> Result<Option<Arc<str>>> {
    let url = endpoint.shown.clone();
    let mut headers = HeaderMap::new();
    headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
    let request = Request { method: Method::POST, endpoint, headers, body: Bytes::new(), timeout };
    let answer = plain::send(transport, request, retries, "close").await?;
    match answer.status {
        200 | 204 => Ok(answer.next_offset),
        409 if answer.closed => Ok(answer.next_offset),
        _ => Err(answer.error("close", &url)),
    }
}
