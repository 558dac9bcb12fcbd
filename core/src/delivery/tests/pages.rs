//! Answers that are not the server's own, or none that HTTP has, end nothing until they persist
//! (delivery.md 4.2).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::closing::{CloseWith, close};
use crate::delivery::tests::*;

/// The page of a load balancer while its server is away.
fn page(code: u16) -> Fault {
    Fault::Answer(code, vec![("content-type", "text/html".into())])
}

/// The first answer is the server's own; then come these.
fn after_one(faults: impl IntoIterator<Item = Fault>) -> Scripted {
    Scripted::new([Fault::None].into_iter().chain(faults))
}

/// One request at a time, so that it is known which of them an answer is for.
fn one_by_one() -> Options {
    single().max_in_flight(1u64)
}

async fn deliver(engine: &Arc<Engine>, id: u64) {
    write(engine, id..=id);
    assert!(outcome(engine, id).await.is_delivered());
}

#[tokio::test(start_paused = true)]
async fn one_page_between_good_answers_ends_nothing() {
    for fault in [
        page(200),
        page(204),
        // The answer to somebody else's request.
        Fault::Answer(200, vec![("producer-epoch", "7".into()), ("producer-seq", "1".into())]),
    ] {
        let server = after_one([fault.clone()]);
        let engine = open(&server, one_by_one());
        deliver(&engine, 1).await;
        write(&engine, 2..=4);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.uncertain), (4, 0), "{fault:?}");
        assert_eq!(server.stored(), numbers(1..=4), "{fault:?}");
        let model = lock(&server.model);
        assert_eq!(model.seen.len(), 4, "the page's request did not arrive: {fault:?}");
        assert_eq!(engine.stats().sessions, 1);
    }
}

/// What stands in between may have passed the request on: its repeat is found out as one.
#[tokio::test(start_paused = true)]
async fn a_page_may_hide_a_stored_batch() {
    let posts = AtomicU64::new(0);
    let front = move |server: &Scripted, request: Request| -> Sending {
        let hides = is_post(&request) && posts.fetch_add(1, Ordering::Relaxed) == 1;
        let sending = server.send(request);
        Box::pin(async move {
            let response = sending.await?;
            if hides { Ok(answer(200, &[])) } else { Ok(response) }
        })
    };
    let server = Scripted::default();
    let engine = open_on(Behind(server.clone(), front), &model(), single());
    deliver(&engine, 1).await;
    write(&engine, 2..=3);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));
}

#[tokio::test(start_paused = true)]
async fn pages_that_persist_end_a_producer_with_what_is_known() {
    let server = after_one(std::iter::repeat_n(page(200), 100));
    let engine = open(&server, one_by_one());
    deliver(&engine, 1).await;
    let started = tokio::time::Instant::now();
    write(&engine, 2..=3);
    assert!(engine.flush().await.is_err());
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
    let second = outcome(&engine, 2).await;
    assert_eq!(second.status, Status::DeliveryUnknown, "{second:?}");
    assert!(second.error.unwrap().message().contains("something in between"));
    assert_eq!(outcome(&engine, 3).await.status, Status::Cancelled);
    assert_eq!(engine.snapshot().state, Lifecycle::Failed);
}

/// "Reset by any other answer": also by none.
#[tokio::test(start_paused = true)]
async fn pages_an_hour_apart_have_not_persisted() {
    for other in [status(503), Fault::Refuse, status(404)] {
        let server = after_one([page(200), other.clone(), other.clone(), page(200)]);
        let pauses = one_by_one().retry_initial_delay_ms(4_000u64).retry_max_delay_ms(4_000u64);
        let engine = open_on(server, &cluster(), pauses);
        deliver(&engine, 1).await;
        let started = tokio::time::Instant::now();
        write(&engine, 2..=2);
        let flushed = engine.flush().await;
        assert!(flushed.is_ok(), "{other:?}: {flushed:?}");
        assert!(started.elapsed() > Duration::from_secs(5), "the pages were too close");
    }
    let pages = Arc::new(AtomicU64::new(0));
    let left = pages.clone();
    let front = move |server: &Scripted, request: Request| {
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => at_once(Ok(answer(200, &[]))),
            Err(_) => server.send(request),
        }
    };
    let options = single().delivery_timeout_ms(1_000u64);
    let engine = open_on(Behind(Scripted::default(), front), &model(), options);
    deliver(&engine, 1).await;
    pages.store(1_000, Ordering::Relaxed);
    write(&engine, 2..=2);
    assert!(engine.flush().await.is_err(), "it took longer than the write may");
    pages.store(0, Ordering::Relaxed);
    sleep(3_600_000).await;
    pages.store(1, Ordering::Relaxed);
    write(&engine, 3..=3);
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{:?}: {flushed:?}", engine.snapshot().state);
}

