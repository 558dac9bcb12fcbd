//! What a transaction costs: 1 000 changes as one group, beside 1 000 by themselves:
//! `cargo xtask with-server -- cargo bench -p durstream-core --bench groups`.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::time::{Duration, Instant};

use durstream_core::{
    Collection, EventOptions, Operation, Options, StateProducer, StreamSchema, Validator,
    create_durable_stream,
};

const CHANGES: usize = 1_000;
const TRANSACTIONS: usize = 200;
const ROUNDS: usize = 7;
const ENTITY: &[u8] =
    br#"{"id":"ship_123","status":"in_transit","eta":"2031-01-01T00:00:00Z","carrier":"dsv"}"#;

fn open(name: &str, round: usize) -> StateProducer {
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    let path = format!("/bench/groups-{name}-{round}-{}", std::process::id());
    let options = Options::new().stream_path(path).producer_id("bench");
    create_durable_stream(options, schema).expect("a server at DURABLE_STREAMS_URL")
}

/// The time that all changes take, until they are delivered.
fn timed(producer: &StateProducer, write: impl Fn(&StateProducer)) -> Duration {
    producer.ready().wait().expect("the stream is there");
    let started = Instant::now();
    (0..TRANSACTIONS).for_each(|_| write(producer));
    producer.flush().wait().expect("all is delivered");
    started.elapsed()
}

fn single(producer: &StateProducer) {
    let mut options = EventOptions { txid: Some("t"), ..EventOptions::default() };
    options.write.block = true;
    for _ in 0..CHANGES {
        producer.change_json_with(Operation::Upsert, "c", ENTITY, options).expect("there is room");
    }
}

fn grouped(producer: &StateProducer) {
    let mut changes = producer.transaction(Some("t")).expect("none is open");
    for _ in 0..CHANGES {
        let told = EventOptions::default();
        changes.change_json(Operation::Upsert, "c", ENTITY, &told).expect("it is open");
    }
    changes.blocking_commit().expect("there is room");
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    println!("{:>12} {:>12} {:>6}", "single ms", "grouped ms", "ratio");
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let alone = timed(&open("single", round), single);
        let together = timed(&open("grouped", round), grouped);
        let ratio = alone.as_secs_f64() / together.as_secs_f64();
        println!("{:>12} {:>12} {ratio:>6.2}", alone.as_millis(), together.as_millis());
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    println!("throughput of groups, beside single changes: {median:.2} (at least 0.9 is promised)");
}
