//! Runs all services at once: each a first run, and when that has ended, or was killed, a second one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::board::{Board, Doing, View};
use super::pace::Pace;
use super::services::{Service, Summary, expected_writes, first_writes};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::process::{self, Guarded};
use durstream_tests::server::Server;
use durstream_tests::signals;
use durstream_tests::table::grouped;

/// A run that writes nothing more and does not end for so long is stuck.
const STALL_LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(5);
const LAST_RUN: usize = 2;
/// The server is killed after this part of all writes, in the middle of the first runs.
const KILLED_AFTER: usize = 4;
/// How long it is gone where somebody looks on.
const SEEN_OUTAGE: Duration = Duration::from_secs(4);
/// How long where services are killed while it is gone, and how long those are at work: as fast as they
/// go, they would be done before.
const DEADLY_OUTAGE: Duration = Duration::from_millis(500);
const KILLED_SECONDS: f64 = 4.0;

/// What is left of a service when both of its runs have ended.
pub(crate) struct Run {
    pub(crate) ledger: PathBuf,
    /// What its runs said; a run that was killed says nothing.
    pub(crate) summary: Summary,
    /// How many writes were in the ledger when its first run was killed. The last one's call may not
    /// have returned.
    pub(crate) killed_after: Option<usize>,
    /// Why it did not end well.
    pub(crate) failure: Option<String>,
}

/// Runs the services side by side to their ends. With a board they write at its pace, and Ctrl-C has
/// them write what is left at once.
pub(crate) fn run(
    folder: &Path,
    services: &[Service],
    server: &mut Server,
    Plan { shipments, outbox }: Plan,
    mut board: Option<&mut Board>,
) -> Result<Vec<Run>> {
    let writes = expected_writes(shipments);
    let pace = board.as_ref().map(|board| board.writes_per_second(writes));
    let pace = pace.or_else(|| outbox.then_some(writes as f64 / KILLED_SECONDS));
    let setting = Setting { folder, url: &server.url(), shipments, outbox, pace };
    let mut outage = Outage {
        after: services.len() * expected_writes(shipments) / KILLED_AFTER,
        lasts: match outbox {
            _ if board.is_some() => SEEN_OUTAGE,
            true => DEADLY_OUTAGE,
            false => Duration::ZERO,
        },
        began: None,
        is_over: false,
    };
    let mut actors = services
        .iter()
        .map(|service| Actor::start(service, &setting))
        .collect::<Result<Vec<_>>>()?;
    loop {
        let runs = actors.iter().any(|actor| actor.process.is_some());
        let (goes_on, hurries) = match &mut board {
            Some(board) => {
                let views: Vec<View<'_>> = actors.iter().map(Actor::view).collect();
                let is_watched = board.advance(&views, server.address())?;
                (runs || is_watched && !board.hurries, board.hurries)
            }
            None => (runs, false),
        };
        signals::check()?;
        if !goes_on {
            break;
        }
        for actor in &mut actors {
            actor.advance(&setting, hurries)?;
        }
        let written = actors.iter().map(|actor| actor.ledger.lines).sum::<usize>();
        outage.advance(server, written, hurries)?;
        console::status(&progress(&actors, shipments));
        std::thread::sleep(PAUSE);
    }
    Ok(actors.into_iter().map(Actor::into_run).collect())
}

/// What the services do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) shipments: usize,
    /// They have an outbox, and are killed half way.
    pub(crate) outbox: bool,
}

struct Setting<'a> {
    folder: &'a Path,
    url: &'a str,
    shipments: usize,
    outbox: bool,
    /// How many writes a service makes a second, where that is limited.
    pace: Option<f64>,
}

/// The one time that the server is killed.
struct Outage {
    /// After so many writes.
    after: usize,
    lasts: Duration,
    began: Option<Instant>,
    is_over: bool,
}

impl Outage {
    fn advance(&mut self, server: &mut Server, written: usize, hurries: bool) -> Result {
        if self.began.is_none() && written >= self.after {
            self.began = Some(Instant::now());
            self.after = written;
            server.kill();
        }
        let Some(began) = self.began.filter(|_| !self.is_over) else { return Ok(()) };
        if hurries || began.elapsed() >= self.lasts {
            server.restart()?;
            self.is_over = true;
            let (written, gone) = (grouped(self.after), began.elapsed().as_secs_f64());
            console::line(&format!(
                "  the server was killed after {written} writes; back in {gone:.1} s"
            ));
        }
        Ok(())
    }
}

fn progress(actors: &[Actor<'_>], shipments: usize) -> String {
    let counts =
        actors.iter().map(|actor| format!("{} {}", actor.service.title, actor.ledger.lines));
    let counts = counts.collect::<Vec<_>>().join("  ");
    format!("  writes: {counts}  of {} each", expected_writes(shipments))
}

struct Actor<'a> {
    service: &'a Service,
    process: Option<Guarded>,
    run: usize,
    ledger: Ledger,
    pace: Option<Pace>,
    /// How much of the ledger belongs to runs that ended well: all of that was delivered.
    settled: usize,
    killed_after: Option<usize>,
    moved: Instant,
    summary: Summary,
    failure: Option<String>,
}

impl<'a> Actor<'a> {
    fn start(service: &'a Service, setting: &Setting<'_>) -> Result<Self> {
        let path = setting.folder.join(format!("{}.ledger", service.name()));
        let pace = setting.pace.map(|each_second| Pace::new(&path, each_second)).transpose()?;
        let mut actor = Self {
            service,
            process: None,
            run: 1,
            ledger: Ledger { path, position: 0, lines: 0 },
            pace,
            settled: 0,
            killed_after: None,
            moved: Instant::now(),
            summary: Summary::default(),
            failure: None,
        };
        actor.launch(setting);
        Ok(actor)
    }

