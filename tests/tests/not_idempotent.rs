//! Appends without an identity, because `idempotent` is off: what is repeated, and what is only
//! told.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::net::{TcpListener, ToSocketAddrs};
use std::time::Duration;

use durstream_core::{DurableStream, Error, ErrorKind, Options, Pending};
use durstream_tests::fresh_path;
use durstream_tests::proxy::{Cut, Entry, Fault, Moment, Proxy, Rule};

/// A proxy before the server, and a new stream behind it that is appended to without an identity.
fn behind_a_proxy(name: &str, content_type: &str) -> (Proxy, DurableStream) {
    let options = Options::new().stream_path(fresh_path(name)).content_type(content_type);
    let made = DurableStream::create(options, "").wait().unwrap();
    let (host, path) = made.url()["http://".len()..].split_once('/').unwrap();
    let proxy = Proxy::start(host.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let options = Options::new().url(format!("{}/{path}", proxy.url())).content_type(content_type);
    let options = options.idempotent(false).retry_initial_delay_ms(1u64).max_retries(3u64);
    (proxy, DurableStream::connect(options).unwrap())
}

fn posts(proxy: &Proxy) -> Vec<Entry> {
    proxy.log().into_iter().filter(|entry| entry.method == "POST").collect()
}

fn answer(status: u16, headers: &[(&str, &str)], forward: bool) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Fault::Answer { status, headers, body: String::new(), forward }
}

fn text(stream: &DurableStream) -> String {
    let reader = stream.read(None).unwrap();
    let chunks = std::iter::from_fn(|| reader.next_chunk().wait().unwrap());
    chunks.map(|chunk| String::from_utf8(chunk.data.to_vec()).unwrap()).collect()
}

#[test]
fn nothing_of_a_producer_is_sent() {
    let (proxy, stream) = behind_a_proxy("bare", "application/json");
    assert!(stream.append("1").wait().unwrap().offset.is_some());
    stream.append_with_seq("2", "a").wait().unwrap();
    let first = stream.close(Some(b"3")).wait().unwrap();
    assert_eq!(stream.close(Some(b"4")).wait().unwrap(), first, "the first result");
    assert_eq!(stream.close(None).wait().unwrap(), first);
    assert_eq!(stream.append("5").wait().unwrap_err().kind(), ErrorKind::StreamClosed);
    let posts = posts(&proxy);
    for name in ["producer-id", "producer-epoch", "producer-seq"] {
        assert!(posts.iter().all(|post| post.header(name).is_none()), "{name}");
    }
    assert_eq!(posts[1].header("stream-seq"), Some("a"));
    assert_eq!(posts[2].header("stream-closed"), Some("true"));
    assert_eq!(text(&stream), "[1,2,3]");
}

#[test]
fn what_stored_nothing_is_repeated() {
    let (proxy, stream) = behind_a_proxy("refusals", "text/plain");
    let refusals = [
        (429, vec![]),
        (429, vec![("Retry-After", "0")]),
        (503, vec![("Retry-After", "0")]),
        (425, vec![]),
    ];
    for (status, headers) in refusals {
        proxy.clear_log();
        proxy.add(Rule::new(answer(status, &headers, false)).method("POST").times(2)).unwrap();
        let outcome = stream.append("x").wait().unwrap();
        assert_eq!((outcome.attempts, posts(&proxy).len()), (3, 3), "{status} {headers:?}");
    }
    proxy
        .add(Rule::new(answer(503, &[("Retry-After", "0")], false)).method("POST").times(0))
        .unwrap();
    proxy.clear_log();
    let error = stream.append("no").wait().unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Transport, Some(503)));
    assert!(error.definite() && error.retryable(), "{error:?}");
    assert_eq!(posts(&proxy).len(), 4, "once, and `max_retries` times");
    proxy.clear();
    stream.close(None).wait().unwrap();
    assert_eq!(text(&stream), "xxxx");
}

#[test]
fn what_may_be_stored_is_told_and_not_repeated() {
    let (proxy, stream) = behind_a_proxy("doubtful", "text/plain");
    let stored = [
        (Fault::ResetAfter, None),
        (answer(500, &[], true), Some(500)),
        (answer(502, &[], true), Some(502)),
        (answer(503, &[], true), Some(503)),
        (answer(408, &[], true), Some(408)),
        (answer(202, &[], true), Some(202)),
        (Fault::CutAnswer { at: Cut::Head(9), close: true }, None),
    ];
    for (n, (fault, status)) in stored.into_iter().enumerate() {
        proxy.clear_log();
        let name = fault.name();
        proxy.add(Rule::new(fault).method("POST")).unwrap();
        let error = stream.append(n.to_string()).wait().unwrap_err();
        assert!(!error.definite() && error.status() == status, "{name}: {error:?}");
        assert_eq!(posts(&proxy).len(), 1, "{name}");
    }
    assert_eq!(text(&stream), "0123456", "each was stored, and each once");
    // The end of a stream without a message is idempotent by the protocol.
    proxy.add(Rule::new(Fault::ResetAfter).method("POST")).unwrap();
    stream.close(None).wait().unwrap();
}

