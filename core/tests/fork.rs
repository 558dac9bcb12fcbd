//! A forked child is somebody else.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod child;

use child::in_child;
use durstream_core::{
    AppendSink, Collection, DurableStream, IdempotentProducer, Options, Producer, StreamSchema,
    Validator, create_durable_stream,
};

fn shared_id() -> String {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
    let options = Options::new().shared(true);
    let producer = IdempotentProducer::open(&stream, "worker", options).unwrap();
    producer.producer_id().to_owned()
}

/// A random number drawn before the fork is drawn by every child again, unless it is taken from the
/// system: then workers of one parent would fence each other.
#[test]
fn forked_workers_get_suffixes_of_their_own() {
    let parent = shared_id();
    let (first, second) = (in_child(shared_id), in_child(shared_id));
    assert!(first.starts_with("worker-") && first != parent);
    assert_ne!(first, second, "two workers of one parent have one identity");
}

#[test]
fn a_childs_handle_appends_nothing_without_an_identity_either() {
    let options = Options::new().url("http://127.0.0.1:1/s").idempotent(false).max_retries(0u64);
    let stream = DurableStream::connect(options).unwrap();
    assert!(stream.append("x").wait().is_err());
    let refusals = in_child(|| {
        let append = stream.append("x").wait().unwrap_err().kind();
        let close = stream.close(None).wait().unwrap_err().kind();
        let last = stream.close(Some(b"x")).wait().unwrap_err().kind();
        format!("{append:?} {close:?} {last:?}")
    });
    assert_eq!(refusals, "Forked Forked Forked");
}

#[test]
fn every_inherited_handle_says_so() {
    let options = || Options::new().url("http://127.0.0.1:1/s");
    let stream = DurableStream::connect(options()).unwrap();
    let producer = IdempotentProducer::open(&stream, "p", Options::new()).unwrap();
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    let state = create_durable_stream(options().producer_id("p"), schema).unwrap();
    let reader = stream.read(None).unwrap();
    let producers: [&dyn Producer; 2] = [&producer, &state];
    let inherited = || {
        let producers = producers.iter().all(|producer| producer.is_inherited());
        [producers, stream.is_inherited(), reader.is_inherited()]
    };
    let said = in_child(|| format!("{:?} {:?}", inherited(), producer.refuse("no").kind()));
    assert_eq!(said, "[true, true, true] Forked");
    assert_eq!(inherited(), [false; 3]);
}

/// It would wait for a thread that only its parent has.
#[test]
fn a_childs_handle_ends_no_stream() {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
    drop(stream.append("x")); // opens its writer
    let refusal = in_child(|| format!("{:?}", stream.close(None).wait().unwrap_err().kind()));
    assert_eq!(refusal, "Forked");
}

/// Nor for what a source gave the parent.
#[test]
fn a_childs_sink_waits_for_nothing() {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
    let sink = AppendSink::new(&stream, None).unwrap();
    assert!(sink.start_send(b"x"));
    let refusal = in_child(|| {
        // Its own part of the library makes no difference.
        let own = DurableStream::connect(Options::new().url("http://127.0.0.1:1/own")).unwrap();
        drop(own.append("x"));
        format!("{:?}", sink.close().wait().unwrap_err().kind())
    });
    assert_eq!(refusal, "Forked");
}

/// Nor for a result that only the parent's threads can bring.
#[test]
fn a_childs_wait_that_its_parent_began_ends() {
    let stream = DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap();
    let append = stream.append("x");
    let known = stream.append("");
    let results = in_child(|| {
        let kind = |result: Result<_, durstream_core::Error>| result.map(drop).unwrap_err().kind();
        format!("{:?} {:?}", kind(append.wait()), kind(known.wait()))
    });
    assert_eq!(results, "Forked Validation");
}