    /// Starts the run this actor is at. A program that does not start is this service's failure alone.
    fn launch(&mut self, setting: &Setting<'_>) {
        match self.spawn(setting) {
            Ok(process) => self.process = Some(process),
            Err(failure) => self.fail(setting, &failure.to_string()),
        }
    }

    fn spawn(&self, setting: &Setting<'_>) -> Result<Guarded> {
        let output = |kind| {
            let path = self.output(setting, kind);
            File::create(&path).map(Stdio::from).context(path.display())
        };
        let mut command = self.service.command();
        command.stdin(Stdio::null()).stdout(output("out")?).stderr(output("err")?);
        command.env("DURABLE_STREAMS_URL", setting.url);
        command.env("SHIPMENT_STREAM_PATH", self.service.stream_path());
        command.env("SHIPMENT_PRODUCER_ID", self.service.producer_id());
        command.env("SHIPMENT_LEDGER", self.pace.as_ref().map_or(&*self.ledger.path, Pace::pipe));
        command.env("SHIPMENT_COUNT", setting.shipments.to_string());
        command.env("SHIPMENT_RUN", self.run.to_string());
        if setting.outbox {
            command.env("SHIPMENT_OUTBOX", setting.folder.join("outbox"));
        }
        if self.pace.is_some() {
            signals::own_group(&mut command);
        }
        Guarded::spawn(signals::die_with_us(&mut command))
    }

    fn output(&self, setting: &Setting<'_>, kind: &str) -> PathBuf {
        setting.folder.join(format!("{}.{}.{kind}", self.service.name(), self.run))
    }

    /// Looks at the process, and goes on to the second run when the first has ended well.
    fn advance(&mut self, setting: &Setting<'_>, hurries: bool) -> Result {
        let Some(process) = &mut self.process else { return Ok(()) };
        let status = process.poll()?;
        if let Some(pace) = &mut self.pace {
            pace.advance(hurries || status.is_some())?;
        }
        if self.ledger.follow()? {
            self.moved = Instant::now();
        }
        let half = first_writes(setting.shipments) / 2;
        match status {
            None if setting.outbox && self.run < LAST_RUN && self.ledger.lines >= half => {
                self.kill(setting)?;
            }
            None if self.moved.elapsed() > STALL_LIMIT => {
                let reason = format!("no progress for {} s: killed", STALL_LIMIT.as_secs());
                self.fail(setting, &reason);
            }
            None => {}
            Some(status) if !status.success() => self.fail(setting, &status.to_string()),
            Some(_) => self.finish(setting),
        }
        Ok(())
    }

    /// Ends the first run in the middle of what it does.
    fn kill(&mut self, setting: &Setting<'_>) -> Result {
        self.process = None; // which kills it
        if let Some(pace) = &mut self.pace {
            pace.advance(true)?;
        }
        self.ledger.follow()?;
        let lines = self.ledger.lines;
        self.killed_after = Some(lines);
        let (title, id, writes) = (self.service.title, self.service.producer_id(), grouped(lines));
        console::line(&format!(
            "  {title:<8} was killed after {writes} writes, starts again as {id}"
        ));
        self.next(setting);
        Ok(())
    }

    fn next(&mut self, setting: &Setting<'_>) {
        self.run += 1;
        self.moved = Instant::now();
        self.launch(setting);
    }

    fn finish(&mut self, setting: &Setting<'_>) {
        self.process = None;
        let output = std::fs::read(self.output(setting, "out")).unwrap_or_default();
        match Summary::parse(&String::from_utf8_lossy(&output)) {
            Ok(summary) => self.summary.add(summary),
            Err(failure) => return self.fail(setting, &failure.to_string()),
        }
        self.settled = self.ledger.lines;
        if setting.outbox && self.killed_after.is_none() {
            return self.fail(setting, "it was done before it could be killed");
        }
        let (title, writes) = (self.service.title, grouped(self.ledger.lines));
        if self.run == LAST_RUN {
            console::line(&format!("  {title:<8} finished: {writes} writes"));
            return;
        }
        let id = self.service.producer_id();
        console::line(&format!("  {title:<8} ended after {writes} writes, starts again as {id}"));
        self.next(setting);
    }

    fn fail(&mut self, setting: &Setting<'_>, reason: &str) {
        self.process = None;
        let errors = process::tail(&self.output(setting, "err"));
        let failure = format!("run {} failed: {reason}", self.run);
        let shown = format!("  {:<8} {failure}\n{errors}", self.service.title);
        console::line(shown.trim_end());
        self.failure = Some(failure);
    }

    fn view(&self) -> View<'_> {
        View {
            service: self.service,
            ledger: &self.ledger.path,
            written: self.ledger.lines,
            settled: self.settled,
            run: self.run,
            doing: match (&self.process, &self.failure) {
                (_, Some(_)) => Doing::Failed,
                (Some(_), None) => Doing::Writing,
                (None, None) => Doing::Finished,
            },
        }
    }

    fn into_run(self) -> Run {
        let Self { summary, killed_after, failure, .. } = self;
        Run { ledger: self.ledger.path, summary, killed_after, failure }
    }
}

/// Counts the lines of a file that grows.
struct Ledger {
    path: PathBuf,
    position: u64,
    lines: usize,
}

impl Ledger {
    /// Counts what was added; whether anything was.
    fn follow(&mut self) -> Result<bool> {
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(false); // the program has not come that far
        };
        let mut added = Vec::new();
        file.seek(SeekFrom::Start(self.position)).context(self.path.display())?;
        file.read_to_end(&mut added).context(self.path.display())?;
        self.position += added.len() as u64;
        self.lines += added.iter().filter(|byte| **byte == b'\n').count();
        Ok(!added.is_empty())
    }
}
