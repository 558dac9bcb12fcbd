//! One answer to a read, or as many as it takes until no message is cut.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header};

use crate::error::{self, Detail, Error, ErrorKind, Result};
use crate::protocol::answer::{Answer, text_in};
use crate::protocol::framing::Framing;
use crate::protocol::lines::{offset_between, whole_lines};
use crate::reason::Reason;
use crate::requests::operations::head;
use crate::requests::retry::{Reply, send};
use crate::runtime::io::Runtime;
use crate::stream::handle::DurableStream;
use crate::transport::request::{Keep, Request};

/// How many empty answers in a row are still taken for a stream.
pub(super) const EMPTY_ANSWERS: usize = 64;
/// The offset that asks for the whole of a stream.
const START: &str = "-1";
/// The offset that asks for its end. Neither is ever a stream's own offset (PROTOCOL.md 8).
const NOW: &str = "now";

/// A part of a stream, which ends where a message ends.
pub(super) struct Page {
    pub(super) data: Bytes,
    /// How it is divided into messages.
    pub(super) framing: Framing,
    /// The offset behind it.
    pub(super) offset: Arc<str>,
    /// Whether the stream had nothing behind it.
    pub(super) up_to_date: bool,
    /// Whether the stream ends with it.
    pub(super) closed: bool,
}

impl Page {
    /// Where the last message ends that is whole in a text of `length` bytes since `from`, of which
    /// this page is the end and `whole` are whole lines; `None` where no offset is known there.
    fn end(&self, from: Option<&str>, length: usize, whole: usize) -> Option<(usize, Arc<str>)> {
        // A line is also at its end where the stream has nothing behind it.
        let is_cut = matches!(self.framing, Framing::Lines) && whole < length && !self.up_to_date;
        if !is_cut {
            return Some((length, self.offset.clone()));
        }
        let from = from.filter(|from| *from != START);
        let offset = (whole > 0).then(|| offset_between(from, &self.offset, length, whole))?;
        offset.map(|offset| (whole, offset))
    }

    fn ending_at(self, (length, offset): (usize, Arc<str>)) -> Self {
        Page { data: self.data.slice(..length), offset, ..self }
    }
}

/// Reads from an offset, or from the start, to where an answer of the server ends.
///
/// Some servers end an answer inside a line of JSON. The page then ends at the line before, if the
/// server's offsets count bytes, so that the offset there is known: the beginning of the cut line is
/// read once more with the rest of it. Otherwise as much is read as makes the line whole, within
/// `max_read_bytes`. On a stream that is not known to be JSON such bytes are no messages.
pub(super) async fn read_page(
    stream: &DurableStream,
    runtime: &Runtime,
    from: Option<&str>,
) -> Result<Page> {
    let first = answer(stream, runtime, from, 0).await?;
    let mut whole = whole_lines(&first.data);
    if let Some(end) = first.end(from, first.data.len(), whole) {
        return Ok(first.ending_at(end));
    }
    if !stream.is_json() {
        return Ok(Page { framing: Framing::None, ..first });
    }
    let mut text = Vec::from(first.data);
    let mut offset = first.offset;
    let mut empty = 0;
    while empty < EMPTY_ANSWERS {
        let mut next = answer(stream, runtime, Some(&offset), text.len()).await?;
        check_progress(stream, Some(&offset), &next, next.data.is_empty())?;
        if !matches!(next.framing, Framing::Lines) {
            return Err(broken(stream, "it does not go on with the line that the last one cut"));
        }
        empty = if next.data.is_empty() { empty + 1 } else { 0 };
        match whole_lines(&next.data) {
            0 => {}
            behind => whole = text.len() + behind,
        }
        text.extend_from_slice(&next.data);
        if let Some(end) = next.end(from, text.len(), whole) {
            next.data = text.into();
            return Ok(next.ending_at(end));
        }
        offset = next.offset;
    }
    Err(broken(stream, "it is empty, again and again, and not the end"))
}

/// Whether reading goes on behind a page, or is at the end.
pub(super) fn check_progress(
    stream: &DurableStream,
    from: Option<&str>,
    page: &Page,
    is_empty: bool,
) -> Result<()> {
    match (Some(&*page.offset) != from, page.up_to_date, is_empty) {
        (true, ..) | (false, true, true) => Ok(()),
        (false, false, _) => {
            Err(broken(stream, "it neither goes on nor says that this is the end"))
        }
        (false, true, false) => {
            Err(broken(stream, "it has content and does not go on: it would come again"))
        }
    }
}

