//! What calls cost their caller, one write beside a bare POST, and instructions: the core's own
//! benchmarks, which are run here and read.

use std::path::Path;
use std::process::Command;

use std::time::Duration;

use crate::contestant::Id;
use crate::messages::Kind;
use crate::run::Measurement;
use crate::whole::lab::{Lab, Task};
use crate::whole::store::Point;
use durstream_tests::failure::{Context, Result};
use durstream_tests::process::forget_cargo;
use durstream_tests::server::Server;
use durstream_tests::step::step;
use durstream_tests::tree::Tree;

/// Kinds of points.
pub(crate) const ACCEPT: &str = "accept";
pub(crate) const IDLE: &str = "idle";
pub(crate) const INSTRUCTIONS: &str = "instructions";
pub(crate) const UPSERT: &str = "upsert, JSON Schema";
const UPSERTS: usize = 200_000;

pub(crate) fn measure(lab: &Lab<'_>) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for (bench, kind, read) in [
        ("accept", ACCEPT, accept as fn(&str) -> Vec<Point>),
        ("idle", IDLE, idle),
        ("instructions", INSTRUCTIONS, instructions),
    ] {
        lab.say(&format!("the core's benchmark `{bench}`"));
        let mut failed = Point::new(bench);
        failed.kind = kind.to_owned();
        let result = output(lab, bench).and_then(|text| {
            let found = read(&text);
            if found.is_empty() {
                return Err(format!("nothing is known of its output: {text:.200}").into());
            }
            points.extend(found);
            Ok(())
        });
        lab.note(&mut failed, result)?;
        points.extend(failed.trouble.is_some().then_some(failed));
    }
    points.extend(upsert(lab)?);
    Ok(points)
}

fn cargo_bench(tree: &Tree) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "-p", "durstream-core"]).current_dir(&tree.root);
    cargo.env("CARGO_TARGET_DIR", &tree.target);
    cargo
}

/// Builds the benchmarks, which is no part of what is measured.
pub(crate) fn build(tree: &Tree) -> Result {
    step(tree, "the core's benchmarks", |step| step.run(cargo_bench(tree).arg("--no-run")))
}

fn output(lab: &Lab<'_>, bench: &str) -> Result<String> {
    let server = Server::start(lab.tree)?;
    let mut cargo = cargo_bench(lab.tree);
    cargo.args(["-q", "--bench", bench]).env("DURABLE_STREAMS_URL", server.url());
    let output = forget_cargo(&mut cargo).output().context("cargo bench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A slower write fails the comparison, and is still a number.
    if output.status.success() || bench == INSTRUCTIONS {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.trim().lines().last().unwrap_or_default();
    Err(format!("cargo bench {bench} failed: {last}").into())
}

/// `json, alone    376    410    500    390`: median, 90 %, 99 %, mean; nanoseconds.
fn accept(text: &str) -> Vec<Point> {
    let line = |line: &str| {
        let (name, numbers) = line.split_at_checked(34)?;
        let numbers: Vec<f64> =
            numbers.split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [median, _, most, mean] = numbers[..] else { return None };
        let point = Point { kind: ACCEPT.to_owned(), ..Point::new(name.trim()) };
        Some(point.with("median_ns", median).with("p99_ns", most).with("mean_ns", mean))
    };
    text.lines().filter_map(line).collect()
}

/// Rounds of `producer, bare POST, ratio`.
fn idle(text: &str) -> Vec<Point> {
    let mut point = Point { kind: IDLE.to_owned(), ..Point::new("rust") };
    for line in text.lines() {
        let numbers: Option<Vec<f64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        if let Some([ours, bare, ratio]) = numbers.as_deref() {
            point.add("us", *ours);
            point.add("bare_us", *bare);
            point.add("ratio", *ratio);
        }
    }
    (!point.values.is_empty()).then_some(point).into_iter().collect()
}

/// `json    2196    2190`: kept, and counted now.
fn instructions(text: &str) -> Vec<Point> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, kept, now] = words[..] else { return None };
        let point = Point { kind: INSTRUCTIONS.to_owned(), ..Point::new(name) };
        Some(point.with("kept", kept.parse().ok()?).with("now", now.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn upsert(lab: &Lab<'_>) -> Result<Option<Point>> {
    let Some(rust) = lab.those(&[Id::Rust]).first().copied() else { return Ok(None) };
    lab.say("upserts that a JSON Schema checks");
    let messages = lab.messages(Kind::Json, 100)?;
    let mut point = Point::of(Id::Rust, UPSERT);
    for _ in 0..lab.rounds(1, 5) {
        let events = lab.events(UPSERTS);
        let task = Task {
            mode: "upsert",
            events,
            round_trip_ms: 0,
            options: Vec::new(),
            time: Duration::ZERO,
        };
        let result = lab.run(rust, &messages, task).map(|measured| {
            if let Measurement::Call { call_ns } = measured.result {
                point.add("median_ns", call_ns);
            }
        });
        lab.note(&mut point, result)?;
    }
    Ok(Some(point))
}

/// The instructions that the repository keeps, whatever was measured.
pub(crate) fn kept(root: &Path) -> Result<Vec<(String, u64)>> {
    let file = root.join("core/benches/instructions.json");
    let text = std::fs::read(&file).context(file.display())?;
    let kept: std::collections::BTreeMap<String, u64> =
        serde_json::from_slice(&text).context(file.display())?;
    Ok(kept.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmarks_lines_are_read() {
        let text = "ns per write                        median    90 %    99 %    mean\n\
                    bytes, alone                            61      63      90      66\n\
                    json, 8 threads, beside sending        376     410     500     390\n";
        let points = accept(text);
        let told: Vec<_> = points.iter().map(|p| (p.of.as_str(), p.median("median_ns"))).collect();
        assert_eq!(
            told,
            [("bytes, alone", Some(61.0)), ("json, 8 threads, beside sending", Some(376.0))]
        );

        let text = "one write, call to outcome: medians of 1000, in microseconds\n \
                    producer bare POST  ratio\n    120.0     100.0  1.200\n    130.0     100.0  1.300\n\
                    ratio, median of 5 rounds: 1.250 (at most 1.25 is promised)\n";
        let points = idle(text);
        assert_eq!(points[0].median("ratio"), Some(1.25));
        assert_eq!(points[0].values["us"], [120.0, 130.0]);

        let points = instructions("a write        kept      now\njson           2196     2190\n");
        assert_eq!((points.len(), points[0].median("kept")), (1, Some(2196.0)));
        assert!(idle("").is_empty() && accept("error").is_empty());
    }
}
