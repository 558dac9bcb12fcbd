//! What accepting a write of 100 bytes costs the caller: `cargo bench -p durstream-core --bench accept`.
//!
//! - `alone`: a request is held by the server meanwhile, so that nothing but accepting runs.
//! - `beside sending`: what was accepted goes out at the same time, as in a busy program.
//! - `outage`: nobody listens; every write stays, in memory the system has to hand out first.
//!
//! On a JSON stream the check that a write is one JSON value comes on top, as the difference says.
//! Writes are timed a hundred at a time: such a piece is over before a busy machine takes the
//! processor away, so that the median says what the library costs. The mean has everything in it;
//! with several threads it is the time all of them took, divided by all their writes.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::Sink;
use durstream_core::{IdempotentProducer, Options};

const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
/// Writes that are timed together.
const PIECE: u64 = 100;
/// Writes between two flushes: a few batches.
const BURST: u64 = 48_000;
const BURSTS: u64 = 40;
/// Writes into one producer that never gets rid of them: 100 MB.
const OUTAGE: u64 = 1_000_000;
const OUTAGES: u64 = 3;

/// What was measured under one name.
#[derive(Default)]
struct Times {
    pieces: Vec<Duration>,
    whole: Duration,
    writes: u64,
}

impl Times {
    /// Makes so many writes over some threads.
    fn write(&mut self, producer: &IdempotentProducer, threads: u64, count: u64) {
        let pieces = count / threads / PIECE;
        let append = || {
            let mut times = Vec::with_capacity(pieces as usize);
            for _ in 0..pieces {
                let started = Instant::now();
                for _ in 0..PIECE {
                    black_box(producer.append(black_box(MESSAGE)).expect("there is room"));
                }
                times.push(started.elapsed());
            }
            times
        };
        let started = Instant::now();
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(append)).collect();
            self.pieces.extend(append());
            for other in others {
                self.pieces.extend(other.join().expect("no write fails"));
            }
        });
        self.whole += started.elapsed();
        self.writes += pieces * PIECE * threads;
    }

    fn print(&mut self, name: &str) {
        self.pieces.sort_unstable();
        let at = |share: f64| self.pieces[(self.pieces.len() as f64 * share) as usize];
        let each = |time: Duration, writes: u64| time.as_secs_f64() * 1e9 / writes as f64;
        println!(
            "{name:<34} {:>7.0} {:>7.0} {:>7.0} {:>7.0}",
            each(at(0.5), PIECE),
            each(at(0.9), PIECE),
            each(at(0.99), PIECE),
            each(self.whole, self.writes),
        );
    }
}

fn bursts(sink: &Sink, alone: bool, content_type: &str, threads: u64) -> Times {
    let producer = sink.producer(content_type, Options::new().max_in_flight(1u64));
    let (mut warm_up, mut times) = (Times::default(), Times::default());
    for n in 0..BURSTS {
        let held = alone.then(|| sink.hold());
        if alone {
            producer.append(MESSAGE).expect("there is room");
            common::wait_until("a request", || producer.snapshot().in_flight == 1);
        }
        let times = if n < BURSTS / 10 { &mut warm_up } else { &mut times };
        times.write(&producer, threads, BURST);
        drop(held);
        producer.flush().wait().expect("everything is taken");
    }
    times
}

fn outages(content_type: &str, threads: u64) -> Times {
    let url = common::nowhere();
    let mut times = Times::default();
    for _ in 0..OUTAGES {
        let options = Options::new().max_buffer_bytes(1u64 << 32);
        let producer = common::producer(&url, content_type, options);
        times.write(&producer, threads, OUTAGE);
        producer.stop();
        common::wait_until("the end", || producer.stats().pending == 0);
    }
    times
}

fn main() {
    assert_eq!(MESSAGE.len(), 100);
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // the tests of what it measures are in `tests`
    }
    durstream_core::set_log_sink(|_| {}); // what an outage gives up is not news here
    durstream_core::set_buffer_budget(1 << 33);
    let sink = Sink::start();
    println!("{:<34} {:>7} {:>7} {:>7} {:>7}", "ns per write", "median", "90 %", "99 %", "mean");
    for (name, content_type, threads) in [
        ("bytes", "text/plain", 1),
        ("json", "application/json", 1),
        ("bytes, 8 threads", "text/plain", 8),
        ("json, 8 threads", "application/json", 8),
    ] {
        bursts(&sink, true, content_type, threads).print(&format!("{name}, alone"));
        bursts(&sink, false, content_type, threads).print(&format!("{name}, beside sending"));
        outages(content_type, threads).print(&format!("{name}, outage"));
    }
}
