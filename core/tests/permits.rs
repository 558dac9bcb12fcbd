//! Room that is reserved before a write is made.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use durstream_core::{
    Collection, DurableStream, ErrorKind, IdempotentProducer, Options, Permit, Producer, Reason,
    StreamSchema, Validator, create_durable_stream,
};

fn nowhere(path: &str) -> Options {
    Options::new().url(format!("http://127.0.0.1:1/{path}"))
}

/// As many permits as there is room for.
fn all_of<P: Producer>(producer: &P, size: usize) -> Vec<Permit<'_, P>> {
    std::iter::from_fn(|| producer.try_reserve(size)).collect()
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_message_takes_the_room_that_was_reserved_for_it() {
    let stream = DurableStream::connect(nowhere("messages").content_type("text/plain")).unwrap();
    let options = Options::new().max_buffer_bytes(2_000u64);
    let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
    let mut permits = all_of(&producer, 300);
    let count = permits.len();
    assert!(count > 2, "{count}");
    assert_eq!(producer.append([b'x'; 300]).unwrap_err().kind(), ErrorKind::BufferFull);
    let mut waiting = pin!(producer.reserve(300));
    assert!(poll(waiting.as_mut()).is_pending());
    // A permit that is dropped, and the rest of one that was used.
    drop(permits.pop());
    let Poll::Ready(permit) = poll(waiting.as_mut()) else { panic!("there is room again") };
    assert_eq!(permit.unwrap().submit([b'x'; 10]).unwrap().id(), 1);
    assert!(producer.try_reserve(100).is_some());
    let refused = permits.pop().unwrap().submit(b"").unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::InvalidValue));
    for (n, permit) in permits.into_iter().enumerate() {
        assert_eq!(permit.submit([b'x'; 300]).unwrap().id(), 2 + n as u64);
    }
    let ended = producer.try_reserve(300).unwrap();
    producer.stop();
    assert_eq!(ended.submit("x").unwrap_err().kind(), ErrorKind::ProducerClosed);
    let ended = producer.try_reserve(300).expect("nothing to wait for");
    assert_eq!(ended.submit("x").unwrap_err().kind(), ErrorKind::ProducerClosed);
    producer.flush().wait().unwrap_err();
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[test]
fn what_never_fits_waits_for_no_room() {
    let stream = DurableStream::connect(nowhere("large").content_type("text/plain")).unwrap();
    let options = Options::new().max_buffer_bytes(1_000u64);
    let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
    let all = all_of(&producer, 100);
    let permit = producer.try_reserve(2_000).unwrap();
    assert_eq!(permit.submit([b'x'; 2_000]).unwrap_err().kind(), ErrorKind::TooLarge);
    drop(all);
}

#[test]
fn what_is_offered_is_taken_if_there_is_room() {
    let stream = DurableStream::connect(nowhere("offers").content_type("text/plain")).unwrap();
    let options = Options::new().max_buffer_bytes(2_000u64);
    let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
    assert_eq!(producer.offer([b'x'; 300]).unwrap().unwrap().id(), 1);
    let mut permits = all_of(&producer, 300);
    assert!(producer.offer([b'x'; 1_300]).is_none());
    assert_eq!(producer.stats().refused, 0, "it may still wait for room");
    let mut waiting = pin!(producer.ready());
    permits.truncate(permits.len() - 2);
    // Whether the first batch is sealed by now, and holds its overhead too, makes no difference.
    assert!(poll(waiting.as_mut()).is_pending(), "there is room for a small one only");
    // Whatever room there is.
    let empty = producer.offer("").unwrap().unwrap_err();
    assert_eq!(empty.reason(), Some(Reason::InvalidValue));
    let large = producer.offer([b'x'; 2_001]).unwrap().unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    drop(permits);
    assert!(poll(waiting.as_mut()).is_ready());
    assert_eq!(producer.offer([b'x'; 1_300]).unwrap().unwrap().id(), 2);
    producer.stop();
    let ended = producer.offer([b'x'; 300]).unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ProducerClosed);
}

#[test]
fn an_event_takes_the_room_that_was_reserved_for_its_entity() {
    let options = nowhere("entities").producer_id("p").max_buffer_bytes(4_000u64);
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    let state = create_durable_stream(options, schema).unwrap();
    let value = format!(r#"{{"id":"{}"}}"#, "x".repeat(500));
    let permits = all_of(&state, value.len());
    assert!(permits.len() > 1);
    assert!(!state.upsert_json("c", value.as_bytes()).unwrap().is_accepted(), "it is full");
    for permit in permits {
        assert!(permit.upsert_json("c", value.as_bytes()).unwrap().is_accepted());
    }
    let permit = state.try_reserve(1).unwrap();
    let refused = permit.upsert_json("no", value.as_bytes()).unwrap();
    assert_eq!(refused.refusal().unwrap().reason, Some(Reason::InvalidEntity));
    assert!(state.try_reserve(1).unwrap().delete("c", "x").unwrap().is_accepted());
    state.stop();
    state.flush().wait().unwrap_err();
    assert_eq!(state.stats().buffered_bytes, 0);
}