/// That the server echoes is known for the producer, not for one session of it.
#[tokio::test(start_paused = true)]
async fn a_page_after_a_restart_ends_nothing() {
    let server = after_one([page(200)]);
    let engine = open(&server, single());
    deliver(&engine, 1).await;
    engine.restart().await.unwrap();
    write(&engine, 2..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));

    // Out of `fenced` as well, and where no echo was ever believed.
    let newer = (crate::protocol::MAX_SAFE_INTEGER - 100_000).to_string();
    let stale = Fault::Answer(403, vec![("producer-epoch", newer)]);
    let server = after_one([stale, page(200)]);
    let old = open(&server, single().on_uncertain("resend"));
    let epoch = old.snapshot().epoch;
    lock(&server.model).producers.insert("p".into(), (epoch, 3));
    write(&old, 1..=1);
    assert!(old.flush().await.is_err());
    assert_eq!(old.snapshot().state, Lifecycle::Fenced);
    assert_eq!(old.stats().delivered, 0);
    old.restart().await.unwrap();
    write(&old, 2..=2);
    let flushed = old.flush().await;
    assert!(flushed.is_ok(), "{flushed:?}");
}

/// A maintenance page is not the end of the stream.
#[tokio::test(start_paused = true)]
async fn a_page_ends_no_stream() {
    for code in [200, 204] {
        let server = after_one([page(code)]);
        let engine = open(&server, single());
        deliver(&engine, 1).await;
        close(&engine, CloseWith::AsProducer).await.unwrap();
        assert!(lock(&server.model).closed, "{code}");

        let server = Scripted::new([page(code)]);
        close(&open(&server, single()), CloseWith::AsProducer).await.unwrap();
        assert!(lock(&server.model).closed, "the first request: {code}");

        let server = Scripted::new([page(code)]);
        close(&open(&server, single()), CloseWith::Unidentified).await.unwrap();
        assert!(lock(&server.model).closed, "without identity: {code}");

        let always = Scripted::new(std::iter::repeat_n(page(code), 100));
        assert!(close(&open(&always, single()), CloseWith::AsProducer).await.is_err(), "{code}");
        let always = Scripted::new(std::iter::repeat_n(page(code), 100));
        assert!(close(&open(&always, single()), CloseWith::Unidentified).await.is_err(), "{code}");
    }
}

/// Nor does one create a stream, or tell of one that cannot be written to.
#[tokio::test(start_paused = true)]
async fn a_page_opens_no_stream_and_refuses_none() {
    for faults in [vec![page(200)], vec![status(409), page(200)]] {
        let server = Scripted::new(faults.clone());
        let engine = open_creating(&server, Scope::State, Options::new());
        sleep(50).await;
        assert_eq!(engine.snapshot().state, Lifecycle::Backoff, "{faults:?}");
        engine.ready().await.unwrap();
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
    }
}

/// RFC 9110 section 15: a status that is none counts as a 5xx; a 303 says that something was done.
#[tokio::test(start_paused = true)]
async fn a_status_that_says_nothing_is_asked_about_again() {
    for code in [101, 303, 600, 799, 999] {
        let server = Scripted::new([status(code), Fault::None, status(code)]);
        let engine = open(&server, single());
        write(&engine, 1..=3);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, server.stored()), (3, numbers(1..=3)), "{code}");

        let server = Scripted::new(std::iter::repeat_n(status(code), 1_000));
        let engine = open(&server, single().delivery_timeout_ms(3_000u64));
        write(&engine, 1..=1);
        assert!(engine.flush().await.is_err());
        let first = outcome(&engine, 1).await;
        assert_eq!(first.status, Status::DeliveryUnknown, "{code}: {first:?}");
    }
}
