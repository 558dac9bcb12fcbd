//! `bench`: how fast our clients are, beside what users would otherwise pick and beside the ceiling,
//! in the same run. `--report` measures everything and writes the report. `tests/bench/README.md` says
//! what is measured and how.

mod contestant;
mod goals;
mod machine;
mod messages;
mod options;
mod report;
mod row;
mod run;
mod summary;
mod sweep;
mod whole;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use contestant::{Contestant, Id};
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::harness::Harness;
use durstream_tests::needs::Need;
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use messages::{Kind, Messages};
use options::{Options, parse};
use row::Row;
use run::{Job, Measurement, Place};

const QUICK_ROUNDS: usize = 5;
const ROUNDS: usize = 15;
/// A busy machine gets fewer rounds rather than more time.
const QUICK_LIMIT: Duration = Duration::from_secs(285);
/// Single writes per round, and where the round trip is slow.
const IDLE_WRITES: usize = 300;
const SLOW_IDLE_WRITES: usize = 20;
/// A slow round trip leaves so much of a run's events: it takes longer over them.
const SLOW_PART: usize = 4;

fn main() -> ExitCode {
    Harness { name: "bench", parse, needs, run: bench }.main()
}

/// The programs in Rust are always among them: the ceiling and the long line.
fn needs(options: &Options) -> Result<Vec<Need>> {
    if options.report {
        return whole::needs(options);
    }
    let mut needs = vec![Need::RustPrograms("durstream-bench-programs".into())];
    if !options.sweep {
        let ids = taking_part(options, &rows(options)?);
        needs.extend(ids.into_iter().filter_map(contestant::need));
    }
    needs.push(Need::Server);
    Ok(needs)
}

fn bench(tree: &Tree, options: Options) -> Result<u8> {
    if options.report {
        return whole::report(tree, &options);
    }
    if options.sweep {
        return sweep::sweep(tree, options.json.as_deref());
    }
    let mut rows = rows(&options)?;
    let upstream = options.upstream_python.as_ref().or(options.upstream.as_ref());
    let upstream = upstream.map(PathBuf::as_path);
    let contestants = taking_part(&options, &rows).into_iter();
    let contestants = contestants.map(|id| contestant::of(tree, id, upstream));
    let contestants = contestants.collect::<Result<Vec<_>>>()?;
    let messages = Kind::ALL.map(|kind| Messages::make(tree, kind));
    let messages = messages.into_iter().collect::<Result<Vec<_>>>()?;
    let place = Place { tree, round_trip_ms: options.round_trip_ms };
    let most = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let started = Instant::now();
    let mut rounds = 0;
    let mut longest = Duration::ZERO;
    while rounds < most && (!options.quick || started.elapsed() + longest < QUICK_LIMIT) {
        rounds += 1;
        let begun = Instant::now();
        let progress = format!("round {rounds} of {most}");
        one_round(&place, &contestants, &messages, &mut rows, &progress)?;
        longest = longest.max(begun.elapsed());
        // Nobody is always the first after another.
        rows.reverse();
    }
    rows.sort_by_key(|row| (row.kind, row.id));
    console::status("");
    report::show(&rows, rounds, options.round_trip_ms);
    console::line(&format!("Took {:.0} s.", started.elapsed().as_secs_f64()));
    if let Some(file) = &options.json {
        let text = report::to_json(&rows, rounds, options.round_trip_ms);
        std::fs::write(file, format!("{text:#}\n")).context(file.display())?;
    }
    let is_right = rows.iter().all(|row| row.trouble.is_none());
    Ok(if is_right { 0 } else { 1 })
}

/// The rows of the table; none is an error.
fn rows(options: &Options) -> Result<Vec<Row>> {
    let rows = chosen(options.only.as_deref());
    if rows.is_empty() {
        let pattern = options.only.as_deref().unwrap_or_default();
        return Err(format!("nothing is called {pattern}: CONTESTANT/MESSAGES, rust/json").into());
    }
    Ok(rows)
}

/// The rows of the table whose names hold the pattern, with what those are compared with.
fn chosen(pattern: Option<&str>) -> Vec<Row> {
    let all = Kind::ALL.into_iter().flat_map(|kind| Id::ALL.map(|id| (id, kind)));
    let all: Vec<_> = all.filter(|(id, kind)| id.events(*kind).is_some()).collect();
    let is_named = |(id, kind): (Id, Kind)| {
        let name = format!("{}/{}", id.name(), kind.name());
        pattern.is_none_or(|pattern| name.contains(pattern))
    };
    let is_beside = |(id, kind): (Id, Kind)| {
        let beside = |other: Id| other.alternative() == Some(id) || id == Id::Ceiling;
        Id::ALL.into_iter().any(|other| {
            other.is_ours()
                && beside(other)
                && other.events(kind).is_some()
                && is_named((other, kind))
        })
    };
    let wanted = all.into_iter().filter(|row| is_named(*row) || is_beside(*row));
    wanted.map(|(id, kind)| Row::new(id, kind)).collect()
}

/// Who takes part. Upstream's Python client does when somebody says where it is.
fn taking_part(options: &Options, rows: &[Row]) -> Vec<Id> {
    let takes_part = |id: &Id| {
        rows.iter().any(|row| row.id == *id)
            && (*id != Id::UpstreamPython
                || options.upstream_python.is_some()
                || options.upstream.is_some())
    };
    Id::ALL.into_iter().filter(takes_part).collect()
}

fn one_round(
    place: &Place<'_>,
    contestants: &[Contestant],
    messages: &[Messages],
    rows: &mut [Row],
    progress: &str,
) -> Result {
    for row in rows {
        let Some(contestant) = contestants.iter().find(|contestant| contestant.id == row.id) else {
            continue;
        };
        let is_slow = place.round_trip_ms > 0;
        let messages = &messages[row.kind as usize];
        let events = row.id.events(row.kind).unwrap_or_default();
        let events = if is_slow { events / SLOW_PART } else { events };
        let mut jobs = vec![("stream", events)];
        if row.kind == Kind::Json {
            jobs.push(("idle", if is_slow { SLOW_IDLE_WRITES } else { IDLE_WRITES }));
        }
        for (mode, events) in jobs {
            if row.trouble.is_some() {
                break;
            }
            console::status(&format!("  {progress}: {}, {}", row.id.title(), row.kind.name()));
            let options = row.id.options(place.round_trip_ms);
            let job =
                Job { messages, kind: row.kind.name(), events, mode, options, limit: run::LIMIT };
            match run::run(place, contestant, &job) {
                Ok(measured) => match measured.result {
                    Measurement::Stream(streamed) => row.add(events, streamed, measured.around),
                    Measurement::Idle { waits_us } => row.waits_us.push(waits_us),
                    other => row.trouble = Some(format!("it measured something else: {other:?}")),
                },
                Err(failure) => {
                    signals::check()?;
                    row.trouble = Some(failure.to_string());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_brings_what_its_rows_are_compared_with() {
        let names = |pattern| {
            let rows = chosen(pattern);
            rows.iter().map(|row| (row.id, row.kind)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Some("node/json")),
            [(Id::Ceiling, Kind::Json), (Id::Node, Kind::Json), (Id::NpmClient, Kind::Json)]
        );
        assert_eq!(names(Some("ceiling/bytes")), [(Id::Ceiling, Kind::Bytes)]);
        assert!(names(None).len() > 15);
        assert!(names(Some("go")).is_empty());
    }
}
