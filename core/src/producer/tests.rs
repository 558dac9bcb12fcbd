//! The engine over the model server, under virtual time: each promise of the delivery contract,
//! and random schedules of faults against all of them at once.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::config::Config;
use super::engine::Engine;
use super::receipts::{Outcome, Reason, Status};
use super::{ProducerState, close};
use crate::endpoint::Endpoint;
use crate::error::{Detail, ErrorKind};
use crate::options::{Options, Scope};
use crate::runtime::{Runtime, lock};
use crate::transport::scripted::{Fault, Scripted};

fn open(server: &Scripted, options: Options) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    Engine::start_on(Runtime::for_test(Arc::new(server.clone())), endpoint, config, None, None)
}

/// A producer whose batches hold one write each, so that tests see single requests.
fn single() -> Options {
    Options::new().max_batch_items(1u64).max_in_flight(4u64)
}

fn write(engine: &Engine, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(engine.accept(&[n.to_string().as_bytes()]).unwrap(), n);
        check_accounts(engine);
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn check_accounts(engine: &Engine) {
    let s = engine.stats();
    assert_eq!(s.accepted, s.delivered + s.rejected + s.cancelled + s.unknown + s.pending);
    assert!(s.buffered_bytes <= engine.config.max_buffer_bytes);
}

async fn outcome(engine: &Engine, id: u64) -> Outcome {
    engine.wait(id).await.unwrap()
}

fn delay(fault: Fault, there: u64, back: u64) -> Fault {
    let (there, back) = (Duration::from_millis(there), Duration::from_millis(back));
    Fault::Delay(Box::new(fault), there, back)
}

fn status(code: u16) -> Fault {
    Fault::Answer(code, Vec::new())
}

#[tokio::test(start_paused = true)]
async fn writes_arrive_once_in_call_order() {
    let server = Scripted::default();
    let engine = open(&server, Options::new());
    write(&engine, 1..=500);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.duplicates), (500, 0));
    assert_eq!(server.stored(), numbers(1..=500));
    let stats = engine.stats();
    assert!(stats.requests < 500 && stats.buffered_bytes == 0 && stats.pending == 0);
}

