//! Reading the content of a stream: [`StreamReader`] and its chunks (PROTOCOL.md 5.6).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::answer::check_offset;
use crate::protocol::framing::Framing;
use crate::protocol::items::{Division, Index, Items};
use crate::runtime::fork::{generation, made_in};
use crate::runtime::io::Runtime;
use crate::runtime::lifecycle;
use crate::runtime::pending::{Pending, pending_or_unread};
use crate::runtime::threads::lock;
use crate::stream::handle::DurableStream;
use crate::stream::page::{EMPTY_ANSWERS, Page, broken, check_progress, read_page};
use crate::transport::recorder::server::Content;

/// Larger bodies are parsed on a thread of their own, so that other requests go on.
const PARSED_IN_PLACE: usize = 256 * 1024;

/// The values of `live`: the one that is supported, and those that follow a stream beyond its end
/// (PROTOCOL.md 5.7 and 5.8), which are not yet.
const LIVE_OFF: &str = "off";
const LIVE: [&str; 3] = ["auto", "long-poll", "sse"];

/// A part of a stream, from one answer of the server, or from several where a server's answers end
/// inside a JSON message. Never empty; its messages are whole.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Chunk {
    /// The bytes; on a JSON stream an array of messages, or one message a line.
    pub data: Bytes,
    /// The offset behind it: opaque, to be kept and given to a later read.
    pub offset: Arc<str>,
    /// Whether the stream had nothing behind it.
    pub up_to_date: bool,
    /// Whether the stream ends with it.
    pub stream_closed: bool,
    /// The offset at which it began.
    from: Option<Arc<str>>,
    /// The places of the messages, on a JSON stream.
    index: Option<Arc<Index>>,
}

impl Chunk {
    /// How many messages a JSON stream's chunk has.
    ///
    /// # Errors
    /// `NotSupported` on a stream that is not JSON: its bytes have no message bounds.
    pub fn item_count(&self) -> Result<usize> {
        self.index().map(Index::count)
    }

    /// A message of a JSON stream in its own text, unchanged; `None` from `item_count` on, and on a
    /// stream that is not JSON.
    ///
    /// Any order is cheap: a few hundred bytes are scanned beside the message itself.
    pub fn item(&self, index: usize) -> Option<&[u8]> {
        self.index.as_ref()?.get(&self.data, index)
    }

    /// The messages of a JSON stream in order, each in its own text, unchanged.
    ///
    /// # Errors
    /// `NotSupported` on a stream that is not JSON: its bytes have no message bounds.
    pub fn items(&self) -> Result<Items<'_>> {
        self.index().map(|index| index.items(&self.data))
    }

    /// The messages of a JSON stream as the text of one array: `data` itself, unless that has one
    /// message a line.
    ///
    /// # Errors
    /// `NotSupported` on a stream that is not JSON: its bytes have no message bounds.
    pub fn json_array(&self) -> Result<Cow<'_, str>> {
        let index = self.index()?;
        let no_text = |_| Error::new(ErrorKind::Protocol, "a message is not UTF-8");
        if index.division() == Division::Elements {
            return std::str::from_utf8(&self.data).map(Cow::Borrowed).map_err(no_text);
        }
        // A comma takes the place of each end of a line.
        let mut text = String::with_capacity(self.data.len() + 2);
        for item in index.items(&self.data) {
            text.push(if text.is_empty() { '[' } else { ',' });
            text.push_str(std::str::from_utf8(item).map_err(no_text)?);
        }
        text.push(']');
        Ok(Cow::Owned(text))
    }

    /// All that a recorder has of a stream.
    pub(crate) fn recorded(content: Content) -> Result<Self> {
        let no_json = |why| Error::new(ErrorKind::Internal, why);
        let index = Framing::of(&content.content_type).index(&content.body).map_err(no_json)?;
        Ok(Chunk {
            data: content.body,
            offset: content.offset,
            up_to_date: true,
            stream_closed: content.closed,
            from: None,
            index: index.map(Arc::new),
        })
    }

    fn index(&self) -> Result<&Index> {
        self.index.as_deref().ok_or_else(|| {
            let text = "this is no JSON stream: its bytes are not divided into messages";
            Error::new(ErrorKind::NotSupported, text)
        })
    }
}

/// Reads a stream from an offset to its present end, a chunk at a time.
///
/// Any thread may use it; concurrent calls take turns. A chunk that no caller took, as when a wait
/// was given up, comes again with the next call. Transient failures are repeated up to
/// `max_retries` times.
pub struct StreamReader {
    shared: Arc<Shared>,
}

struct Shared {
    stream: DurableStream,
    place: Mutex<Place>,
    /// One request at a time.
    turn: tokio::sync::Mutex<()>,
    /// The fork generation it was made in: in a child none of its locks is touched.
    generation: u64,
}

