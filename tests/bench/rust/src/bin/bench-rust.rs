//! The Rust contestant: `IdempotentProducer` as its documentation shows it.

use std::time::Instant;

use durstream_bench_programs::{Clock, Job, Result, SAMPLED_CALLS, answer, idle_report};
use durstream_core::{DurableStream, IdempotentProducer, Options};

fn main() -> Result<()> {
    let job = Job::from_arguments()?;
    let options = Options::new().url(&job.url).content_type(job.content_type());
    let stream = DurableStream::create(options, "").wait()?;
    let mut options = Options::new();
    for name in ["max_batch_bytes", "max_in_flight"] {
        if let Some(value) = job.get(name) {
            options.set(name, value)?;
        }
    }
    let producer = IdempotentProducer::open(&stream, "bench", options)?;
    let line = if job.is_idle() { idle(&job, &producer)? } else { stream_all(&job, &producer)? };
    answer(&line)
}

fn stream_all(job: &Job, producer: &IdempotentProducer) -> Result<String> {
    let calls = job.events.min(SAMPLED_CALLS);
    let mut messages = job.messages.iter().cycle();
    let clock = Clock::start();
    let accepting = Instant::now();
    for message in messages.by_ref().take(calls) {
        producer.blocking_append(message)?;
    }
    let accepting = accepting.elapsed();
    for message in messages.take(job.events - calls) {
        producer.blocking_append(message)?;
    }
    producer.flush().wait()?;
    let stats = producer.stats();
    Ok(clock.report(accepting, calls, stats.requests, stats.retries))
}

fn idle(job: &Job, producer: &IdempotentProducer) -> Result<String> {
    let mut waits = Vec::with_capacity(job.events);
    for message in job.messages.iter().cycle().take(job.events) {
        let started = Instant::now();
        let receipt = producer.append(message)?;
        if !producer.wait(receipt.id()).wait()?.is_delivered() {
            return Err("a write was not delivered".into());
        }
        waits.push(started.elapsed());
    }
    Ok(idle_report(&waits))
}