#[tokio::test(start_paused = true)]
async fn transient_failures_repeat_the_same_tuple_and_bytes() {
    for fault in [Fault::Refuse, Fault::CutBefore, Fault::CutAfter, status(503), status(429)] {
        let server = Scripted::new([fault.clone(), fault.clone(), Fault::None]);
        let engine = open(&server, single());
        write(&engine, 1..=3);
        engine.flush().await.unwrap();
        assert_eq!(server.stored(), numbers(1..=3), "{fault:?}");
        let model = lock(&server.model);
        let repeats: Vec<_> = model.seen.iter().filter(|(_, seq, _)| *seq == 0).collect();
        assert!(repeats.iter().all(|seen| *seen == repeats[0]), "{fault:?}");
        assert_eq!(engine.stats().sessions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_its_cap() {
    for (asked, at_least, at_most) in [("7", 7, 8), ("100000", 60, 61)] {
        let later = Fault::Answer(503, vec![("retry-after", asked.into())]);
        let server = Scripted::new([later]);
        let engine = open(&server, Options::new());
        let started = tokio::time::Instant::now();
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(at_least) && took < Duration::from_secs(at_most));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_id_loses_nothing() {
    let server = Scripted::default();
    for run in 0..3 {
        let engine = open(&server, Options::new());
        write(&engine, 1..=10);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.duplicates), (10, 0), "run {run}");
        engine.stop_now();
        engine.ended().await;
    }
    assert_eq!(server.stored().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_is_outbid_by_the_newest_producer() {
    let server = Scripted::default();
    let future = crate::options::MAX_SAFE_INTEGER - 100_000;
    lock(&server.model).producers.insert("p".into(), (future, 5));
    let engine = open(&server, Options::new());
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));

    let modest = open(&server, Options::new().auto_claim(false));
    write(&modest, 1..=1);
    let error = modest.flush().await.unwrap_err();
    let Some(Detail::Delivery { cause, .. }) = error.detail() else { panic!("{error:?}") };
    assert_eq!(cause.kind(), ErrorKind::StaleEpoch);
}

#[tokio::test(start_paused = true)]
async fn the_older_of_two_is_fenced_and_does_not_fight_back() {
    let server = Scripted::default();
    let old = open(&server, Options::new());
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(&server, Options::new());
    write(&new, 1..=2);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    assert!(old.flush().await.is_err());
    let fenced = outcome(&old, 2).await;
    assert_eq!((fenced.status, fenced.reason), (Status::Cancelled, Some(Reason::Fenced)));
    assert_eq!(old.book().state, ProducerState::Fenced);
    let error = old.accept(&[b"3"]).unwrap_err();
    assert!(matches!(error.detail(), Some(Detail::StaleEpoch { .. })), "{error:?}");
    assert_eq!(server.stored(), ["1", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn requests_out_of_order_end_in_order() {
    // The second of three arrives last; the server answers the third with a gap.
    let server = Scripted::new([Fault::None, delay(Fault::None, 50, 0), Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=6);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=6));
    assert_eq!(engine.stats().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn one_bad_write_among_a_thousand_is_rejected_alone() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("500");
    let engine = open(&server, Options::new());
    write(&engine, 1..=1000);
    let error = engine.flush().await.unwrap_err();
    assert!(
        matches!(error.detail(), Some(Detail::Delivery { delivered: 999, undelivered: 1, .. })),
        "{error:?}"
    );
    let bad = outcome(&engine, 500).await;
    assert_eq!((bad.status, bad.reason), (Status::Rejected, Some(Reason::Refused)));
    let expected: Vec<_> = numbers(1..=1000).into_iter().filter(|n| n != "500").collect();
    assert_eq!(server.stored(), expected);
    assert!(engine.stats().requests < 40, "{}", engine.stats().requests);
    write(&engine, 1001..=1001);
    engine.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything_is_not_asked_about_every_write() {
    let server = Scripted::new(std::iter::repeat_n(status(400), 200));
    let engine = open(&server, Options::new());
    write(&engine, 1..=10_000);
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.stats().rejected, 10_000);
    assert!(engine.stats().requests < 100, "{}", engine.stats().requests);
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_never_rewinds() {
    // The third batch was stored, its answer lost, and then the server forgot its producers.
    for (choice, status, maybe_duplicate, copies) in
        [("resend", Status::Delivered, true, 2), ("report", Status::DeliveryUnknown, false, 1)]
    {
        let forgot = Fault::Amnesia(Box::new(Fault::None));
        let server = Scripted::new([Fault::None, Fault::None, Fault::CutAfter, forgot]);
        let engine = open(&server, single().max_in_flight(1u64).on_uncertain(choice));
        write(&engine, 1..=5);
        let _ = engine.flush().await;
        let unsure = outcome(&engine, 3).await;
        assert_eq!((unsure.status, unsure.maybe_duplicate), (status, maybe_duplicate));
        for id in [1, 2, 4, 5] {
            let outcome = outcome(&engine, id).await;
            assert!(outcome.is_delivered() && !outcome.maybe_duplicate, "{id}");
        }
        let threes = server.stored().iter().filter(|n| *n == "3").count();
        assert_eq!(threes, copies, "{choice}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_deduplication_is_found_out() {
    let server = Scripted::default();
    lock(&server.model).mute = true;
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 1).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
    assert_eq!(server.stored(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_of_the_stream_is_final() {
    let closed = || Fault::Answer(409, vec![("stream-closed", "true".into())]);
    for (fault, status, reason) in [
        (status(404), Status::Rejected, Reason::NotFound),
        (status(401), Status::Rejected, Reason::Unauthorized),
        (status(409), Status::Rejected, Reason::Conflict),
        (closed(), Status::Cancelled, Reason::StreamClosed),
    ] {
        let server = Scripted::new([fault.clone()]);
        let engine = open(&server, single());
        write(&engine, 1..=2);
        assert!(engine.flush().await.is_err());
        let first = outcome(&engine, 1).await;
        assert_eq!((first.status, first.reason), (status, Some(reason)), "{fault:?}");
        assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
        assert!(server.stored().is_empty());
        assert!(engine.accept(&[b"3"]).is_err());
        check_accounts(&engine);
    }
}

#[tokio::test(start_paused = true)]
async fn a_404_after_success_must_persist() {
    let server = Scripted::new([Fault::None, status(404), status(404), Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));

    let server =
        Scripted::new([Fault::None].into_iter().chain(std::iter::repeat_n(status(404), 50)));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 2).await.reason, Some(Reason::NotFound));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_outcomes_and_not_in_a_dead_producer() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().delivery_timeout_ms(3_000u64));
    write(&engine, 1..=10);
    let error = engine.flush().await.unwrap_err();
    let Some(Detail::Delivery { cause, undelivered: 10, .. }) = error.detail() else {
        panic!("{error:?}")
    };
    assert_eq!(cause.kind(), ErrorKind::Transport);
    assert_eq!(cause.url(), Some("http://model/stream"));
    let lost = outcome(&engine, 1).await;
    assert_eq!((lost.status, lost.reason), (Status::Cancelled, Some(Reason::Expired)));
    lock(&server.model).down = false;
    write(&engine, 11..=12);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), ["11", "12"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_write_that_may_be_stored_says_so() {
    let server = Scripted::new(std::iter::repeat_n(Fault::CutAfter, 100));
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 1).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn the_buffer_is_bounded_and_frees_itself() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().max_buffer_bytes(100u64));
    let mut accepted = 0;
    let error = loop {
        match engine.accept(&[b"1"]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert_eq!(error.reason(), Some("buffer-bytes-exceeded"));
    assert_eq!(accepted, 10);
    assert!(engine.flush().await.is_err(), "a refused call is reported");
    assert!(engine.accept(&[b"1"]).is_ok());
    engine.flush().await.unwrap();
    let error = engine.accept(&[&[b'1'; 200]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);

    let engine = open(&server, Options::new().max_buffer_items(2u64));
    write(&engine, 1..=2);
    assert_eq!(engine.accept(&[b"3"]).unwrap_err().reason(), Some("buffer-count-exceeded"));
}

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
async fn close_ends_the_stream_once_everything_is_in_it() {
    let server = Scripted::new([Fault::None, status(503), Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let (first, second) = (close(&engine, Some(b"3".to_vec())), close(&engine, None));
    assert_eq!(engine.accept(&[b"4"]).unwrap_err().kind(), ErrorKind::ProducerClosed);
    let result = first.await.unwrap();
    assert!(result.final_offset.is_some());
    assert_eq!(second.await.unwrap(), result);
    assert_eq!(close(&engine, None).await.unwrap(), result);
    assert_eq!(server.stored(), numbers(1..=3));
    assert!(lock(&server.model).closed);
    engine.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_sends_no_end_and_close_may_be_called_again() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert_eq!(close(&engine, None).await.unwrap_err().kind(), ErrorKind::Delivery);
    assert!(!lock(&server.model).closed);
    write(&engine, 3..=3);
    close(&engine, None).await.unwrap();
    assert_eq!(server.stored(), ["2", "3"]);
    assert!(lock(&server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn stopping_drains_and_stop_settles_at_once() {
    let server = Scripted::new([delay(Fault::None, 100, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.begin_stop();
    assert_eq!(engine.accept(&[b"4"]).unwrap_err().reason(), Some("producer-stopping"));
    engine.flush().await.unwrap();
    engine.ended().await;
    assert_eq!(server.stored(), numbers(1..=3));
    assert_eq!(engine.book().state, ProducerState::Stopped);
    engine.flush().await.unwrap();

    let server = Scripted::new([delay(Fault::None, 1_000, 0)]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    tokio::time::sleep(Duration::from_millis(10)).await;
    engine.stop_now();
    engine.ended().await;
    let under_way = outcome(&engine, 1).await;
    assert_eq!(
        (under_way.status, under_way.reason),
        (Status::DeliveryUnknown, Some(Reason::ProducerStopped))
    );
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_replay_under_a_given_epoch_counts_duplicates() {
    let server = Scripted::default();
    for duplicates in [0, 3] {
        let engine = open(&server, single().epoch(7u64));
        write(&engine, 1..=3);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.duplicates), (3, duplicates));
        engine.stop_now();
    }
    assert_eq!(server.stored(), numbers(1..=3));
}

#[tokio::test(start_paused = true)]
async fn an_unearned_204_is_not_believed() {
    // A colliding epoch: the server has this tuple from somebody else.
    let server = Scripted::default();
    let taken = open(&server, single().on_uncertain("resend"));
    let epoch = taken.book().gauges.epoch;
    lock(&server.model).producers.insert("p".into(), (epoch, 3));
    write(&taken, 1..=2);
    taken.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
    assert!(outcome(&taken, 1).await.maybe_duplicate);
}

/// A random fault. Amnesia is left to the schedules that allow doubt.
fn random_fault(rng: &mut StdRng, amnesia: bool) -> Fault {
    match rng.random_range(0..if amnesia { 14 } else { 13 }) {
        0 => Fault::Refuse,
        1 => Fault::CutBefore,
        2 | 3 => Fault::CutAfter,
        4 => status(503),
        5 => Fault::Answer(429, vec![("retry-after", "1".into())]),
        6 => status(500),
        7 | 8 => {
            let (there, back) = (rng.random_range(0..200), rng.random_range(0..200));
            delay(random_fault(rng, amnesia), there, back)
        }
        13 => Fault::Amnesia(Box::new(Fault::None)),
        _ => Fault::None,
    }
}

async fn random_schedule(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let amnesia = seed.is_multiple_of(3);
    let faults: Vec<_> =
        (0..rng.random_range(0..60)).map(|_| random_fault(&mut rng, amnesia)).collect();
    let server = Scripted::new(faults.clone());
    let poison = rng.random_bool(0.3);
    lock(&server.model).poison = poison.then_some("13");
    let options = Options::new()
        .max_batch_items(rng.random_range(1..20u64))
        .max_in_flight(rng.random_range(1..6u64))
        .linger_ms(rng.random_range(0..3u64))
        .delivery_timeout_ms(if rng.random_bool(0.2) { 2_000u64 } else { 0 })
        .on_uncertain(if rng.random_bool(0.5) { "resend" } else { "report" });
    let engine = open(&server, options);
    let count = rng.random_range(1..120);
    for n in 1..=count {
        write(&engine, n..=n);
        if rng.random_bool(0.2) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
    }
    let all = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(all.is_ok(), "seed {seed} is stuck: {faults:?}");
    check_accounts(&engine);
    assert_eq!(engine.stats().buffered_bytes, 0);
    let stored = server.stored();
    for n in 1..=count {
        let outcome = outcome(&engine, n).await;
        let copies = stored.iter().filter(|m| **m == n.to_string()).count();
        // Without its memory a server stores a repeat again, and only looking could tell.
        let most = if amnesia { usize::MAX } else { 1 };
        let truthful = match outcome.status {
            Status::Delivered => (1..=most).contains(&copies),
            Status::DeliveryUnknown => copies <= most,
            _ => copies == 0,
        };
        assert!(truthful, "seed {seed}: {n} is {outcome:?} and stored {copies} times: {faults:?}");
    }
    let mut first_seen: Vec<u64> = Vec::new();
    for message in stored.iter().map(|m| m.parse().unwrap()) {
        if !first_seen.contains(&message) {
            first_seen.push(message);
        }
    }
    assert!(amnesia || first_seen.is_sorted(), "seed {seed}: {first_seen:?}");
}

/// `DURSTREAM_SEED` and `DURSTREAM_SCHEDULES` replay one failure or go far beyond the default.
#[tokio::test(start_paused = true)]
async fn random_schedules_keep_every_promise() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    let count = number("DURSTREAM_SCHEDULES").unwrap_or(2_000);
    for seed in first..first + count {
        random_schedule(seed).await;
    }
}
