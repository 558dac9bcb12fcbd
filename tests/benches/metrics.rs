//! What metrics cost, and how far they can be believed:
//! `cargo xtask with-server -- cargo bench -p durstream-tests --bench metrics`.
//!
//! - Throughput while nobody reads them, while OpenTelemetry and Prometheus do ten times a second, and
//!   while both do a thousand times, in turn.
//! - The latencies of requests, beside those by the clock of a proxy that they pass.

#![expect(clippy::disallowed_methods, reason = "a thread of the benchmark's own")]
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durstream_core::opentelemetry::observe_with;
use durstream_core::{
    DurableStream, Exposition, IdempotentProducer, Options, WriteOptions, stats_prometheus,
};
use durstream_tests::proxy::{Fault, Moment, Proxy, Rule};
use durstream_tests::{fresh_path, server_address};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

const ROUNDS: usize = 9;
const WRITES: usize = 3_000_000;
const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;
const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };
/// How often metrics are read; the first is what the others are compared with.
const WAYS: [(&str, Option<Duration>); 3] = [
    ("nobody reads them", None),
    ("read 10 times a second", Some(Duration::from_millis(100))),
    ("read 1 000 times a second", Some(Duration::from_millis(1))),
];
/// Requests whose latency is measured.
const REQUESTS: u64 = 1_000;
/// The numbers of a distribution that are compared.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

fn open(base: &str, options: Options) -> IdempotentProducer {
    let url = format!("{base}/v1/stream{}", fresh_path("metrics-bench"));
    let stream = DurableStream::create(Options::new().url(url), "").wait();
    let stream = stream.expect("a server at DURABLE_STREAMS_URL");
    IdempotentProducer::open(&stream, "bench", options).expect("options are right")
}

/// Reads all metrics in both ways, again and again, until it is ended.
struct Reader {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(pause: Duration) -> Self {
        let (stop, stopped) = channel();
        let read = move || {
            let exporter = InMemoryMetricExporter::default();
            let meters = SdkMeterProvider::builder()
                .with_reader(PeriodicReader::builder(exporter.clone()).build())
                .build();
            observe_with(&meters);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                meters.force_flush().expect("it collects");
                let collected = exporter.get_finished_metrics().expect("it was collected");
                assert!(!collected.is_empty(), "the instruments are observed");
                exporter.reset();
                assert!(!stats_prometheus(Exposition::Prometheus).is_empty());
            }
            meters.shutdown().expect("it ends");
        };
        Reader { stop, thread: std::thread::spawn(read) }
    }

    fn end(self) {
        drop(self.stop);
        self.thread.join().expect("no reader panics");
    }
}

/// Millions of writes a second.
fn throughput(base: &str, pause: Option<Duration>) -> f64 {
    let producer = open(base, Options::new());
    let reader = pause.map(Reader::start);
    let started = Instant::now();
    for _ in 0..WRITES {
        producer.append_with(MESSAGE, BLOCKING).expect("there is room");
    }
    producer.flush().wait().expect("all is delivered");
    let rate = WRITES as f64 / 1e6 / started.elapsed().as_secs_f64();
    if let Some(reader) = reader {
        reader.end();
    }
    producer.detach().wait().expect("it ends");
    rate
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn costs(base: &str) {
    let mut rates = WAYS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        rates.iter_mut().zip(WAYS).for_each(|(of, (_, pause))| of.push(throughput(base, pause)));
    }
    println!("{:<28} {:>10} {:>6}", "", "M writes/s", "ratio");
    for (own, (name, _)) in rates.iter().zip(WAYS) {
        let ratios = own.iter().zip(&rates[0]).map(|(own, first)| own / first).collect();
        println!("{name:<28} {:>10.2} {:>6.3}", median(own.clone()), median(ratios));
    }
}

/// Requests that take different times, one at a time.
fn latencies() {
    let proxy = Proxy::start(server_address()).expect("a port");
    proxy.add(Rule::new(Fault::Latency { ms: 20 })).expect("it is a rule");
    let slow = Fault::Delay { ms: 60, before: Moment::Answer };
    proxy.add(Rule::new(slow).method("POST").times(0).probability(0.2)).expect("it is a rule");
    let producer = open(&proxy.url(), Options::new().max_in_flight(1u64));
    proxy.clear_log();
    for _ in 0..REQUESTS {
        producer.append(MESSAGE).expect("there is room");
        producer.flush().wait().expect("all is delivered");
    }
    let shown = producer.stats().request_latency_us;
    let took = |entry: durstream_tests::proxy::Entry| Some(entry.answered_us? - entry.arrived_us);
    let mut by_proxy: Vec<u64> = proxy.log().into_iter().filter_map(took).collect();
    by_proxy.sort_unstable();
    assert_eq!(by_proxy.len() as u64, shown.count, "one request, one latency");
    println!("\n{:<28} {:>10} {:>10} {:>6}", "a request, ms", "stats()", "proxy", "ratio");
    for ((name, part), own) in QUANTILES.into_iter().zip([shown.p50, shown.p90, shown.p99]) {
        let rank = (part * by_proxy.len() as f64).ceil() as usize;
        let other = by_proxy[rank - 1];
        let ms = |us: u64| us as f64 / 1e3;
        println!(
            "{name:<28} {:>10.2} {:>10.2} {:>6.3}",
            ms(own),
            ms(other),
            own as f64 / other as f64
        );
    }
    let sum: u64 = by_proxy.iter().sum();
    println!(
        "{:<28} {:>10.0} {:>10.0} {:>6.3}",
        "all together",
        shown.sum as f64 / 1e3,
        sum as f64 / 1e3,
        shown.sum as f64 / sum as f64
    );
    producer.detach().wait().expect("it ends");
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // there is nothing to check without a server
    }
    costs(&format!("http://{}", server_address()));
    latencies();
}
