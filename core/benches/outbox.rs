//! What an outbox costs: `cargo bench -p durstream-core --bench outbox`.
//!
//! - Accepting a write of 100 bytes while a request is held, so that nothing but accepting runs: timed a
//!   hundred at a time, the median.
//! - Throughput: so many writes accepted, sent and acknowledged.
//!
//! Each is measured in turns, one round behind the other, and beside the same without an outbox.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::Sink;
use durstream_core::{IdempotentProducer, Options};

const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
/// Writes that are timed together.
const PIECE: u64 = 100;
/// Writes while a request is held.
const BURST: u64 = 48_000;
/// Writes whose delivery is timed.
const DELIVERED: u64 = 400_000;
const ROUNDS: usize = 9;
/// The first is what the others are compared with.
const WAYS: [Option<&str>; 3] = [None, Some("process"), Some("batch")];

/// A folder on the disk that has the build.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let below = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        Folder(below.join(format!("outbox-bench-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(way: Option<&str>, folder: &Folder) -> Options {
    match way {
        None => Options::new(),
        Some(sync) => Options::new().outbox_dir(&*folder.0.to_string_lossy()).outbox_sync(sync),
    }
}

fn append(producer: &IdempotentProducer) {
    black_box(producer.append(black_box(MESSAGE)).expect("there is room"));
}

/// Nanoseconds a write, the median of all pieces.
fn accepting(sink: &Sink, options: Options) -> f64 {
    let producer = sink.producer("application/json", options.max_in_flight(1u64));
    let held = sink.hold();
    append(&producer);
    common::wait_until("a request", || producer.snapshot().in_flight == 1);
    let piece = |_| {
        let started = Instant::now();
        (0..PIECE).for_each(|_| append(&producer));
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..BURST / PIECE).map(piece).collect();
    drop(held);
    producer.flush().wait().expect("everything is taken");
    producer.detach().wait().expect("it ends");
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e9 / PIECE as f64
}

/// Writes a second.
fn delivering(sink: &Sink, options: Options) -> f64 {
    let producer = sink.producer("application/json", options);
    append(&producer);
    producer.flush().wait().expect("everything is taken");
    let started = Instant::now();
    (0..DELIVERED).for_each(|_| {
        producer.blocking_append(black_box(MESSAGE)).expect("there is room");
    });
    producer.flush().wait().expect("everything is taken");
    let rate = DELIVERED as f64 / started.elapsed().as_secs_f64();
    producer.detach().wait().expect("it ends");
    rate
}

fn print(name: &str, unit: &str, measure: impl Fn(Option<&str>) -> f64) {
    let mut rounds = WAYS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        rounds.iter_mut().zip(WAYS).for_each(|(values, way)| values.push(measure(way)));
    }
    let medians = rounds.map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    for (median, way) in medians.iter().zip(WAYS) {
        let way = way.unwrap_or("no outbox");
        println!("{name:<12} {way:<10} {median:>12.0} {unit:<10} {:>5.2}", median / medians[0]);
    }
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // the tests of what it measures are in `src/outbox/tests`
    }
    let (sink, folder) = (Sink::start(), Folder::new());
    print("accepting", "ns", |way| accepting(&sink, options(way, &folder)));
    print("delivering", "writes/s", |way| delivering(&sink, options(way, &folder)));
}
