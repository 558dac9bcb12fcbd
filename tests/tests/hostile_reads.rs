//! Catch-up reading against answers no server should give: an error each time, never half a result,
//! and the place is kept.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use durstream_core::{DurableStream, Error, ErrorKind, Options, StreamReader};
use durstream_tests::fresh_path;
use durstream_tests::proxy::{Cut, Fault, Proxy, Rule};

/// Gives each of these answers to one request and ends the connection; what it was asked.
struct Peer {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = asked.clone();
        let serve = move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut part = [0; 4096];
                while !request.ends_with(b"\r\n\r\n") {
                    let n = connection.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..n]);
                }
                let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
                heard.lock().unwrap().push(line);
                // A reader that saw enough may be gone.
                let _ = connection.write_all(&answer);
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Peer { url, asked }
    }

    fn read(&self, content_type: &str, offset: Option<&str>) -> StreamReader {
        let options = Options::new().url(&*self.url).content_type(content_type);
        let options = options.max_retries(2u64).retry_initial_delay_ms(1u64);
        DurableStream::connect(options).unwrap().read(offset).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

const JSON: &str = "application/json";

/// An answer of 200 with these header lines, its length and its body.
fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn stream_answer(content_type: &str, next: &str, body: &[u8]) -> Vec<u8> {
    let up_to_date = "stream-up-to-date: true\r\n";
    let type_line = format!("content-type: {content_type}\r\n");
    answer(&format!("{type_line}stream-next-offset: {next}\r\n{up_to_date}"), body)
}

fn json(body: &str) -> Vec<u8> {
    stream_answer(JSON, "5", body.as_bytes())
}

/// The error of the next chunk; the reader has stayed where it was.
fn refused(reader: &StreamReader) -> Error {
    let before = reader.offset();
    let error = reader.next_chunk().wait().unwrap_err();
    assert_eq!(reader.offset(), before);
    assert!(!reader.up_to_date() && !reader.stream_closed());
    error
}

#[test]
fn broken_json_is_no_chunk_however_long_it_is() {
    let long: String = (0..100_000).map(|n| format!("{{\"n\":{n}}},")).collect();
    let middle = long.replacen("{\"n\":50000}", "{\"n\":}", 1);
    let broken = [
        "[1,2",
        "[1,2]]",
        "[1,2] 3",
        "{\"n\":1}",
        "null",
        "[1,,2]",
        "<html>",
        &format!("[{middle}0]"),
        &format!("[{}", long.trim_end_matches(',')),
        "[\"\u{0}\"]",
    ];
    for body in broken {
        let peer = Peer::start(vec![json(body), json("[1]")]);
        let reader = peer.read(JSON, Some("4"));
        let error = refused(&reader);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{}", &body[..body.len().min(60)]);
        assert!(error.message().contains("no JSON") && error.message().len() < 400, "{error}");
        // Asked again, it asks again, from the same place.
        let chunk = reader.next_chunk().wait().unwrap().unwrap();
        assert_eq!(chunk.items().unwrap().collect::<Vec<_>>(), [b"1"]);
        assert!(peer.asked.lock().unwrap().iter().all(|line| line.contains("offset=4")));
    }
    let bytes = stream_answer(JSON, "5", b"[\"\xff\xfe\"]");
    let peer = Peer::start(vec![bytes]);
    assert_eq!(refused(&peer.read(JSON, None)).kind(), ErrorKind::Protocol);
}

#[test]
fn lines_with_a_broken_one_are_no_chunk() {
    let lines = |body: &str| stream_answer("application/x-ndjson", "5", body.as_bytes());
    for body in ["1\n{\"a\":", "1\n{\"a\"\n3\n", "1\n2 3\n", "1\n\u{feff}2\n"] {
        let peer = Peer::start(vec![lines(body), lines("1\n\n{\"a\":2}")]);
        let reader = peer.read(JSON, None);
        assert_eq!(refused(&reader).kind(), ErrorKind::Protocol, "{body:?}");
        let chunk = reader.next_chunk().wait().unwrap().unwrap();
        assert_eq!(chunk.items().unwrap().collect::<Vec<_>>(), [&b"1"[..], b"{\"a\":2}"]);
        assert_eq!(chunk.json_array().unwrap(), "[1,{\"a\":2}]");
    }
}

#[test]
fn a_body_that_is_cut_is_asked_for_again() {
    let whole = json("[1,2,3]");
    let cut = whole[..whole.len() - 3].to_vec();
    let chunked = |end: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nstream-next-offset: 5\r\n\
                    stream-up-to-date: true\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}4\r\n[1,2\r\n{end}").into_bytes()
    };
    for cut in [cut, chunked(""), chunked("3\r\n,3"), chunked("zz\r\n"), chunked("3\r\n,3]\r\n")] {
        let peer = Peer::start(vec![cut.clone(), cut.clone(), whole.clone()]);
        let chunk = peer.read(JSON, None).next_chunk().wait().unwrap().unwrap();
        assert_eq!((chunk.item_count().unwrap(), peer.asked()), (3, 3));
        let peer = Peer::start(vec![cut.clone(), cut.clone(), cut, whole.clone()]);
        let reader = peer.read(JSON, None);
        let error = refused(&reader);
        assert_eq!((error.kind(), peer.asked()), (ErrorKind::Transport, 3), "{error}");
        assert!(error.retryable());
        assert!(reader.next_chunk().wait().unwrap().is_some(), "a later call tries again");
    }
}

