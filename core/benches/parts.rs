//! The pure parts of writing, and accepting as a whole: `cargo bench -p durstream-core --bench parts`.
//!
//! What these cost in instructions, which a busy machine does not change, is in `instructions.rs`.
#![expect(clippy::disallowed_methods, reason = "real time is what it measures")]

#[path = "../tests/common/mod.rs"]
mod common;
mod work;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use work::{Writer, batch, json_text};

/// Writes before a producer that never gets rid of them makes place for another.
const STAY: u64 = 100_000;
const GATHERED: u64 = 10_000;

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Elements(1));
    let message = work::MESSAGE.as_bytes();
    group.bench_function("json check", |bencher| {
        bencher.iter(|| json_text::check(black_box(message)));
    });
    group.bench_function("json key", |bencher| {
        bencher.iter(|| json_text::find(black_box(message), "key"));
    });
    group.throughput(Throughput::Elements(GATHERED));
    group.bench_function("batch, gathered and sealed", |bencher| {
        let mut builder = batch::Builder::new(true);
        bencher.iter(|| work::gather(&mut builder, GATHERED));
    });
    group.bench_function("batch, taken apart", |bencher| {
        let whole = work::gather(&mut batch::Builder::new(true), GATHERED);
        bencher.iter(|| black_box(&whole).split());
    });
}

fn accepting(criterion: &mut Criterion) {
    writes(criterion, "accept", &Writer::ALL);
    writes(criterion, "validate", &Writer::VALIDATED);
}

fn writes(criterion: &mut Criterion, name: &str, writers: &[(&str, work::Open)]) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for (name, open) in writers {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|writes| {
                let (mut took, mut left) = (Duration::ZERO, writes);
                while left > 0 {
                    let count = left.min(STAY);
                    let writer = open();
                    let started = std::time::Instant::now();
                    writer.write(count);
                    took += started.elapsed();
                    writer.end();
                    left -= count;
                }
                took
            });
        });
    }
}

criterion_group!(benches, parts, accepting);
criterion_main!(benches);
