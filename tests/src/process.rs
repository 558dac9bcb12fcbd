//! Child processes that are waited for with an eye on Ctrl-C, and never left behind.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::console;
use crate::failure::{Context, Failure, Result};
use crate::failures;
use crate::secrets;
use crate::signals;

/// How long a child may take to end by itself after Ctrl-C, which the terminal sends to it too.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// What a program said last is there at once when it has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
const LOG_TAIL_LINES: usize = 40;

/// A child that is killed when its owner goes, whatever the reason.
pub struct Guarded(Child);

impl Guarded {
    /// Starts a command.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = describe(command);
        command.spawn().map(Self).context(format!("`{name}` did not start"))
    }

    /// Its standard input and output, where they are pipes; once.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.0.stdin.take()?, self.0.stdout.take()?))
    }

    /// Its standard output, where it is a pipe; once.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Its standard output and standard error, where they are pipes; once.
    pub fn outputs(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        Some((self.0.stdout.take()?, self.0.stderr.take()?))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The status, when the child has ended.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("waiting for a program")
    }

    /// Asks it to end, as `kill` and container managers do; where there is no such way, ends it.
    pub fn terminate(&mut self) {
        #[cfg(unix)]
        if let (Ok(id), Ok(None)) = (libc::pid_t::try_from(self.0.id()), self.0.try_wait()) {
            // SAFETY: a signal to a child that was not waited for, so the number is still its own.
            unsafe { libc::kill(id, libc::SIGTERM) };
        }
        #[cfg(not(unix))]
        self.kill();
    }

    /// Stops it where it is, or lets it go on.
    ///
    /// # Errors
    /// If it has ended, or there is no such thing here.
    pub fn freeze(&self, is_frozen: bool) -> Result {
        #[cfg(unix)]
        {
            let id = libc::pid_t::try_from(self.0.id()).context("a process id")?;
            let signal = if is_frozen { libc::SIGSTOP } else { libc::SIGCONT };
            // SAFETY: a signal to a child that was not waited for, so the number is still its own.
            if unsafe { libc::kill(id, signal) } == 0 {
                return Ok(());
            }
        }
        Err(format!("cannot freeze or thaw a process here ({is_frozen})").into())
    }

    /// Ends it at once, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when the child has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for the end; kills the child at `limit` and, after a grace time, on Ctrl-C.
    pub fn wait(&mut self, limit: Option<Duration>, mut tick: impl FnMut()) -> Result<ExitStatus> {
        let started = Instant::now();
        let mut interrupted_at = None;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.poll()? {
                return Ok(status);
            }
            if signals::interrupted() {
                if interrupted_at.is_none() {
                    // The terminal's Ctrl-C reaches the child too, a `kill` only us.
                    self.terminate();
                }
                let since: &Instant = interrupted_at.get_or_insert_with(Instant::now);
                if since.elapsed() > INTERRUPT_GRACE {
                    return Err("interrupted".into());
                }
            }
            if let Some(limit) = limit.filter(|limit| started.elapsed() > *limit) {
                return Err(format!("not done after {} s: killed", limit.as_secs()).into());
            }
            tick();
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command with its output shown; an error when it fails. Where nobody looks on, the error
/// repeats what the output said of failures: the end of a long log is read first. There it is an error
/// as well that the output shows a secret.
///
/// # Errors
/// If it cannot be run, is not done at the limit, or fails.
pub fn shown(command: &mut Command, limit: Option<Duration>) -> Result {
    let name = describe(command);
    let copied = if console::is_terminal() { None } else { Some(Copied::output_of(command)?) };
    let mut process = Guarded::spawn(command)?;
    // The command holds the pipe's other end, which is what tells the copier that nothing follows.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let result = process.wait(limit, || ()).context(format!("`{name}`"));
    drop(process);
    let result = result.and_then(|status| {
        signals::check()?;
        expect_success(&name, status)
    });
    copied.map(Copied::said).unwrap_or_default().judge(&name, result)
}

/// A program's output on its way to ours, of which some lines are kept.
struct Copied(Receiver<Said>);

/// The lines of an output that tell of failures, and those that hold a secret.
#[derive(Default)]
struct Said {
    failures: Vec<String>,
    secrets: Vec<String>,
}

impl Said {
    /// What is to be kept of an output, all of which is handed on.
    fn in_lines_of(output: impl Read, mut hand_on: impl FnMut(&[u8])) -> Self {
        let (mut failures, mut secrets) = (failures::Kept::default(), secrets::Kept::default());
        let (mut lines, mut line) = (BufReader::new(output), Vec::new());
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            hand_on(&line);
            let text = String::from_utf8_lossy(&line);
            failures.see(text.trim_end());
            secrets.see(text.trim_end());
            line.clear();
        }
        Said { failures: failures.into_lines(), secrets: secrets.into_lines() }
    }

    /// What became of a program that said this.
    fn judge(&self, name: &str, result: Result) -> Result {
        result.map_err(|failure| -> Failure {
            format!("{failure}{}", failures::indented(&self.failures)).into()
        })?;
        secrets::none_in(&format!("the output of `{name}`"), &self.secrets)
    }
}

