//! One run: a fresh server, a contestant's process, and a look at the stream it leaves.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
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
const LIMIT: Duration = Duration::from_secs(120);
/// How often a wait looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
const STREAM_PATH: &str = "/bench/stream";

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
    /// Each write is waited for before the next.
    pub(crate) idle: bool,
    /// Options other than the defaults; only the Rust programs take them.
    pub(crate) options: Vec<String>,
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
    let mut command = contestant.command();
    command.arg(format!("url={base}/v1/stream{STREAM_PATH}"));
    command.arg(format!("kind={}", job.kind)).arg(format!("events={}", job.events));
    command.arg(format!("messages={}", job.messages.file.display()));
    command.arg(if job.idle { "mode=idle" } else { "mode=stream" }).args(&job.options);
    let doing = process::describe(&command);
    let watch = Watch::start(&server);
    let program = Program::start(command, &log).context(&doing)?;
    let mut measured: Measured = serde_json::from_str(&program.line).context(&program.line)?;
    measured.around = watch.end(&program);
    program.end().map_err(|failure| process::with_tail(&failure, &log)).context(&doing)?;
    let content = readback::read_bytes(server.address(), STREAM_PATH)?;
    job.messages.check(&content, job.events).context(&doing)?;
    Ok(measured)
}

/// Looks at the machine before and after.
struct Watch {
    server: u32,
    started: Instant,
    server_cpu: Option<f64>,
    all_cpu: Option<f64>,
}

impl Watch {
    fn start(server: &Server) -> Self {
        let server = server.process_id();
        let (server_cpu, all_cpu) =
            (machine::cpu_seconds(Some(server)), machine::cpu_seconds(None));
        Self { server, started: Instant::now(), server_cpu, all_cpu }
    }

    fn end(self, program: &Program) -> Around {
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

fn log_of(tree: &Tree, id: Id) -> Result<std::path::PathBuf> {
    let log = tree.directory("bench")?.join(format!("{}.err", id.name()));
    std::fs::write(&log, "").context(log.display())?;
    Ok(log)
}

/// A process that has said its one line, and stays until its standard input ends.
struct Program {
    process: Guarded,
    input: std::process::ChildStdin,
    line: String,
}

impl Program {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let errors = std::fs::File::options().create(true).append(true).open(log);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(errors.context(log.display())?);
        let mut process = Guarded::spawn(signals::die_with_us(&mut command))?;
        let (input, output) = process.pipes().ok_or("a program without pipes")?;
        let (sender, lines) = channel();
        // Ends with the process.
        let reader = std::thread::Builder::new().name("bench-output".to_owned());
        let started = reader.spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line).map(|_| line);
            sender.send(read)
        });
        started.context("starting a thread")?;
        let started = Instant::now();
        let line = loop {
            signals::check()?;
            match lines.recv_timeout(TICK) {
                Ok(line) => break line.context("reading its line")?,
                Err(RecvTimeoutError::Timeout) if started.elapsed() < LIMIT => {}
                Err(_) => return Err(format!("not done after {} s", LIMIT.as_secs()).into()),
            }
        };
        if line.is_empty() {
            let status = process.wait(Some(LIMIT), || ())?;
            return Err(process::with_tail(&format!("it ended: {status}").into(), log));
        }
        Ok(Self { process, input, line: line.trim_end().to_owned() })
    }

    fn end(mut self) -> Result {
        drop(self.input);
        let status = self.process.wait(Some(LIMIT), || ())?;
        if status.success() { Ok(()) } else { Err(format!("it ended: {status}").into()) }
    }
}
