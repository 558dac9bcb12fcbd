//! The plain requests: create, check, end and delete a stream (PROTOCOL.md 5.1 and 5.3 to 5.5).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{self, Detail, Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::answer::{Answer, Response, number_in, text_in};
use crate::protocol::headers::*;
use crate::protocol::stream_type::DEFAULT_CONTENT_TYPE;
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

/// A stream that is there.
pub(crate) struct Found {
    pub(crate) content_type: String,
    /// Where it ends, if the server said it.
    pub(crate) tail: Option<Arc<str>>,
    /// It was created just now: before, there was none.
    pub(crate) is_new: bool,
}

impl Found {
    fn by(answer: Answer) -> Self {
        let content_type = answer.content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
        let is_new = answer.status == 201;
        Found { content_type, tail: answer.next_offset, is_new }
    }
}

/// The result of checking a stream at open.
pub(crate) enum Opened {
    /// The stream exists and can be written to.
    Ready(Found),
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
            let text = "`fork_from` has to be the path of the source's URL, which begins with `/`";
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
    let (wanted, endpoint) = (request.headers.clone(), request.endpoint.clone());
    let timeout = request.timeout;
    let answer = send(runtime, request, retries, "create").await?.answer;
    match answer.status {
        200 | 201 => Ok(answer),
        409 => {
            let look = Request::new(Method::HEAD, endpoint, timeout);
            let head = attempt(runtime, look, "head").await.ok().map(|(head, _)| head);
            let there = head.filter(|head| head.status == 200 && head.has_offset);
            let is_plain =
                ![STREAM_CLOSED, STREAM_FORKED_FROM].iter().any(|n| wanted.contains_key(n));
            let other =
                || exists(if is_plain { "with another lifetime" } else { "in another way" }, &url);
            let why = there.map(|head| difference(&wanted, &head, &url).unwrap_or_else(other));
            Err(why.unwrap_or_else(|| exists("with another configuration", &url)))
        }
        _ => Err(answer.error("create", &url)),
    }
}

/// Why the stream that is there cannot be used as the one that was wanted: it has ended, or has
/// another type. `None` if it is something that its metadata need not show.
fn difference(wanted: &HeaderMap, there: &Answer, url: &Arc<str>) -> Option<Error> {
    let content_type = wanted.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let found = there.content_type.as_deref().unwrap_or("none");
    if there.closed && !wanted.contains_key(STREAM_CLOSED) {
        let text = "the stream is there and has ended: nothing can be appended to it any more";
        let detail = Detail::StreamClosed { final_offset: there.next_offset.clone() };
        let error = Error::new(ErrorKind::StreamClosed, text).with_url(url).with_status(409);
        return Some(error.with_detail(detail));
    }
    match content_type {
        Some(own) if !is_same_type(own, found) => {
            let (own, found) = (error::shown(own), error::shown(found));
            Some(exists(&format!("with the content type `{found}`, not `{own}`"), url))
        }
        _ if wanted.contains_key(STREAM_TTL) || wanted.contains_key(STREAM_EXPIRES_AT) => {
            Some(exists("with another lifetime", url))
        }
        _ => None,
    }
}

fn exists(how: &str, url: &Arc<str>) -> Error {
    let text = format!("the stream is there {how}");
    Error::new(ErrorKind::StreamExists, text).with_url(url).with_status(409)
}

/// Whether two content types are of one stream: parameters aside.
fn is_same_type(one: &str, other: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_lowercase();
    essence(one) == essence(other)
}

/// Creates the stream, or finds out why it cannot be written to: ended, or of another type. A
/// lifetime that was not asked for is fine. One attempt; the caller repeats.
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
        200 | 201 => return Opened::Ready(Found::by(put)),
        409 => {}
        _ => return no_stream(put, &request, "create"),
    }
    let (wanted, refused) = (request.headers.clone(), put.error("create", &url));
    match look_at(runtime, request.endpoint, request.timeout, "create").await {
        Ok(head) => match difference(&wanted, &head, &url) {
            Some(error) => Opened::Never(error),
            None => Opened::Ready(Found::by(head)), // the lifetime is the creator's to choose
        },
        Err(Opened::Never(_)) => Opened::Never(refused),
        Err(later) => later,
    }
}

/// Asks for the type of the stream that is to be appended to. One attempt; the caller repeats.
pub(crate) async fn ask_type(runtime: &Runtime, request: Request) -> Opened {
    match look_at(runtime, request.endpoint, request.timeout, "append").await {
        Ok(head) => Opened::Ready(Found::by(head)),
        Err(other) => other,
    }
}

/// The answer to a HEAD, if it tells of a stream.
async fn look_at(
    runtime: &Runtime,
    endpoint: Arc<Endpoint>,
    timeout: Duration,
    doing: &str,
) -> std::result::Result<Answer, Opened> {
    let look = Request::new(Method::HEAD, endpoint, timeout);
    let url = look.endpoint.shown.clone();
    let head = match attempt(runtime, look.clone(), doing).await {
        Ok((answer, _)) => answer,
        Err((error, after)) => return Err(Opened::Later(error, after)),
    };
    match head.status {
        200 if head.has_offset => Ok(head),
        200 => Err(Opened::Later(head.error(doing, &url), None)), // no server of streams: see `head`
        _ => Err(no_stream(head, &look, doing)),
    }
}

/// The result after an answer that tells of no stream.
fn no_stream(answer: Answer, request: &Request, doing: &str) -> Opened {
    let error = answer.error(doing, &request.endpoint.shown);
    match answer.status {
        // A function may give better credentials later.
        401 | 403 if request.endpoint.functions.is_some() => {
            Opened::Later(error, answer.retry_after)
        }
        _ => Opened::Never(error),
    }
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
