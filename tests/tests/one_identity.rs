//! Plain appends have one identity per process and stream, however many handles there are.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::collections::BTreeSet;
use std::time::Duration;

use durstream_core::{Detail, DurableStream, ErrorKind, HeaderAnswer, IdempotentProducer, Options};
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use durstream_tests::{fresh_path, server_address};

/// A proxy before the server, and the options of a new stream behind it.
fn behind_a_proxy(name: &str) -> (Proxy, Options) {
    let proxy = Proxy::start(server_address()).unwrap();
    let options = Options::new().stream_path(fresh_path(name)).content_type("text/plain");
    (proxy, options)
}

fn through(proxy: &Proxy, options: &Options) -> Options {
    options.clone().endpoints(proxy.url())
}

fn connect(proxy: &Proxy, options: &Options) -> DurableStream {
    DurableStream::connect(through(proxy, options)).unwrap()
}

/// The identities of all appends that came by.
fn identities(proxy: &Proxy) -> BTreeSet<String> {
    let log = proxy.log().into_iter();
    let headers = log.flat_map(|entry| entry.headers);
    headers.filter(|(name, _)| name.eq_ignore_ascii_case("producer-id")).map(|(_, id)| id).collect()
}

fn text(stream: &DurableStream) -> String {
    let chunk = stream.read(None).unwrap().next_chunk().wait().unwrap().unwrap();
    String::from_utf8(chunk.data.to_vec()).unwrap()
}

#[test]
fn handles_share_it_one_after_the_other_and_side_by_side() {
    let (proxy, options) = behind_a_proxy("shared");
    let first = DurableStream::create(through(&proxy, &options).ttl_seconds(600u64), "").wait();
    first.unwrap().append("0").wait().unwrap(); // and is dropped
    for n in 1..10 {
        connect(&proxy, &options).append(n.to_string()).wait().unwrap();
    }
    let (one, other) = (connect(&proxy, &options), connect(&proxy, &options));
    let appends = [one.append("a"), other.append("b"), one.append("c"), other.append("d")];
    appends.into_iter().for_each(|append| drop(append.wait().unwrap()));
    assert_eq!(text(&one), "0123456789abcd", "in the order of the calls");
    assert_eq!(identities(&proxy).len(), 1);
}

/// A web handler that makes a handle for each message, and does not know the stream's type.
#[test]
fn handles_without_a_type_share_it_too() {
    let (proxy, options) = behind_a_proxy("untyped");
    DurableStream::create(options.clone(), "").wait().unwrap();
    let untyped = || {
        let path = options.clone().content_type("");
        connect(&proxy, &path)
    };
    for n in 0..5 {
        untyped().append(n.to_string()).wait().unwrap();
    }
    assert_eq!((text(&untyped()).as_str(), identities(&proxy).len()), ("01234", 1));
    let asked = proxy.log().into_iter().filter(|entry| entry.method == "HEAD").count();
    assert_eq!(asked, 1);
}

#[test]
fn other_headers_are_another_writer() {
    let (proxy, options) = behind_a_proxy("headers");
    DurableStream::create(options.clone(), "").wait().unwrap();
    for _ in 0..2 {
        for secret in ["one", "two"] {
            let options = options.clone().header("Authorization", secret);
            connect(&proxy, &options).append("x").wait().unwrap();
        }
    }
    assert_eq!(identities(&proxy).len(), 2);
}

/// A function is its handle's own: it is not called once that is gone.
#[test]
fn handles_with_header_functions_share_nothing() {
    let (proxy, options) = behind_a_proxy("functions");
    DurableStream::create(options.clone(), "").wait().unwrap();
    for value in ["1", "2", "3"] {
        let give = move |answer: HeaderAnswer| answer.give(value);
        let options = options.clone().header_fn("X-Value", std::sync::Arc::new(give));
        connect(&proxy, &options).append("x").wait().unwrap();
    }
    assert_eq!(identities(&proxy).len(), 3);
    let named = |(name, value): (String, String)| (name == "x-value").then_some(value);
    let values = proxy.log().into_iter().flat_map(|entry| entry.headers).filter_map(named);
    assert_eq!(values.collect::<BTreeSet<_>>().len(), 3);
}

/// The server knows nothing of what was written before: nothing has to be found out.
#[test]
fn a_stream_that_begins_anew_has_a_new_one() {
    let (proxy, options) = behind_a_proxy("anew");
    let create = || DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    create().append("old").wait().unwrap();
    connect(&proxy, &options).delete().wait().unwrap();
    let anew = create();
    let outcome = connect(&proxy, &options).append("new").wait().unwrap();
    assert!(!outcome.maybe_duplicate && outcome.attempts == 1);
    assert_eq!((text(&anew).as_str(), identities(&proxy).len()), ("new", 2));
    create().append("er").wait().unwrap(); // it is there: the same stream
    assert_eq!((text(&anew).as_str(), identities(&proxy).len()), ("newer", 2));
}

