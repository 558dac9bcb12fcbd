//! A writer at work: a process of its own, so that several of one id are several services.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use durstream_tests::audit::outcomes::End;
use durstream_tests::failure::{Context, Result};
use durstream_tests::numbered::Kind;
use durstream_tests::process::{self, Guarded};
use durstream_tests::signals;

/// What a writer is to do.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) writer: String,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) stream_path: String,
    pub(crate) producer_id: String,
    pub(crate) writes: usize,
    /// 0 is as fast as it can.
    pub(crate) per_second: usize,
    /// Beyond so many without an outcome it waits, so that a machine that stalls does not send
    /// everything in a few large requests, which would meet few faults.
    pub(crate) max_pending: usize,
    pub(crate) options: Vec<(&'static str, String)>,
    pub(crate) token_file: Option<PathBuf>,
    /// Once it is there, nothing more is written.
    pub(crate) stop_file: Option<PathBuf>,
    /// What comes before the stream's path, where it is not the usual.
    pub(crate) path_prefix: Option<&'static str>,
}

impl Job {
    pub(crate) fn new(kind: Kind, url: String) -> Self {
        Self {
            writer: "a".into(),
            kind,
            url,
            stream_path: "/faults/stream".into(),
            producer_id: "service".into(),
            writes: 3000,
            per_second: 2000,
            max_pending: 25,
            options: Vec::new(),
            token_file: None,
            stop_file: None,
            path_prefix: None,
        }
    }

    /// As fast as it can, whatever is pending.
    pub(crate) fn in_bulk(self) -> Self {
        Self { per_second: 0, max_pending: usize::MAX, ..self }
    }

    pub(crate) fn option(mut self, name: &'static str, value: impl ToString) -> Self {
        self.options.push((name, value.to_string()));
        self
    }

    /// These settings for another writer.
    pub(crate) fn of(&self, writer: &str) -> Self {
        Self { writer: writer.to_owned(), ..self.clone() }
    }

    fn to_json(&self) -> String {
        let options: BTreeMap<_, _> = self.options.iter().cloned().collect();
        json!({
            "writer": self.writer,
            "kind": self.kind.name(),
            "url": self.url,
            "stream_path": self.stream_path,
            "producer_id": self.producer_id,
            "writes": self.writes,
            "per_second": self.per_second,
            "max_pending": self.max_pending,
            "options": options,
            "token_file": self.token_file,
            "stop_file": self.stop_file,
            "path_prefix": self.path_prefix,
        })
        .to_string()
    }
}

/// What a writer said in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) writer: String,
    /// What became of each write, in the order of the calls.
    pub(crate) ends: Vec<End>,
    pub(crate) account: Account,
}

/// The producer's own accounts, to be compared with the outcomes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Account {
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) stats: BTreeMap<String, u64>,
    /// How often the counters did not add up.
    pub(crate) unbalanced: u64,
    pub(crate) longest_pause_ms: u64,
    /// Why the last flush failed, if it did.
    pub(crate) flush: Option<String>,
    /// How many writes `on_error` was told of.
    pub(crate) told: u64,
    pub(crate) state: String,
    /// How many writes in a row ended how.
    pub(crate) outcomes: Vec<(String, usize)>,
}

impl Told {
    pub(crate) fn parse(writer: &str, text: &str) -> Result<Self> {
        let account: Account = serde_json::from_str(text).context("a writer's report")?;
        let mut ends = Vec::new();
        for (name, count) in &account.outcomes {
            let end = End::from_name(name).ok_or_else(|| format!("an outcome {name:?}"))?;
            ends.extend(std::iter::repeat_n(end, *count));
        }
        Ok(Self { writer: writer.to_owned(), ends, account })
    }
}

pub(crate) struct Writer {
    job: Job,
    process: Guarded,
    settled: Arc<AtomicUsize>,
    /// When it said that more was settled.
    pub(crate) acks: Arc<Mutex<Vec<Instant>>>,
    report: Arc<Mutex<Option<String>>>,
    reader: Option<JoinHandle<()>>,
    errors: PathBuf,
}

impl Writer {
    /// Starts the program; what it says on standard error is kept in the folder.
    pub(crate) fn start(program: &Path, folder: &Path, job: Job) -> Result<Self> {
        let errors = folder.join(format!("{}.err", job.writer));
        let log = File::create(&errors).context(errors.display())?;
        let mut command = Command::new(program);
        command.arg(job.to_json()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        signals::own_group(signals::die_with_us(&mut command));
        let mut process = Guarded::spawn(&mut command)?;
        let output = process.output().ok_or("the writer has no output")?;
        let (settled, report) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<_>>::default());
        let acks = Arc::<Mutex<Vec<_>>>::default();
        let (count, kept, noted) = (settled.clone(), report.clone(), acks.clone());
        let reader = process::follow(output, move |line| match line.split_once(' ') {
            Some(("settled", number)) => {
                count.store(number.parse().unwrap_or(0), Ordering::Relaxed);
                noted.lock().expect("nobody panics with it").push(Instant::now());
            }
            Some(("report", text)) => {
                *kept.lock().expect("nobody panics with it") = Some(text.to_owned());
            }
            _ => {}
        })?;
        Ok(Self { job, process, settled, acks, report, reader: Some(reader), errors })
    }

    /// How many of its writes have an outcome.
    pub(crate) fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.poll()?.is_none())
    }

    /// Waits for its end and takes what it said.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Told> {
        let name = self.job.writer.clone();
        let status = self.process.wait(Some(limit), || ()).context(format!("writer {name}"))?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join(); // it ends with the output it reads
        }
        let report = self.report.lock().expect("nobody panics with it").take();
        let Some(report) = report.filter(|_| status.success()) else {
            let errors = process::tail(&self.errors);
            return Err(format!("writer {name} failed: {status}\n{errors}").into());
        };
        Told::parse(&name, &report)
    }
}
