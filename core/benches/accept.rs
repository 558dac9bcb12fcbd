//! What accepting a write costs the caller: `cargo bench -p durstream-core --bench accept`.
//!
//! Nobody listens where the producer would send, so that only accepting is measured; the buffer
//! is emptied by throwing the producer away between samples.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use durstream_core::{DurableStream, IdempotentProducer, Options};

const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"x":12}"#;

fn open(content_type: &str) -> IdempotentProducer {
    // Port 9 (discard) refuses at once on any usual machine.
    let options = Options::new().url("http://127.0.0.1:9/bench").content_type(content_type);
    let stream = DurableStream::connect(options).expect("options are right");
    let options = Options::new().max_buffer_bytes(1u64 << 32);
    IdempotentProducer::open(&stream, "bench", options).expect("options are right")
}

/// Runs `count` calls over `threads` threads in all, on fresh producers of bounded size.
fn run(content_type: &str, threads: u64, count: u64) -> Duration {
    const PER_PRODUCER: u64 = 1_000_000;
    durstream_core::set_buffer_budget(1 << 33);
    let mut took = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let part = left.min(PER_PRODUCER);
        left -= part;
        let producer = open(content_type);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let own = part / threads + u64::from(thread < part % threads);
                let producer = &producer;
                scope.spawn(move || {
                    for _ in 0..own {
                        black_box(producer.append(black_box(MESSAGE)).expect("there is room"));
                    }
                });
            }
        });
        took += started.elapsed();
        producer.stop();
    }
    took
}

fn accept(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept 100 bytes");
    group.throughput(Throughput::Elements(1));
    for (name, content_type, threads) in [
        ("bytes", "text/plain", 1),
        ("json", "application/json", 1),
        ("bytes, 8 threads", "text/plain", 8),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| run(content_type, threads, count));
        });
    }
    group.finish();
}

criterion_group!(benches, accept);
criterion_main!(benches);
