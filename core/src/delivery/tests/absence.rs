//! A stream that is not there must stay so for 5 s before it is believed, and is created once where
//! that is allowed (delivery.md 4).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn a_404_after_success_must_persist() {
    for (code, reason) in [
        (404, Reason::NotFound),
        (405, Reason::ProducerFailed),
        (410, Reason::Gone),
        (501, Reason::ProducerFailed),
    ] {
        let server = Scripted::new([Fault::None, status(code), status(code), Fault::None]);
        let engine = open(&server, single());
        write(&engine, 1..=2);
        engine.flush().await.unwrap();
        assert_eq!(server.stored(), numbers(1..=2), "{code}");

        let gone = std::iter::repeat_n(status(code), 50);
        let server = Scripted::new([Fault::None].into_iter().chain(gone));
        let engine = open(&server, single());
        write(&engine, 1..=2);
        assert!(engine.flush().await.is_err());
        assert_eq!(outcome(&engine, 2).await.reason, Some(reason), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_between_two_404s_is_not_a_404_that_persists() {
    let refused = std::iter::repeat_n(Fault::Refuse, 6);
    let script = [Fault::None, status(404)].into_iter().chain(refused).chain([status(404)]);
    let server = Scripted::new(script);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
}

/// A 404 has to persist for 5 s before it is final, counted from the first of a row.
#[tokio::test(start_paused = true)]
async fn a_404_an_hour_after_another_has_not_persisted() {
    let gone = Arc::new(AtomicU64::new(0));
    let left = gone.clone();
    let ingress = move |server: &Scripted, request: Request| {
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => at_once(Ok(answer(404, &[]))),
            Err(_) => server.send(request),
        }
    };
    let server = Scripted::default();
    let options = single().delivery_timeout_ms(1_000u64);
    let engine = open_on(Behind(server.clone(), ingress), &model(), options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    gone.store(1_000, Ordering::Relaxed);
    write(&engine, 2..=2);
    assert!(engine.flush().await.is_err(), "the deploy took longer than the write may");
    gone.store(0, Ordering::Relaxed);
    sleep(3_600_000).await;
    gone.store(1, Ordering::Relaxed);
    write(&engine, 3..=3);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_404_or_401_still_has_to_persist() {
    for code in [404, 401] {
        let server = Scripted::new([Fault::None, status(code)]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        engine.restart().await.unwrap();
        write(&engine, 2..=2);
        assert_eq!(engine.flush().await.unwrap().delivered, 1, "{code}");
    }
}

/// "404 before the first ack: create the stream where allowed (state producers), once".
#[tokio::test(start_paused = true)]
async fn a_404_before_the_first_ack_creates_the_stream_once() {
    let server = Scripted::new([Fault::None, status(404)]);
    let engine = open_creating(&server, Scope::State, Options::new());
    engine.ready().await.unwrap();
    sleep(3_600_000).await;
    write(&engine, 1..=1);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
}
