//! The engine over the model server, under virtual time: each promise of the delivery contract.

mod answers;
mod asking;
mod corners;
mod determinism;
mod edges;
mod gathering;
mod hostile;
mod lifecycle;
mod looking;
mod rough;
mod schedules;
mod sockets;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::buffer::lifecycle::ProducerState;
use crate::delivery::config::Config;
use crate::delivery::engine::Engine;
use crate::error::{Detail, ErrorKind};
use crate::options::{Options, Scope};
use crate::outcome::{Outcome, Status};
use crate::reason::Reason;
use crate::runtime::io::Runtime;
use crate::runtime::threads::lock;
use crate::transport::endpoint::Endpoint;
use crate::transport::network;
use crate::transport::scripted::{FOREIGN, Fault, Scripted};

/// The same where nothing runs beside the test's executor.
fn open_simulated(server: &Scripted, options: Options, tail: Option<&str>) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let mut config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    config.opened_at = tail.map(Into::into);
    let runtime = network::simulated(Arc::new(server.clone()), server.chance.clone());
    Engine::start_on(runtime, endpoint, config, None, None)
}

fn open(server: &Scripted, options: Options) -> Arc<Engine> {
    open_at(server, options, None)
}

/// The same where it is known that the stream ended at `tail` when it was opened.
fn open_at(server: &Scripted, options: Options, tail: Option<&str>) -> Arc<Engine> {
    let endpoint = Endpoint::resolve(&Options::new().url("http://model/stream")).unwrap();
    let mut config = Config::new(Scope::Producer, &options, "p", "application/json").unwrap();
    config.opened_at = tail.map(Into::into);
    Engine::start_on(
        network::for_test(Arc::new(server.clone()), server.chance.clone()),
        endpoint,
        config,
        None,
        None,
    )
}

/// Runs what follows from a seed alone: on an executor of its own, whose virtual time begins anew,
/// so that nothing of what ran before is left.
fn in_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let mut executor = tokio::runtime::Builder::new_current_thread();
    executor.enable_time().start_paused(true).build().unwrap().block_on(run)
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
    let future = crate::protocol::MAX_SAFE_INTEGER - 100_000;
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
    assert_eq!(old.snapshot().state, ProducerState::Fenced);
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
    // The third batch was stored, its answer lost, somebody else wrote too, so that looking
    // decides nothing, and then the server forgot its producers.
    for (choice, status, maybe_duplicate, copies) in
        [("resend", Status::Delivered, true, 2), ("report", Status::DeliveryUnknown, false, 1)]
    {
        let forgot = Fault::Amnesia(Box::new(Fault::None));
        let cut = Fault::Foreign(Box::new(Fault::CutAfter));
        let look = [Fault::None, Fault::None];
        let faults = [Fault::None, Fault::None, cut].into_iter().chain(look).chain([forgot]);
        let server = Scripted::new(faults);
        let engine = open(&server, single().max_in_flight(1u64).on_uncertain(choice));
        write(&engine, 1..=5);
        let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
        assert!(flushed.is_ok(), "it asks for ever");
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
async fn a_late_answer_is_no_lost_session() {
    // The third batch overtakes the second; that it is early is said after the second is there.
    let server =
        Scripted::new([Fault::None, delay(Fault::None, 50, 0), delay(Fault::None, 0, 200)]);
    let engine = open(&server, single().max_in_flight(2u64));
    write(&engine, 1..=4);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (4, 0));
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=4), 1));
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
async fn one_producer_too_many_is_told_so_and_a_busy_server_is_waited_for() {
    let busy = |times| std::iter::repeat_n(status(429), times);
    let server = Scripted::new(busy(7));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));

    let server = Scripted::new(busy(100));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    let first = outcome(&engine, 1).await;
    assert_eq!((first.status, first.reason), (Status::Rejected, Some(Reason::ProducerLimit)));
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
    assert!(lock(&server.model).seen.is_empty());
    check_accounts(&engine);

    // Once the server knows it, it is none too many.
    let server = Scripted::new([Fault::None].into_iter().chain(busy(20)));
    let engine = open(&server, single());
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_over_when_the_server_is_back() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, Options::new().retry_max_delay_ms(1_000_000u64));
    write(&engine, 1..=2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    lock(&server.model).down = false;
    let back = tokio::time::Instant::now();
    engine.flush().await.unwrap();
    assert!(back.elapsed() < Duration::from_secs(1), "the pauses must not have grown");
}

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
    let epoch = taken.snapshot().epoch;
    lock(&server.model).producers.insert("p".into(), (epoch, 3));
    write(&taken, 1..=2);
    taken.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=2));
    assert!(outcome(&taken, 1).await.maybe_duplicate);
}

#[tokio::test(start_paused = true)]
async fn every_refused_batch_has_a_budget_of_its_own() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("666");
    let engine = open(&server, Options::new());
    for _ in 0..14 {
        engine.accept(&[b"666"]).unwrap();
        assert!(engine.flush().await.is_err());
    }
    for n in 1..=100 {
        engine.accept(&[n.to_string().as_bytes()]).unwrap();
    }
    engine.accept(&[b"666"]).unwrap();
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.stats().delivered, 100);
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

#[tokio::test(start_paused = true)]
async fn no_tuple_is_used_twice_at_the_end_of_all_epochs() {
    let server = Scripted::default();
    let last = crate::protocol::MAX_SAFE_INTEGER;
    lock(&server.model).producers.insert("p".into(), (last, 0));
    let engine = open(&server, single());
    write(&engine, 1..=1);
    assert!(engine.flush().await.is_err());
    assert_eq!(engine.snapshot().state, ProducerState::Fenced);
    assert!(server.stored().is_empty());
    assert!(Options::new().epoch(last).check(Scope::Producer).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_expires_nothing_before_one_more_attempt() {
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 300)]);
    let engine = open(&server, Options::new().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    write(&engine, 3..=3);
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = engine.flush().await;
    assert!(outcome(&engine, 2).await.is_delivered());
}

#[tokio::test(start_paused = true)]
async fn a_pause_the_server_asked_for_outlives_another_answer() {
    let wait = Fault::Answer(429, vec![("retry-after", "30".into())]);
    let server = Scripted::new([Fault::None, delay(Fault::None, 0, 100), wait]);
    let engine = open(&server, single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    let started = tokio::time::Instant::now();
    write(&engine, 2..=3);
    engine.flush().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_echo_beyond_what_was_sent_wedges_nothing() {
    let echo =
        Fault::Answer(204, vec![("producer-epoch", "7".into()), ("producer-seq", "99".into())]);
    let server = Scripted::new([Fault::None, delay(Fault::None, 100, 0), echo]);
    let forever = single().epoch(7u64).auto_claim(true).delivery_timeout_ms(0u64);
    let engine = open(&server, forever);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn waits_that_were_given_up_leave_nothing_behind() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single().delivery_timeout_ms(0u64));
    write(&engine, 1..=1);
    for _ in 0..1_000 {
        drop(engine.wait(1));
        drop(engine.flush());
    }
    assert!(engine.book().waiting() < 5);
}
