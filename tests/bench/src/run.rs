//! One run: a fresh server, a contestant's process, and a look at the stream it leaves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use durstream_tests::failure::{Context, Result};
use durstream_tests::readback;
use serde::Deserialize;

use super::contestant::{Contestant, Id, rust_program};
use super::machine;
use super::messages::Messages;
use durstream_tests::process::{self, Guarded};
use durstream_tests::server::Server;
use durstream_tests::signals;
use durstream_tests::tree::Tree;

/// A run that takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// How often a wait looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
pub(crate) const STREAM_PATH: &str = "/bench/stream";

/// Where runs take place.
pub(crate) struct Place<'a> {
    pub(crate) tree: &'a Tree,
    /// Added to each round trip.
    pub(crate) round_trip_ms: u64,
}

/// What a run does.
pub(crate) struct Job<'a> {
    pub(crate) messages: &'a Messages,
    pub(crate) kind: &'static str,
    pub(crate) events: usize,
    /// What is done with them: `stream`, `idle` (each write is waited for before the next), `paced`, `upsert`.
    pub(crate) mode: &'static str,
    /// Options other than the defaults; only the Rust programs take them.
    pub(crate) options: Vec<String>,
    /// A run that takes longer hangs.
    pub(crate) limit: Duration,
}

/// What a contestant measured, and what went on around it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) result: Measurement,
    #[serde(skip)]
    pub(crate) around: Around,
}

/// What the kernel says of a run. Known on Linux alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) server_cpu_seconds: Option<f64>,
    /// The part of the machine that neither the client nor the server used.
    pub(crate) others_part: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Measurement {
    Stream(Streamed),
    Idle { waits_us: Vec<f64> },
    Paced(Paced),
    Queued(Queued),
    Call { call_ns: f64 },
}

/// When each event of a pace was begun and done, from its start.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Paced {
    pub(crate) epoch_us: f64,
    pub(crate) begun_us: Vec<f64>,
    /// None for one that was never taken.
    pub(crate) done_us: Vec<Option<f64>>,
}

/// The memory of a process before and after it queued something.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Queued {
    pub(crate) before_bytes: f64,
    pub(crate) after_bytes: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Streamed {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) accept_seconds: f64,
    pub(crate) accept_calls: f64,
    pub(crate) requests: u64,
    pub(crate) repeats: u64,
}

/// Runs a job, and fails unless the stream is then exactly what was to be written.
pub(crate) fn run(place: &Place<'_>, contestant: &Contestant, job: &Job<'_>) -> Result<Measured> {
    let log = log_of(place.tree, contestant.id)?;
    // Its own server: nobody pays for what others left behind.
    let server = Server::start(place.tree)?;
    let proxy = match place.round_trip_ms {
        0 => None,
        ms => {
            let mut command = Command::new(rust_program(place.tree, "delay"));
            command.args([server.address().to_string(), ms.to_string()]);
            Some(Program::start(command, &log)?)
        }
    };
    let base = proxy.as_ref().map_or_else(|| server.url(), |proxy| proxy.line.clone());
    let command = job.command(contestant, &stream_url(&base));
    let doing = process::describe(&command);
    let watch = Watch::start(&server);
    let mut program = Program::spawn(command, &log).context(&doing)?;
    program.next_line_within(job.limit).context(&doing)?;
    let mut measured: Measured = serde_json::from_str(&program.line).context(&program.line)?;
    measured.around = watch.end(&program);
    program.end().map_err(|failure| process::with_tail(&failure, &log)).context(&doing)?;
    if contestant.id.is_read_back() && job.mode != "upsert" && contestant.id != Id::Bare {
        check(&server, STREAM_PATH, job.messages, job.events).context(&doing)?;
    }
    Ok(measured)
}

/// The URL of the stream that a job writes to.
pub(crate) fn stream_url(base: &str) -> String {
    format!("{base}/v1/stream{STREAM_PATH}")
}

/// Fails unless a stream is exactly the first messages.
pub(crate) fn check(server: &Server, path: &str, messages: &Messages, events: usize) -> Result {
    messages.check(&readback::read_bytes(server.address(), path)?, events)
}