impl Copied {
    fn output_of(command: &mut Command) -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("a pipe")?;
        command.stdout(writer.try_clone().context("a pipe")?).stderr(writer);
        let (sender, kept) = channel();
        let copy = move || {
            // Whoever stopped listening after the last output does not want it.
            let _ = sender.send(Said::in_lines_of(reader, console::copy));
        };
        std::thread::Builder::new().name("copy".to_owned()).spawn(copy).context("copying")?;
        Ok(Self(kept))
    }

    /// Waits for the end of the output, but not of a daemon that somebody started and that holds it.
    fn said(self) -> Said {
        self.0.recv_timeout(LAST_OUTPUT).unwrap_or_default()
    }
}

/// Keeps from a command what `cargo run` told this process about its own package. Build scripts that
/// look at such variables, ring's among them, count as changed where they differ: then all that
/// encrypts is compiled again, and our products with it, by the next cargo that somebody runs.
pub fn forget_cargo(command: &mut Command) -> &mut Command {
    let is_ours =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// The `cargo` that runs us, in a folder.
pub fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    // CARGO is one path and may hold spaces, so it is not split.
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(cargo);
    forget_cargo(command.current_dir(folder).args(arguments));
    command
}

/// Runs a command with its output added to a log; the error carries the end of it. `tick` is told
/// how far a cargo among what runs says that it is, once it says so.
///
/// # Errors
/// If it cannot be run, or fails.
pub fn logged(command: &mut Command, log: &Path, mut tick: impl FnMut(Option<&str>)) -> Result {
    let name = describe(command);
    let mut file = append_to(log)?;
    forget_cargo(command);
    writeln!(file, "$ {name}").context(log.display())?;
    let errors = file.try_clone().context(log.display())?;
    // Without a terminal cargo tells how far it is only when told to.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "120");
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
    let mut process = Guarded::spawn(command)?;
    let output = process.0.stderr.take().ok_or("no pipe")?;
    let (sender, progress) = channel();
    let copy = move || copy_log(output, errors, &sender);
    std::thread::Builder::new().name("log".to_owned()).spawn(copy).context("reading output")?;
    let mut last = None;
    let status = process.wait(None, || {
        last = progress.try_iter().last().or(last.take());
        tick(last.as_deref());
    })?;
    // To the end of the output, but not of a daemon that somebody started and that holds it.
    while progress.recv_timeout(LAST_OUTPUT).is_ok() {}
    signals::check()?;
    expect_success(&name, status).map_err(|failure| with_tail(&failure, log))
}