/// How far the reader has come.
#[derive(Debug, Default)]
struct Place {
    offset: Option<Arc<str>>,
    up_to_date: bool,
    stream_closed: bool,
    /// The end has been reached and not been returned yet.
    tell_end: bool,
    /// Chunks that no caller took.
    unread: VecDeque<Chunk>,
}

impl Place {
    fn pass(&mut self, chunk: &Chunk) {
        self.offset = Some(chunk.offset.clone());
        self.up_to_date = chunk.up_to_date;
        self.stream_closed = chunk.stream_closed;
        self.tell_end = chunk.up_to_date;
    }
}

impl DurableStream {
    /// Reads from `offset`, or from the start, to the present end: it catches up, and does not
    /// follow (PROTOCOL.md 5.6). Sends nothing before the first chunk is asked for.
    ///
    /// # Errors
    /// `InvalidArgument` (`offset`) if it is empty, has control characters or is longer than 4096
    /// bytes.
    pub fn read(&self, offset: Option<&str>) -> Result<StreamReader> {
        StreamReader::new(self.clone(), offset)
    }

    /// Reads from `offset` as [`read`](Self::read) does; `live` says whether to follow the stream
    /// beyond its present end. Only `off`, which does not, is supported for now.
    ///
    /// # Errors
    /// The errors of `read`; `NotSupported` for `auto`, `long-poll` and `sse`, `InvalidArgument`
    /// (`live`) for any other text.
    pub fn read_live(&self, offset: Option<&str>, live: &str) -> Result<StreamReader> {
        if live == LIVE_OFF {
            return self.read(offset);
        }
        let shown: String = live.chars().take(60).collect();
        let shown = shown.escape_debug();
        if LIVE.contains(&live) {
            let text = format!(
                "following a stream (`live`: `{shown}`) is not supported yet: `{LIVE_OFF}` reads to \
                 the present end, and the reader, asked again, reads on from there"
            );
            return Err(Error::new(ErrorKind::NotSupported, text).with_url(self.target().url()));
        }
        let words = LIVE.join(", ");
        let text = format!("`live` takes one of {LIVE_OFF}, {words}, not `{shown}`");
        Err(Error::option("live", text))
    }
}

impl StreamReader {
    pub(super) fn new(stream: DurableStream, offset: Option<&str>) -> Result<Self> {
        check_offset(offset)?;
        let place = Mutex::new(Place { offset: offset.map(Into::into), ..Place::default() });
        let turn = tokio::sync::Mutex::new(());
        Ok(StreamReader { shared: Arc::new(Shared { stream, place, turn, generation: made_in() }) })
    }

    /// The next chunk; `None` at the present end. A later call asks the server again, unless the
    /// stream is closed.
    ///
    /// # Errors
    /// `StreamNotFound`; `StreamGone` with the reason `gone` if the stream was deleted, or
    /// `offset-gone` if the server no longer keeps what was at the offset; `InvalidArgument`
    /// (`offset`) if the server does not know the offset; `Protocol` for an answer that is broken or
    /// no JSON; `TooLarge`, `Transport`, ... The reader keeps its place: the call may be repeated.
    /// `Forked` in a forked child, which has to open a reader of its own.
    pub fn next_chunk(&self) -> Pending<Option<Chunk>> {
        if self.shared.is_foreign() {
            return Pending::ready(Err(Error::forked("this reader")));
        }
        let runtime = match lifecycle::runtime() {
            Ok(runtime) => runtime,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (shared, place) = (self.shared.clone(), self.shared.clone());
        let (completer, result) = pending_or_unread(move |chunk: Result<Option<Chunk>>| {
            if let Ok(chunk) = chunk {
                place.put_back(chunk);
            }
        });
        runtime.clone().spawn(async move {
            let _turn = shared.turn.lock().await;
            completer.complete(shared.next(&runtime).await);
        });
        result
    }

    /// Puts a chunk back that could not be handed on: the next call returns it again.
    pub fn unread(&self, chunk: Chunk) {
        self.shared.put_back(Some(chunk));
    }

    /// Holds its locks, as a request under way does.
    #[cfg(all(test, unix))]
    pub(super) fn hold(&self) -> impl Sized + '_ {
        (self.shared.place(), self.shared.turn.try_lock())
    }

    /// Whether it came through `fork`: this process has to open a reader of its own.
    pub fn is_inherited(&self) -> bool {
        self.shared.is_foreign()
    }

    /// The offset for a later read; `None` before anything was read from the start, and in a forked
    /// child.
    pub fn offset(&self) -> Option<Arc<str>> {
        self.shared.known()?.offset.clone()
    }

    /// Whether the reader has reached the present end.
    pub fn up_to_date(&self) -> bool {
        self.shared.known().is_some_and(|place| place.up_to_date)
    }

    /// Whether the stream has ended and the reader has reached its end.
    pub fn stream_closed(&self) -> bool {
        self.shared.known().is_some_and(|place| place.stream_closed)
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamReader({} at {:?})", self.shared.stream.url(), self.offset())
    }
}

