//! Each write is reported to the host once, and its bytes stay reserved until then (delivery.md 6);
//! a host's panic ends nothing (9).

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};

use crate::delivery::callbacks::{Callbacks, Delivery, DeliveryCallback, ErrorCallback, Failure};
use crate::delivery::engine::accept::WriteOptions;
use crate::delivery::tests::*;

#[derive(Debug)]
enum News {
    Delivered(Delivery),
    Failed(Failure),
}

/// Becomes a holder, whose delivery reports arrive at the end of the channel.
fn listen(engine: &Engine, holder: u32) -> Receiver<News> {
    let (sender, told) = mpsc::channel();
    let errors = sender.clone();
    let callbacks = Callbacks {
        on_error: Some(Arc::new(move |failure| errors.send(News::Failed(failure)).unwrap())),
        on_delivery: Some(Arc::new(move |delivery| {
            sender.send(News::Delivered(delivery)).unwrap();
        })),
        ..Callbacks::default()
    };
    engine.listeners.add(holder, callbacks);
    told
}

fn write_tagged(engine: &Engine, text: &str, holder: u32, tag: u64) {
    let options = WriteOptions { tag, block: false };
    engine.accept_with(&[text.as_bytes()], holder, options).unwrap();
    check_accounts(engine);
}

/// The next `count` writes that were settled: id, tag, whether delivered.
fn next(told: &Receiver<News>, count: usize) -> Vec<(u64, u64, bool)> {
    let mut writes = Vec::new();
    while writes.len() < count {
        match told.recv_timeout(Duration::from_secs(30)).expect("more to be told") {
            News::Failed(failure) => writes.push((failure.id, failure.tag, false)),
            News::Delivered(Delivery { first_id, count, tags, .. }) => {
                assert!(tags.is_empty() || tags.len() as u64 == count);
                let tag = |n: u64| tags.get(n as usize).copied().unwrap_or(0);
                writes.extend((0..count).map(|n| (first_id + n, tag(n), true)));
            }
        }
    }
    writes
}

