//! Reading from servers that end an answer at any byte: inside a message, a character, an escape or
//! a number. Every message comes once, whole and in its own text, and every chunk's offset is a
//! place to go on from.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use durstream_core::{Chunk, Detail, DurableStream, Error, ErrorKind, Options, Reason};

/// Messages whose text may not change: escapes, characters of two to four bytes, white space, big
/// and repeated numbers, an empty line, CRLF.
const MESSAGES: &[&str] = &[
    r#"{"a": 12345678901234567890,"a":2}"#,
    r#""a\"b\\\u00e9\ud83e\udd80\n""#,
    "\"é€🦀\"",
    "12",
    "345",
    r#"[ "]" , "}{" ]"#,
    "-1.50e+3",
    "\"\"",
    "null",
    "[]",
];

fn text() -> Vec<u8> {
    let mut text = MESSAGES.join("\n").into_bytes();
    text.extend_from_slice(b"\r\n\n\"last\"\n");
    text
}

fn messages() -> Vec<String> {
    MESSAGES.iter().chain(&["\"last\""]).map(|message| (*message).to_owned()).collect()
}

/// What a server's offsets are.
#[derive(Debug, Clone, Copy)]
enum Offsets {
    /// How many bytes are before them, in twenty digits.
    Bytes,
    /// Nothing that a client could count with. Each page is preceded by an empty one.
    Opaque,
}

/// One place of a text: how many bytes are before it, and whether its empty page was given.
type Place = (usize, bool);

impl Offsets {
    fn name(self, (at, passed): Place) -> String {
        match self {
            Offsets::Bytes => format!("{at:020}"),
            Offsets::Opaque => format!("o{at:x}{}", if passed { "b" } else { "_" }),
        }
    }

    fn place(self, name: &str) -> Place {
        match (self, name) {
            (_, "-1") => (0, false),
            (Offsets::Bytes, name) => (name.parse().unwrap(), false),
            (Offsets::Opaque, name) => {
                let (number, passed) = name[1..].split_at(name.len() - 2);
                (usize::from_str_radix(number, 16).unwrap(), passed == "b")
            }
        }
    }
}

/// How long the page is that begins at a byte.
type Length = Box<dyn Fn(usize) -> usize + Send>;

