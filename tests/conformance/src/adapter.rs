//! One adapter process: a line of JSON in, a line of JSON out, each within a limit.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use durstream_tests::failure::{Context, Failure, Result};
use serde_json::{Value, json};

use durstream_tests::process::{self, Guarded};
use durstream_tests::signals;

/// How often a wait looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How an adapter is started, and how long it may take over a command.
pub(crate) struct Program {
    pub(crate) command: Box<dyn Fn() -> Command>,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
    pub(crate) limit: Duration,
}

/// Killed when it goes out of scope.
pub(crate) struct Adapter {
    process: Guarded,
    commands: Sender<String>,
    lines: Receiver<std::io::Result<String>>,
    log: PathBuf,
    limit: Duration,
}

impl Adapter {
    /// Starts the program and sends `init`.
    pub(crate) fn start(program: &Program, server_url: &str) -> Result<Self> {
        let log = &program.log;
        let errors = std::fs::File::options().create(true).append(true).open(log);
        let mut command = (program.command)();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(errors.context(log.display())?);
        let mut process = Guarded::spawn(signals::die_with_us(&mut command))?;
        let (mut input, output) = process.pipes().ok_or("an adapter without pipes")?;
        // Threads that end with the process: an adapter that does not read cannot block us.
        let (commands, to_send) = channel::<String>();
        let send =
            move |line: String| writeln!(input, "{line}").and_then(|()| input.flush()).is_ok();
        thread("adapter-input", move || to_send.iter().all(send))?;
        let (sender, lines) = channel();
        let mut output = BufReader::new(output).lines();
        thread("adapter-output", move || output.all(|line| sender.send(line).is_ok()))?;
        let mut adapter = Self { process, commands, lines, log: log.clone(), limit: program.limit };
        adapter.init(server_url)?;
        Ok(adapter)
    }

    /// Makes it forget what it did so far.
    pub(crate) fn init(&mut self, server_url: &str) -> Result {
        let answer = self.send(&json!({ "type": "init", "serverUrl": server_url }))?;
        succeeded("init", &answer)
    }

    /// Ends it by its own command; it must then exit with 0.
    pub(crate) fn shut_down(mut self) -> Result {
        let answer = self.send(&json!({ "type": "shutdown" }))?;
        succeeded("shutdown", &answer)?;
        let status = self.process.wait(Some(self.limit), || ()).context("after shutdown")?;
        if status.success() { Ok(()) } else { Err(format!("after shutdown: {status}").into()) }
    }

    /// The answer to one command. After an error the process is of no use.
    pub(crate) fn send(&mut self, command: &Value) -> Result<Value> {
        match self.lines.try_recv() {
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(self.ended()),
            Ok(line) => return Err(format!("a line nobody asked for: {line:?}").into()),
        }
        if self.commands.send(command.to_string()).is_err() {
            return Err(self.ended());
        }
        let line = self.line()?;
        let answer: Value = serde_json::from_str(&line).context(format!("{line:?}"))?;
        if answer.is_object() { Ok(answer) } else { Err(format!("no object: {line:?}").into()) }
    }

    fn line(&mut self) -> Result<String> {
        let started = Instant::now();
        loop {
            signals::check()?;
            match self.lines.recv_timeout(TICK.min(self.limit)) {
                Ok(line) => return line.context("reading its answer"),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if started.elapsed() >= self.limit => {
                    let seconds = self.limit.as_secs_f64();
                    return Err(format!("no answer within {seconds} s: killed").into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn ended(&mut self) -> Failure {
        let text = match self.process.wait(Some(self.limit), || ()) {
            Ok(status) => format!("the adapter ended: {status}"),
            Err(failure) => format!("the adapter closed its output and runs: {failure}"),
        };
        process::with_tail(&text.into(), &self.log)
    }
}

fn thread(name: &str, work: impl FnOnce() -> bool + Send + 'static) -> Result {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop).context(name)
}

fn succeeded(command: &str, answer: &Value) -> Result {
    if answer["type"] == command && answer["success"] == true {
        return Ok(());
    }
    Err(format!("{command}: {answer}").into())
}
