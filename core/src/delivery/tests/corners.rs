//! More of the rare orders of events: replays, reports given up, streams out of sight.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::delivery::closing::Last;
use crate::delivery::closing::close;
use crate::delivery::tests::hostile::{model, sleep};
use crate::delivery::tests::*;
use crate::stream::handle::DurableStream;
use crate::transport::network;

/// One run of a job under its epoch. `program` writes; the run dies at `dies` milliseconds, or
/// flushes and ends.
async fn run<F: Future<Output = ()>>(
    server: &Scripted,
    options: Options,
    dies: Option<u64>,
    program: impl FnOnce(Arc<Engine>) -> F,
) {
    let engine = open(server, options.epoch(7u64));
    match dies {
        Some(ms) => {
            let _ = tokio::time::timeout(Duration::from_millis(ms), program(engine.clone())).await;
            engine.stop_now();
        }
        None => {
            program(engine.clone()).await;
            engine.flush().await.unwrap();
            engine.begin_stop();
        }
    }
    engine.ended().await;
}

/// "Batches are then cut by size, `linger_ms` and by waiting (flush, close, a receipt)": the same
/// calls cut at the same places, however fast the server is.
#[tokio::test(start_paused = true)]
async fn waiting_for_an_old_receipt_cuts_a_replay_where_it_cut_before() {
    let slow = delay(Fault::None, 0, 100);
    let server = Scripted::new([slow]);
    let options = || Options::new().max_batch_items(2u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=2);
        sleep(50).await;
        write(&engine, 3..=3);
        engine.wait(1).await.unwrap();
        sleep(50).await;
        write(&engine, 4..=4);
        sleep(1_000).await;
        write(&engine, 5..=6);
    };
    run(&server, options(), Some(140), job).await; // it dies before the fourth
    assert!(server.stored().len() <= 3, "{:?}", server.stored());
    run(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// Nor does a slow answer cut a batch that still gathers.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_cuts_no_replay_before_its_linger() {
    let slow = delay(Fault::None, 0, 1_000);
    let server = Scripted::new([slow]);
    let options =
        || Options::new().max_batch_items(2u64).linger_ms(2_000u64).delivery_timeout_ms(10_000u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=3);
        sleep(1_500).await;
        write(&engine, 4..=6);
    };
    run(&server, options(), Some(1_400), job).await; // it dies before the fourth
    run(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// Who waits for room waits for what gathers, too: it has to go.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_of_a_replay_is_sent() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().epoch(7u64).max_buffer_items(2u64));
    write(&engine, 1..=2);
    assert!(engine.accept(&[b"3"]).is_err());
    let ready = tokio::time::timeout(Duration::from_secs(1), engine.ready()).await;
    assert!(ready.is_ok(), "the buffer is full and nothing is under way");
}

/// But only where what gathers fills the buffer alone: that something else is still under way is
/// another story in the next run.
#[tokio::test(start_paused = true)]
async fn a_buffer_that_others_fill_cuts_no_replay() {
    let server = Scripted::new([delay(Fault::None, 0, 100)]);
    let options = || Options::new().max_batch_items(2u64).max_buffer_items(3u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=2);
        sleep(50).await;
        write(&engine, 3..=3);
        while engine.accept(&[b"4"]).is_err() {
            sleep(1_000).await;
        }
        engine.flush().await.unwrap();
        write(&engine, 5..=6);
    };
    run(&server, options(), Some(500), job).await; // it dies before the fourth
    run(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// "Giving up the wait consumes nothing", also while another flush waits.
#[tokio::test(start_paused = true)]
async fn a_report_that_nobody_took_is_not_lost_to_a_flush_under_way() {
    let server = Scripted::default();
    lock(&server.model).poison = Some("1");
    let engine = open(&server, single());
    write(&engine, 1..=1);
    let first = engine.flush();
    assert!(!outcome(&engine, 1).await.is_delivered());
    write(&engine, 2..=2);
    let second = engine.flush();
    drop(first); // given up: its report is there, and nobody saw it
    let (second, third) = (second.await, engine.flush().await);
    assert!(
        second.is_err() || third.is_err(),
        "nobody hears of the first write: {second:?} {third:?}"
    );
}

/// What one flush reported the next one does not, although another like it was given up.
#[tokio::test(start_paused = true)]
async fn a_report_that_somebody_took_is_not_made_again() {
    let server = Scripted::default();
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let (first, second) = (engine.flush(), engine.flush());
    assert_eq!(first.await.unwrap().delivered, 2);
    drop(second);
    assert_eq!(engine.flush().await.unwrap().delivered, 0);
}

/// `delivery_timeout_ms` is a bound, also on a machine that is always late.
#[tokio::test(start_paused = true)]
async fn late_timers_do_not_keep_a_write_for_ever() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single().delivery_timeout_ms(10_000u64));
    write(&engine, 1..=1);
    for _ in 0..1_000 {
        tokio::time::advance(Duration::from_secs(3)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(engine.stats().pending, 0, "after 3000 s");
}

/// The stream is only out of sight for a while: what a first attempt stored is there, before where
/// it ends now.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_checked_again_is_looked_at_from_where_it_was() {
    let forgot = Fault::Amnesia(Box::new(Fault::None));
    // The open; stored, not answered; a deploy's ingress, to the look and to the repeat; the check;
    // another cut; a look; and the server is back without its memory.
    let faults = [Fault::None, Fault::CutAfter, status(404), status(404), Fault::None];
    let faults = faults.into_iter().chain([Fault::CutBefore, Fault::None, forgot]);
    let server = Scripted::new(faults);
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let mut config = Config::new(Scope::State, &Options::new(), "p", "application/json").unwrap();
    config.create = Some(http::HeaderMap::new());
    let runtime = network::for_test(Arc::new(server.clone()), server.chance.clone());
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    engine.ready().await.unwrap();
    write(&engine, 1..=1);
    let outcome = outcome(&engine, 1).await;
    let copies = server.stored().len();
    assert!(copies == 1 || outcome.maybe_duplicate, "{copies} copies: {outcome:?}");
}

