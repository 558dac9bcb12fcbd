//! The page that shows the shipments while they are written: its server, and what it is told beside the
//! streams that it reads itself.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::{Browser, FOLDER};
use super::services::{Service, expected_writes};
use durstream_tests::audit::ledger::{Audit, parse_ledger};
use durstream_tests::failure::{Context, Result};
use durstream_tests::process::{self, Guarded};
use durstream_tests::readback::read_stream;
use durstream_tests::server::free_address;
use durstream_tests::stamp::Stamp;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;
use durstream_tests::{http, signals};

const START_LIMIT: Duration = Duration::from_secs(30);
/// The page asks every half second.
const TELL: Duration = Duration::from_millis(250);
/// One service after the other.
const AUDIT: Duration = Duration::from_millis(200);

/// A service as the board sees it.
pub(crate) struct View<'a> {
    pub(crate) service: &'a Service,
    pub(crate) ledger: &'a Path,
    /// The lines of the ledger.
    pub(crate) written: usize,
    /// How many of these belong to runs that ended well.
    pub(crate) settled: usize,
    pub(crate) run: usize,
    pub(crate) doing: Doing,
}

#[derive(Clone, Copy)]
pub(crate) enum Doing {
    Writing,
    Finished,
    Failed,
}

impl Doing {
    fn name(self) -> &'static str {
        match self {
            Doing::Writing => "writing",
            Doing::Finished => "finished",
            Doing::Failed => "failed",
        }
    }
}

/// What was found in a service's stream when it was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Found {
    stored: usize,
    lost: usize,
    doubled: usize,
}

pub(crate) struct Board {
    /// Somebody pressed Ctrl-C: what is left is written at once, and counted.
    pub(crate) hurries: bool,
    address: SocketAddr,
    shipments: usize,
    seconds: f64,
    status: PathBuf,
    started: Instant,
    told: Instant,
    audited: Instant,
    found: Vec<Found>,
    next: usize,
    browser: Option<Browser>,
    _page: Guarded,
}