#[test]
fn nothing_is_read_twice_or_for_ever() {
    let moving = |next: &str, more: &str, body: &str| {
        let head = format!("content-type: text/plain\r\nstream-next-offset: {next}\r\n{more}");
        answer(&head, body.as_bytes())
    };
    let stuck = [
        moving("5", "", ""),
        moving("5", "", "abc"),
        moving("5", "stream-up-to-date: true\r\n", "abc"),
        moving("", "stream-up-to-date: true\r\n", "abc"),
        moving("-1", "stream-up-to-date: true\r\n", "abc"),
        moving("now", "stream-up-to-date: true\r\n", "abc"),
        answer("content-type: text/plain\r\nstream-up-to-date: true\r\n", b"abc"),
    ];
    for (n, stuck) in stuck.into_iter().enumerate() {
        let peer = Peer::start(vec![stuck]);
        let error = refused(&peer.read("text/plain", Some("5")));
        assert_eq!((error.kind(), peer.asked()), (ErrorKind::Protocol, 1), "{n}: {error}");
    }
    // Empty and empty again, each time with another offset.
    let answers = (0..200).map(|n| moving(&format!("o{n}"), "", "")).collect();
    let peer = Peer::start(answers);
    let reader = peer.read("text/plain", None);
    assert_eq!(reader.next_chunk().wait().unwrap_err().kind(), ErrorKind::Protocol);
    assert!(peer.asked() < 200);
}

#[test]
fn what_it_is_has_to_be_what_was_asked_for() {
    for (content_type, kind) in [
        ("text/html; charset=utf-8", ErrorKind::Conflict),
        ("a/b/c;;=", ErrorKind::Conflict),
        ("application/jsonp", ErrorKind::Conflict),
        ("", ErrorKind::Protocol),
    ] {
        let peer = Peer::start(vec![stream_answer(content_type, "5", b"[1]")]);
        let error = refused(&peer.read(JSON, None));
        assert_eq!(error.kind(), kind, "{content_type}: {error}");
        assert!(error.message().contains(if content_type.is_empty() {
            "no content type"
        } else {
            content_type
        }));
    }
    // Whoever asks for bytes gets them, whatever they are called.
    let peer = Peer::start(vec![stream_answer("a/b/c;;=", "5", b"\xff\x00")]);
    let chunk = peer.read("text/plain", None).next_chunk().wait().unwrap().unwrap();
    assert_eq!(&chunk.data[..], b"\xff\x00");
    assert_eq!(chunk.items().unwrap_err().kind(), ErrorKind::NotSupported);
    assert_eq!(chunk.item_count().unwrap_err().kind(), ErrorKind::NotSupported);
    assert_eq!(chunk.json_array().unwrap_err().kind(), ErrorKind::NotSupported);
    assert_eq!(chunk.item(0), None);
}