/// "Repeated only while nothing can have been stored": not a message whose first attempt was cut.
#[test]
fn an_append_that_may_be_stored_is_not_made_again_without_identity() {
    let (asked, stored) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap());
    let count = stored.clone();
    let body = move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"the message") {
                match connection.read(&mut chunk).unwrap() {
                    0 => break,
                    n => request.extend_from_slice(&chunk[..n]),
                }
            }
            let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let (own, n) = (head.contains("producer-id"), asked.fetch_add(1, Ordering::SeqCst));
            let answer = match (own, n) {
                (true, 0) => "", // stored, and the connection cut
                (true, _) => "HTTP/1.1 429 Too Many Requests\r\n",
                (false, _) => "HTTP/1.1 204 No Content\r\nstream-next-offset: 9\r\n",
            };
            count.fetch_add(usize::from(n == 0 || !own), Ordering::SeqCst);
            if !answer.is_empty() {
                let rest = "content-length: 0\r\nconnection: close\r\n\r\n";
                let _ = connection.write_all(format!("{answer}{rest}").as_bytes());
            }
        }
    };
    std::thread::Builder::new().spawn(body).unwrap();
    let quick = Options::new().url(url).retry_initial_delay_ms(1u64).retry_max_delay_ms(5u64);
    let stream = DurableStream::connect(quick).unwrap();
    let outcome = stream.append("the message").wait();
    let copies = stored.load(Ordering::SeqCst);
    assert!(copies == 1, "{copies} copies: {outcome:?}");
}

/// A look that finds nothing says nothing about what is still on its way: where the server forgets
/// after that, a first batch that is taken again has to say so.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_arrives_after_the_look_is_flagged() {
    let late = delay(Fault::None, 1_300, 0);
    let server = Scripted::new([late, Fault::None, delay(Fault::None, 500, 0)]);
    let engine = open_at(&server, single().request_timeout_ms(1_000u64), Some("0"));
    write(&engine, 1..=1);
    sleep(1_450).await;
    lock(&server.model).producers.clear();
    let outcome = outcome(&engine, 1).await;
    let copies = server.stored().len();
    assert!(copies == 1 || outcome.maybe_duplicate, "{copies} copies: {outcome:?}");
}