impl Job<'_> {
    pub(crate) fn command(&self, contestant: &Contestant, url: &str) -> Command {
        let mut command = contestant.command();
        command.arg(format!("url={url}"));
        command.arg(format!("kind={}", self.kind)).arg(format!("events={}", self.events));
        command.arg(format!("messages={}", self.messages.file.display()));
        command.arg(format!("mode={}", self.mode)).args(&self.options);
        command
    }
}

/// Looks at the machine before and after.
pub(crate) struct Watch {
    server: u32,
    started: Instant,
    server_cpu: Option<f64>,
    all_cpu: Option<f64>,
}

impl Watch {
    pub(crate) fn start(server: &Server) -> Self {
        let server = server.process_id();
        let (server_cpu, all_cpu) =
            (machine::cpu_seconds(Some(server)), machine::cpu_seconds(None));
        Self { server, started: Instant::now(), server_cpu, all_cpu }
    }

    pub(crate) fn end(self, program: &Program) -> Around {
        let since = |before: Option<f64>, now: Option<f64>| Some(now? - before?);
        let client = program.process.id();
        let server = since(self.server_cpu, machine::cpu_seconds(Some(self.server)));
        let all = since(self.all_cpu, machine::cpu_seconds(None));
        let there_was = self.started.elapsed().as_secs_f64() * machine::cores() as f64;
        let others = || Some((all? - server? - machine::cpu_seconds(Some(client))?) / there_was);
        Around {
            peak_bytes: machine::peak_bytes(client),
            server_cpu_seconds: server,
            others_part: others().map(|part| part.clamp(0.0, 1.0)),
        }
    }
}

pub(crate) fn log_of(tree: &Tree, id: Id) -> Result<std::path::PathBuf> {
    let log = tree.directory("bench")?.join(format!("{}.err", id.name()));
    std::fs::write(&log, "").context(log.display())?;
    Ok(log)
}

/// A process that has said a line, and stays until its standard input ends.
pub(crate) struct Program {
    process: Guarded,
    input: std::process::ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
    pub(crate) line: String,
}

impl Program {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: Command, log: &Path) -> Result<Self> {
        let mut program = Self::spawn(command, log)?;
        program.next_line()?;
        Ok(program)
    }

    /// Starts it. It ends with the thread that does so.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let errors = std::fs::File::options().create(true).append(true).open(log);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(errors.context(log.display())?);
        let mut process = Guarded::spawn(signals::die_with_us(&mut command))?;
        let (input, output) = process.pipes().ok_or("a program without pipes")?;
        let (sender, lines) = channel();
        // Ends with the process.
        process::follow(output, move |line| {
            // Who started it may have had enough of it.
            let _ = sender.send(line.to_owned());
        })?;
        let log = log.to_path_buf();
        Ok(Self { process, input, lines, log, line: String::new() })
    }

    /// Waits for its next line.
    pub(crate) fn next_line(&mut self) -> Result {
        self.next_line_within(LIMIT)
    }

    /// Waits so long for its next line.
    pub(crate) fn next_line_within(&mut self, limit: Duration) -> Result {
        let started = Instant::now();
        loop {
            signals::check()?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) => {
                    self.line = line;
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) if started.elapsed() < limit => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("not done after {} s", limit.as_secs()).into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.process.wait(Some(LIMIT), || ())?;
                    let failure = format!("it ended: {status}").into();
                    return Err(process::with_tail(&failure, &self.log));
                }
            }
        }
    }

    /// Tells it to go on.
    pub(crate) fn go_on(&mut self) -> Result {
        self.input.write_all(b"\n").context("its standard input")
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it measured.
    pub(crate) fn measurement(&self) -> Result<Measurement> {
        serde_json::from_str(&self.line).context(&self.line)
    }

    pub(crate) fn end(mut self) -> Result {
        drop(self.input);
        let status = self.process.wait(Some(LIMIT), || ())?;
        if status.success() { Ok(()) } else { Err(format!("it ended: {status}").into()) }
    }
}