/// One answer, with so many bytes less than `max_read_bytes` allows.
async fn answer(
    stream: &DurableStream,
    runtime: &Runtime,
    from: Option<&str>,
    held: usize,
) -> Result<Page> {
    let limit = stream.target().max_read_bytes;
    let request = stream.target().request(Method::GET);
    let endpoint = Arc::new(request.endpoint.at_offset(from.unwrap_or(START)));
    let keep = Keep::Whole(limit.saturating_sub(held));
    let request = Request { endpoint, keep, ..request };
    let Reply { answer, response, .. } =
        send(runtime, request, stream.target().retries(), "read").await?;
    if answer.status != 200 {
        return Err(refused(stream, runtime, &answer, from).await);
    }
    let Some(offset) = answer.next_offset.filter(|next| ![START, NOW].contains(&&**next)) else {
        return Err(broken(stream, "it has no Stream-Next-Offset, so this is no stream"));
    };
    if let Some(coding) = text_in(&response, header::CONTENT_ENCODING)
        && !coding.eq_ignore_ascii_case("identity")
    {
        let text = "it has a content encoding that the request did not ask for";
        return Err(broken(stream, text));
    }
    if response.cut {
        let what = if held == 0 { "the answer is" } else { "a message and what it came with are" };
        let text = format!(
            "{what} larger than the {limit} bytes of `max_read_bytes`: raise it to read on"
        );
        return Err(Error::new(ErrorKind::TooLarge, text).with_url(stream.target().url()));
    }
    let kind = answer.content_type.as_deref().unwrap_or_default();
    let framing = Framing::of(kind);
    if stream.is_json() && matches!(framing, Framing::None) {
        return Err(no_json(stream, kind));
    }
    let (up_to_date, closed) = (answer.up_to_date || answer.closed, answer.closed);
    Ok(Page { data: response.body, framing, offset, up_to_date, closed })
}

/// The error of an answer that is none: 410 says either that the stream was deleted or that it is
/// no longer kept as far back, and only the stream itself can tell which.
async fn refused(
    stream: &DurableStream,
    runtime: &Runtime,
    answer: &Answer,
    from: Option<&str>,
) -> Error {
    let url = stream.target().url();
    let error = answer.error("read", url);
    match answer.status {
        400 | 416 if from.is_some() => {
            let text = format!("{}: the server does not take this offset", error.message());
            Error::option("offset", text).with_url(url).with_status(answer.status)
        }
        410 => {
            let request = stream.target().request(Method::HEAD);
            let is_there = match head(runtime, request, stream.target().retries()).await {
                Ok(found) => found.exists,
                Err(error) if error.kind() == ErrorKind::StreamGone => false,
                // A server that names another offset still has the stream.
                Err(_) => answer.next_offset.is_some(),
            };
            if is_there {
                no_longer_kept(answer, from, url)
            } else {
                error.with_reason(Reason::Gone)
            }
        }
        _ => error,
    }
}

/// The error of an offset whose content the server has dropped.
fn no_longer_kept(answer: &Answer, from: Option<&str>, url: &Arc<str>) -> Error {
    let earliest = answer.next_offset.clone().filter(|next| ![START, NOW].contains(&&**next));
    let what = match from.filter(|from| *from != START) {
        Some(_) => "what was at this offset",
        None => "the beginning of the stream",
    };
    let hint = match &earliest {
        Some(offset) => {
            format!("; the stream is kept from the offset `{}` on", error::shown(offset))
        }
        None => String::new(),
    };
    let text = format!("read failed with status 410: the server no longer keeps {what}{hint}");
    Error::new(ErrorKind::StreamGone, text)
        .with_url(url)
        .with_status(answer.status)
        .with_reason(Reason::OffsetGone)
        .with_detail(Detail::OffsetGone { earliest_offset: earliest })
}

/// The error of an answer without messages on a JSON stream.
fn no_json(stream: &DurableStream, kind: &str) -> Error {
    if kind.is_empty() {
        return broken(stream, "it has no content type, and the stream is JSON");
    }
    let kind = error::shown(kind);
    let text = format!("read failed: the content type of the stream is `{kind}`, not JSON");
    Error::new(ErrorKind::Conflict, text).with_url(stream.target().url()).with_status(200)
}

pub(super) fn broken(stream: &DurableStream, why: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("read failed: the answer is broken: {why}"))
        .with_url(stream.target().url())
        .with_status(200)
}