#[test]
fn a_writer_that_ended_is_replaced() {
    let (proxy, options) = behind_a_proxy("ended");
    connect(&proxy, &options).append("nobody is there").wait().unwrap_err();
    DurableStream::create(options.clone(), "").wait().unwrap();
    let stream = connect(&proxy, &options);
    stream.append("x").wait().unwrap();
    assert_eq!((text(&stream).as_str(), identities(&proxy).len()), ("x", 2));
}

/// What another handle ended is not this one's success: its last message is not in the stream.
#[test]
fn the_end_of_one_handle_takes_no_last_message_of_another() {
    let (proxy, options) = behind_a_proxy("ends");
    let first = DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    let other = connect(&proxy, &options);
    other.append("1").wait().unwrap();
    let hold = Fault::Hold { name: "end".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(0)).unwrap();
    let end = first.close(Some(b"2"));
    let meanwhile = other.close(Some(b"3"));
    assert!(proxy.wait_held("end", 1, Duration::from_secs(30)));
    proxy.clear();
    let offset = end.wait().unwrap().final_offset;
    // The one after the other: hearing of the first makes no difference to the second.
    for late in [Some(meanwhile), None] {
        let late = late.unwrap_or_else(|| other.close(Some(b"4")));
        let error = late.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StreamClosed);
        let Some(Detail::StreamClosed { final_offset }) = error.detail() else { panic!("{error}") };
        assert_eq!(*final_offset, offset);
    }
    assert_eq!(first.close(Some(b"2")).wait().unwrap().final_offset, offset);
    assert_eq!(other.close(None).wait().unwrap().final_offset, offset);
    assert_eq!(text(&first), "12");
}

/// A producer that looks for what it sent does not find the handle's own appends instead.
#[test]
fn a_producer_does_not_take_an_append_for_its_own() {
    let (proxy, options) = behind_a_proxy("tail");
    let create = || DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    create().append("a").wait().unwrap();
    let stream = create(); // it is there: the same stream, and the same writer
    stream.append("x").wait().unwrap();
    let lost = Fault::ResetWithin { bytes: 0 };
    proxy.add(Rule::new(lost).method("POST").times(1)).unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    producer.append("x").unwrap();
    assert_eq!(producer.flush().wait().unwrap().delivered, 1);
    assert_eq!(text(&stream), "axx");
}

/// It is for the server to say what becomes of an append while, or after, another handle ends the
/// stream.
#[test]
fn the_end_of_one_handle_is_not_that_of_another() {
    let (proxy, options) = behind_a_proxy("outlives");
    let first = DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    let other = connect(&proxy, &options);
    other.append("1").wait().unwrap();
    let hold = Fault::Hold { name: "end".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").header("stream-closed")).unwrap();
    let end = first.close(None);
    assert!(proxy.wait_held("end", 1, Duration::from_secs(30)));
    for handle in [&other, &connect(&proxy, &options)] {
        handle.append("2").wait().unwrap();
    }
    assert_eq!(first.append("3").wait().unwrap_err().kind(), ErrorKind::ProducerClosed);
    proxy.clear();
    end.wait().unwrap();
    assert_eq!(text(&other), "122");
    assert_eq!(other.append("4").wait().unwrap_err().kind(), ErrorKind::StreamClosed);

    first.delete().wait().unwrap();
    let anew = DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    connect(&proxy, &options).append("5").wait().unwrap();
    assert_eq!(text(&anew), "5");
}

/// What a handle appends while another ends the stream comes behind what it appended before.
#[test]
fn a_handles_appends_keep_their_order_while_another_ends_the_stream() {
    let (proxy, options) = behind_a_proxy("order");
    let first = DurableStream::create(through(&proxy, &options), "").wait().unwrap();
    let other = connect(&proxy, &options);
    other.append("1").wait().unwrap();
    let hold = Fault::Hold { name: "second".into(), before: Moment::Forward };
    proxy.add(Rule::new(hold).method("POST").times(1)).unwrap();
    let second = other.append("2");
    assert!(proxy.wait_held("second", 1, Duration::from_secs(30)));
    let end = first.close(None); // waits for what was appended before
    let third = other.append("3");
    std::thread::sleep(Duration::from_millis(300)); // time to go wrong
    proxy.clear();
    second.wait().unwrap();
    let third = third.wait();
    end.wait().unwrap();
    let expected = if third.is_ok() { "123" } else { "12" };
    assert_eq!(text(&first), expected, "{third:?}");
}
