//! What many producers in one process cost: opening them, a write of each, memory, connections and
//! the processor's time while all are idle:
//! `cargo xtask with-server -- cargo bench -p durstream-core --bench many`.

#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::time::{Duration, Instant};

use durstream_core::{
    Collection, Options, StateProducer, StreamSchema, Validator, create_durable_stream,
};

const COUNTS: [usize; 5] = [1, 100, 1_000, 5_000, 10_000];
const IDLE: Duration = Duration::from_secs(2);

fn open(name: &str) -> StateProducer {
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    let options = Options::new().stream_path(name).producer_id("bench");
    create_durable_stream(options, schema).expect("options are right")
}

/// A line of `/proc/self/status` in KiB.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The process's connections: its sockets, and two more that its runtime has.
fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|link| is_socket(link.clone()))
        .count()
}

/// The processor's time so far, in milliseconds.
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    println!(
        "{:>9} {:>9} {:>10} {:>11} {:>13} {:>8} {:>11}",
        "producers", "open ms", "opened ms", "a write ms", "KiB each", "sockets", "idle cpu ms"
    );
    for count in COUNTS {
        let memory = status("VmRSS");
        let started = Instant::now();
        let name = |n| format!("/bench/many-{}-{count}-{n}", std::process::id());
        let producers: Vec<_> = (0..count).map(|n| open(&name(n))).collect();
        let open = started.elapsed();
        for producer in &producers {
            producer.ready().wait().expect("the stream is there");
        }
        let opened = started.elapsed();
        let each = (status("VmRSS") - memory) as f64 / count as f64;
        let started = Instant::now();
        for producer in &producers {
            producer
                .upsert("c", &std::collections::BTreeMap::from([("id", "1")]))
                .expect("there is room");
        }
        for producer in &producers {
            producer.flush().wait().expect("it is delivered");
        }
        let written = started.elapsed();
        let before = processor();
        std::thread::sleep(IDLE);
        let idle = processor() - before;
        println!(
            "{count:>9} {:>9} {:>10} {:>11} {each:>13.1} {:>8} {idle:>11}",
            open.as_millis(),
            opened.as_millis(),
            written.as_millis(),
            sockets(),
        );
        drop(producers);
        durstream_core::shutdown(Duration::from_secs(20)).expect("nothing is left");
    }
}
