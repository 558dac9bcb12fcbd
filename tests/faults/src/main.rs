//! `faults`: producers against real servers while faults are injected. Each row of the table is one
//! fault: what was written is compared, write by write, with the stream and with what the producer
//! said became of it.

mod cluster;
mod expect;
mod outbox;
mod report;
mod rows;
mod stage;
mod writer;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
    /// How long the rows of the cluster are gone through.
    minutes: Option<u64>,
    only: Vec<String>,
    seed: Option<u64>,
    /// Of the writers of a language that has an outbox.
    kills: Option<usize>,
    /// Whether the README gets the table of these.
    report: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    fn rows(&self) -> Vec<Row> {
        rows::all().into_iter().filter(|row| self.wants(&row.name)).collect()
    }

    fn outbox_rows(&self) -> Vec<outbox::Row> {
        outbox::rows().into_iter().filter(|row| self.wants(&row.name)).collect()
    }

    fn kills(&self) -> usize {
        let usual = if self.only.is_empty() { outbox::FEW_KILLS } else { outbox::KILLS };
        self.kills.unwrap_or(usual)
    }
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
    let mut needs = outbox::needs(&options.outbox_rows());
    if !options.rows().is_empty() {
        let (title, folder) = ("Reference server".into(), stage::REFERENCE.into());
        needs.insert(0, Need::RustPrograms(stage::WRITER.into()));
        needs.push(Need::NpmPackages { title, folder });
    }
    needs.push(Need::Server);
    Ok(needs)
}

fn faults(tree: &Tree, options: Options) -> Result<u8> {
    if options.cluster {
        let time = Duration::from_secs(60 * options.minutes.unwrap_or(0));
        return cluster::run(tree, &options.only, options.list, time);
    }
    let seed = options.seed.unwrap_or_else(random::chance);
    let (rows, killed) = (options.rows(), options.outbox_rows());
    if rows.is_empty() && killed.is_empty() {
        return Err(format!("no row of {:?}: see --list", options.only).into());
    }
    if options.list {
        let names = rows.iter().map(|row| &row.name).chain(killed.iter().map(|row| &row.name));
        names.for_each(|name| console::line(name));
        return Ok(0);
    }
    let stage = Stage::prepare(tree, seed)?;
    let mut clean = rows.is_empty() || run(&stage, &rows)?;
    if !killed.is_empty() {
        let kills = options.kills();
        console::line(&format!("{} rows of the outbox, {kills} kills a language", killed.len()));
        let started = Instant::now();
        let lines = outbox::run(&stage, &killed, kills, LANES)?;
        clean &= outbox::show(tree, &lines, options.report)?;
        let seconds = started.elapsed().as_secs_f64();
        console::line(&format!("Took {seconds:.1} s, seed {seed}."));
    }
    Ok(if clean { 0 } else { 1 })
}

/// Runs the rows, a few beside each other; whether all came to what is expected.
fn run(stage: &Stage<'_>, rows: &[Row]) -> Result<bool> {
    let (started, seed) = (Instant::now(), stage.seed);
    console::line(&format!("{} rows from seed {seed}", rows.len()));
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut lines = Vec::new();
        while let Some((index, row)) = taken(&next, rows) {
            if signals::interrupted() {
                break;
            }
            console::status(&format!("  {} of {}: {}", index + 1, rows.len(), row.name));
            lines.push((index, line(stage, index, row)));
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

/// `[--cluster [--minutes N]] [--only PATTERN]… [--seed S] [--list] [--kills N] [--report]`
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("list") => options.list = true,
            Long("cluster") => options.cluster = true,
            Long("only") => options.only.push(words.value()?.string()?),
            Long("minutes") => options.minutes = Some(words.value()?.parse()?),
            Long("kills") => options.kills = Some(words.value()?.parse()?),
            Long("report") => options.report = true,
            Long("seed") => options.seed = Some(words.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.kills == Some(0) {
        return Err("--kills is 1 or more".into());
    }
    if options.minutes.is_some() && !options.cluster {
        return Err("--minutes goes with --cluster".into());
    }
    // A table of some of the rows, or of few kills, is none to be shown.
    if options.report && options.outbox_rows().len() < outbox::rows().len() {
        return Err("--report goes with all rows of the outbox".into());
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
        let wrong = "--only|--seed|--seed x|b|--kills 0|--kills x|--only Node --report|--minutes 1";
        for wrong in wrong.split('|') {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn writers_with_an_outbox_are_killed_often_where_that_is_asked_for() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = |text: &str| parse(&words(text)).unwrap();
        assert_eq!(options("").kills(), outbox::FEW_KILLS);
        assert_eq!(options("--only outbox").kills(), outbox::KILLS);
        assert_eq!(options("--only outbox --kills 3").kills(), 3);
        assert!(options("--only outbox --report").report);
        let (some, others) = (options("--only outbox"), options("--only 503"));
        assert!(some.rows().is_empty() && !some.outbox_rows().is_empty());
        assert!(others.outbox_rows().is_empty() && !others.rows().is_empty());
        let node = parse(&["--only".to_owned(), "outbox, Node".to_owned()]).unwrap();
        assert_eq!(needs(&node).unwrap(), [Need::NodePackage, Need::Server]);
    }

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<String> = rows::all().into_iter().map(|row| row.name).collect();
        names.extend(outbox::rows().into_iter().map(|row| row.name));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
