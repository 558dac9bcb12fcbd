//! Writes numbered messages at a steady pace and tells what became of each. It knows nothing of
//! the faults on its way: `cargo xtask faults` makes them and judges what this says.
//!
//! The job is one JSON object, the only argument. On standard output come lines `settled N`, and at
//! the end `report` with one JSON object.
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

mod job;
mod producer;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durstream_core::{Outcome, Receipt, Stats, Status};
use job::{Job, Result};
use producer::Producer;
use serde_json::{Value, json};

/// How often what happened is looked at.
const TICK: Duration = Duration::from_millis(1);
/// How many writes are made at most before the next look.
const BETWEEN_LOOKS: usize = 500;
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("report {report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Value> {
    let job = Job::parse(&std::env::args().nth(1).ok_or("the job is missing")?)?;
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    let on_error = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let producer = Producer::open(&job, on_error)?;
    let mut watch = Watch::default();
    let receipts = write(&job, &producer, &mut watch);
    let flushed = producer.flush().wait_or_timeout(Some(FLUSH_LIMIT), "flush");
    watch.look(&producer.stats());
    // Before letting go, which ends in `stopped` whatever was before.
    let state = format!("{:?}", producer.state()).to_lowercase();
    let mut ends = Ends::default();
    for receipt in &receipts {
        match receipt.refusal() {
            Some(refusal) => ends.add("refused", refusal),
            None => {
                let outcome = producer.wait(receipt.id()).wait()?;
                ends.add(name(&outcome), &outcome);
            }
        }
    }
    await_callbacks(&producer);
    let stats: BTreeMap<_, _> = producer.stats().entries().into_iter().collect();
    producer.let_go();
    Ok(json!({
        "outcomes": ends.runs,
        "reasons": ends.reasons,
        "stats": stats,
        "unbalanced": watch.unbalanced,
        "longest_pause_ms": u64::try_from(watch.longest.as_millis())?,
        "flush": flushed.err().map(|error| error.to_string()),
        "told": told.load(Ordering::Relaxed),
        "state": state,
    }))
}

/// Writes everything and waits until all of it is settled.
fn write(job: &Job, producer: &Producer, watch: &mut Watch) -> Vec<Receipt> {
    let started = Instant::now();
    let mut receipts = Vec::new();
    let (mut pending, mut writes) = (0, job.writes);
    loop {
        if job.is_stopped() {
            writes = receipts.len();
        }
        let due = writes.min(job.due(started.elapsed(), receipts.len() - pending));
        let before = receipts.len();
        while receipts.len() < due.min(before + BETWEEN_LOOKS) {
            receipts.push(producer.write(&job.writer, receipts.len()));
        }
        let stats = producer.stats();
        watch.look(&stats);
        pending = usize::try_from(stats.pending).expect("no more than there are receipts");
        if receipts.len() == writes && pending == 0 {
            return receipts;
        }
        if receipts.len() >= due {
            std::thread::sleep(TICK);
        }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome.status {
        Status::Delivered if outcome.maybe_duplicate => "flagged",
        status => status.as_str(),
    }
}

/// What an undelivered write reserves is held until its callback has returned.
fn await_callbacks(producer: &Producer) {
    let started = Instant::now();
    while producer.stats().buffered_bytes > 0 && started.elapsed() < FLUSH_LIMIT {
        std::thread::sleep(TICK);
    }
}

/// What can be seen from outside while the producer works.
#[derive(Default)]
struct Watch {
    settled: u64,
    /// Since when nothing was settled although something was pending.
    since: Option<Instant>,
    longest: Duration,
    /// How often the counters did not add up.
    unbalanced: u64,
}

impl Watch {
    fn look(&mut self, stats: &Stats) {
        let settled = stats.delivered + stats.rejected + stats.cancelled + stats.unknown;
        self.unbalanced += u64::from(settled + stats.pending != stats.accepted);
        let since = *self.since.get_or_insert_with(Instant::now);
        self.longest = self.longest.max(since.elapsed());
        if settled != self.settled {
            println!("settled {settled}");
            self.settled = settled;
            self.since = None;
        }
        if stats.pending == 0 {
            self.since = None;
        }
    }
}

/// What became of the writes, in the order of the calls.
#[derive(Default)]
struct Ends {
    /// How many in a row ended how.
    runs: Vec<(&'static str, u64)>,
    reasons: BTreeMap<&'static str, u64>,
}

impl Ends {
    fn add(&mut self, end: &'static str, outcome: &Outcome) {
        if let Some(reason) = outcome.reason {
            *self.reasons.entry(reason.as_str()).or_default() += 1;
        }
        match self.runs.last_mut() {
            Some((last, count)) if *last == end => *count += 1,
            _ => self.runs.push((end, 1)),
        }
    }
}
