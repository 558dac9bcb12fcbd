//! `faults --cluster`: producers against three nodes of ursula while those are killed, frozen,
//! stopped and cut off. Each row tells how long streams stood still, beside what a client with
//! nothing of ours waited at the same time: the cluster's own election.

mod bare;
mod link;
mod nodes;
mod pauses;
mod rows;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::expect::Expect;
use super::stage::{Ran, Stage};
use super::writer::{Job, Told, Writer};
use bare::Probe;
use durstream_tests::audit::outcomes::Verdict;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::numbered::Kind;
use durstream_tests::signals;
use durstream_tests::table::{self, grouped};
use durstream_tests::tree::Tree;
use nodes::{BUCKET, Cluster, NODES};
use rows::{Row, Whom};

/// Producers of either kind, each with a stream of its own.
const WRITERS: [(&str, Kind); 6] = [
    ("a", Kind::Json),
    ("b", Kind::State),
    ("c", Kind::Lines),
    ("d", Kind::Json),
    ("e", Kind::State),
    ("f", Kind::Json),
];
const PROBES: usize = 6;
const PER_SECOND: usize = 60;
/// Writes that wait while a stream stands still, without limit.
const MOST: usize = 1_000_000;
/// How long a fault lasts at least, and how long a cluster is left alone behind it.
const LASTS: Duration = Duration::from_secs(7);
const REST: Duration = Duration::from_secs(4);
/// How long every stream may take to go on.
const GOES_ON: Duration = Duration::from_secs(60);
/// A stream that goes on had an acknowledgement so short ago.
const JUST_NOW: Duration = Duration::from_millis(700);
const WRITER_LIMIT: Duration = Duration::from_secs(120);

/// The rows whose names contain one of these.
fn chosen(only: &[String]) -> Vec<Row> {
    let is_wanted = |row: &Row| only.is_empty() || only.iter().any(|part| row.name.contains(part));
    rows::all().into_iter().filter(is_wanted).collect()
}

/// Runs the rows, and all of them again until the time is over; the exit status.
pub(crate) fn run(tree: &Tree, only: &[String], list: bool, time: Duration) -> Result<u8> {
    let rows = chosen(only);
    if list {
        rows.iter().for_each(|row| console::line(row.name));
        return Ok(0);
    }
    let (stage, started) = (Stage::prepare(tree, 0)?, Instant::now());
    let mut lines: Vec<Line> = rows.iter().map(Line::of).collect();
    for round in 0.. {
        for (index, (row, line)) in rows.iter().zip(&mut lines).enumerate() {
            signals::check()?;
            let (number, count) = (index + 1, rows.len());
            console::status(&format!("  round {}, {number} of {count}: {}", round + 1, row.name));
            // A cluster that was used does not take a node that is new.
            let own = stage.of_row(round * count + index);
            if let Err(failure) = own.and_then(|stage| one(&stage, row, line)) {
                line.problems.push(failure.to_string());
            }
        }
        if started.elapsed() > time {
            break;
        }
    }
    console::line(&format!("\n{}", table::render(&HEADINGS, &cells(&lines))));
    for line in lines.iter().filter(|line| !line.problems.is_empty()) {
        console::line(&format!("{}:", line.name));
        line.problems.iter().for_each(|problem| console::line(&format!("  {problem}")));
    }
    console::line(&format!("Took {:.0} s.", started.elapsed().as_secs_f64()));
    let is_clean = !lines.is_empty() && lines.iter().all(|line| line.problems.is_empty());
    Ok(if is_clean { 0 } else { 1 })
}

const HEADINGS: [&str; 11] = [
    "fault",
    "times",
    "accepted",
    "lost",
    "doubled",
    "out of order",
    "flagged",
    "pause, p50",
    "worst",
    "cluster's own, p50",
    "worst",
];

#[derive(Default)]
struct Line {
    name: &'static str,
    times: usize,
    verdict: Verdict,
    /// Of the streams whose leader met the fault.
    pauses: Vec<Duration>,
    own: Vec<Duration>,
    problems: Vec<String>,
}

impl Line {
    fn of(row: &Row) -> Self {
        Line { name: row.name, ..Line::default() }
    }
}

fn cells(lines: &[Line]) -> Vec<Vec<String>> {
    let seconds = |pauses: &[Duration]| match pauses::summary(pauses.to_vec()) {
        Some((middle, worst)) => [middle, worst].map(|time| format!("{:.2} s", time.as_secs_f64())),
        None => ["-".to_owned(), "-".to_owned()],
    };
    let row = |line: &Line| {
        let v = &line.verdict;
        let counts = [line.times, v.accepted, v.lost, v.doubled, v.misplaced, v.flagged];
        let mut cells = vec![line.name.to_owned()];
        cells.extend(counts.map(grouped));
        cells.extend(seconds(&line.pauses));
        cells.extend(seconds(&line.own));
        cells
    };
    lines.iter().map(row).collect()
}

/// Somebody who writes to a stream.
struct Stream {
    name: String,
    kind: Kind,
    acks: bare::Acks,
    is_ours: bool,
}

