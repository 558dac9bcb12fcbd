//! What an outbox costs beside a real server: `cargo xtask with-server -- cargo bench -p durstream-tests --bench outbox`.
//!
//! Writes accepted, sent and acknowledged, without an outbox and with one that survives the process or the
//! machine, in turn. `cargo bench -p durstream-core --bench outbox` has a server that takes no time.

#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use durstream_core::{DurableStream, IdempotentProducer, Options, WriteOptions};
use durstream_tests::{fresh_path, server_url};

const ROUNDS: usize = 9;
const WRITES: usize = 1_000_000;
const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };
const TYPES: [(&str, &str); 2] =
    [("JSON", "application/json"), ("bytes", "application/octet-stream")];
/// The first is what the others are compared with.
const WAYS: [Option<&str>; 3] = [None, Some("process"), Some("batch")];

/// Millions of writes a second.
fn throughput(content_type: &'static str, way: Option<&str>, folder: &Path) -> f64 {
    let url = format!("{}/v1/stream{}", server_url(), fresh_path("outbox-bench"));
    let stream = DurableStream::create(Options::new().url(url), content_type).wait();
    let stream = stream.expect("a server at DURABLE_STREAMS_URL");
    let options = match way {
        None => Options::new(),
        Some(sync) => Options::new().outbox_dir(&*folder.to_string_lossy()).outbox_sync(sync),
    };
    let producer = IdempotentProducer::open(&stream, "bench", options).expect("options are right");
    let started = Instant::now();
    for _ in 0..WRITES {
        producer.append_with(MESSAGE, BLOCKING).expect("there is room");
    }
    producer.flush().wait().expect("all is delivered");
    let rate = WRITES as f64 / 1e6 / started.elapsed().as_secs_f64();
    producer.detach().wait().expect("it ends");
    rate
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // it has no tests
    }
    // On the disk that has the build.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("outbox-beside-a-server");
    println!("{:<24} {:>10} {:>6}", "", "M writes/s", "ratio");
    for (name, content_type) in TYPES {
        let mut rates = WAYS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            let measure = |way| throughput(content_type, way, &folder);
            rates.iter_mut().zip(WAYS).for_each(|(of, way)| of.push(measure(way)));
        }
        for (own, way) in rates.iter().zip(WAYS) {
            let ratios = own.iter().zip(&rates[0]).map(|(own, first)| own / first).collect();
            let name = format!("{name}, {}", way.unwrap_or("no outbox"));
            println!("{name:<24} {:>10.2} {:>6.2}", median(own.clone()), median(ratios));
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}