#[test]
fn nobody_listens_is_definite() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new().url(format!("http://{address}/x")).idempotent(false);
    let stream =
        DurableStream::connect(options.retry_initial_delay_ms(1u64).max_retries(2u64)).unwrap();
    let error = stream.append("x").wait().unwrap_err();
    assert!(error.kind() == ErrorKind::Transport && error.definite(), "{error:?}");
}

/// Appends while the first request is held back, so that the others wait together.
fn behind_one_held<'a>(
    proxy: &Proxy,
    stream: &DurableStream,
    messages: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Vec<Pending<durstream_core::Outcome>> {
    let hold = Fault::Hold { name: "first".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST")).unwrap();
    let append = |(message, seq): (&str, Option<&str>)| match seq {
        Some(seq) => stream.append_with_seq(message, seq),
        None => stream.append(message),
    };
    let mut messages = messages.into_iter();
    let mut sent: Vec<_> = messages.next().map(append).into_iter().collect();
    assert!(proxy.wait_held("first", 1, Duration::from_secs(30)));
    sent.extend(messages.map(append));
    proxy.release("first");
    sent
}

#[test]
fn what_waits_goes_out_together_and_in_order() {
    let (proxy, stream) = behind_a_proxy("together", "application/json");
    let messages =
        [("1", None), ("2", None), ("3", None), ("4", Some("a")), ("5", None), ("6", None)];
    for sent in behind_one_held(&proxy, &stream, messages) {
        assert!(sent.wait().unwrap().is_delivered());
    }
    let bodies: Vec<_> =
        posts(&proxy).iter().map(|p| String::from_utf8(p.body.clone()).unwrap()).collect();
    assert_eq!(bodies, ["[1]", "[2,3]", "[4]", "[5,6]"]);
    assert_eq!(text(&stream), "[1,2,3,4,5,6]");
}

#[test]
fn one_bad_message_takes_no_other_with_it() {
    let (proxy, stream) = behind_a_proxy("bad-one", "text/plain");
    proxy.add(Rule::new(answer(400, &[], false)).method("POST").body("BAD").times(0)).unwrap();
    let messages = ["0", "1", "2", "3", "BAD", "5", "6"].map(|message| (message, None));
    let sent = behind_one_held(&proxy, &stream, messages);
    let refused: Vec<_> = sent.into_iter().map(|sent| sent.wait().err()).collect();
    for (n, error) in refused.iter().enumerate() {
        assert_eq!(error.is_some(), n == 4, "{n}: {error:?}");
    }
    let error = refused[4].as_ref().unwrap();
    assert!(error.status() == Some(400) && error.definite());
    proxy.clear();
    assert_eq!(text(&stream), "012356");
}

#[test]
fn a_server_that_refuses_everything_is_not_asked_for_each() {
    let (proxy, stream) = behind_a_proxy("refused", "text/plain");
    proxy.add(Rule::new(answer(400, &[], false)).method("POST").body("x").times(0)).unwrap();
    let messages = std::iter::once(("1", None)).chain((0..1000).map(|_| ("x", None)));
    let sent = behind_one_held(&proxy, &stream, messages);
    let refused = sent.into_iter().filter_map(|append| append.wait().err());
    assert_eq!(refused.filter(Error::definite).count(), 1000);
    assert!(posts(&proxy).len() < 100, "{} requests", posts(&proxy).len());
    proxy.clear();
    stream.append("2").wait().unwrap();
    assert_eq!(text(&stream), "12");
}

#[test]
fn what_no_server_would_take_is_refused_at_once() {
    let (proxy, stream) = behind_a_proxy("checked", "application/json");
    for wrong in ["", "{", "1 2"] {
        let error = stream.append(wrong).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{wrong}");
        let error = stream.close(Some(wrong.as_bytes())).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{wrong}");
    }
    let huge = format!("\"{}\"", "x".repeat(33_554_432));
    let close = stream.close(Some(huge.as_bytes())).wait();
    assert_eq!(close.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(stream.append(huge).wait().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(stream.append_with_seq("1", "a b").wait().unwrap_err().option_name(), Some("seq"));
    assert!(posts(&proxy).is_empty());
}

/// A server that takes nothing holds what waits within bounds.
#[test]
fn what_waits_is_bounded() {
    let (proxy, stream) = behind_a_proxy("bounded", "text/plain");
    let hold = Fault::Hold { name: "all".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
    let message = vec![b'x'; 4 << 20];
    let mut sent = Vec::new();
    let refused = loop {
        let mut append = stream.append(&message);
        match append.wait_for(Duration::ZERO) {
            Some(result) => break result.unwrap_err(),
            None => sent.push(append),
        }
        assert!(sent.len() < 32, "128 MiB wait");
    };
    assert_eq!(refused.kind(), ErrorKind::BufferFull);
    assert!(refused.definite() && refused.retryable());
    proxy.clear();
    for append in sent {
        append.wait().unwrap();
    }
    stream.append("after").wait().unwrap();
}