#[test]
fn an_encoded_body_is_no_content() {
    for coding in ["gzip", "br", "deflate, gzip"] {
        let head = format!(
            "content-type: text/plain\r\nstream-next-offset: 5\r\ncontent-encoding: {coding}\r\n"
        );
        let peer = Peer::start(vec![answer(&head, b"\x1f\x8b\x08\x00")]);
        let error = refused(&peer.read("text/plain", None));
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.message().contains("encoding"), "{error}");
    }
    let head =
        "content-type: text/plain\r\nstream-next-offset: 5\r\ncontent-encoding: identity\r\n";
    let peer = Peer::start(vec![answer(head, b"plain")]);
    assert!(peer.read("text/plain", None).next_chunk().wait().unwrap().is_some());
}

#[test]
fn an_answer_without_end_is_bounded() {
    let options = |peer: &Peer| Options::new().url(&*peer.url).max_read_bytes(1_000u64);
    let endless = b"HTTP/1.1 200 OK\r\nstream-next-offset: 5\r\n\r\n".to_vec();
    let peer = Peer::start(vec![[endless, vec![b'x'; 1 << 20]].concat()]);
    let reader = DurableStream::connect(options(&peer)).unwrap().read(None).unwrap();
    assert_eq!(refused(&reader).kind(), ErrorKind::TooLarge);
    // One that says that it is too long is refused before it came.
    for (options, length) in [(options(&peer), 1_001), (Options::new(), (128 << 20) + 1)] {
        let head = "HTTP/1.1 200 OK\r\nstream-next-offset: 5";
        let peer = Peer::start(vec![format!("{head}\r\ncontent-length: {length}\r\n\r\n").into()]);
        let reader = DurableStream::connect(options.url(&*peer.url)).unwrap().read(None).unwrap();
        let error = refused(&reader);
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("raise"), "{error}");
    }
}

#[test]
fn transient_failures_are_repeated_as_often_as_allowed() {
    let path = fresh_path("read-retries");
    let options = Options::new().stream_path(&path).content_type(JSON);
    let made = DurableStream::create(options, "[1,2]").wait().unwrap();
    let (host, path) = made.url()["http://".len()..].split_once('/').unwrap();
    let proxy = Proxy::start(host.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let options = Options::new().url(format!("{}/{path}", proxy.url())).content_type(JSON);
    let options = options.max_retries(2u64).retry_initial_delay_ms(1u64);
    let stream = DurableStream::connect(options).unwrap();
    let status =
        |status, headers| Fault::Answer { status, headers, body: "x".into(), forward: false };
    let faults = [
        status(500, vec![]),
        status(503, vec![("Retry-After".into(), "0".into())]),
        status(429, vec![]),
        status(408, vec![]),
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::CutAnswer { at: Cut::Body(2), close: false },
        Fault::CutAnswer { at: Cut::Body(2), close: true },
        Fault::CutAnswer { at: Cut::Head(20), close: true },
    ];
    for fault in faults {
        let name = format!("{fault:?}");
        proxy.clear_log();
        proxy.add(Rule::new(fault.clone()).method("GET").times(2)).unwrap();
        let chunk = stream.read(None).unwrap().next_chunk().wait().unwrap().unwrap();
        assert_eq!((chunk.item_count().unwrap(), proxy.log().len()), (2, 3), "{name}");
        proxy.clear_log();
        proxy.add(Rule::new(fault).method("GET").times(3)).unwrap();
        let error = refused(&stream.read(None).unwrap());
        assert_eq!((error.kind(), proxy.log().len()), (ErrorKind::Transport, 3), "{name}");
    }
}

#[test]
fn following_has_its_place() {
    let options = Options::new().stream_path(fresh_path("live")).content_type("text/plain");
    let stream = DurableStream::create(options, "abc").wait().unwrap();
    let reader = stream.read_live(None, "off").unwrap();
    assert_eq!(&reader.next_chunk().wait().unwrap().unwrap().data[..], b"abc");
    for later in ["auto", "long-poll", "sse"] {
        let error = stream.read_live(None, later).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported);
        assert!(error.message().contains(later), "{error}");
    }
    for wrong in ["", "true", "Off"] {
        let error = stream.read_live(None, wrong).unwrap_err();
        assert_eq!(error.option_name(), Some("live"), "{wrong}");
    }
    // From the end on there is nothing, until there is.
    let tail = stream.read(Some("now")).unwrap();
    assert!(tail.next_chunk().wait().unwrap().is_none());
    stream.append("def").wait().unwrap();
    assert_eq!(&tail.next_chunk().wait().unwrap().unwrap().data[..], b"def");
}
