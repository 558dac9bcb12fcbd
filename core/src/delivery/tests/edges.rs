//! What the host's mistakes, the clock and rare orders of events must not bring about.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::callbacks::{Callbacks, ErrorCallback, Failure};
use crate::delivery::closing::close;
use crate::delivery::closing::{Last, close_by};
use crate::delivery::tests::hostile::*;
use crate::delivery::tests::*;
use crate::transport::network;
use crate::transport::request::Sending;
use crate::transport::request::{Request, Transport};

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

/// `delivery_timeout_ms` bounds every write; a jump of the clock only puts it off until one more
/// attempt ended.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_predecessor_expires_after_a_jump_of_the_clock() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let start = |options, after| {
        let endpoint = Endpoint::resolve(&model()).unwrap();
        let config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
        Engine::start_on(runtime.clone(), endpoint, config, None, after)
    };
    let first = start(single().delivery_timeout_ms(0u64), None);
    write(&first, 1..=1);
    first.begin_stop();
    let second = start(single().delivery_timeout_ms(5_000u64), Some(first));
    write(&second, 1..=1);
    sleep(100).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), second.flush()).await;
    assert!(flushed.is_ok(), "it hangs: {:?}", second.stats());
}

/// A clock jump expires nothing before one more attempt ended.
#[tokio::test(start_paused = true)]
async fn the_attempt_that_a_jump_broke_is_not_the_one_more() {
    let server = Scripted::new([Fault::None, delay(Fault::CutBefore, 1_000, 0)]);
    let engine = open(&server, Options::new().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    sleep(100).await;
    write(&engine, 3..=3);
    sleep(100).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let flushed = engine.flush().await;
    assert!(flushed.is_ok(), "{flushed:?}, after {} requests", engine.stats().requests);
}

/// A `close` that nobody answered may have closed the stream, with a last message as without one;
/// the next `close` takes "it is closed" for its own ("after an unanswered close of ours it means
/// closed").
#[tokio::test(start_paused = true)]
async fn a_close_after_an_unanswered_last_message_finds_it_done() {
    let server = Scripted::new([Fault::None, Fault::CutAfter]);
    let engine = open(&server, single().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let closing = close(&engine, Last::of(Some(b"2")));
    sleep(3).await;
    lock(&server.model).down = true;
    assert!(closing.await.is_err() && lock(&server.model).closed);
    lock(&server.model).down = false;
    let again = close(&engine, Last::Nothing).await;
    assert!(again.is_ok(), "{again:?}");
}

/// `Outcome::offset` is "the stream's offset after its batch", or none where it is not known.
#[tokio::test(start_paused = true)]
async fn the_offset_of_a_write_is_that_of_its_own_batch() {
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 500), Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let (second, third) = tokio::join!(outcome(&engine, 2), outcome(&engine, 3));
    assert_eq!(third.offset.as_deref(), Some("3"));
    assert!(second.offset.is_none() || second.offset.as_deref() == Some("2"), "{second:?}");
}

/// A timed-out or cancelled flush consumes nothing.
#[tokio::test(start_paused = true)]
async fn a_flush_whose_report_nobody_took_consumes_nothing() {
    let server = Scripted::new([delay(status(404), 100, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let mut waiting = engine.flush();
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    sleep(500).await;
    drop(waiting);
    assert!(engine.flush().await.is_err(), "the write was not delivered, and nobody was told");
}

/// A last message that fails is reported once, by `close`; the next `close` ends the stream.
#[tokio::test(start_paused = true)]
async fn a_last_message_that_is_too_large_is_reported_once() {
    let server = Scripted::default();
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close(&engine, Last::of(Some(b"12345678901"))).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    let again = close(&engine, Last::Nothing).await;
    assert!(again.is_ok(), "{again:?}");
}

/// The bytes `on_error` receives stay reserved until it returns.
#[tokio::test(start_paused = true)]
async fn the_bytes_of_an_expired_write_stay_reserved_until_the_callback_returns() {
    let slow = || delay(Fault::None, 0, 2_000);
    let server = Scripted::new([Fault::None, slow(), slow()]);
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    let (inside, called) = std::sync::mpsc::channel();
    let (go_on, may_return) = std::sync::mpsc::channel::<()>();
    let may_return = std::sync::Mutex::new(may_return);
    let callback: ErrorCallback = Arc::new(move |_: Failure| {
        inside.send(()).unwrap();
        let _ = may_return.lock().unwrap().recv();
    });
    engine.listeners.add(1, Callbacks { on_error: Some(callback), on_delivery: None });
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

/// A request whose own task broke counts as unanswered (`on_lost_flight`), whatever else is under
/// way.
#[tokio::test(start_paused = true)]
async fn a_request_that_broke_beside_another_is_repeated() {
    let nth = AtomicU64::new(0);
    let broken = move |server: &Scripted, request: Request| -> Sending {
        let sending = server.send(request);
        match nth.fetch_add(1, Ordering::Relaxed) {
            1 => Box::pin(async { panic!("a mistake of ours") }),
            _ => sending,
        }
    };
    let server = Scripted::default();
    let options = single().max_in_flight(2u64).delivery_timeout_ms(0u64);
    let engine = open_on(Behind(server.clone(), broken), &model(), options);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok(), "it hangs: {:?}", engine.stats());
}

/// `delivery-unknown` has one of five reasons.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_has_a_reason_of_its_own() {
    let allowed = [
        Reason::RetryExhausted,
        Reason::Expired,
        Reason::ProducerStopped,
        Reason::ProducerFailed,
        Reason::Fenced,
    ];
    let closed = Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for refusal in [status(404), status(401), status(409), closed] {
        let server = Scripted::new([status(500), refusal.clone()]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        assert!(engine.flush().await.is_err());
        let unknown = outcome(&engine, 1).await;
        assert_eq!(unknown.status, Status::DeliveryUnknown);
        assert!(allowed.contains(&unknown.reason.unwrap()), "{refusal:?}: {unknown:?}");
    }
}

/// With a given epoch "batches are cut only by size, `linger_ms` and flush", so that a replay needs
/// only "flushes at the same places".
#[tokio::test(start_paused = true)]
async fn a_replay_with_flushes_at_the_same_places_loses_nothing() {
    let server = Scripted::default();
    let first = open(&server, Options::new().epoch(7u64));
    write(&first, 1..=1);
    sleep(10).await; // the job is slow today
    write(&first, 2..=2);
    first.flush().await.unwrap();
    first.stop_now(); // and dies before the third
    first.ended().await;
    let second = open(&server, Options::new().epoch(7u64));
    write(&second, 1..=2);
    second.flush().await.unwrap();
    write(&second, 3..=3);
    let report = second.flush().await.unwrap();
    assert!(server.stored() == numbers(1..=3), "{:?}, {report:?}", server.stored());
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

/// Later sessions "never claim over anyone", and the newest producer wins.
#[tokio::test(start_paused = true)]
async fn a_later_session_claims_over_nobody() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let old = open(&server, single());
    write(&old, 1..=1);
    assert!(old.flush().await.is_err(), "the only write so far is refused");
    let new = open(&server, single());
    new.accept(&[b"100"]).unwrap();
    new.flush().await.unwrap();
    write(&old, 2..=2);
    let _ = old.flush().await;
    new.accept(&[b"101"]).unwrap();
    let flushed = new.flush().await;
    assert!(flushed.is_ok(), "the newer one is fenced: {flushed:?}");
}

/// The write the answer was about has the answer's outcome; one before it that is only waiting for
/// its repeat shares the producer's end.
#[tokio::test(start_paused = true)]
async fn a_final_answer_is_told_of_the_write_it_was_about() {
    let server = Scripted::new([Fault::None, status(429), status(409)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    assert!(engine.flush().await.is_err());
    let (waiting, refused) = (outcome(&engine, 2).await, outcome(&engine, 3).await);
    assert_eq!((waiting.status, refused.status), (Status::Cancelled, Status::Rejected));
}

/// `Snapshot::in_flight` is "requests under way".
#[tokio::test(start_paused = true)]
async fn a_producer_that_ended_has_no_request_under_way() {
    let closed = Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for (answer, stops) in [(delay(Fault::None, 1_000, 0), true), (closed, false)] {
        let server = Scripted::new([answer]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        sleep(20).await;
        if stops {
            engine.stop_now();
        }
        engine.ended().await;
        assert_eq!(engine.snapshot().in_flight, 0, "{stops}");
    }
}

/// What is told of is not under way any more.
#[tokio::test(start_paused = true)]
async fn a_flush_is_told_when_no_request_is_under_way() {
    let engine = open(&Scripted::default(), single());
    write(&engine, 1..=3);
    let (shown, seen) = (Arc::new(Mutex::new(None)), engine.clone());
    let show = shown.clone();
    let flushed = engine.flush();
    flushed.on_complete(move |report| {
        let in_flight = seen.snapshot().in_flight;
        *lock(&show) = Some((report.unwrap().delivered, in_flight));
    });
    sleep(1_000).await;
    assert_eq!(*lock(&shown), Some((3, 0)));
}

/// `Retry-After` in seconds is "honoured up to a cap", however large.
#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_all_bounds_is_capped() {
    let later = Fault::Answer(503, vec![("retry-after", "99999999999999999999".into())]);
    let engine = open(&Scripted::new([later]), single());
    let started = tokio::time::Instant::now();
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(60), "{:?}", started.elapsed());
}

/// `Outcome::attempts` is "requests it took".
#[tokio::test(start_paused = true)]
async fn attempts_under_every_tuple_are_counted() {
    let server = Scripted::new([Fault::None, status(429), status(413)]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let second = outcome(&engine, 2).await;
    assert_eq!((second.status, second.attempts), (Status::Delivered, 2));
}

/// A replay under a given epoch that has written two of the earlier run's three messages.
async fn shorter_replay(server: &Scripted) -> Arc<Engine> {
    let first = open(server, single().epoch(7u64));
    write(&first, 1..=3);
    first.flush().await.unwrap();
    first.stop_now();
    let second = open(server, single().epoch(7u64));
    write(&second, 1..=2); // the job has less to do today
    second
}

/// A `close` that succeeded has closed the stream. Under a given epoch the end's tuple may be one
/// the earlier run used for a write: the server answers 204 and closes nothing.
#[tokio::test(start_paused = true)]
async fn a_close_that_succeeded_has_closed_the_stream() {
    let server = Scripted::default();
    let second = shorter_replay(&server).await;
    let closed = close(&second, Last::Nothing).await;
    assert!(closed.is_err() || lock(&server.model).closed, "{closed:?}");
}

/// The same with a last message whose tuple an earlier run used for a write.
#[tokio::test(start_paused = true)]
async fn a_close_whose_last_message_is_a_duplicate_has_closed_the_stream() {
    let server = Scripted::default();
    let second = shorter_replay(&server).await;
    let closed = close(&second, Last::of(Some(b"3"))).await;
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(closed.is_err() || lock(&server.model).closed, "{closed:?}");
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

/// Of several who end a stream through one producer, each hears of its own end, and of another's
/// only that it is done.
#[tokio::test(start_paused = true)]
async fn a_close_does_not_fail_for_the_last_message_of_another() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close_by(1, &engine, Last::of(Some(b"12345678901")));
    let other = close_by(2, &engine, Last::Anybodys);
    assert_eq!(large.await.unwrap_err().kind(), ErrorKind::TooLarge);
    let ended = other.await;
    assert!(ended.is_ok() && lock(&server.model).closed, "{ended:?}");
}

/// A close that begins where another has failed is not ended with that one.
#[tokio::test(start_paused = true)]
async fn a_close_behind_one_that_failed_ends_the_stream() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single().max_write_bytes(10u64));
    write(&engine, 1..=1);
    let large = close_by(1, &engine, Last::of(Some(b"12345678901")));
    let other = close_by(2, &engine, Last::of(Some(b"2")));
    assert_eq!(large.await.unwrap_err().kind(), ErrorKind::TooLarge);
    let ended = other.await;
    assert!(ended.is_ok() && lock(&server.model).closed, "{ended:?}");
    assert_eq!(server.stored(), numbers(1..=2));
}

/// A request that panics is a fault of ours: it is repeated like any other failure, and not as fast as
/// the processor goes; what is wrong can be seen from outside.
#[tokio::test(start_paused = true)]
async fn a_request_that_panics_is_repeated_with_pauses() {
    let server = Scripted::default();
    let left = AtomicU64::new(5);
    let panics = move |server: &Scripted, request: Request| -> Sending {
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Box::pin(async { panic!("a fault, for this test") }),
            Err(_) => server.send(request),
        }
    };
    let engine = open_on(Behind(server.clone(), panics), &model(), single());
    let started = tokio::time::Instant::now();
    write(&engine, 1..=1);
    let waits_for = engine.flush();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let seen = engine.snapshot().last_error;
    assert_eq!(seen.map(|error| error.kind()), Some(ErrorKind::Internal));
    waits_for.await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100), "the pauses of five failures");
    assert_eq!(server.stored(), numbers(1..=1));
}

/// "A batch that leaves a replay unsent ends its session: what follows never takes its sequence
/// number", under which the server has something of an earlier run.
#[tokio::test(start_paused = true)]
async fn what_follows_an_expired_batch_of_a_replay_is_not_taken_for_it() {
    let server = Scripted::default();
    let first_run = open(&server, single().epoch(7u64));
    write(&first_run, 1..=3);
    first_run.flush().await.unwrap();
    first_run.stop_now();

    lock(&server.model).down = true;
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let options = Options::new().epoch(7u64).delivery_timeout_ms(1_000u64);
    let mut config = Config::new(Scope::State, &options, "p", "application/json").unwrap();
    config.create = Some(http::HeaderMap::new());
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let again = Engine::start_on(runtime, endpoint, config, None, None);
    again.accept(&[b"1"]).unwrap();
    assert!(again.flush().await.is_err(), "it expires before the stream is open");
    lock(&server.model).down = false;
    let id = again.accept(&[b"4"]).unwrap();
    again.flush().await.unwrap();
    let outcome = outcome(&again, id).await;
    assert_eq!(server.stored(), ["1", "2", "3", "4"], "{outcome:?}");
}

/// Nor is what still gathers cut where something older expires.
#[tokio::test(start_paused = true)]
async fn what_gathers_is_not_cut_by_what_expires_before_it() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let options = Options::new().epoch(7u64).max_batch_items(2u64).linger_ms(5_000u64);
    let engine = open(&server, options.delivery_timeout_ms(10_000u64));
    write(&engine, 1..=4); // one on the wire, one in the queue
    sleep(9_000).await;
    write(&engine, 5..=5);
    sleep(1_500).await; // the first four expire
    lock(&server.model).down = false;
    assert_eq!(engine.stats().cancelled, 4);
    write(&engine, 6..=6);
    let _ = engine.flush().await; // which tells of the four
    let bodies: Vec<_> = lock(&server.model).seen.iter().map(|(_, _, body)| body.clone()).collect();
    assert_eq!(bodies, ["[5,6]"]);
}
