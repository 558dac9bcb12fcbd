//! Upstream's Rust client as its documentation shows it. It is no member of the workspace: the harness
//! makes a package of it that names the checkout, and this tree's library of programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durable_streams::{Client, CreateOptions, Producer};
use durstream_bench_programs::{
    Clock, Job, Pace, Result, SAMPLED_CALLS, answer, idle_report, resident_bytes, wait_for_word,
};

/// What is written: to a JSON stream it takes values, to any other bytes.
enum Messages {
    Values(Vec<serde_json::Value>),
    Bytes(Vec<Vec<u8>>),
}

impl Messages {
    fn of(job: &Job) -> Result<Self> {
        if job.get("kind") == Some("bytes") {
            return Ok(Messages::Bytes(job.messages.clone()));
        }
        let values = job.messages.iter().map(|text| serde_json::from_slice(text));
        Ok(Messages::Values(values.collect::<std::result::Result<_, _>>()?))
    }

    fn append(&self, producer: &Producer, event: usize) {
        match self {
            Messages::Values(values) => producer.append_json(&values[event % values.len()]),
            Messages::Bytes(texts) => producer.append(texts[event % texts.len()].clone()),
        }
    }
}

/// It tells failures to a callback alone.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicU64>);

impl Failures {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn open(client: &Client, job: &Job, url: &str, failures: &Failures) -> Producer {
    let failures = failures.clone();
    let on_error = move |error| {
        if failures.0.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!("upstream-rust: {error}");
        }
    };
    let producer = client.stream(url).producer("bench").auto_claim(true);
    producer.content_type(job.content_type()).on_error(on_error).build()
}

async fn stream_all(job: &Job, producer: &Producer) -> Result<String> {
    let messages = Messages::of(job)?;
    let calls = job.events.min(SAMPLED_CALLS);
    let clock = Clock::start();
    let accepting = Instant::now();
    (0..calls).for_each(|event| messages.append(producer, event));
    let accepting = accepting.elapsed();
    (calls..job.events).for_each(|event| messages.append(producer, event));
    producer.flush().await?;
    // It does not tell how often it asked.
    Ok(clock.report(accepting, calls, producer.next_seq(), 0))
}

async fn idle(job: &Job, producer: &Producer) -> Result<String> {
    let messages = Messages::of(job)?;
    let mut waits = Vec::with_capacity(job.events);
    for event in 0..job.events {
        let started = Instant::now();
        messages.append(producer, event);
        producer.flush().await?;
        waits.push(started.elapsed());
    }
    Ok(idle_report(&waits))
}

/// What is due is appended and flushed: only a flush tells when it was taken.
async fn paced(job: &Job, producer: &Producer, failures: &Failures) -> Result<String> {
    let messages = Messages::of(job)?;
    let mut pace = Pace::start(job.events, job.number("rate")?);
    loop {
        // Its timers run on other threads.
        let Some(events) = tokio::task::block_in_place(|| pace.next_due()) else { break };
        let failed = failures.count();
        events.clone().for_each(|event| messages.append(producer, event));
        producer.flush().await?;
        if failures.count() == failed {
            pace.done_at(events, Instant::now());
        }
    }
    Ok(pace.report())
}

async fn queue(job: &Job, producer: &Producer) -> Result<String> {
    let messages = Messages::of(job)?;
    messages.append(producer, 0);
    producer.flush().await?;
    tokio::task::block_in_place(wait_for_word)?;
    let before = resident_bytes()?;
    (0..job.events).for_each(|event| messages.append(producer, event));
    let after = resident_bytes()?;
    Ok(format!("{{\"before_bytes\":{before},\"after_bytes\":{after}}}"))
}

async fn streams(job: &Job, client: &Client, failures: &Failures) -> Result<String> {
    let messages = Messages::of(job)?;
    let count = job.number("streams")?;
    let clock = Clock::start();
    let open = |number| open(client, job, &format!("{}-{number}", job.url), failures);
    let producers: Vec<Producer> = (0..count).map(open).collect();
    for event in 0..job.events / count {
        producers.iter().for_each(|producer| messages.append(producer, event));
    }
    for producer in &producers {
        producer.flush().await?;
    }
    let requests = producers.iter().map(Producer::next_seq).sum();
    Ok(clock.report(Duration::ZERO, 0, requests, 0))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (job, client, failures) = (Job::from_arguments()?, Client::new(), Failures::default());
    let line = if job.mode() == "streams" {
        streams(&job, &client, &failures).await?
    } else {
        let options = CreateOptions::new().content_type(job.content_type());
        client.stream(&job.url).create_with(options).await?;
        let producer = open(&client, &job, &job.url, &failures);
        match job.mode() {
            "idle" => idle(&job, &producer).await?,
            "paced" => paced(&job, &producer, &failures).await?,
            "queue" => queue(&job, &producer).await?,
            _ => stream_all(&job, &producer).await?,
        }
    };
    if failures.count() > 0 && !matches!(job.mode(), "paced" | "queue") {
        return Err(format!("{} of its batches failed", failures.count()).into());
    }
    tokio::task::block_in_place(|| answer(&line))?;
    std::process::exit(0); // what it still queues is given up
}
