//! What the benchmark's programs in Rust share: the job they are given and the line they answer with.
//! `tests/bench/README.md` describes both.
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::error::Error;
use std::io::Read;
use std::time::{Duration, Instant};

/// Any failure ends a program, with its text on standard error.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The calls whose cost is measured: few enough that the buffer does not fill.
pub const SAMPLED_CALLS: usize = 100_000;

/// What to do, from arguments of the form `name=value`.
#[derive(Debug)]
pub struct Job {
    pairs: Vec<(String, String)>,
    /// The stream's URL.
    pub url: String,
    /// How many messages to write.
    pub events: usize,
    /// The messages, written in turn over and over.
    pub messages: Vec<Vec<u8>>,
}

impl Job {
    /// Reads the arguments and the file of messages, one a line.
    pub fn from_arguments() -> Result<Self> {
        let split = |word: String| {
            let pair = word.split_once('=').map(|(name, value)| (name.into(), value.into()));
            pair.ok_or_else(|| format!("`{word}` is not of the form name=value"))
        };
        let pairs: Vec<(String, String)> =
            std::env::args().skip(1).map(split).collect::<std::result::Result<_, _>>()?;
        let mut job = Job { pairs, url: String::new(), events: 0, messages: Vec::new() };
        job.url = job.needed("url")?.to_owned();
        job.events = job.needed("events")?.parse()?;
        let text = std::fs::read(job.needed("messages")?)?;
        job.messages = text.trim_ascii_end().split(|byte| *byte == b'\n').map(Vec::from).collect();
        Ok(job)
    }

    /// The value of an argument, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn needed(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| format!("`{name}=` is missing").into())
    }

    /// Whether each write is waited for before the next.
    pub fn is_idle(&self) -> bool {
        self.get("mode") == Some("idle")
    }

    /// The content type of the job's stream.
    pub fn content_type(&self) -> &'static str {
        match self.get("kind") {
            Some("bytes") => "application/octet-stream",
            _ => "application/json",
        }
    }
}

/// The wall and CPU time since it was made.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    cpu: Duration,
}

impl Clock {
    /// Begins to measure.
    pub fn start() -> Self {
        Clock { cpu: cpu_time(), started: Instant::now() }
    }

    /// The result of a run of many writes.
    pub fn report(&self, accepting: Duration, calls: usize, requests: u64, repeats: u64) -> String {
        let (seconds, cpu) = (self.started.elapsed(), cpu_time() - self.cpu);
        format!(
            "{{\"seconds\":{},\"cpu_seconds\":{},\"accept_seconds\":{},\"accept_calls\":{calls},\
             \"requests\":{requests},\"repeats\":{repeats}}}",
            seconds.as_secs_f64(),
            cpu.as_secs_f64(),
            accepting.as_secs_f64()
        )
    }
}

/// The result of a run of single writes.
pub fn idle_report(waits: &[Duration]) -> String {
    let waits: Vec<String> = waits.iter().map(|wait| wait.as_micros().to_string()).collect();
    format!("{{\"waits_us\":[{}]}}", waits.join(","))
}

/// Prints the result and stays until it was looked at.
pub fn answer(line: &str) -> Result<()> {
    println!("{line}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// What all threads of this process have used so far.
#[cfg(unix)]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Not known here: it reads as nothing.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    Duration::ZERO
}
