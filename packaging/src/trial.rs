//! Packages installed in an empty folder, from where nothing of the checkout is found, and programs
//! that write with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use durstream_tests::failure::{Context, Result};
use durstream_tests::process::Guarded;
use durstream_tests::readback::read_stream;
use serde_json::json;

use crate::tools;

const LIMIT: Duration = Duration::from_secs(120);
/// How often an import is timed.
const TIMES: usize = 15;

/// A folder that goes with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("durstream-package-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path); // of an earlier process with this number
        std::fs::create_dir_all(&path).context(path.display())?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's folder for what nobody needs.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where programs write.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
}

/// How often a stream was named.
static NAMED: AtomicUsize = AtomicUsize::new(0);

impl Site {
    /// Runs `first` of a language, and looks at what it wrote.
    pub(crate) fn first(&self, mut program: Command) -> Result {
        let path = format!("/first/{}", NAMED.fetch_add(1, Ordering::Relaxed));
        let version = self.run(program.env("FIRST_STREAM_PATH", &path))?;
        if version.trim() != env!("CARGO_PKG_VERSION") {
            return Err(format!("the installed package is {version:?}").into());
        }
        let found = read_stream(self.address, &path)?;
        let expected = [json!({ "n": 1 }), json!({ "n": 2 }), json!({ "n": 3 })];
        if found == expected { Ok(()) } else { Err(format!("{path} holds {found:?}").into()) }
    }

    /// Runs the example that publishes shipments.
    pub(crate) fn shipments(&self, mut program: Command, folder: &Path) -> Result {
        let number = NAMED.fetch_add(1, Ordering::Relaxed);
        let path = format!("/shipments/{number}");
        program.env("SHIPMENT_STREAM_PATH", &path).env("SHIPMENT_PRODUCER_ID", "shipping");
        program.env("SHIPMENT_LEDGER", folder.join(format!("{number}.ledger")));
        self.run(program.env("SHIPMENT_COUNT", "50").env("SHIPMENT_RUN", "1"))?;
        // Each is created, then in transit.
        match read_stream(self.address, &path)?.len() {
            100 => Ok(()),
            other => Err(format!("{path} holds {other} messages, not 100").into()),
        }
    }

    /// Runs the example of all ways of writing, which looks itself at what it wrote.
    pub(crate) fn writing(&self, mut program: Command) -> Result {
        let path = format!("/writing/{}", NAMED.fetch_add(1, Ordering::Relaxed));
        self.run(program.arg(&path).env("WRITING_STREAM_PREFIX", &path)).map(drop)
    }

    /// What a program prints, with the server in its environment and little else.
    pub(crate) fn run(&self, program: &mut Command) -> Result<String> {
        self.surround(program);
        bounded(program)
    }

    fn surround(&self, program: &mut Command) {
        let kept: Vec<_> = program
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        // No toolchain, no setting of this machine's.
        program
            .env_clear()
            .envs(kept)
            .env("DURABLE_STREAMS_URL", format!("http://{}", self.address));
    }
}

fn bounded(program: &mut Command) -> Result<String> {
    let name = durstream_tests::process::describe(program);
    let mut process = Guarded::spawn(
        program.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()),
    )?;
    let (output, errors) = process.outputs().ok_or("no pipes")?;
    // Far less than a pipe holds: the programs never wait for their reader.
    let status = process.wait(Some(LIMIT), || ())?;
    let text = std::io::read_to_string(output).context(&name)?;
    if status.success() {
        return Ok(text);
    }
    let said = std::io::read_to_string(errors).context(&name)?;
    Err(format!("`{name}` failed: {status}\n{text}{said}").into())
}

/// What a program says that has to fail.
pub(crate) fn complaint(program: &mut Command) -> Result<String> {
    match bounded(program) {
        Ok(_) => Err(format!("`{}` works", durstream_tests::process::describe(program)).into()),
        Err(failure) => Ok(failure.to_string()),
    }
}

/// Fails where a text lacks one of its parts.
pub(crate) fn says(text: &str, parts: &[&str]) -> Result {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("nothing says {part:?} in {text:?}").into()),
        None => Ok(()),
    }
}

/// The median of what a program prints, in milliseconds: it times itself.
pub(crate) fn median_ms(mut program: impl FnMut() -> Command) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let text = tools::output(&mut program())?;
        times.push(text.trim().parse::<f64>().context(text.trim())?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMES / 2])
}

/// A result with the seconds that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    work().map(|value| (value, started.elapsed().as_secs_f64()))
}
