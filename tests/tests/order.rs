//! Requests under way at the same time reach the server in their order, or a body goes twice.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]
#![allow(clippy::print_stdout, reason = "the numbers are for who reads them with --nocapture")]

use std::time::{Duration, Instant};

use durstream_core::{DurableStream, IdempotentProducer, Options, Stats};
use durstream_tests::proxy::{Fault, Proxy, Rule, Settings};
use durstream_tests::{fresh_path, server_address};

const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
/// So many requests that one repeat less or more decides nothing.
const REQUESTS: u64 = 500;
/// The most repeats among them. They are less than two in a hundred, as the benchmark says; here
/// other programs may take the processor away anywhere.
const REPEATS: u64 = REQUESTS / 25;

/// Who writes, and how.
struct Case {
    name: &'static str,
    options: fn() -> Options,
    pause: Duration,
}

const CASES: [Case; 3] = [
    Case { name: "as fast as it goes", options: Options::new, pause: Duration::ZERO },
    Case { name: "small batches", options: small_batches, pause: Duration::ZERO },
    Case { name: "a few a millisecond", options: Options::new, pause: Duration::from_millis(1) },
];

fn small_batches() -> Options {
    // A buffer of a few batches, or draining it takes longer than the test.
    Options::new().max_batch_items(10u64).max_buffer_items(100u64)
}

/// Writes until there were enough requests.
fn run(case: &Case, round_trip_ms: u64) -> Stats {
    let stream = fresh_path("order");
    let type_and_path = || Options::new().content_type("application/json").stream_path(&stream);
    DurableStream::create(type_and_path(), "").wait().unwrap();
    let settings = Settings { max_body_bytes: 0, max_entries: 1, ..Settings::default() };
    let proxy = Proxy::start_with(server_address(), settings).unwrap();
    if round_trip_ms > 0 {
        proxy.add(Rule::new(Fault::Latency { ms: round_trip_ms })).unwrap();
    }
    let behind = DurableStream::connect(type_and_path().endpoints(proxy.url())).unwrap();
    let producer = IdempotentProducer::open(&behind, "order", (case.options)()).unwrap();
    while producer.stats().requests < REQUESTS {
        for _ in 0..100 {
            producer.blocking_append(MESSAGE).unwrap();
        }
        std::thread::sleep(case.pause);
    }
    producer.detach().wait().unwrap();
    let stats = producer.stats();
    assert_eq!(stats.delivered, stats.accepted);
    stats
}

fn bodies_are_sent_once(round_trip_ms: u64) {
    let mut too_many = Vec::new();
    for case in &CASES {
        let started = Instant::now();
        let Stats { requests, retries, delivered, .. } = run(case, round_trip_ms);
        println!(
            "{round_trip_ms} ms, {}: {retries} of {requests} requests were repeats, {:.2} %; \
             {delivered} writes in {:?}",
            case.name,
            retries as f64 * 100.0 / requests as f64,
            started.elapsed(),
        );
        if retries > REPEATS {
            too_many.push((case.name, retries, requests));
        }
    }
    assert!(too_many.is_empty(), "repeats, of requests: {too_many:?}");
}

#[test]
fn bodies_are_sent_once_to_a_server_close_by() {
    bodies_are_sent_once(0);
}

#[test]
fn bodies_are_sent_once_to_a_server_far_away() {
    bodies_are_sent_once(50);
}