/// A server that answers reads of one text in pages.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of_text(
        text: Vec<u8>,
        content_type: &'static str,
        offsets: Offsets,
        length: Length,
    ) -> Self {
        Self::start(move |line| {
            let offset =
                line.split("offset=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
            let (at, passed) = offsets.place(offset.unwrap());
            let is_empty = matches!(offsets, Offsets::Opaque) && !passed && at < text.len();
            let end = if is_empty { at } else { text.len().min(at + length(at)) };
            let next = offsets.name((end, is_empty));
            let more = if end == text.len() { "stream-up-to-date: true\r\n" } else { "" };
            let type_line = format!("content-type: {content_type}\r\n");
            answer(200, &format!("{type_line}stream-next-offset: {next}\r\n{more}"), &text[at..end])
        })
    }

    /// Answers each request by its first line.
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/bucket/stream", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = asked.clone();
        let serve = move || {
            for connection in listener.incoming() {
                let (mut connection, mut request) = (connection.unwrap(), Vec::new());
                let mut part = [0; 4096];
                while !request.ends_with(b"\r\n\r\n") {
                    match connection.read(&mut part) {
                        Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
                        _ => break,
                    }
                }
                let line =
                    String::from_utf8_lossy(&request).lines().next().unwrap_or("").to_owned();
                let text = if line.is_empty() { Vec::new() } else { answer(&line) };
                heard.lock().unwrap().push(line);
                // A reader that saw enough may be gone.
                let _ = connection.write_all(&text);
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Server { url, asked }
    }

    fn stream(&self, content_type: &str, max_read_bytes: u64) -> DurableStream {
        let options = Options::new().url(&*self.url).content_type(content_type);
        let options = options.max_read_bytes(max_read_bytes).max_retries(0u64);
        DurableStream::connect(options).unwrap()
    }
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n");
    [head.as_bytes(), b"connection: close\r\n\r\n", body].concat()
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const LARGE: u64 = 1 << 20;

/// Everything from an offset on.
fn chunks(stream: &DurableStream, offset: Option<&str>) -> Vec<Chunk> {
    let reader = stream.read(offset).unwrap();
    std::iter::from_fn(|| reader.next_chunk().wait().unwrap()).collect()
}

fn texts(chunks: &[Chunk]) -> Vec<String> {
    let items = chunks.iter().flat_map(|chunk| chunk.items().unwrap());
    items.map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
}

fn refused(stream: &DurableStream, offset: Option<&str>) -> Error {
    stream.read(offset).unwrap().next_chunk().wait().unwrap_err()
}

#[test]
fn messages_come_whole_wherever_pages_end() {
    for offsets in [Offsets::Bytes, Offsets::Opaque] {
        for length in (1..=text().len()).filter(|length| *length < 40 || length % 7 == 0) {
            let server = Server::of_text(text(), LINES, offsets, Box::new(move |_| length));
            let stream = server.stream(JSON, LARGE);
            let read = chunks(&stream, None);
            assert_eq!(texts(&read), messages(), "{offsets:?} {length}");
            assert!(read.iter().all(|chunk| chunk.item_count().unwrap() > 0));
            let last = read.last().unwrap();
            assert!(last.up_to_date && read.iter().filter(|chunk| chunk.up_to_date).count() == 1);
            for (n, chunk) in read.iter().enumerate() {
                let array: Vec<serde_json::Value> =
                    serde_json::from_str(&chunk.json_array().unwrap()).unwrap();
                assert_eq!(array.len(), chunk.item_count().unwrap());
                // Another reader goes on from there: nothing is lost, and nothing comes twice.
                let rest = if length < 12 || n == 0 {
                    texts(&chunks(&stream, Some(&chunk.offset)))
                } else {
                    continue;
                };
                let before = texts(&read[..=n]).len();
                assert_eq!(rest, messages()[before..], "{offsets:?} {length} {n}");
            }
        }
    }
}

#[test]
fn a_server_that_counts_bytes_is_read_a_page_at_a_time() {
    let length = 64;
    let all: Vec<u8> = (0..500).flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes()).collect();
    let pages = all.len().div_ceil(length);
    let server = Server::of_text(all, LINES, Offsets::Bytes, Box::new(move |_| length));
    let read = chunks(&server.stream(JSON, LARGE), None);
    assert_eq!(texts(&read).len(), 500);
    // The beginning of a line is read again, and nothing else is.
    let (chunks, asked) = (read.len(), server.asked.lock().unwrap().len());
    assert!(chunks == asked && asked < pages * 5 / 4, "{chunks} {asked} {pages}");
}

#[test]
fn a_message_larger_than_a_page_is_read_whole() {
    let big = format!("\"{}\"", "é".repeat(5_000));
    let all = format!("1\n{big}\n2\n").into_bytes();
    for offsets in [Offsets::Bytes, Offsets::Opaque] {
        let server = Server::of_text(all.clone(), LINES, offsets, Box::new(|_| 97));
        assert_eq!(texts(&chunks(&server.stream(JSON, LARGE), None)), ["1", &big, "2"]);
    }
}

#[test]
fn what_is_read_for_a_message_is_bounded() {
    let all = format!("1\n\"{}\"\n2\n", "x".repeat(100_000)).into_bytes();
    for offsets in [Offsets::Bytes, Offsets::Opaque] {
        let server = Server::of_text(all.clone(), LINES, offsets, Box::new(|_| 1_000));
        let reader = server.stream(JSON, 10_000).read(None).unwrap();
        let error = std::iter::repeat_with(|| reader.next_chunk().wait()).find_map(Result::err);
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.message().contains("max_read_bytes"), "{error}");
        assert!(server.asked.lock().unwrap().len() < 30);
        // The reader has kept its place, at the message.
        let larger = server.stream(JSON, LARGE);
        let rest = texts(&chunks(&larger, reader.offset().as_deref()));
        assert_eq!(rest.last().unwrap(), "2");
        assert_eq!(rest.len(), if matches!(offsets, Offsets::Bytes) { 2 } else { 3 });
    }
}

#[test]
fn a_cut_line_that_never_goes_on_is_an_error() {
    let page = |next: &str, more: &str, body: &str| {
        let head = format!("content-type: {LINES}\r\nstream-next-offset: {next}\r\n{more}");
        answer(200, &head, body.as_bytes())
    };
    let up_to_date = "stream-up-to-date: true\r\n";
    for second in [
        page("b", "", "3"),          // it does not go on
        page("b", up_to_date, ""),   // the end, inside a message
        page("b", up_to_date, "3}"), // it would come again
        page("c", up_to_date, ""),   // the end, inside a message
        answer(200, "content-type: application/json\r\nstream-next-offset: c\r\n", b"[3]"),
    ] {
        let first = page("b", "", "1\n{\"a\":");
        let server =
            Server::start(
                move |line| {
                    if line.contains("offset=b") { second.clone() } else { first.clone() }
                },
            );
        let reader = server.stream(JSON, LARGE).read(Some("a")).unwrap();
        let error = reader.next_chunk().wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert_eq!(reader.offset().as_deref(), Some("a"));
    }
    // Empty, and empty again, each time with another offset.
    let server = Server::start(move |line| {
        let number = line.split("offset=p").nth(1).and_then(|rest| rest.split(' ').next());
        match number.map(|number| number.parse::<u32>().unwrap()) {
            Some(n) => page(&format!("p{}", n + 1), "", ""),
            None => page("p0", "", "{"),
        }
    });
    assert_eq!(refused(&server.stream(JSON, LARGE), None).kind(), ErrorKind::Protocol);
    assert!(server.asked.lock().unwrap().len() < 100);
}

