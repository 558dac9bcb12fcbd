//! More of the rare orders of events: replays, reports given up, streams out of sight.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::hostile::{model, sleep};
use super::*;
use crate::DurableStream;

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
    // The open; stored, not answered; a deploy's ingress, to the looks and to the repeat; the check;
    // another cut; a look; and the server is back without its memory.
    let faults = [Fault::None, Fault::CutAfter, status(404), status(404), status(404), status(404)];
    let faults = faults.into_iter().chain([Fault::None, Fault::CutBefore, Fault::None, forgot]);
    let server = Scripted::new(faults);
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let mut config = Config::new(Scope::State, &Options::new(), "p", "application/json").unwrap();
    config.create = Some(http::HeaderMap::new());
    let runtime = Runtime::for_test(Arc::new(server.clone()));
    let engine = Engine::start_on(runtime, endpoint, config, None, None);
    engine.ready().await.unwrap();
    write(&engine, 1..=1);
    let outcome = outcome(&engine, 1).await;
    let copies = server.stored().len();
    assert!(copies == 1 || outcome.maybe_duplicate, "{copies} copies: {outcome:?}");
}

/// "Repeated only while nothing can have been stored": not a message whose first attempt was cut.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's server")]
fn an_append_that_may_be_stored_is_not_made_again_without_identity() {
    let (asked, stored) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap());
    let count = stored.clone();
    std::thread::spawn(move || {
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
    });
    let quick = Options::new().url(url).retry_initial_delay_ms(1u64).retry_max_delay_ms(5u64);
    let stream = DurableStream::connect(quick).unwrap();
    let outcome = stream.append("the message").wait();
    let copies = stored.load(Ordering::SeqCst);
    assert!(copies == 1, "{copies} copies: {outcome:?}");
}