impl Stream {
    fn went_on(&self) -> bool {
        let acks = self.acks.lock().expect("nobody panics with it");
        acks.last().is_some_and(|last| last.elapsed() < JUST_NOW)
    }
}

/// One row, on a cluster of its own: its line gets what comes of it.
fn one(stage: &Stage<'_>, row: &Row, line: &mut Line) -> Result {
    let mut cluster = Cluster::start(stage.tree, &stage.folder)?;
    bare::insist(&cluster, "PUT", &format!("/{BUCKET}"), &[], b"", nodes::START_LIMIT)?;
    let stop = stage.folder.join("stop");
    let mut writers = Vec::new();
    for (number, (name, kind)) in WRITERS.into_iter().enumerate() {
        let leader = bare::leader(&cluster, name, kind)?;
        let first = if row.whom == Whom::Nobody { (leader + 1) % NODES } else { number % NODES };
        writers.push(stage.start(job(&cluster, name, kind, first, &stop))?);
    }
    let probes = (0..PROBES).map(|n| Probe::start(&cluster, &format!("probe-{n}")));
    let probes = probes.collect::<Result<Vec<_>>>()?;
    let of_writer = |(writer, (name, kind)): (&Writer, (&str, Kind))| Stream {
        name: name.to_owned(),
        kind,
        acks: writer.acks.clone(),
        is_ours: true,
    };
    let mut streams: Vec<Stream> = writers.iter().zip(WRITERS).map(of_writer).collect();
    streams.extend(probes.iter().map(|probe| Stream {
        name: probe.stream.clone(),
        kind: Kind::Lines,
        acks: probe.acks.clone(),
        is_ours: false,
    }));
    await_all(&streams)?;
    for round in 0..row.rounds {
        signals::check()?;
        happen(&mut cluster, row, round, &streams, line)?;
    }
    drop(probes);
    std::fs::write(&stop, "").context(stop.display())?;
    let told = writers.into_iter().map(|writer| writer.finish(WRITER_LIMIT));
    let told = told.collect::<Result<Vec<Told>>>()?;
    judge(&cluster, row, told, line)
}

fn job(cluster: &Cluster, name: &str, kind: Kind, first: usize, stop: &Path) -> Job {
    Job {
        writer: name.to_owned(),
        stream_path: format!("/{BUCKET}/{name}"),
        producer_id: format!("service-{name}"),
        writes: MOST,
        per_second: PER_SECOND,
        max_pending: MOST,
        stop_file: Some(stop.to_owned()),
        path_prefix: Some("/"),
        ..Job::new(kind, cluster.endpoints(first))
    }
}

/// Waits until every stream goes on.
fn await_all(streams: &[Stream]) -> Result {
    let started = Instant::now();
    while let Some(still) = streams.iter().find(|stream| !stream.went_on()) {
        signals::check()?;
        if started.elapsed() > GOES_ON {
            return Err(format!("stream {} does not go on", still.name).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The fault, and how long the streams that it concerns stood still.
fn happen(
    cluster: &mut Cluster,
    row: &Row,
    round: usize,
    streams: &[Stream],
    line: &mut Line,
) -> Result {
    let leader = |stream: &Stream| bare::leader(cluster, &stream.name, stream.kind);
    let leaders = streams.iter().map(leader).collect::<Result<Vec<_>>>()?;
    let leads = |node: usize| {
        let own = streams.iter().zip(&leaders).filter(|(stream, _)| stream.is_ours);
        own.filter(|(_, leader)| **leader == node).count()
    };
    let most = (0..NODES).max_by_key(|node| leads(*node)).unwrap_or_default();
    let whom = if row.whom == Whom::Each { round % NODES } else { most };
    let fault = Instant::now();
    (row.happens)(cluster, whom)?;
    thread::sleep(LASTS.saturating_sub(fault.elapsed()));
    await_all(streams)?;
    let until = Instant::now();
    for (stream, leader) in streams.iter().zip(&leaders) {
        if *leader == whom || row.whom == Whom::Nobody {
            let acks = stream.acks.lock().expect("nobody panics with it").clone();
            let pauses = if stream.is_ours { &mut line.pauses } else { &mut line.own };
            pauses.push(pauses::pause(&acks, fault, until));
        }
    }
    line.times += 1;
    (row.is_mended)(cluster, whom)?;
    thread::sleep(REST);
    await_all(streams)
}

/// Reads everything back.
fn judge(cluster: &Cluster, row: &Row, told: Vec<Told>, line: &mut Line) -> Result {
    let mut stream = Vec::new();
    for (name, kind) in WRITERS {
        stream.extend(bare::read(cluster, name, kind)?);
    }
    let ran = Ran { injected: row.rounds as u64, told, stream, ..Ran::default() };
    let ends: Vec<_> = ran.told.iter().map(|t| (t.writer.clone(), t.ends.clone())).collect();
    let verdict = Verdict::new(&ends, &ran.stream);
    // An attempt that was given up may have been the first of its session.
    let expect = Expect::nothing_lost(row.rounds as u64).may_flag();
    line.problems.extend(expect.problems(&ran, &verdict));
    line.verdict += verdict;
    Ok(())
}