/// Waits until the reports are accounted for no more, which is after the callback returned.
fn until_free(engine: &Engine) {
    for _ in 0..30_000 {
        if engine.stats().buffered_bytes == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("still held: {:?}", engine.stats());
}

#[tokio::test(start_paused = true)]
async fn each_write_is_told_once_with_its_tag_also_around_a_bad_neighbour() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("666");
    let engine = open(&server, Options::new());
    let told = listen(&engine, 0);
    let texts = ["1", "2", "3", "666", "5", "6", "7", "8"];
    for (n, text) in (1..).zip(texts) {
        write_tagged(&engine, text, 0, if n % 3 == 0 { 0 } else { n << 40 });
    }
    assert!(engine.flush().await.is_err());
    let mut writes = next(&told, texts.len());
    let delivered: Vec<u64> = writes.iter().filter(|(.., there)| *there).map(|w| w.0).collect();
    assert_eq!(delivered, [1, 2, 3, 5, 6, 7, 8], "in the order of the calls");
    writes.sort_unstable();
    let expected = (1..=8).map(|n| (n, if n % 3 == 0 { 0 } else { n << 40 }, n != 4));
    assert_eq!(writes, expected.collect::<Vec<_>>());
    until_free(&engine);
    assert!(told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_told_with_its_tag() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().delivery_timeout_ms(1_000u64));
    let told = listen(&engine, 0);
    write_tagged(&engine, "1", 0, 0);
    write_tagged(&engine, "2", 0, u64::MAX);
    assert!(engine.flush().await.is_err());
    assert_eq!(next(&told, 2), [(1, 0, false), (2, u64::MAX, false)]);
    // A call that is refused tells its caller, and nobody else.
    engine.stop_now();
    engine.ended().await;
    assert!(engine.accept_with(&[b"3"], 0, WriteOptions { tag: 3, block: false }).is_err());
    until_free(&engine);
    assert!(told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_told_to_its_holder_alone() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("666");
    let engine = open(&server, Options::new());
    let (one, two) = (listen(&engine, 1), listen(&engine, 2));
    write_tagged(&engine, "1", 1, 10);
    write_tagged(&engine, "2", 2, 20);
    assert!(engine.flush().await.is_ok());
    write_tagged(&engine, "666", 1, 30);
    assert!(engine.flush().await.is_err());
    assert_eq!(next(&one, 3), [(1, 10, true), (2, 0, true), (3, 30, false)]);
    assert_eq!(next(&two, 3), [(1, 0, true), (2, 20, true), (3, 0, false)]);
    engine.listeners.remove(1);
    write_tagged(&engine, "4", 1, 40);
    assert!(engine.flush().await.is_ok());
    assert_eq!(next(&two, 1), [(4, 0, true)]);
    assert!(one.recv().is_err(), "let go");
}

/// Letting go changes nothing of what is sent, so the last report of a holder may end within a
/// batch.
#[tokio::test(start_paused = true)]
async fn a_released_holder_is_told_up_to_where_it_was_let_go() {
    for is_down in [false, true] {
        let server = Scripted::default();
        lock(&server.model).down = is_down;
        let engine = open(&server, Options::new().linger_ms(1_000u64).max_in_flight(1u64));
        let (one, two) = (listen(&engine, 1), listen(&engine, 2));
        write_tagged(&engine, "1", 1, 10);
        write_tagged(&engine, "2", 2, 0);
        let released = engine.release_listener(1);
        write_tagged(&engine, "3", 2, 30);
        if is_down {
            engine.stop_now();
        }
        assert_eq!(engine.flush().await.is_ok(), !is_down);
        released.await.unwrap();
        assert_eq!(next(&one, 2), [(1, 10, !is_down), (2, 0, !is_down)]);
        assert!(one.recv().is_err(), "it is told no more");
        let expected = [(1, 0, !is_down), (2, 0, !is_down), (3, 30, !is_down)];
        assert_eq!(next(&two, 3), expected);
        if !is_down {
            assert_eq!(engine.stats().requests, 1, "one batch");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_hangs_makes_writers_wait_and_no_memory_grow() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().max_buffer_bytes(4_000u64));
    let (go, hangs) = mpsc::channel::<()>();
    let (hangs, told) = (Mutex::new(hangs), Arc::new(Mutex::new(0)));
    let counted = told.clone();
    let on_delivery: DeliveryCallback = Arc::new(move |delivery| {
        let _ = lock(&hangs).recv();
        *lock(&counted) += delivery.tags.len();
    });
    engine.listeners.add(0, Callbacks { on_delivery: Some(on_delivery), ..Callbacks::default() });
    let options = WriteOptions { tag: 1, block: false };
    let (mut delivered, mut refused) = (0, None);
    while refused.is_none() && delivered < 1_000 {
        match engine.accept_with(&[b"1"], 0, options) {
            Ok(id) => assert!(outcome(&engine, id).await.is_delivered()),
            Err(error) => refused = Some(error),
        }
        delivered += usize::from(refused.is_none());
    }
    let error = refused.expect("an end to what is taken");
    assert_eq!(error.reason(), Some(Reason::BufferBytesExceeded));
    assert!((10..=15).contains(&delivered), "{delivered}");
    assert_eq!(engine.stats().pending, 0);
    let room = engine.ready();
    drop(go);
    room.await.unwrap();
    until_free(&engine);
    assert_eq!(*lock(&told), delivered);
    assert!(engine.accept_with(&[b"1"], 0, options).is_ok());
}

/// The bytes `on_error` receives stay reserved until it returns.
#[tokio::test(start_paused = true)]
async fn the_bytes_of_an_expired_write_stay_reserved_until_the_callback_returns() {
    let slow = || delay(Fault::None, 0, 2_000);
    let server = Scripted::new([Fault::None, slow(), slow()]);
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    let (inside, called) = std::sync::mpsc::channel();
    let (go_on, may_return) = std::sync::mpsc::channel::<()>();
    let may_return = Mutex::new(may_return);
    let callback: ErrorCallback = Arc::new(move |_: Failure| {
        inside.send(()).unwrap();
        let _ = may_return.lock().unwrap().recv();
    });
    engine.listeners.add(1, Callbacks { on_error: Some(callback), ..Callbacks::default() });
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    sleep(900).await;
    write(&engine, 3..=3); // keeps the expired one in its place
    sleep(200).await;
    called.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(engine.stats().buffered_bytes > 0);
    sleep(5_000).await;
    let held = engine.stats().buffered_bytes;
    drop(go_on);
    assert!(held > 0, "the callback still holds them");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_costs_nobody_their_news() {
    let server = Scripted::default();
    let engine = open(&server, Options::new());
    let on_delivery: DeliveryCallback = Arc::new(|_| panic!("a callback of the host's"));
    engine.listeners.add(0, Callbacks { on_delivery: Some(on_delivery), ..Callbacks::default() });
    let told = listen(&engine, 1);
    for n in 1..=2 {
        write_tagged(&engine, "1", 1, n);
        engine.flush().await.unwrap();
    }
    assert_eq!(next(&told, 2), [(1, 1, true), (2, 2, true)]);
    until_free(&engine);
}

/// A host's callback that panics is reported, and nothing else happens ("one that throws is
/// reported and counted").
#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_does_not_end_the_producer() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.wait(1).on_complete(|_| panic!("the host's own mistake"));
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
    assert!(engine.accept(&[b"4"]).is_ok());
}

/// Nor does a second one.
#[tokio::test(start_paused = true)]
async fn two_callbacks_that_panic_abort_nothing() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.wait(1).on_complete(|_| panic!("the host's own mistake"));
    engine.wait(3).on_complete(|_| panic!("and another"));
    let _ = engine.flush().await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_leaves_no_room_for_its_write_is_refused_for_good() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().max_buffer_bytes(30u64));
    engine.accept(&[b"12345678901"]).unwrap();
    engine.flush().await.unwrap();
    let options = WriteOptions { tag: 1, block: true };
    let error = engine.accept_with(&[b"12345678901"], 0, options).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::TooLarge));
}

/// Whoever waits until all is settled and then lets callbacks go lets none go that is still to be told.
#[tokio::test(start_paused = true)]
async fn what_is_settled_is_on_its_way_to_the_callbacks_before_anybody_hears_that_it_is() {
    let engine = open(&Scripted::default(), Options::new());
    let told = listen(&engine, 1);
    write(&engine, 1..=1);
    let (runtime, (sender, behind)) = (engine.runtime().clone(), mpsc::channel());
    let look = move || sender.send(told.try_recv().is_ok()).unwrap();
    engine.when_all_settled().on_complete(move |_| runtime.dispatch(look));
    engine.flush().await.unwrap();
    assert!(behind.recv_timeout(Duration::from_secs(30)).unwrap(), "it was told too late");
}