#[test]
fn a_failure_between_two_pages_loses_nothing() {
    let failures = Mutex::new(0);
    let server = Server::start(move |line| {
        let head = |next: &str| format!("content-type: {LINES}\r\nstream-next-offset: {next}\r\n");
        let mut failures = failures.lock().unwrap();
        match line.contains("offset=b") {
            true if *failures < 1 => {
                *failures += 1;
                answer(500, "", b"")
            }
            true => answer(200, &(head("c") + "stream-up-to-date: true\r\n"), b"2}\n3\n"),
            false => answer(200, &head("b"), b"{\"a\":1}\n{\"a\":"),
        }
    });
    let reader = server.stream(JSON, LARGE).read(None).unwrap();
    assert_eq!(reader.next_chunk().wait().unwrap_err().kind(), ErrorKind::Transport);
    let chunk = reader.next_chunk().wait().unwrap().unwrap();
    assert_eq!(texts(&[chunk]), [r#"{"a":1}"#, r#"{"a":2}"#, "3"]);
}

#[test]
fn bytes_are_bytes_wherever_pages_end() {
    for content_type in ["text/plain", LINES] {
        for offsets in [Offsets::Bytes, Offsets::Opaque] {
            for length in [1, 3, 10] {
                let server = Server::of_text(text(), LINES, offsets, Box::new(move |_| length));
                let read = chunks(&server.stream(content_type, 12), None);
                let bytes: Vec<u8> = read.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
                assert_eq!(bytes, text());
                // Those that have messages have whole ones.
                let found = read.iter().filter_map(|chunk| chunk.items().ok()).flatten();
                let known = messages();
                for item in found.map(|item| String::from_utf8(item.to_vec()).unwrap()) {
                    assert!(known.contains(&item) || length < 10, "{item}");
                }
            }
        }
    }
}

/// A server that answers reads with this status and these headers, and HEAD with that status.
fn gone(read: u16, headers: &'static str, head: u16) -> Server {
    Server::start(move |line| {
        if line.starts_with("HEAD") {
            let offset = if head == 200 { "stream-next-offset: 9\r\n" } else { "" };
            return format!("HTTP/1.1 {head} X\r\n{offset}connection: close\r\n\r\n").into_bytes();
        }
        answer(read, headers, b"gone")
    })
}

#[test]
fn a_stream_that_is_gone_and_an_offset_that_is_gone_are_told_apart() {
    let of = |server: &Server, offset| refused(&server.stream(JSON, LARGE), offset);
    let earliest = |error: &Error| match error.detail() {
        Some(Detail::OffsetGone { earliest_offset }) => {
            earliest_offset.as_deref().map(str::to_owned)
        }
        _ => panic!("{error:?}"),
    };
    for offset in [Some("00000000000000000003"), None, Some("-1")] {
        let kept = gone(410, "stream-next-offset: 00000000000000000007\r\n", 200);
        let error = of(&kept, offset);
        assert_eq!(
            (error.kind(), error.reason()),
            (ErrorKind::StreamGone, Some(Reason::OffsetGone))
        );
        assert_eq!(earliest(&error).as_deref(), Some("00000000000000000007"));
        assert!(error.message().contains("00000000000000000007"), "{error}");
        assert!(error.message().contains("no longer keeps"), "{error}");
        assert!(!error.message().contains("deleted"), "{error}");
        assert_eq!((error.status(), error.retryable()), (Some(410), false));
        assert_eq!(error.to_json()["earliest_offset"], "00000000000000000007");
    }
    // Some do not say how far back the stream is kept, or do not answer HEAD.
    assert_eq!(earliest(&of(&gone(410, "", 200), Some("3"))), None);
    let unclear = of(&gone(410, "stream-next-offset: 7\r\n", 500), Some("3"));
    assert_eq!(earliest(&unclear).as_deref(), Some("7"));
    for (headers, head) in
        [("", 404), ("", 410), ("", 500), ("stream-next-offset: 7\r\n", 404), ("", 401)]
    {
        let error = of(&gone(410, headers, head), Some("3"));
        assert_eq!((error.kind(), error.reason()), (ErrorKind::StreamGone, Some(Reason::Gone)));
        assert!(error.message().contains("deleted") && error.detail().is_none(), "{error}");
    }
    // An offset beyond the end is a wrong argument.
    let error = of(&gone(416, "stream-next-offset: 7\r\n", 200), Some("9"));
    assert_eq!((error.kind(), error.option_name()), (ErrorKind::InvalidArgument, Some("offset")));
    assert_eq!(error.status(), Some(416));
}
