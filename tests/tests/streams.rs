//! Streams as handles, against a real server, and a recorder: create, look, append in order, read,
//! delete.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod place;

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};

use durstream_core::{
    Chunk, Detail, DurableStream, ErrorKind, IdempotentProducer, Metadata, Options, Status,
    StreamReader,
};
use durstream_tests::fresh_path;
use durstream_tests::proxy::{Fault, Proxy, Rule};
use place::{Place, on_each_place};

on_each_place!(
    head_says_what_a_stream_is,
    what_is_not_there_is_said_by_name,
    a_deleted_stream_is_gone_and_can_be_made_again,
    a_stream_can_be_born_closed,
    sequence_numbers_of_the_caller_have_to_rise,
    a_conflict_names_the_streams_type,
    a_conflict_spares_what_was_sent_around_it,
    reading_goes_on_where_it_left_off,
    a_chunk_whose_wait_was_given_up_comes_again,
    a_wrong_offset_names_the_option,
    an_answer_beyond_the_limit_is_refused,
    every_append_knows_its_offset_and_no_failure_is_told_twice,
    a_handle_without_a_type_asks_for_it_once_something_is_appended,
    what_is_there_instead_is_named,
);

fn create(place: &Place, path: &str, content_type: &str) -> DurableStream {
    let options = place.options().stream_path(path).content_type(content_type);
    DurableStream::create(options, "").wait().unwrap()
}

fn chunks(reader: &StreamReader) -> Vec<Chunk> {
    std::iter::from_fn(|| reader.next_chunk().wait().unwrap()).collect()
}

fn text(stream: &DurableStream) -> String {
    let parts = chunks(&stream.read(None).unwrap()).into_iter();
    parts.map(|chunk| String::from_utf8(chunk.data.to_vec()).unwrap()).collect()
}

fn head_says_what_a_stream_is(place: &Place) {
    let path = fresh_path("head");
    let options =
        place.options().stream_path(&path).content_type("text/plain").ttl_seconds(3600u64);
    let stream = DurableStream::create(options, "abc").wait().unwrap();
    let before = stream.head().wait().unwrap();
    assert_eq!(before.content_type.as_deref(), Some("text/plain"));
    assert_eq!((before.ttl_seconds, before.stream_closed), (Some(3600), false));
    let outcome = stream.append("def").wait().unwrap();
    stream.close(None).wait().unwrap();
    let after = stream.head().wait().unwrap();
    assert!(after.stream_closed && after.offset != before.offset);
    assert!(after.exists && outcome.offset == after.offset);
}

fn what_is_not_there_is_said_by_name(place: &Place) {
    let path = fresh_path("missing");
    let stream = DurableStream::connect(place.options().stream_path(&path)).unwrap();
    let reader = stream.read(None).unwrap();
    assert_eq!(stream.head().wait().unwrap(), Metadata::default());
    let errors = [
        stream.delete().wait().unwrap_err(),
        reader.next_chunk().wait().unwrap_err(),
        stream.append("x").wait().unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.status()), (ErrorKind::StreamNotFound, Some(404)));
        assert!(error.to_string().contains(&path), "{error}");
    }
}

fn a_deleted_stream_is_gone_and_can_be_made_again(place: &Place) {
    let path = fresh_path("delete");
    let stream = create(place, &path, "text/plain");
    stream.append("old").wait().unwrap();
    stream.delete().wait().unwrap();
    assert_eq!(stream.delete().wait().unwrap_err().kind(), ErrorKind::StreamNotFound);
    let again = create(place, &path, "text/plain");
    again.append("new").wait().unwrap();
    assert_eq!(text(&again), "new");
}

fn a_stream_can_be_born_closed(place: &Place) {
    let path = fresh_path("closed");
    let options = place.options().stream_path(&path).content_type("text/plain").closed(true);
    let stream = DurableStream::create(options, "all there is").wait().unwrap();
    let reader = stream.read(None).unwrap();
    let all = chunks(&reader);
    assert_eq!(all.len(), 1);
    assert_eq!(&all[0].data[..], b"all there is");
    assert!(all[0].stream_closed && reader.stream_closed() && reader.up_to_date());
    let error = stream.append("more").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamClosed);
}