/// Copies a program's lines into its log, except for cargo's progress, which is sent.
fn copy_log(output: impl Read, mut log: File, progress: &Sender<String>) {
    let mut line = Vec::new();
    for byte in BufReader::new(output).bytes().map_while(std::io::Result::ok) {
        if byte != b'\r' && byte != b'\n' {
            line.push(byte);
            continue;
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        line.clear();
        if let Some(progress_now) = cargo_progress(&text) {
            // Nobody looks any more at what comes after the end.
            let _ = progress.send(progress_now);
        }
        if !text.trim().is_empty() && !text.contains("Building [") {
            // A full disk is no reason to let the program wait for its reader.
            let _ = writeln!(log, "{text}");
        }
    }
    let _ = log.write_all(&line);
}

/// How far cargo says that it is: `127/311 crates: serde, syn`, or what it waits for.
fn cargo_progress(line: &str) -> Option<String> {
    // The bar comes with escapes that wipe the line.
    if let Some((_, bar)) = line.split_once("Building [") {
        let (_, rest) = bar.split_once("] ")?;
        let rest = rest.split('\u{1b}').next().unwrap_or(rest).trim();
        return Some(rest.replacen(": ", " crates: ", 1));
    }
    let waits = ["Blocking waiting", "Downloading crates", "Updating crates.io"];
    let text = line.trim();
    waits.iter().any(|start| text.starts_with(start)).then(|| text.to_owned())
}

/// Hands on each line of a child's output as it comes, on a thread that ends with the output.
pub fn follow(
    output: ChildStdout,
    mut line: impl FnMut(&str) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let read = move || {
        let lines = BufReader::new(output).lines().map_while(std::io::Result::ok);
        lines.for_each(|text| line(&text));
    };
    std::thread::Builder::new().name("output".to_owned()).spawn(read).context("reading output")
}

fn expect_success(name: &str, status: ExitStatus) -> Result {
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed: {status}").into()) }
}

fn append_to(log: &Path) -> Result<File> {
    File::options().create(true).append(true).open(log).context(log.display())
}

/// A failure with the end of a log, which may say why.
pub fn with_tail(failure: &Failure, log: &Path) -> Failure {
    format!("{failure}\nThe end of {}:\n{}", log.display(), tail(log)).into()
}

/// The last lines of a file, indented.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_TAIL_LINES);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}

/// The command as a person would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The exit status to pass on, in the way of shells: 128 and the signal's number for a killed program.
pub fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_how_far_it_is() {
        for (line, expected) in [
            (
                "    Building [=====>      ] 127/311: serde, syn(build.rs)",
                "127/311 crates: serde, syn(build.rs)",
            ),
            ("    Building [>           ] 0/3: a...\u{1b}[K", "0/3 crates: a..."),
            (
                "    Blocking waiting for file lock on build directory",
                "Blocking waiting for file lock on build directory",
            ),
        ] {
            assert_eq!(cargo_progress(line).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(cargo_progress("   Compiling serde v1.0.0"), None);
    }

    #[test]
    fn a_program_that_prints_a_secret_has_failed() {
        let said = |output: &str| Said::in_lines_of(output.as_bytes(), |_| ());
        said("one\ntwo").judge("suite", Ok(())).unwrap();
        // Not printed here: this is a test of a suite, too.
        let shown = said(&format!("one\nBearer {}\n", secrets::MARK.to_uppercase()));
        let told = shown.judge("suite", Ok(())).unwrap_err().to_string();
        assert_eq!(told.lines().next(), Some("the output of `suite` shows a secret"));
        assert!(told.lines().nth(1).is_some_and(|line| line.starts_with("    line 2: Bearer")));
    }

    /// Cargo tells a test as much about its package as it tells `cargo xtask`.
    #[test]
    #[cfg(unix)]
    fn a_build_hears_nothing_of_the_package_that_starts_it() {
        let is_set = |name| std::env::var_os(name).is_some();
        assert!(is_set("CARGO_MANIFEST_DIR") && is_set("CARGO_PKG_NAME"), "run this with cargo");
        let mut shell = Command::new("sh");
        shell.args(["-c", "[ -z \"$CARGO_MANIFEST_DIR$CARGO_PKG_NAME$CARGO_PKG_VERSION_MAJOR\" ]"]);
        logged(&mut shell, Path::new("/dev/null"), |_| ()).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn progress_is_told_and_everything_else_is_logged() {
        let log = std::env::temp_dir().join(format!("durstream-log-{}", std::process::id()));
        let mut shell = Command::new("sh");
        // It goes on until what it said has been told.
        let script = "printf 'one\\n Building [=> ] 1/2: a\\r\\r Compiling b\\nlast' >&2; echo out; \
                      until [ -e \"$0\" ]; do sleep 0.01; done";
        let told = log.with_extension("told");
        shell.args(["-c", script]).arg(&told);
        let mut seen = None;
        logged(&mut shell, &log, |progress| {
            if let Some(progress) = progress {
                seen = Some(progress.to_owned());
                std::fs::write(&told, "").unwrap();
            }
        })
        .unwrap();
        assert_eq!(seen.as_deref(), Some("1/2 crates: a"));
        let text = std::fs::read_to_string(&log).unwrap();
        for part in ["one\n", " Compiling b\n", "last", "out\n"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("\n Building"), "{text}");
        std::fs::remove_file(&log).unwrap();
        std::fs::remove_file(&told).unwrap();
    }
}
