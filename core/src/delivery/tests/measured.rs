//! What is counted and measured of a producer.

use crate::delivery::tests::*;
use crate::stats::prometheus::Exposition;

/// Within what a distribution is known to, and some milliseconds of the model's.
fn is_about(found: u64, exact: u64) -> bool {
    found.abs_diff(exact) as f64 <= 0.032 * exact as f64 + 4_000.0
}

#[tokio::test(start_paused = true)]
async fn latencies_are_those_of_batches_and_their_requests() {
    let slow = |there, back| delay(Fault::None, there, back);
    let engine = open(&Scripted::new([slow(30, 10), slow(200, 0)]), single());
    write(&engine, 1..=2); // the second one waits behind the first for its answer
    engine.flush().await.unwrap();
    let stats = engine.stats();
    assert_eq!((stats.batches, stats.batch_writes.count, stats.batch_writes.max), (2, 2, 1));
    let (queue, request) = (stats.queue_latency_us, stats.request_latency_us);
    let delivery = stats.delivery_latency_us;
    assert!([delivery, queue, request].iter().all(|latency| latency.count == 2), "{stats:?}");
    assert!(is_about(request.p50, 40_000) && is_about(request.max, 200_000), "{request:?}");
    assert!(is_about(queue.max, 40_000) && queue.p50 < 2_000, "{queue:?}");
    assert!(is_about(delivery.p50, 40_000) && is_about(delivery.max, 240_000), "{delivery:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_class_of_answer() {
    let faults = [status(429), Fault::Refuse, status(503), status(500), Fault::CutBefore];
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    server.script(faults.into());
    write(&engine, 2..=3);
    engine.flush().await.unwrap();
    let s = engine.stats();
    let classes = [s.answers_2xx, s.answers_3xx, s.answers_4xx, s.answers_5xx, s.unanswered];
    assert_eq!((classes, s.reconciliations), ([4, 0, 1, 2, 2], 3), "the writes, and looks");
    assert_eq!(s.requests, classes.iter().sum::<u64>());
    assert_eq!((s.request_latency_us.count, s.queue_latency_us.count), (5, 3));
    assert_eq!(s.sent_bytes, (s.requests - s.reconciliations) * "[1]".len() as u64);
    assert_eq!((s.delivered_bytes, s.batch_bytes.sum), (3, 3));
    server.script(vec![status(304)]);
    write(&engine, 4..=4);
    engine.flush().await.unwrap_err();
    assert_eq!(engine.stats().answers_3xx, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_delivered_is_counted_by_reason() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("2");
    let engine = open(&server, Options::new().delivery_timeout_ms(60_000u64));
    write(&engine, 1..=3);
    engine.flush().await.unwrap_err();
    lock(&server.model).down = true;
    write(&engine, 4..=7);
    engine.flush().await.unwrap_err();
    let stats = engine.stats();
    assert_eq!(stats.undelivered(Reason::Refused), 1);
    assert_eq!((stats.undelivered(Reason::Expired), stats.expired), (4, 4));
    let text = engine.prometheus(Exposition::Prometheus);
    for (reason, count) in [("refused", 1), ("expired", 4)] {
        let end = format!("reason=\"{reason}\"}} {count}");
        assert!(text.lines().any(|line| line.ends_with(&end)), "{end} in {text}");
    }
    check_accounts(&engine);
}

#[tokio::test(start_paused = true)]
async fn a_fence_is_counted_once() {
    let (old, new) = fenced(&Scripted::default()).await;
    assert_eq!((old.stats().fenced, new.stats().fenced), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn ages_grow_while_nothing_is_acknowledged() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    sleep(5_000).await;
    let ages = |engine: &Engine| {
        let stats = engine.stats();
        (stats.oldest_pending_ms / 1_000, stats.since_acknowledgement_ms / 1_000)
    };
    assert_eq!(ages(&engine), (0, 5));
    lock(&server.model).down = true;
    write(&engine, 2..=2);
    sleep(10_000).await;
    write(&engine, 3..=3);
    assert_eq!(ages(&engine), (10, 15), "of the batch under way");
    lock(&server.model).down = false;
    engine.flush().await.unwrap();
    assert_eq!(ages(&engine), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_stream_is_counted() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let engine = open_at(&server, single(), Some("0"));
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(engine.stats().reconciliations, 1);
}

#[tokio::test(start_paused = true)]
async fn a_producer_without_a_batch_measures_nothing() {
    let engine = open(&Scripted::default(), Options::new());
    assert!(engine.measured().meters.is_none());
}

/// In Prometheus a state is a series, which has to be there before a producer is in it.
#[tokio::test(start_paused = true)]
async fn prometheus_is_told_of_every_state() {
    let engine = open(&Scripted::default(), Options::new());
    let text = engine.prometheus(Exposition::Prometheus);
    use Lifecycle::*;
    for state in [Connecting, Ready, Backoff, Reconnecting, Stopping, Stopped, Failed, Fenced] {
        let end = format!("state=\"{}\"}} {}", state.as_str(), u8::from(state == Connecting));
        assert!(text.lines().any(|line| line.ends_with(&end)), "{end} in {text}");
    }
}