/// Nor is a batch "certainly not in the stream" for a refusal after such a look.
#[tokio::test(start_paused = true)]
async fn a_batch_that_arrives_after_its_repeats_were_refused_is_not_rejected() {
    let late = delay(Fault::None, 3_000, 0);
    // Each refusal comes after a look.
    let server =
        Scripted::new([Fault::None, late, Fault::None, status(413), Fault::None, status(413)]);
    let engine = open(&server, single().request_timeout_ms(1_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=2);
    let outcome = outcome(&engine, 2).await;
    sleep(10_000).await;
    let copies = server.stored().iter().filter(|text| *text == "2").count();
    assert!(copies == 0 || outcome.status != Status::Rejected, "{copies} copies: {outcome:?}");
}

/// An end that expired has the id of the write after it, of which a final answer is told all the same.
#[tokio::test(start_paused = true)]
async fn a_final_answer_is_not_taken_for_that_of_an_end_that_expired() {
    let stalled = delay(Fault::None, 5_000, 0);
    let server = Scripted::new([Fault::None, stalled, status(409)]);
    let engine = open(&server, single().delivery_timeout_ms(1_000u64));
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    assert!(close(&engine, Last::Nothing).await.is_err());
    write(&engine, 2..=2);
    let refused = outcome(&engine, 2).await;
    assert_eq!((refused.status, refused.reason), (Status::Rejected, Some(Reason::Conflict)));
}

/// What the server refused is refused, however long it takes to learn the stream's type.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_one_while_the_type_is_asked_for() {
    for stops in [false, true] {
        let server = Scripted::new([status(409), delay(Fault::None, 3_600_000, 0)]);
        let engine = open(&server, single().delivery_timeout_ms(5_000u64));
        write(&engine, 1..=1);
        sleep(100).await;
        if stops {
            engine.stop_now();
        }
        let outcome = outcome(&engine, 1).await;
        assert_ne!(outcome.status, Status::DeliveryUnknown, "{outcome:?}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write,
    Pause(u64),
    Flush,
    /// For the outcome of a write that many before the last.
    Wait(u64),
}

async fn work(engine: Arc<Engine>, steps: Vec<Step>) {
    let mut written = 0;
    for step in steps {
        match step {
            Step::Write => {
                written += 1;
                engine.accept(&[written.to_string().as_bytes()]).unwrap();
            }
            Step::Pause(ms) => sleep(ms).await,
            Step::Flush => drop(engine.flush().await),
            Step::Wait(before) if written > before => {
                drop(engine.wait(written - before).await);
            }
            Step::Wait(_) => {}
        }
    }
}

/// A job with batches of several writes that dies, and is run again over a faster or slower server.
async fn replay(seed: u64, server: Scripted) -> Result<(), String> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let steps: Vec<_> = (0..rng.random_range(1..40))
        .map(|_| match rng.random_range(0..20) {
            0..=12 => Step::Write,
            13..=16 => Step::Pause(rng.random_range(0..60)),
            17 => Step::Flush,
            _ => Step::Wait(rng.random_range(0..6)),
        })
        .collect();
    let count = steps.iter().filter(|step| matches!(step, Step::Write)).count() as u64;
    let items = rng.random_range(1..6u64);
    let timeout = if rng.random_bool(0.5) { 0 } else { 60_000u64 };
    let faults: Vec<_> = (0..rng.random_range(0..30))
        .map(|_| {
            let fault = match rng.random_range(0..10) {
                0 => Fault::CutBefore,
                1 | 2 => Fault::CutAfter,
                3 => status(503),
                4 => Fault::Refuse,
                _ => Fault::None,
            };
            delay(fault, rng.random_range(0..50), rng.random_range(0..50))
        })
        .collect();
    server.script(faults.clone());
    let options = || {
        Options::new()
            .max_batch_items(items)
            .delivery_timeout_ms(timeout)
            .retry_initial_delay_ms(5u64)
            .retry_max_delay_ms(50u64)
    };
    for _ in 0..rng.random_range(1..4) {
        let dies = rng.random_range(0..600);
        run(&server, options(), Some(dies), |engine| work(engine, steps.clone())).await;
    }
    run(&server, options(), None, |engine| work(engine, steps.clone())).await;
    match server.stored() == numbers(1..=count) {
        true => Ok(()),
        false => Err(format!("{:?} of {count}, by {items}: {steps:?} {faults:?}", server.stored())),
    }
}

fn run_replay(seed: u64) -> (Result<(), String>, Vec<String>) {
    in_virtual_time(async {
        let server = Scripted::seeded(seed, []);
        (replay(seed, server.clone()).await, server.chance.journal())
    })
}

/// All that happens in such a schedule.
pub(super) fn journal(seed: u64) -> Vec<String> {
    run_replay(seed).1
}

/// The same calls under the same epoch store everything once, whatever the server did meanwhile.
#[test]
fn random_schedules_of_replays_that_wait_store_everything_once() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    for seed in first..first + number("DURSTREAM_SCHEDULES").unwrap_or(500) {
        if let Err(failure) = run_replay(seed).0 {
            panic!("seed {seed}: {failure}");
        }
    }
}
