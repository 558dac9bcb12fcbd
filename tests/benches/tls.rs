//! Throughput of bytes over TLS, beside the same without it, through the same front before the same
//! server, in turn: `cargo xtask with-server -- cargo bench -p durstream-tests --bench tls`.
//!
//! Both ends of TLS share the machine with the server: alone, each would have more of it.

#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::time::{Duration, Instant};

use durstream_core::{DurableStream, IdempotentProducer, Options, WriteOptions};
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{Front, config};
use durstream_tests::{fresh_path, server_address};

const ROUNDS: usize = 7;
const WRITES: usize = 1_500_000;
const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };
const MESSAGE: [u8; 100] = [b'x'; 100];

fn timed(base: &str, authority: &Authority) -> Duration {
    let url = format!("{base}/v1/stream{}", fresh_path("tls-bench"));
    let options = Options::new().url(url).content_type("application/octet-stream");
    let stream = DurableStream::create(options.ca_pem(authority.pem()), "").wait();
    let stream = stream.expect("a server at DURABLE_STREAMS_URL");
    let producer = IdempotentProducer::open(&stream, "bench", Options::new()).expect("an id");
    let started = Instant::now();
    for _ in 0..WRITES {
        producer.append_with(MESSAGE, BLOCKING).expect("there is room");
    }
    producer.flush().wait().expect("all is delivered");
    started.elapsed()
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    let authority = Authority::new("a benchmark's").expect("a certificate");
    let pair = authority.server(&["localhost"]).expect("a certificate");
    let tls = config(&pair, None).expect("a certificate");
    let secured = Front::start(server_address(), Some(tls)).expect("a port");
    let plain = Front::start(server_address(), None).expect("a port");
    println!("{:>10} {:>10} {:>6}", "plain MB/s", "TLS MB/s", "ratio");
    let rate = |time: Duration| (WRITES * MESSAGE.len()) as f64 / 1e6 / time.as_secs_f64();
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let without = rate(timed(&plain.url(), &authority));
        let with = rate(timed(&secured.url(), &authority));
        println!("{without:>10.0} {with:>10.0} {:>6.2}", with / without);
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "TLS beside plain: {:.2} of the throughput (at least 0.8 is wanted)",
        ratios[ROUNDS / 2]
    );
}
