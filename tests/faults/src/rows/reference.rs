//! The reference server in Node, with the faults it can inject itself, and killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::crashes::{AT_LEAST, moments};
use super::row::Row;
use crate::expect::Expect;
use crate::stage::{self, Ran, Stage};
use crate::writer::Job;
use durstream_tests::failure::Result;
use durstream_tests::http;
use durstream_tests::numbered::Kind;
use durstream_tests::process::{self, Guarded};
use durstream_tests::server::free_address;
use durstream_tests::signals;

const START_LIMIT: Duration = Duration::from_secs(20);
/// How likely it injects a fault, and how often at most.
const PROBABILITY: f64 = 0.1;
const TIMES: u64 = 20;

pub(super) fn rows() -> Vec<Row> {
    let injected = |name, kind, fault: Value| {
        Row::new(name, Expect::nothing_lost(AT_LEAST), move |stage: &Stage<'_>| {
            inject(stage, kind, &fault)
        })
    };
    vec![
        injected("reference server: 429", Kind::Json, json!({ "status": 429, "retryAfter": 0 })),
        injected("reference server: 503", Kind::State, json!({ "status": 503 })),
        injected("reference server: 500", Kind::Json, json!({ "status": 500 })),
        injected("reference server: drops", Kind::Lines, json!({ "dropConnection": true })),
        injected(
            "reference server: drops late",
            Kind::Json,
            json!({ "dropConnection": true, "delayMs": 50 }),
        ),
        Row::new(
            "reference server killed, JSON",
            Expect::nothing_lost(AT_LEAST),
            |stage: &Stage<'_>| crash(stage, Kind::Json),
        ),
        Row::new(
            "reference server killed, state",
            Expect::nothing_lost(AT_LEAST),
            |stage: &Stage<'_>| crash(stage, Kind::State),
        ),
    ]
}

/// The reference server as a process, at one address for all its lives.
struct Reference {
    script: PathBuf,
    address: SocketAddr,
    process: Guarded,
    job: Value,
    /// How many faults happened, as it says itself.
    injected: Arc<AtomicU64>,
}

impl Reference {
    /// `data` is its folder; without one it keeps everything in memory.
    fn start(stage: &Stage<'_>, data: Option<PathBuf>, fault: Option<Value>) -> Result<Self> {
        let address = free_address()?;
        let path = format!("/v1/stream{}", Job::new(Kind::Json, String::new()).stream_path);
        let job = json!({
            "port": address.port(), "data": data, "path": path, "fault": fault, "seed": stage.seed,
        });
        let script = stage.reference.join("server.mjs");
        let injected = Arc::<AtomicU64>::default();
        let process = launch(&script, &job, address, &injected)?;
        Ok(Self { script, address, process, job, injected })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn kill_and_restart(&mut self) -> Result {
        self.process.kill();
        self.process = launch(&self.script, &self.job, self.address, &self.injected)?;
        Ok(())
    }
}

fn launch(
    script: &PathBuf,
    job: &Value,
    address: SocketAddr,
    injected: &Arc<AtomicU64>,
) -> Result<Guarded> {
    let mut command = Command::new("node");
    command.arg(script).arg(job.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    signals::own_group(signals::die_with_us(&mut command));
    let mut process = Guarded::spawn(&mut command)?;
    let output = process.output().ok_or("the reference server has no output")?;
    let count = injected.clone();
    process::follow(output, move |line| {
        count.store(line.parse().unwrap_or(0), Ordering::Relaxed);
    })?;
    let started = Instant::now();
    while http::get(address, "/nothing").is_err() {
        signals::check()?;
        if let Some(status) = process.poll()? {
            return Err(format!("the reference server ended at once: {status}").into());
        }
        if started.elapsed() > START_LIMIT {
            return Err("no answer from the reference server".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}

fn inject(stage: &Stage<'_>, kind: Kind, fault: &Value) -> Result<Ran> {
    let mut fault = fault.clone();
    (fault["method"], fault["probability"], fault["count"]) =
        ("POST".into(), PROBABILITY.into(), TIMES.into());
    let server = Reference::start(stage, None, Some(fault))?;
    let job = Job::new(kind, server.url());
    let told = stage.run(std::slice::from_ref(&job), |_| Ok(()))?;
    let stream = stage::read(server.address, kind, &job.stream_path)?;
    Ok(Ran { injected: server.injected.load(Ordering::Relaxed), told, stream, ..Ran::default() })
}

fn crash(stage: &Stage<'_>, kind: Kind) -> Result<Ran> {
    let mut server = Reference::start(stage, Some(stage.folder.join("data")), None)?;
    let job = Job { per_second: 1500, ..Job::new(kind, server.url()) };
    let mut moments = moments(stage.seed, job.writes);
    let mut injected = 0;
    let told = stage.run(std::slice::from_ref(&job), |settled| {
        if moments.next_if(|moment| settled >= *moment).is_some() {
            server.kill_and_restart()?;
            injected += 1;
        }
        Ok(())
    })?;
    let stream = stage::read(server.address, kind, &job.stream_path)?;
    Ok(Ran { injected, told, stream, ..Ran::default() })
}