fn sequence_numbers_of_the_caller_have_to_rise(place: &Place) {
    let stream = create(place, &fresh_path("seq"), "text/plain");
    stream.append_with_seq("a", "001").wait().unwrap();
    stream.append_with_seq("b", "003").wait().unwrap();
    for stale in ["003", "002"] {
        let error = stream.append_with_seq("no", stale).wait().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::SequenceConflict, Some(409)));
        assert!(error.definite());
    }
    stream.append("c").wait().unwrap();
    stream.append_with_seq("d", "004").wait().unwrap();
    assert_eq!(text(&stream), "abcd");
    for wrong in ["", "a b", &"x".repeat(257)] {
        let error = stream.append_with_seq("no", wrong).wait().unwrap_err();
        assert_eq!(error.option_name(), Some("seq"));
    }
}

/// A proxy before the server, and a new stream behind it.
fn behind_a_proxy(name: &str, content_type: &str) -> (Proxy, DurableStream) {
    let stream = create(&Place::Server, &fresh_path(name), content_type);
    let (host, path) = stream.url()["http://".len()..].split_once('/').unwrap();
    let proxy = Proxy::start(host.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let url = format!("{}/{path}", proxy.url());
    let options = Options::new().url(url).content_type(content_type).retry_initial_delay_ms(1u64);
    (proxy, DurableStream::connect(options).unwrap())
}

#[test]
fn what_takes_no_further_producers_takes_appends() {
    let (proxy, stream) = behind_a_proxy("anonymous", "application/json");
    let limit = Fault::Answer { status: 429, headers: vec![], body: String::new(), forward: false };
    proxy.add(Rule::new(limit).header("producer-id").times(0)).unwrap();
    let sent: Vec<_> = (1..=5).map(|n| stream.append(n.to_string())).collect();
    for pending in sent {
        assert!(pending.wait().unwrap().is_delivered());
    }
    assert!(stream.append_with_seq("6", "a").wait().unwrap().offset.is_some());
    let refused = stream.append_with_seq("no", "a").wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Validation);
    let refused = stream.append_with_seq("0", "a").wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SequenceConflict);
    // Nobody could tell a repeat of what was stored.
    proxy.add(Rule::new(Fault::ResetAfter).method("POST")).unwrap();
    let unknown = stream.append("7").wait().unwrap_err();
    assert!(!unknown.definite() && unknown.kind() == ErrorKind::Transport, "{unknown:?}");
    for wrong in ["8,9", ""] {
        let refused = stream.close(Some(wrong.as_bytes())).wait().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Validation, "{wrong}");
    }
    stream.close(Some(b"8")).wait().unwrap();
    assert_eq!(text(&stream), "[1,2,3,4,5,6,7,8]");
    assert!(stream.head().wait().unwrap().stream_closed);
}

fn a_conflict_names_the_streams_type(place: &Place) {
    let path = fresh_path("type");
    create(place, &path, "text/plain");
    let options = place.options().stream_path(&path).content_type("application/json");
    let error = DurableStream::connect(options).unwrap().append("1").wait().unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Conflict, Some(409)));
    assert!(error.message().contains("of the stream is `text/plain`"), "{error}");
}

fn a_conflict_spares_what_was_sent_around_it(place: &Place) {
    let stream = create(place, &fresh_path("seq-many"), "text/plain");
    let sent: Vec<_> = (0..50)
        .map(|n| match n % 5 {
            3 => stream.append_with_seq("!", if n == 3 { "5" } else { "4" }),
            _ => stream.append(format!("{}", n % 10)),
        })
        .collect();
    let kinds: Vec<_> = sent.into_iter().map(|p| p.wait().err().map(|e| e.kind())).collect();
    let refused = kinds.iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused, vec![&ErrorKind::SequenceConflict; 9]);
    let expected: String = (0..50)
        .filter(|n| n % 5 != 3 || *n == 3)
        .map(|n| if n == 3 { "!".to_owned() } else { (n % 10).to_string() })
        .collect();
    assert_eq!(text(&stream), expected);
}