impl Board {
    /// Builds the page and serves it, beside the server of the streams.
    pub(crate) fn start(
        tree: &Tree,
        folder: &Path,
        server: &str,
        shipments: usize,
        seconds: u32,
    ) -> Result<Self> {
        let built = build(tree)?;
        let (status, log) = (folder.join("status.json"), folder.join("page.log"));
        let address = free_address()?;
        let output = File::create(&log).context(log.display())?;
        let mut vite = vite(tree, "preview", &built);
        vite.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--strictPort"]);
        vite.args(["--logLevel", "error"]);
        vite.env("DURABLE_STREAMS_URL", server).env("BOARD_STATUS", &status);
        vite.stdin(Stdio::null()).stderr(output.try_clone().context(log.display())?).stdout(output);
        let mut page = Guarded::spawn(signals::own_group(signals::die_with_us(&mut vite)))?;
        wait_until_ready(&mut page, address)
            .map_err(|failure| process::with_tail(&failure, &log))?;
        let now = Instant::now();
        let board = Self {
            hurries: false,
            address,
            shipments,
            seconds: seconds.into(),
            status,
            started: now,
            told: now,
            audited: now,
            found: Vec::new(),
            next: 0,
            browser: None,
            _page: page,
        };
        board.tell(&[])?;
        Ok(board)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Goes on until a browser has ended.
    pub(crate) fn watch(&mut self, browser: Browser) {
        self.browser = Some(browser);
    }

    /// How the browser has ended, if there is one.
    pub(crate) fn end(&mut self) -> Result {
        self.browser.take().map_or(Ok(()), Browser::end)
    }

    /// The pace of a service that writes so much.
    pub(crate) fn writes_per_second(&self, writes: usize) -> f64 {
        writes as f64 / self.seconds
    }

    /// Looks after the page; whether a browser of ours looks at it.
    pub(crate) fn advance(&mut self, views: &[View<'_>], address: SocketAddr) -> Result<bool> {
        self.hurries = signals::asked();
        self.found.resize(views.len(), Found::default());
        if self.audited.elapsed() >= AUDIT {
            self.audited = Instant::now();
            self.next = (self.next + 1) % views.len();
            // While the server is gone nothing new can be found.
            if let Ok(found) = audit(&views[self.next], address) {
                self.found[self.next] = found;
            }
        }
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            self.tell(views)?;
        }
        self.browser.as_mut().map_or(Ok(false), Browser::is_running)
    }

    /// A file that is written anew is seen whole or not at all.
    fn tell(&self, views: &[View<'_>]) -> Result {
        let services: Vec<Value> =
            views.iter().zip(&self.found).map(|(view, found)| told(view, *found)).collect();
        let status = json!({
            "shipments": self.shipments,
            "writes": expected_writes(self.shipments),
            "seconds": self.started.elapsed().as_secs_f64(),
            "services": services,
        });
        let new = self.status.with_extension("new");
        std::fs::write(&new, status.to_string()).context(new.display())?;
        std::fs::rename(&new, &self.status).context(self.status.display())
    }
}

fn told(view: &View<'_>, found: Found) -> Value {
    json!({
        "title": view.service.title,
        "stream": view.service.stream_path(),
        "stored": found.stored,
        "doing": view.doing.name(),
        "run": view.run,
        "written": view.written,
        "settled": view.settled,
        "lost": found.lost,
        "doubled": found.doubled,
    })
}

/// Reads a service's ledger and stream, and counts as the report does. What is still on its way is
/// neither lost nor foreign: a write counts as lost once the run that made it has ended well.
fn audit(view: &View<'_>, address: SocketAddr) -> Result<Found> {
    let text = std::fs::read_to_string(view.ledger).context(view.ledger.display())?;
    // The last line may not be whole yet.
    let ledger = parse_ledger(text.rsplit_once('\n').map_or("", |(whole, _)| whole))?;
    Ok(judge(&ledger, view.settled, &read_stream(address, &view.service.stream_path())?))
}

fn judge(ledger: &[Value], settled: usize, stream: &[Value]) -> Found {
    Found {
        stored: stream.len(),
        lost: Audit::new(&ledger[..settled], stream).lost.count,
        doubled: Audit::new(ledger, stream).doubled.count,
    }
}

/// Builds the page, unless nothing has changed; the folder that it is in.
fn build(tree: &Tree) -> Result<PathBuf> {
    let (folder, built) = (tree.root.join(FOLDER), tree.target.join("board"));
    step(tree, "Board", |step| {
        let stamp =
            Stamp::new(tree.directory("stamps")?.join("board"), std::slice::from_ref(&folder), "")?;
        step.unless_done(&stamp, &built, || {
            let mut types = Command::new("node");
            step.run(types.arg("node_modules/typescript/bin/tsc").current_dir(&folder))?;
            step.run(&mut vite(tree, "build", &built))
        })
    })?;
    Ok(built)
}

fn vite(tree: &Tree, verb: &str, built: &Path) -> Command {
    let mut vite = Command::new("node");
    vite.args(["node_modules/vite/bin/vite.js", verb, "--outDir"]).arg(built);
    vite.current_dir(tree.root.join(FOLDER));
    vite
}

fn wait_until_ready(page: &mut Guarded, address: SocketAddr) -> Result {
    let started = Instant::now();
    while !http::get(address, "/").is_ok_and(|answer| answer.status == 200) {
        signals::check()?;
        if let Some(status) = page.poll()? {
            return Err(format!("the page's server ended at once: {status}").into());
        }
        if started.elapsed() > START_LIMIT {
            return Err(format!("no answer from the page's server at {address}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_not_lost_and_what_is_there_twice_is_doubled() {
        let ledger = [json!(1), json!(2), json!(3)];
        let found = |settled, stream: &[Value]| judge(&ledger, settled, stream);
        let counts = |stored, lost, doubled| Found { stored, lost, doubled };
        assert_eq!(found(0, &[]), counts(0, 0, 0));
        assert_eq!(found(2, &[json!(1)]), counts(1, 1, 0));
        assert_eq!(found(2, &[json!(1), json!(2)]), counts(2, 0, 0));
        assert_eq!(found(1, &[json!(1), json!(2), json!(2)]), counts(3, 0, 1));
        // The service is ahead of its ledger.
        assert_eq!(found(3, &[json!(1), json!(2), json!(3), json!(4)]), counts(4, 0, 0));
    }
}
