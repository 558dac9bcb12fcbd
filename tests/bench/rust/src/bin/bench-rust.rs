//! The Rust contestant: `IdempotentProducer` as its documentation shows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durstream_bench_programs::{
    Clock, Job, Pace, Result, SAMPLED_CALLS, answer, idle_report, resident_bytes, wait_for_word,
};
use durstream_core::{
    Callbacks, Collection, DurableStream, IdempotentProducer, Options, StreamSchema, Validator,
    create_durable_stream,
};

/// Upserts that are timed together: over before a busy machine takes the processor away.
const PIECE: usize = 100;

fn main() -> Result<()> {
    let job = Job::from_arguments()?;
    let line = match job.mode() {
        "paced" => paced(&job)?,
        "queue" => queue(&job)?,
        "streams" => streams(&job)?,
        "upsert" => upsert(&job)?,
        "idle" => idle(&job, &open(&job, options(&job)?)?)?,
        _ => stream_all(&job, &open(&job, options(&job)?)?)?,
    };
    answer(&line)
}

/// The producer's options that a job may give.
fn options(job: &Job) -> Result<Options> {
    let mut options = Options::new();
    for name in ["max_batch_bytes", "max_in_flight", "max_buffer_bytes"] {
        if let Some(value) = job.get(name) {
            options.set(name, value)?;
        }
    }
    Ok(options)
}

fn create(job: &Job) -> Result<DurableStream> {
    let options = Options::new().url(&job.url).content_type(job.content_type());
    Ok(DurableStream::create(options, "").wait()?)
}

fn open(job: &Job, options: Options) -> Result<IdempotentProducer> {
    Ok(IdempotentProducer::open(&create(job)?, "bench", options)?)
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

fn paced(job: &Job) -> Result<String> {
    let stream = create(job)?;
    let (sender, deliveries) = std::sync::mpsc::channel();
    let on_delivery = move |delivery: durstream_core::Delivery| {
        let first = delivery.first_id as usize - 1;
        // The receiver is there until everything is delivered.
        let _ = sender.send((first..first + delivery.count as usize, Instant::now()));
    };
    let callbacks = Callbacks { on_delivery: Some(Arc::new(on_delivery)), ..Callbacks::default() };
    let producer = IdempotentProducer::open_with(&stream, "bench", options(job)?, callbacks)?;
    let mut pace = Pace::start(job.events, job.number("rate")?);
    while let Some(events) = pace.next_due() {
        for event in events {
            let message = &job.messages[event % job.messages.len()];
            let receipt = producer.blocking_append(message)?;
            if receipt.id() != event as u64 + 1 {
                return Err("receipts are not numbered from 1".into());
            }
        }
    }
    producer.detach().wait()?;
    // Ends with the callback, which the producer holds until it has reported everything.
    drop(producer);
    for (events, at) in deliveries {
        pace.done_at(events, at);
    }
    Ok(pace.report())
}

fn queue(job: &Job) -> Result<String> {
    durstream_core::set_buffer_budget(1 << 40);
    let producer = open(job, options(job)?)?;
    let message = job.messages.first().ok_or("no messages")?;
    producer.append(message)?;
    producer.flush().wait()?;
    wait_for_word()?;
    let before = resident_bytes()?;
    for message in job.messages.iter().cycle().take(job.events) {
        producer.append(message)?;
    }
    let after = resident_bytes()?;
    Ok(format!("{{\"before_bytes\":{before},\"after_bytes\":{after}}}"))
}

/// Writes to each of several streams in turn. They are there already.
fn streams(job: &Job) -> Result<String> {
    let count = job.number("streams")?;
    let open = |number| -> Result<IdempotentProducer> {
        let url = format!("{}-{number}", job.url);
        let options = Options::new().url(url).content_type(job.content_type());
        Ok(IdempotentProducer::open(&DurableStream::connect(options)?, "bench", Options::new())?)
    };
    let clock = Clock::start();
    let producers = (0..count).map(open).collect::<Result<Vec<_>>>()?;
    for message in job.messages.iter().cycle().take(job.events / count) {
        for producer in &producers {
            producer.blocking_append(message)?;
        }
    }
    let flushes: Vec<_> = producers.iter().map(IdempotentProducer::flush).collect();
    for flush in flushes {
        flush.wait()?;
    }
    let (mut requests, mut repeats) = (0, 0);
    for stats in producers.iter().map(IdempotentProducer::stats) {
        requests += stats.requests;
        repeats += stats.retries;
    }
    Ok(clock.report(Duration::ZERO, 0, requests, repeats))
}

/// What an upsert that a JSON Schema checks costs its caller: nobody listens at the URL.
fn upsert(job: &Job) -> Result<String> {
    durstream_core::set_log_sink(|_| {}); // what is given up at the end is not news here
    let schema = serde_json::json!({
        "type": "object",
        "required": ["id", "text"],
        "properties": {
            "id": { "type": "string" },
            "text": { "type": "string", "maxLength": 200 },
        },
    });
    let events = Collection::new("event", "id", Validator::JsonSchema(schema));
    let schema = StreamSchema::new().collection("events", events);
    let options = Options::new().url(&job.url).producer_id("bench").max_buffer_bytes(1u64 << 32);
    let producer = create_durable_stream(options, schema)?;
    let mut pieces = Vec::new();
    let mut messages = job.messages.iter().cycle();
    for _ in 0..job.events / PIECE {
        let started = Instant::now();
        for message in messages.by_ref().take(PIECE) {
            producer.upsert_json("events", message)?;
        }
        pieces.push(started.elapsed());
    }
    producer.stop();
    pieces.sort_unstable();
    let median = pieces.get(pieces.len() / 2).ok_or("too few events")?;
    Ok(format!("{{\"call_ns\":{}}}", median.as_secs_f64() * 1e9 / PIECE as f64))
}