impl Shared {
    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }

    fn is_foreign(&self) -> bool {
        self.generation != generation()
    }

    /// The place; `None` in a forked child.
    fn known(&self) -> Option<MutexGuard<'_, Place>> {
        (!self.is_foreign()).then(|| self.place())
    }

    fn put_back(&self, chunk: Option<Chunk>) {
        let Some(mut place) = self.known() else { return };
        match chunk {
            Some(chunk) => {
                (place.up_to_date, place.stream_closed) = (false, false);
                // Several chunks may come back in any order.
                let behind =
                    place.unread.iter().position(|next| next.from.as_ref() == Some(&chunk.offset));
                let before =
                    place.unread.iter().position(|last| Some(&last.offset) == chunk.from.as_ref());
                let at = behind.or(before.map(|n| n + 1)).unwrap_or(0);
                place.unread.insert(at, chunk);
                place.offset = place.unread.front().and_then(|first| first.from.clone());
            }
            None => place.tell_end = true,
        }
    }

    async fn next(&self, runtime: &Runtime) -> Result<Option<Chunk>> {
        for _ in 0..EMPTY_ANSWERS {
            let from = {
                let mut place = self.place();
                if let Some(chunk) = place.unread.pop_front() {
                    place.pass(&chunk);
                    return Ok(Some(chunk));
                }
                if std::mem::take(&mut place.tell_end) || place.stream_closed {
                    return Ok(None);
                }
                place.offset.clone()
            };
            let (chunk, is_empty) = self.fetch(runtime, from).await?;
            self.place().pass(&chunk);
            if !is_empty {
                return Ok(Some(chunk));
            }
        }
        Err(broken(&self.stream, "it is empty, again and again, and not the end"))
    }

    /// What is behind an offset, and whether that is nothing to read.
    async fn fetch(&self, runtime: &Runtime, from: Option<Arc<str>>) -> Result<(Chunk, bool)> {
        let page = read_page(&self.stream, runtime, from.as_deref()).await?;
        let index = self.index(page.framing, &page.data).await?;
        // Of bytes, the ends of lines are as good as any others.
        let are_bytes = matches!(page.framing, Framing::Lines) && !self.stream.is_json();
        let has_messages = index.as_ref().is_none_or(|index| index.count() > 0);
        let is_empty = page.data.is_empty() || !(has_messages || are_bytes);
        check_progress(&self.stream, from.as_deref(), &page, is_empty)?;
        let Page { data, offset, up_to_date, closed, .. } = page;
        let index = index.map(Arc::new);
        Ok((Chunk { data, offset, up_to_date, stream_closed: closed, from, index }, is_empty))
    }

    /// Where the messages of a body are.
    async fn index(&self, framing: Framing, data: &Bytes) -> Result<Option<Index>> {
        let index = match framing {
            Framing::None => return Ok(None),
            _ if data.len() <= PARSED_IN_PLACE => framing.index(data),
            _ => {
                let data = data.clone();
                let parsed = tokio::task::spawn_blocking(move || framing.index(&data)).await;
                parsed.unwrap_or_else(|error| Err(error.to_string()))
            }
        };
        // On a stream that is not known to be JSON, lines that are no JSON are bytes: the end of an
        // answer may be the middle of a line.
        let lenient = matches!(framing, Framing::Lines) && !self.stream.is_json();
        match index {
            Err(_) if lenient => Ok(None),
            index => index.map_err(|e| broken(&self.stream, &format!("it is no JSON: {e}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn a_chunk_nobody_took_comes_again() {
        let stream = DurableStream::connect(Options::new().url("http://h/a")).unwrap();
        let reader = stream.read(Some("3")).unwrap();
        let chunk = Chunk {
            data: "x".into(),
            offset: "4".into(),
            up_to_date: true,
            stream_closed: true,
            from: Some("3".into()),
            index: None,
        };
        reader.shared.place().pass(&chunk);
        assert!(reader.stream_closed());
        reader.unread(chunk.clone());
        assert!(!reader.up_to_date() && !reader.stream_closed());
        assert_eq!(reader.offset().as_deref(), Some("3"));
        assert_eq!(reader.next_chunk().wait().unwrap().as_ref(), Some(&chunk));
        assert_eq!(reader.next_chunk().wait().unwrap(), None);
        let behind = Chunk { from: Some("4".into()), offset: "5".into(), ..chunk.clone() };
        for order in [[&chunk, &behind], [&behind, &chunk]] {
            let reader = stream.read(Some("3")).unwrap();
            order.into_iter().for_each(|chunk| reader.unread(chunk.clone()));
            assert_eq!(reader.offset().as_deref(), Some("3"));
            assert_eq!(reader.next_chunk().wait().unwrap().as_ref(), Some(&chunk));
            assert_eq!(reader.next_chunk().wait().unwrap().as_ref(), Some(&behind));
        }
        assert!(stream.read(Some(&"0".repeat(70_000))).is_err());
        assert!(stream.read(Some("")).is_err() && stream.read(Some("a\r\nb")).is_err());
    }
}
