//! What the benchmark's programs in Rust share: the job they are given and the line they answer with.
//! `tests/bench/README.md` describes both.
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::error::Error;
use std::io::Read;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    /// What is done with the messages; `stream` unless given.
    pub fn mode(&self) -> &str {
        self.get("mode").unwrap_or("stream")
    }

    /// An argument that is a number.
    pub fn number(&self, name: &str) -> Result<usize> {
        Ok(self.needed(name)?.parse()?)
    }

    /// Whether each write is waited for before the next.
    pub fn is_idle(&self) -> bool {
        self.mode() == "idle"
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

/// Events at a rate, and when each was begun and done. Up to 1 000 a second each comes by itself,
/// above that what belongs to a millisecond comes at its start.
#[derive(Debug)]
pub struct Pace {
    started: Instant,
    epoch_us: u128,
    rate: usize,
    begun_us: Vec<u64>,
    done_us: Vec<Option<u64>>,
}

impl Pace {
    /// Begins now.
    pub fn start(events: usize, rate: usize) -> Self {
        let epoch_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let begun_us = Vec::with_capacity(events);
        Pace { started: Instant::now(), epoch_us, rate, begun_us, done_us: vec![None; events] }
    }

    /// When an event is due.
    fn due_us(&self, event: usize) -> u64 {
        let (event, rate) = (event as u64, self.rate as u64);
        if rate <= 1000 { event * 1_000_000 / rate } else { event * 1000 / rate * 1000 }
    }

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The events that are to be written next, once they are due; nothing at the end. An event begins
    /// when it is due, or when this returns if nothing kept the caller until then: a sleep that
    /// takes too long is not the client's.
    pub fn next_due(&mut self) -> Option<Range<usize>> {
        let first = self.begun_us.len();
        if first == self.done_us.len() {
            return None;
        }
        let (due, now) = (self.due_us(first), self.now_us());
        let slept = due > now;
        if slept {
            std::thread::sleep(Duration::from_micros(due - now));
        }
        let now = self.now_us();
        while self.begun_us.len() < self.done_us.len() {
            let due = self.due_us(self.begun_us.len());
            if due > now {
                break;
            }
            self.begun_us.push(if slept { now } else { due });
        }
        Some(first..self.begun_us.len())
    }

    /// Says when some events were done.
    pub fn done_at(&mut self, events: Range<usize>, at: Instant) {
        let at = at.saturating_duration_since(self.started).as_micros() as u64;
        for event in events {
            self.done_us[event] = Some(at);
        }
    }

    /// The result, once all that will be done is.
    pub fn report(&self) -> String {
        let list = |numbers: Vec<String>| numbers.join(",");
        let begun = list(self.begun_us.iter().map(u64::to_string).collect());
        let text = |done: &Option<u64>| done.map_or("null".to_owned(), |done| done.to_string());
        let done = self.done_us.iter().map(text);
        let epoch = self.epoch_us;
        let done = list(done.collect());
        format!("{{\"epoch_us\":{epoch},\"begun_us\":[{begun}],\"done_us\":[{done}]}}")
    }
}

/// The memory this process has now.
pub fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).ok_or("no pages")?.parse()?;
    Ok(pages * 4096)
}

/// Prints that it begins, and waits until it may: the server is then no longer there.
pub fn wait_for_word() -> Result<()> {
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
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
