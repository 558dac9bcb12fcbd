//! Writes that are given up: what is told `cancelled` is not in the stream, however short the
//! deadline and however many are at it.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(clippy::print_stdout, reason = "the numbers are for who reads them with --nocapture")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use durstream_core::{DurableStream, IdempotentProducer, Options, Status};
use durstream_tests::readback::read_stream;
use durstream_tests::{fresh_path, server_address};

const THREADS: usize = 16;
const ROUNDS: usize = 150;

/// How a round ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Expires,
    IsStopped,
}

/// Waits for nothing, for a time that differs from round to round.
fn pause(round: usize) {
    for _ in 0..round * 7919 % 4000 {
        std::hint::spin_loop();
    }
}

/// Many producers write a few messages each and give them up; how often each was stored is compared
/// with what was told of it.
fn give_up(end: End, deadline_ms: u64) {
    let path = fresh_path("given-up");
    let options = Options::new().stream_path(&path).content_type("application/json");
    let stream = DurableStream::create(options, "").wait().unwrap();
    let (next, told) = (AtomicU64::new(1), Mutex::new(HashMap::new()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stream, next, told) = (&stream, &next, &told);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let options = Options::new().shared(true).delivery_timeout_ms(deadline_ms);
                    let producer = IdempotentProducer::open(stream, "w", options).unwrap();
                    let numbers: Vec<u64> =
                        (0..1 + round % 3).map(|_| next.fetch_add(1, Ordering::Relaxed)).collect();
                    for n in &numbers {
                        producer.append(n.to_string()).unwrap();
                    }
                    match end {
                        End::Expires => {}
                        End::IsStopped => {
                            pause(thread + round);
                            producer.stop();
                        }
                    }
                    let outcomes = (1..)
                        .zip(numbers)
                        .map(|(id, n)| (n, producer.wait(id).wait().unwrap().status));
                    told.lock().unwrap().extend(outcomes);
                }
            });
        }
    });
    // What was given up may still be on its way.
    std::thread::sleep(Duration::from_millis(500));
    let mut copies: HashMap<u64, u64> = HashMap::new();
    for event in read_stream(server_address(), &path).unwrap() {
        *copies.entry(event.as_u64().unwrap()).or_default() += 1;
    }
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for (n, status) in told.into_inner().unwrap() {
        *counts.entry(status.as_str()).or_default() += 1;
        let stored = copies.get(&n).copied().unwrap_or(0);
        let is_true = match status {
            Status::Delivered => stored == 1,
            Status::DeliveryUnknown => stored <= 1,
            _ => stored == 0,
        };
        assert!(is_true, "{n} was told {}, and is there {stored} times", status.as_str());
    }
    println!("{end:?} after {deadline_ms} ms: {counts:?}");
}

#[test]
fn what_expired_before_it_left_never_arrives() {
    for deadline_ms in [1, 2, 4] {
        give_up(End::Expires, deadline_ms);
    }
}

#[test]
fn what_was_stopped_before_it_left_never_arrives() {
    give_up(End::IsStopped, 120_000);
}

/// The request that only ends a stream has no body that could show whether it left.
#[test]
fn an_end_that_was_given_up_before_it_left_never_arrives() {
    let ends: Vec<(String, bool)> = (0..300)
        .map(|round| {
            let path = fresh_path("given-up-end");
            let options = Options::new().stream_path(&path).content_type("application/json");
            let stream = DurableStream::create(options, "").wait().unwrap();
            let producer = IdempotentProducer::open(&stream, "w", Options::new()).unwrap();
            let end = producer.close(None);
            pause(round);
            producer.stop();
            let ended = end.wait();
            let is_certain = ended.as_ref().err().is_some_and(durstream_core::Error::definite);
            (path, is_certain)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    for (path, certainly_not) in ends {
        let options = Options::new().stream_path(&path);
        let head = DurableStream::connect(options).unwrap().head().wait().unwrap();
        assert!(!(certainly_not && head.stream_closed), "{path} was certainly not ended, and is");
    }
}
