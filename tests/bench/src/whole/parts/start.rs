//! Starting: from a process's start to its first acknowledgement, what an import takes, and how large
//! what is shipped is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use std::time::Duration;

use crate::contestant::{Contestant, Id};
use crate::messages::{Kind, Messages};
use crate::run::{Measurement, Program, log_of, stream_url};
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::server::Server;
use durstream_tests::tree::Tree;

const BYTES: usize = 100;
/// Kinds of points.
pub(crate) const FIRST: &str = "first write";
pub(crate) const IMPORT: &str = "import";
pub(crate) const SIZE: &str = "size";

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let messages = lab.messages(Kind::Json, BYTES)?;
    let starts = lab.rounds(3, 15);
    let mut points = Vec::new();
    for who in &lab.contestants {
        lab.say(&format!("start: {}", who.id.title()));
        let mut point = Point::of(who.id, FIRST);
        let result = (0..starts).try_for_each(|_| first_write(lab, who, &messages, &mut point));
        lab.note(&mut point, result)?;
        points.push(point);
    }
    for (name, mut bare, mut import) in imports(lab) {
        lab.say(&format!("import: {name}"));
        let mut point = Point::new(name);
        point.kind = IMPORT.to_owned();
        let result = (0..starts).try_for_each(|_| {
            let bare = seconds(&mut bare)?;
            point.add("ms", (seconds(&mut import)? - bare) * 1e3);
            Ok(())
        });
        lab.note(&mut point, result)?;
        points.push(point);
    }
    points
        .extend(artefacts(lab.tree).iter().filter_map(|(name, files)| size(lab.tree, name, files)));
    Ok(points)
}

/// The program starts, creates its stream, writes one message and is told that it was taken.
fn first_write(lab: &Lab<'_>, who: &Contestant, messages: &Messages, point: &mut Point) -> Result {
    let server = Server::start(lab.tree)?;
    let task = Task {
        mode: "idle",
        events: 1,
        round_trip_ms: 0,
        options: Vec::new(),
        time: Duration::ZERO,
    };
    let command = lab.job(messages, &task).command(who, &stream_url(&server.url()));
    let log = log_of(lab.tree, who.id)?;
    let started = Instant::now();
    let program = Program::start(command, &log)?;
    point.add("ms", started.elapsed().as_secs_f64() * 1e3);
    if let Some(bytes) = crate::machine::peak_bytes(program.id()) {
        point.add("peak_mb", bytes as f64 / 1e6);
    }
    if let Measurement::Idle { waits_us } = program.measurement()? {
        point.add("write_ms", waits_us.iter().sum::<f64>() / 1e3);
    }
    program.end()
}

/// Interpreters, with nothing to do and with our package to load.
fn imports(lab: &Lab<'_>) -> Vec<(&'static str, Command, Command)> {
    let python = |code: &str| {
        let mut command = Command::new(lab.tree.venv_python());
        command.args(["-c", code]);
        command
    };
    let entry = lab.tree.root.join("bindings-node/dist/index.cjs");
    let node = |code: &str| {
        let mut command = Command::new("node");
        command.args(["-e", code]);
        command
    };
    let load = format!("require({:?})", entry.display().to_string());
    let there = |id: Id| !lab.those(&[id]).is_empty();
    let all = [
        (there(Id::Python), ("python", python("pass"), python("import durstream"))),
        (there(Id::Node), ("node", node("0"), node(&load))),
    ];
    all.into_iter().filter(|(there, _)| *there).map(|(_, import)| import).collect()
}

fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("an interpreter")?;
    let took = started.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(took);
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into())
}

/// What is shipped, as it was built for this report.
fn artefacts(tree: &Tree) -> Vec<(&'static str, Vec<PathBuf>)> {
    let library = |name: String| tree.release(&name);
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let wheel = files(&tree.target.join("wheels"), "whl");
    vec![
        ("libdurstream, shared", vec![library(format!("{prefix}durstream{suffix}"))]),
        ("libdurstream, static", vec![library("libdurstream.a".to_owned())]),
        ("Node addon", vec![tree.root.join("bindings-node/native/durstream.node")]),
        ("Node facade", files(&tree.root.join("bindings-node/dist"), "js")),
        ("Python wheel, packed", wheel),
    ]
}

/// The files of a folder with an ending, or one that begins so (`cjs`, `mjs`).
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|own| own.to_string_lossy().ends_with(ending))
    };
    entries.map(|entry| entry.path()).filter(is_one).collect()
}

fn size(tree: &Tree, name: &str, files: &[PathBuf]) -> Option<Point> {
    let bytes = |path: &PathBuf| std::fs::metadata(path).map(|data| data.len()).ok();
    let all: u64 = files.iter().map(bytes).sum::<Option<u64>>().filter(|all| *all > 0)?;
    let mut point = Point::new(name).with("mb", all as f64 / 1e6);
    point.kind = SIZE.to_owned();
    // What is shipped has no line tables.
    if let [file] = files
        && let Some(bytes) = stripped(tree, file)
    {
        point.add("stripped_mb", bytes as f64 / 1e6);
    }
    Some(point)
}

fn stripped(tree: &Tree, file: &Path) -> Option<u64> {
    let copy = tree.directory("bench").ok()?.join("stripped");
    let done = Command::new("strip").arg("-o").arg(&copy).arg(file).output().ok()?;
    done.status.success().then(|| std::fs::metadata(&copy).ok().map(|data| data.len()))?
}
