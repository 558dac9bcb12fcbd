//! Writes gather while requests are in flight, and an idle producer sends at once (delivery.md 3.2).

use crate::delivery::engine::accept::Checked;
use crate::delivery::tests::*;

/// A write each tenth of a millisecond, which the model server answers sooner than that.
async fn trickle(engine: &Engine, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        write(engine, n..=n);
        tokio::time::advance(Duration::from_micros(100)).await;
        tokio::task::yield_now().await;
    }
}

/// Lets the tasks run while no time passes.
async fn settle_down() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// A producer that had its last answer a while ago and sends its `WARM_UP`th request now: the
/// requests' own distance is next to nothing by then.
async fn one_under_way() -> Arc<Engine> {
    let engine = open(&Scripted::default(), Options::new().max_in_flight(64u64));
    for n in 1..WARM_UP {
        write(&engine, n..=n);
        engine.flush().await.unwrap();
    }
    tokio::time::advance(Duration::from_millis(2)).await;
    write(&engine, WARM_UP..=WARM_UP);
    settle_down().await;
    assert_eq!(engine.stats().requests, WARM_UP, "behind a request of long ago");
    tokio::time::advance(Duration::from_micros(500)).await;
    engine
}

const WARM_UP: u64 = 64;
const NEXT: u64 = WARM_UP + 1;

#[tokio::test(start_paused = true)]
async fn an_idle_producer_lingers_and_flush_hurries_it() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().linger_ms(500u64));
    let started = tokio::time::Instant::now();
    write(&engine, 1..=2);
    outcome(&engine, 2).await;
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert_eq!(engine.stats().requests, 1);
    let started = tokio::time::Instant::now();
    write(&engine, 3..=3);
    engine.flush().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_steady_writer_sends_a_request_each_millisecond_and_not_each_write() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().max_in_flight(64u64));
    trickle(&engine, 1..=1000).await; // in 100 ms
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=1000));
    let requests = engine.stats().requests;
    assert!((40..=110).contains(&requests), "{requests} requests");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_held_behind_a_request() {
    let engine = one_under_way().await;
    write(&engine, NEXT..=NEXT);
    settle_down().await;
    assert_eq!(engine.stats().requests, WARM_UP);
    tokio::time::advance(Duration::from_millis(2)).await;
    settle_down().await;
    assert_eq!(engine.stats().requests, NEXT);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_is_not_held() {
    let engine = one_under_way().await;
    write(&engine, NEXT..=NEXT);
    settle_down().await;
    let _waits = engine.wait(NEXT);
    settle_down().await;
    assert_eq!(engine.stats().requests, NEXT);

    let engine = one_under_way().await;
    let _waits = engine.accept_awaited(b"3", Checked::Whole, None).unwrap();
    settle_down().await;
    assert_eq!(engine.stats().requests, NEXT);

    let engine = one_under_way().await;
    write(&engine, NEXT..=NEXT);
    let _waits = engine.flush();
    settle_down().await;
    assert_eq!(engine.stats().requests, NEXT);
}