fn reading_goes_on_where_it_left_off(place: &Place) {
    let stream = create(place, &fresh_path("resume"), "application/json");
    let reader = stream.read(None).unwrap();
    assert!(reader.next_chunk().wait().unwrap().is_none() && reader.up_to_date());
    let big = r#"{"n": 12345678901234567890, "n":1}"#;
    stream.append(big).wait().unwrap();
    let first = chunks(&reader);
    assert_eq!(first[0].items().unwrap().collect::<Vec<_>>(), [big.as_bytes()]);
    stream.append("[1,2]").wait().unwrap();
    let later = stream.read(reader.offset().as_deref()).unwrap();
    let second = chunks(&later);
    assert_eq!(second[0].items().unwrap().collect::<Vec<_>>(), [b"[1,2]"]);
    assert_eq!(chunks(&reader), second, "the same from the same place");
    assert!(!later.stream_closed());
}

fn a_chunk_whose_wait_was_given_up_comes_again(place: &Place) {
    let stream = create(place, &fresh_path("given-up"), "text/plain");
    stream.append("once").wait().unwrap();
    let reader = stream.read(None).unwrap();
    for _ in 0..20 {
        drop(reader.next_chunk());
    }
    assert_eq!(&reader.next_chunk().wait().unwrap().unwrap().data[..], b"once");
    assert!(reader.next_chunk().wait().unwrap().is_none());
}

fn a_wrong_offset_names_the_option(place: &Place) {
    let stream = create(place, &fresh_path("offset"), "text/plain");
    let error = stream.read(Some("no offset")).unwrap().next_chunk().wait().unwrap_err();
    assert_eq!((error.option_name(), error.status()), (Some("offset"), Some(400)));
}

fn an_answer_beyond_the_limit_is_refused(place: &Place) {
    let path = fresh_path("limit");
    create(place, &path, "text/plain").append("0123456789").wait().unwrap();
    let options = place.options().stream_path(&path).max_read_bytes(9u64);
    let small = DurableStream::connect(options).unwrap().read(None).unwrap();
    assert_eq!(small.next_chunk().wait().unwrap_err().kind(), ErrorKind::TooLarge);
    let options = place.options().stream_path(&path).max_read_bytes(10u64);
    let enough = DurableStream::connect(options).unwrap().read(None).unwrap();
    assert_eq!(chunks(&enough).len(), 1);
}

#[test]
fn a_fork_begins_with_its_sources_content() {
    let path = fresh_path("fork");
    let source = create(&Place::Server, &path, "text/plain");
    source.append("ab").wait().unwrap();
    let options =
        Options::new().stream_path(format!("{path}-fork")).fork_from(format!("/v1/stream{path}"));
    let fork = DurableStream::create(options, "").wait().unwrap();
    assert_eq!(fork.content_type(), Some("text/plain"));
    fork.append("c").wait().unwrap();
    assert_eq!((text(&fork), text(&source)), ("abc".to_owned(), "ab".to_owned()));
}

fn every_append_knows_its_offset_and_no_failure_is_told_twice(place: &Place) {
    let stream = create(place, &fresh_path("awaited"), "text/plain");
    for n in 0..200 {
        let outcome = stream.append(format!("{n} ")).wait().unwrap();
        assert!(outcome.offset.is_some(), "{n}");
    }
    stream.append_with_seq("a", "2").wait().unwrap();
    assert!(stream.append_with_seq("b", "1").wait().is_err());
    let end = stream.close(None).wait().unwrap();
    assert_eq!(stream.close(None).wait().unwrap(), end);
    let error = stream.append("late").wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamClosed);
    let Some(Detail::StreamClosed { final_offset }) = error.detail() else { panic!("{error:?}") };
    assert_eq!(*final_offset, end.final_offset);
}

