//! A look at the end of a stream: its content since an offset.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::Error;
use crate::protocol::framing::Framing;
use crate::protocol::lines::whole_lines;
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

/// The body of one answer, or of several where messages go on from one to the next.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) framing: Framing,
    pub(crate) body: Bytes,
}

/// How much of a stream is read to find batches in doubt, behind what is known to be there.
const LOOK_LIMIT: usize = 8 << 20;

/// How many answers that is read in at most.
const LOOK_PAGES: usize = 64;
/// At least how much of what is known to be there an answer has.
const PAGE: u64 = 64 << 10;

/// The result of a look at the stream.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) found: Found,
    /// Where the stream ends now.
    pub(crate) tail: Option<Arc<str>>,
}

/// Puts a page behind others. Lines go on in the next page where the last one ends inside one, and
/// no message is in two pages.
fn put(content: &mut Vec<Page>, page: Page) {
    match (content.last_mut(), page.framing) {
        (Some(Page { framing: Framing::Lines, body }), Framing::Lines)
            if whole_lines(body) < body.len() =>
        {
            *body = [&body[..], &page.body[..]].concat().into();
        }
        _ => content.push(page),
    }
}

/// Looks at the content of the stream since the offset `base`, of which so many bytes were acknowledged.
/// One attempt at each request; the caller decides when to repeat a transient failure.
pub(crate) async fn look(
    runtime: &Runtime,
    endpoint: Arc<Endpoint>,
    base: Arc<str>,
    acknowledged: u64,
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
    // A server may write JSON with more spaces.
    let limit = LOOK_LIMIT.saturating_add(usize::try_from(2 * acknowledged).unwrap_or(usize::MAX));
    let (mut from, mut left, mut content) = (base, limit, Vec::new());
    for _ in 0..LOOK_PAGES as u64 + acknowledged / PAGE {
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
        put(&mut content, Page { framing, body: response.body });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_two_answers_share_is_in_one_page() {
        let page =
            |framing, text: &str| Page { framing, body: Bytes::copy_from_slice(text.as_bytes()) };
        let shape = |pages: Vec<Page>| {
            let mut content = Vec::new();
            pages.into_iter().for_each(|page| put(&mut content, page));
            content
                .iter()
                .map(|page| String::from_utf8_lossy(&page.body).into_owned())
                .collect::<Vec<_>>()
        };
        let lines =
            |texts: &[&str]| shape(texts.iter().map(|text| page(Framing::Lines, text)).collect());
        assert_eq!(lines(&["1\n2", "3\n4", "", "5", "\n6\n", "7\n"]), ["1\n23\n45\n6\n", "7\n"]);
        assert_eq!(lines(&["1\n", "2\n"]), ["1\n", "2\n"]);
        let arrays = ["[1]", "[2]"].map(|text| page(Framing::Array, text));
        assert_eq!(shape(arrays.into()), ["[1]", "[2]"]);
    }
}
