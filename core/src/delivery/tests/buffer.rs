//! Memory is bounded by configuration, overhead included, and `ready` means room (delivery.md 8).

use crate::delivery::buffer::batch::Tag;
use crate::delivery::engine::accept::Checked;
use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn the_buffer_is_bounded_and_frees_itself() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().max_buffer_bytes(100u64));
    let (accepted, error) = (0..1_000)
        .find_map(|n| engine.accept(&[b"1"]).err().map(|error| (n, error)))
        .expect("the buffer fills up");
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert_eq!(error.reason(), Some(Reason::BufferBytesExceeded));
    assert_eq!(accepted, 10);
    assert!(engine.flush().await.is_err(), "a refused call is reported");
    assert!(engine.accept(&[b"1"]).is_ok());
    engine.flush().await.unwrap();
    let error = engine.accept(&[&[b'1'; 200]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);

    let engine = open(&server, Options::new().max_buffer_items(2u64));
    write(&engine, 1..=2);
    assert_eq!(engine.accept(&[b"3"]).unwrap_err().reason(), Some(Reason::BufferCountExceeded));
}

/// Memory is bounded by configuration, "overhead included".
#[tokio::test(start_paused = true)]
async fn the_overhead_of_small_batches_is_counted() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let limit = 64 * 1024;
    let engine = open(&server, single().max_buffer_bytes(limit as u64));
    let writes = (0..).take_while(|_| engine.accept(&[b"1"]).is_ok()).count();
    let at_least = writes * size_of::<crate::delivery::buffer::queue::Queued>();
    assert!(at_least <= 2 * limit, "{writes} writes take {at_least} bytes of {limit}");
}

/// What is buffered is counted.
#[test]
fn a_small_batch_after_a_large_one_is_small() {
    let mut builder = crate::delivery::buffer::batch::Builder::new(false);
    builder.push(1, &[&vec![b'x'; 32 << 20]]);
    drop(builder.seal());
    builder.push(2, &[b"x"]);
    let small = builder.seal().unwrap();
    let held = small.body.try_into_mut().unwrap().capacity();
    assert!(held < 1 << 20, "one byte holds {held}");
}

#[tokio::test(start_paused = true)]
async fn ready_means_room_for_what_found_none() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().max_buffer_bytes(2_000u64));
    engine.ready().await.unwrap();
    let big = format!("\"{}\"", "x".repeat(1_950));
    write(&engine, 1..=5);
    assert!(engine.accept(&[big.as_bytes()]).is_err());
    let ready = engine.ready();
    let waiting = tokio::time::timeout(Duration::from_secs(5), ready);
    assert!(waiting.await.is_err(), "there is room for a small one only");
    lock(&server.model).down = false;
    engine.ready().await.unwrap();
    engine.accept(&[big.as_bytes()]).unwrap();
    engine.stop_now();
    assert!(engine.ready().await.is_err());
}

/// A write tried in vain is refused, and counted: who can wait asks first.
#[tokio::test(start_paused = true)]
async fn ready_means_room_for_what_was_asked_for() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().max_buffer_bytes(2_000u64));
    write(&engine, 1..=5);
    let hold = |size| engine.hold(size, size);
    let held = hold(1).unwrap();
    assert!(hold(1_950).is_none());
    engine.release_held(held);
    let waiting = tokio::time::timeout(Duration::from_secs(5), engine.ready());
    assert!(waiting.await.is_err(), "there is room for a small one only");
    assert_eq!(hold(10_000), Some(0), "it is refused whatever room there is");
    lock(&server.model).down = false;
    engine.ready().await.unwrap();
    engine.release_held(hold(1_900).unwrap());
    write(&engine, 6..=10);
    engine.stop_now();
    assert_eq!(hold(1_900), Some(0), "it is refused anyway");
    assert_eq!(engine.stats().refused, 0);
}

/// What was found cannot be taken by another write before it is used.
#[tokio::test(start_paused = true)]
async fn room_that_is_held_is_nobody_elses() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().max_buffer_bytes(4_000u64).max_buffer_items(2u64));
    let message = format!("\"{}\"", "x".repeat(100));
    let accept = |held: &mut u64| {
        engine.accept_held(&[message.as_bytes()], Checked::Whole, Tag::default(), held)
    };
    let (mut one, mut two) = (engine.hold(102, 102).unwrap(), engine.hold(102, 3_000).unwrap());
    assert!(engine.accept(&[b"1"]).is_err(), "the third of two");
    accept(&mut one).unwrap();
    assert!(engine.hold(1, 1).is_none(), "one is accepted, room is held for the other");
    let ready = engine.ready();
    accept(&mut two).unwrap();
    assert_eq!((one, two), (0, 0));
    assert!(engine.stats().buffered_bytes < 1_000, "the rest is free again");
    let waiting = tokio::time::timeout(Duration::from_secs(5), ready);
    assert!(waiting.await.is_err(), "two are pending");
    lock(&server.model).down = false;
    engine.settled().await;
    let held = engine.hold(3_000, 3_000).unwrap();
    assert!(engine.accept(&[&[b'1'; 3_000][..]]).is_err());
    let ready = engine.ready();
    engine.release_held(held);
    ready.await.unwrap();
    assert_eq!(engine.stats().buffered_bytes, 0);
    engine.stop_now();
}