#[test]
fn what_waits_for_a_host_where_nobody_listens_was_never_sent() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let producers: Vec<_> = (0..20)
        .map(|n| {
            let options = Options::new().url(format!("http://{address}/{n}"));
            let stream = DurableStream::connect(options).unwrap();
            let options = Options::new().delivery_timeout_ms(1_500u64);
            let producer = IdempotentProducer::open(&stream, "a", options).unwrap();
            producer.append("x").unwrap();
            producer
        })
        .collect();
    for producer in &producers {
        assert_eq!(producer.wait(1).wait().unwrap().status, Status::Cancelled);
    }
}

#[test]
fn lines_of_a_byte_stream_are_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nstream-next-offset: 5\r\n\
                content-length: 5\r\n\r\n{\"a\":";
    let server = std::thread::Builder::new().spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        socket.write_all(half.as_bytes()).unwrap();
    });
    let server = server.unwrap();
    let options = Options::new().url(url).content_type("application/x-ndjson");
    let reader = DurableStream::connect(options).unwrap().read(None).unwrap();
    let chunk = reader.next_chunk().wait().unwrap().unwrap();
    assert_eq!(&chunk.data[..], b"{\"a\":");
    assert!(chunk.items().is_err());
    server.join().unwrap();
}

fn a_handle_without_a_type_asks_for_it_once_something_is_appended(place: &Place) {
    for (content_type, body) in [("application/json", "[1,2,3]"), ("text/plain", "123")] {
        let path = fresh_path("untyped");
        let typed = create(place, &path, content_type);
        let stream = DurableStream::connect(place.options().stream_path(&path)).unwrap();
        assert_eq!(stream.content_type(), None);
        let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
        producer.append("1").unwrap();
        producer.append("2").unwrap();
        assert_eq!(producer.flush().wait().unwrap().delivered, 2);
        assert_eq!(stream.content_type(), Some(content_type));
        stream.append("3").wait().unwrap();
        assert_eq!(text(&typed), body);
    }
}

/// The second run of a program that ends its stream is told so, and what else is different is named.
fn what_is_there_instead_is_named(place: &Place) {
    let path = fresh_path("instead");
    let wanted = || place.options().stream_path(&path).content_type("application/json");
    let stream = DurableStream::create(wanted(), "").wait().unwrap();
    let refusal = |options| DurableStream::create(options, "").wait().unwrap_err();
    let other = refusal(place.options().stream_path(&path).content_type("text/plain"));
    assert_eq!(other.kind(), ErrorKind::StreamExists);
    assert!(other.message().contains("`application/json`, not `text/plain`"), "{other}");
    let other = refusal(wanted().ttl_seconds(60u64));
    assert!(other.message().contains("another lifetime"), "{other}");
    let end = stream.close(Some(b"1")).wait().unwrap();
    let ended = refusal(wanted());
    assert_eq!((ended.kind(), ended.status()), (ErrorKind::StreamClosed, Some(409)));
    assert!(ended.message().contains("has ended"), "{ended}");
    let Some(Detail::StreamClosed { final_offset }) = ended.detail() else { panic!("{ended:?}") };
    assert_eq!((final_offset, final_offset.is_some()), (&end.final_offset, true));
}

/// A stream that was idle for longer than its own `ttl_seconds` does not end its producer.
#[test]
fn a_stream_whose_lifetime_ran_out_is_created_again() {
    let path = fresh_path("mortal");
    let options = || Options::new().stream_path(&path).content_type("text/plain").ttl_seconds(1u64);
    let stream = DurableStream::create(options(), "").wait().unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    for round in ["a", "b"] {
        producer.append(round).unwrap();
        producer.flush().wait().unwrap();
        stream.append("!").wait().unwrap();
        assert_eq!(text(&stream), format!("{round}!"));
        while stream.head().wait().unwrap().exists {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
