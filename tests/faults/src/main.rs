//! `faults`: producers against real servers while faults are injected. Each row of the table is one
//! fault: what was written is compared, write by write, with the stream and with what the producer
//! said became of it.

mod cluster;
mod expect;
mod report;
mod rows;
mod stage;
mod writer;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use durstream_tests::audit::outcomes::Verdict;
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::Need;
use durstream_tests::random;
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;
use report::Line;
use rows::Row;
use stage::Stage;

/// Rows mostly wait, for a pause to be over or a server to be back.
const LANES: usize = 3;

#[derive(Default)]
struct Options {
    list: bool,
    /// Three nodes of one server, in place of single ones.
    cluster: bool,
    only: Vec<String>,
    seed: Option<u64>,
}

fn main() -> ExitCode {
    Harness { name: "faults", parse, needs, run: faults }.main()
}

fn needs(options: &Options) -> Result<Vec<Need>> {
    if options.list {
        return Ok(Vec::new());
    }
    if options.cluster {
        return Ok(vec![Need::RustPrograms(stage::WRITER.into()), Need::Cluster]);
    }
    let reference =
        Need::NpmPackages { title: "Reference server".into(), folder: stage::REFERENCE.into() };
    Ok(vec![Need::RustPrograms(stage::WRITER.into()), reference, Need::Server])
}

fn faults(tree: &Tree, options: Options) -> Result<u8> {
    let seed = options.seed.unwrap_or_else(random::chance);
    if options.cluster {
        return cluster::run(tree, &options.only, options.list, seed);
    }
    let mut rows = rows::all();
    let is_wanted = |row: &Row| options.only.iter().any(|part| row.name.contains(part));
    rows.retain(|row| options.only.is_empty() || is_wanted(row));
    if rows.is_empty() {
        return Err(format!("no row of {:?}: see --list", options.only).into());
    }
    if options.list {
        rows.iter().for_each(|row| console::line(&row.name));
        return Ok(0);
    }
    let clean = run(tree, &rows, seed)?;
    Ok(if clean { 0 } else { 1 })
}

/// Runs the rows, a few beside each other; whether all came to what is expected.
fn run(tree: &Tree, rows: &[Row], seed: u64) -> Result<bool> {
    let started = Instant::now();
    let stage = Stage::prepare(tree, seed)?;
    console::line(&format!("{} rows from seed {seed}", rows.len()));
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut lines = Vec::new();
        while let Some((index, row)) = taken(&next, rows) {
            if signals::interrupted() {
                break;
            }
            console::status(&format!("  {} of {}: {}", index + 1, rows.len(), row.name));
            lines.push((index, line(&stage, index, row)));
        }
        lines
    };
    let lanes = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().map_err(|_| "a row panicked"));
        ended.collect::<std::result::Result<Vec<_>, _>>()
    })?;
    signals::check()?;
    let mut lines: Vec<_> = lanes.into_iter().flatten().collect();
    lines.sort_by_key(|(index, _)| *index);
    let lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    let clean = report::show(&lines);
    console::line(&format!("Took {:.1} s, seed {seed}.", started.elapsed().as_secs_f64()));
    Ok(clean)
}

/// The next row nobody has taken.
fn taken<'a>(next: &AtomicUsize, rows: &'a [Row]) -> Option<(usize, &'a Row)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, rows.get(index)?))
}

fn line(stage: &Stage<'_>, index: usize, row: &Row) -> Line {
    let name = row.name.clone();
    let ran = match stage.of_row(index).and_then(|stage| (row.run)(&stage)) {
        Ok(ran) => ran,
        Err(failure) => {
            return Line { name, problems: vec![failure.to_string()], ..Line::default() };
        }
    };
    let writers: Vec<_> =
        ran.told.iter().map(|told| (told.writer.clone(), told.ends.clone())).collect();
    let verdict = Verdict::new(&writers, &ran.stream);
    let problems = row.expect.problems(&ran, &verdict);
    let longest_pause_ms =
        ran.told.iter().map(|told| told.account.longest_pause_ms).max().unwrap_or_default();
    let reasons = ran.told.iter().flat_map(|told| told.account.reasons.clone());
    Line {
        name,
        injected: ran.injected,
        verdict,
        longest_pause_ms,
        reasons: reasons.collect(),
        problems,
    }
}

/// `[--cluster] [--only PATTERN]… [--seed S] [--list]`
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("list") => options.list = true,
            Long("cluster") => options.cluster = true,
            Long("only") => options.only.push(words.value()?.string()?),
            Long("seed") => options.seed = Some(words.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--only a --seed 7 --only b --list")).unwrap();
        assert_eq!((options.only, options.seed, options.list), (words("a b"), Some(7), true));
        for wrong in ["--only", "--seed", "--seed x", "b"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<String> = rows::all().into_iter().map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
