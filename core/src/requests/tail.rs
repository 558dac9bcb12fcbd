//! A look at the end of a stream: its content since an offset.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::Error;
use crate::protocol::framing::Framing;
use crate::requests::retry::attempt;
use crate::runtime::io::Runtime;
use crate::transport::endpoint::Endpoint;
use crate::transport::request::{Keep, Request};

/// The content from the last known offset on.
#[derive(Debug)]
pub(crate) enum Found {
    /// The tail has not moved.
    Nothing,
    /// The content since then, as the answers brought it.
    Content(Vec<Page>),
    /// Nothing that could be compared: too much, broken, or from a server that does not tell.
    Unclear,
}

/// The body of one answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) framing: Framing,
    pub(crate) body: Bytes,
}

/// How much of a stream is read to find batches in doubt.
const LOOK_LIMIT: usize = 8 << 20;

/// How many answers it is read in at most.
const LOOK_PAGES: usize = 64;

/// The result of a look at the stream.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) found: Found,
    /// Where the stream ends now.
    pub(crate) tail: Option<Arc<str>>,
}

/// Looks at the content of the stream since the offset `base`. One attempt at each request; the
/// caller decides when to repeat a transient failure.
pub(crate) async fn look(
    runtime: &Runtime,
    endpoint: Arc<Endpoint>,
    base: Arc<str>,
    json: bool,
    timeout: Duration,
) -> Result<Look, (Error, Option<Duration>)> {
    // An older answer kept by a cache says nothing (PROTOCOL.md 10.1).
    let mut fresh = HeaderMap::new();
    fresh.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let head = Request::new(Method::HEAD, endpoint.clone(), timeout);
    let head = Request { headers: fresh.clone().into(), ..head };
    let (head, _) = attempt(runtime, head, "head").await?;
    let mut look = Look { found: Found::Unclear, tail: head.next_offset };
    if head.status != 200 || look.tail.is_none() {
        return Ok(look);
    }
    if look.tail.as_ref() == Some(&base) {
        look.found = Found::Nothing;
        return Ok(look);
    }
    let (mut from, mut left, mut content) = (base, LOOK_LIMIT, Vec::new());
    for _ in 0..LOOK_PAGES {
        let get = Request {
            headers: fresh.clone().into(),
            keep: Keep::Whole(left),
            ..Request::new(Method::GET, Arc::new(endpoint.at_offset(&from)), timeout)
        };
        let (answer, response) = attempt(runtime, get, "read").await?;
        let goes_on = answer.next_offset.filter(|next| *next != from);
        let (200, false, Some(next)) = (answer.status, response.cut, goes_on) else {
            return Ok(look);
        };
        let framing = match json {
            true => Framing::of(answer.content_type.as_deref().unwrap_or_default()),
            false => Framing::None,
        };
        left = left.saturating_sub(response.body.len());
        content.push(Page { framing, body: response.body });
        if answer.up_to_date || answer.closed {
            // An offset older than the tail, or newer, means that this is not all of it.
            if look.tail.as_ref() == Some(&next) {
                look.found = Found::Content(content);
            }
            return Ok(look);
        }
        from = next;
    }
    Ok(look)
}
