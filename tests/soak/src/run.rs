//! The run itself: services behind their proxies, the weather, the meter.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::process::{self, Guarded};
use durstream_tests::proxy::{Proxy, Settings};
use durstream_tests::random::Random;
use durstream_tests::server::{Durability, Server};
use durstream_tests::signals;
use durstream_tests::table::grouped;
use durstream_tests::tree::Tree;

use crate::check::{Checker, Totals};
use crate::meter::{Held, Sample};
use crate::options::Options;
use crate::services::{self, Service, Surroundings};
use crate::tokens::Tokens;
use crate::weather::{Counts, Ends, Lane};

const TICK: Duration = Duration::from_millis(20);
/// Between two samples; shorter runs have as many as a run of five minutes.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(5);
const FEWEST_SAMPLES: u32 = 60;
/// At the end, when nothing disturbs any more.
const END_LIMIT: Duration = Duration::from_secs(180);
/// What went through a proxy last: it says what became of a stream that is not as it should be.
const KEPT: Settings = Settings {
    seed: 0,
    max_body_bytes: 16 * 1024,
    max_entries: 4_000,
    max_log_bytes: 16 * 1024 * 1024,
};

/// What a run came to.
pub(crate) struct CameTo {
    pub(crate) seed: u64,
    pub(crate) lasts: Duration,
    pub(crate) services: [Service; 4],
    pub(crate) samples: Vec<Sample>,
    pub(crate) totals: Vec<Totals>,
    pub(crate) faults: Counts,
    /// How many requests and connections were hit.
    pub(crate) hit: u64,
    pub(crate) problems: Vec<String>,
}

pub(crate) fn run(tree: &Tree, options: &Options) -> Result<CameTo> {
    let Options { lasts, seed, .. } = *options;
    let folder = tree.fresh_directory("soak")?;
    let mut random = Random::new(seed);
    let mut server = Server::start_as(tree, Durability::Disk)?;
    let mut tokens = Tokens::issue_in(&folder, &mut random)?;
    let services = services::all(tree);
    let proxies = (0..services.len())
        .map(|number| {
            let settings = Settings { seed: seed.wrapping_add(number as u64), ..KEPT };
            Proxy::start_with(server.address(), settings).map(Arc::new)
        })
        .collect::<Result<Vec<_>>>()?;
    let (checker, told) = Checker::start(server.address(), &proxies, &folder)?;
    let mut lanes = Vec::new();
    let mut processes = Vec::new();
    console::line(&format!(
        "{} services for {} minutes, seed {seed}",
        services.len(),
        lasts.as_secs() / 60
    ));
    for (number, (service, proxy)) in services.iter().zip(proxies).enumerate() {
        let (url, token_file) = (&proxy.url(), &tokens.file);
        let around = Surroundings { url, token_file, lasts, folder: &folder };
        processes.push(service.start(number, &around, told.clone())?);
        lanes.push(Lane::new(proxy, service.name));
    }
    drop(told);
    let mut ends = Ends::new(&mut random);
    let (mut faults, mut problems) = (Counts::new(), Vec::new());
    let mut meter = Meter::new(lasts, &folder)?;
    while meter.started.elapsed() < lasts {
        signals::check()?;
        if let Some(refusal) = tokens.advance(&mut random)? {
            lanes.iter().try_for_each(|lane| lane.proxy.add_json(&refusal).map(drop))?;
        }
        for lane in &mut lanes {
            lane.advance(
                &mut random,
                &tokens,
                meter.started.elapsed(),
                ends.is_due(),
                &mut faults,
            )?;
        }
        ends.advance(&mut server, &lanes, &mut random, &mut faults)?;
        if !meter.look(&processes)? && meter.started.elapsed() < lasts {
            problems.push("a service ended before it was time".to_owned());
            break;
        }
        std::thread::sleep(TICK);
    }
    ends.settle(&mut server)?;
    tokens.settle()?;
    lanes.iter().try_for_each(|lane| lane.clear(&tokens))?;
    faults.insert("token expired", tokens.expired);
    let hit = lanes.iter().map(|lane| lane.proxy.fired()).sum();
    if problems.is_empty() {
        for (service, process) in services.iter().zip(&mut processes) {
            if let Some(problem) = end_of(process) {
                let said = process::tail(&service.log(&folder));
                problems.push(format!("{}: {problem}\n{said}", service.title));
            }
        }
    } else {
        for service in &services {
            problems.push(format!("{}:\n{}", service.title, process::tail(&service.log(&folder))));
        }
    }
    drop(processes);
    let checked = checker.finish()?;
    problems.extend(checked.problems);
    let (samples, totals) = (meter.samples, checked.totals);
    Ok(CameTo { seed, lasts, services, samples, totals, faults, hit, problems })
}

pub(crate) fn between_samples(lasts: Duration) -> Duration {
    BETWEEN_SAMPLES.min(lasts / FEWEST_SAMPLES)
}

/// Waits for the end of a service; what was wrong with it.
fn end_of(process: &mut Guarded) -> Option<String> {
    match process.wait(Some(END_LIMIT), || ()) {
        Ok(status) if status.success() => None,
        Ok(status) => Some(status.to_string()),
        Err(failure) => Some(failure.to_string()),
    }
}

/// Looks at what the services hold, now and then.
struct Meter {
    started: Instant,
    lasts: Duration,
    between: Duration,
    next: Duration,
    samples: Vec<Sample>,
    /// They are written down as they come, for those who look on.
    file: File,
}

impl Meter {
    fn new(lasts: Duration, folder: &Path) -> Result<Self> {
        let between = between_samples(lasts);
        let path = folder.join("samples.csv");
        let file = File::create(&path).context(path.display())?;
        let (started, next, samples) = (Instant::now(), between, Vec::new());
        Ok(Self { started, lasts, between, next, samples, file })
    }

    /// Takes a sample when it is time; `false` where one has ended.
    fn look(&mut self, processes: &[Guarded]) -> Result<bool> {
        let at = self.started.elapsed();
        if at < self.next {
            return Ok(true);
        }
        self.next += self.between;
        let held: Option<Vec<Held>> =
            processes.iter().map(|process| Held::of(process.id())).collect();
        let Some(held) = held else { return Ok(false) };
        let own: Vec<String> =
            held.iter().map(|held| format!("{:.1}", held.own / 1024.0)).collect();
        console::status(&format!(
            "  {} of {} s, MiB: {}",
            grouped(at.as_secs() as usize),
            grouped(self.lasts.as_secs() as usize),
            own.join("  ")
        ));
        let values = |held: &Held| {
            let Held { resident, own, descriptors, threads } = held;
            format!(",{resident},{own},{descriptors},{threads}")
        };
        let line: String = held.iter().map(values).collect();
        writeln!(self.file, "{}{line}", at.as_secs()).context("a sample")?;
        self.samples.push(Sample { at, held });
        Ok(true)
    }
}
