//! `conformance`: the cases of `tests/conformance`, run with the adapter of each language against
//! the official server behind a proxy that makes faults.

mod adapter;
pub(crate) mod adapters;
mod case;
mod command;
mod judge;
mod report;
mod requests;
mod run;
mod stream;
mod variables;
mod yaml;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::console;
use crate::runner::Suite;
use crate::server::Server;
use crate::signals;
use crate::toolchain;
use crate::tree::Tree;
use adapter::Program;
use case::Case;
use durstream_tests::failure::{Context, Result};
use report::{Column, Outcome};
use run::Bench;

/// An adapter that takes longer over one command hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// A broken adapter is not waited for case by case.
const MAX_FAILURES_IN_A_ROW: usize = 8;

#[derive(Debug, PartialEq)]
struct Options {
    adapters: Vec<&'static str>,
    cases: Option<String>,
}

/// `conformance [--adapter NAME]… [--case PATTERN]`
pub(crate) fn conformance(tree: &Tree, arguments: &[String]) -> Result<u8> {
    let options = parse(arguments)?;
    let mut cases = load(tree)?;
    cases.retain(|case| options.cases.as_ref().is_none_or(|pattern| matches(pattern, &case.id)));
    if cases.is_empty() {
        return Err(format!("no case is called {}", options.cases.unwrap_or_default()).into());
    }
    toolchain::check(adapters::languages(&options.adapters))?;
    let binary = Server::install(tree)?;
    let server = Server::start(tree, &binary)?;
    let mut columns = Vec::new();
    for name in options.adapters {
        columns.push(column(tree, server.address(), name, adapters::build(tree, name), &cases)?);
    }
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    Ok(if report::show(&ids, &columns) { 0 } else { 1 })
}

/// The conformance cases as one of the suites: each adapter is a step.
pub(crate) fn suite(suite: &mut Suite<'_>) {
    steps(suite, &adapters::NAMES, adapters::build);
}

/// Every case with each of these adapters, as `build` makes it.
pub(crate) fn steps(
    suite: &mut Suite<'_>,
    names: &[&'static str],
    build: impl Fn(&Tree, &str) -> Result<Command>,
) {
    let mut cases = Vec::new();
    let loaded = suite.step("cases", |tree| {
        cases = load(tree)?;
        Ok(())
    });
    if !loaded {
        return suite.blocked("adapters");
    }
    let mut columns = Vec::new();
    for name in names {
        let address = suite.address();
        suite.step(&format!("adapter {name}"), |tree| {
            let column = column(tree, address?, name, build(tree, name), &cases)?;
            let (is_clean, summary) = (column.is_clean(), column.summary());
            columns.push(column);
            if is_clean { Ok(()) } else { Err(summary.into()) }
        });
    }
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    report::show(&ids, &columns);
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { adapters: Vec::new(), cases: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--adapter" => {
                let name = value()?;
                let known = adapters::NAMES.into_iter().find(|known| known == name);
                options.adapters.push(known.ok_or_else(|| adapters::unknown(name))?);
            }
            "--case" => options.cases = Some(value()?.clone()),
            other => return Err(format!("conformance does not know {other:?}").into()),
        }
    }
    if options.adapters.is_empty() {
        options.adapters = adapters::NAMES.into();
    }
    Ok(options)
}

/// Whether an id holds the pattern's parts in order; with a `*`, from its first to its last letter.
fn matches(pattern: &str, id: &str) -> bool {
    if !pattern.contains('*') {
        return id.contains(pattern);
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let last = parts.next_back().unwrap_or_default();
    let middle = id.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    middle.is_some_and(|middle| {
        let mut rest = Some(middle);
        for part in parts {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        rest.is_some()
    })
}

fn load(tree: &Tree) -> Result<Vec<Case>> {
    case::load(&tree.root.join("tests/conformance/cases"))
}

/// Runs every case with an adapter that was built. Only Ctrl-C is an error here.
fn column(
    tree: &Tree,
    server: SocketAddr,
    name: &'static str,
    built: Result<Command>,
    cases: &[Case],
) -> Result<Column> {
    let built = built.and_then(|command| {
        let log = tree.directory("conformance")?.join(format!("{name}.err"));
        std::fs::write(&log, "").context(log.display())?;
        let command = Box::new(move || again(&command));
        let mut bench = Bench::new(Program { command, log, limit: COMMAND_LIMIT }, server)?;
        bench.start()?;
        Ok(bench)
    });
    signals::check()?;
    match built {
        Ok(mut bench) => run_all(&mut bench, name, cases),
        Err(failure) => Ok(Column {
            adapter: name,
            outcomes: cases.iter().map(|_| Outcome::NotRun).collect(),
            trouble: Some(failure.to_string()),
        }),
    }
}

/// A copy of a command, to run it again.
fn again(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copy
}

fn run_all(bench: &mut Bench, name: &'static str, cases: &[Case]) -> Result<Column> {
    let mut outcomes = Vec::new();
    let mut failures_in_a_row = 0;
    for case in cases {
        if let Some(text) = &case.waits_for {
            outcomes.push(Outcome::Waits(text.clone()));
            continue;
        }
        if failures_in_a_row == MAX_FAILURES_IN_A_ROW {
            outcomes.push(Outcome::NotRun);
            continue;
        }
        console::status(&format!(
            "  {name:<8} {} of {}: {}",
            outcomes.len() + 1,
            cases.len(),
            case.id
        ));
        let result = bench.run(case);
        signals::check()?;
        failures_in_a_row = if result.is_err() { failures_in_a_row + 1 } else { 0 };
        outcomes.push(match result {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(format!("{}\n  {failure}", case.name)),
        });
    }
    let ending = bench.finish();
    signals::check()?;
    let trouble = ending.err().map(|failure| format!("after the last case: {failure}"));
    let column = Column { adapter: name, outcomes, trouble };
    console::line(&format!("  {name:<8} {}", column.summary()));
    Ok(column)
}

#[cfg(test)]
#[cfg(unix)] // its adapters are lines of shell
mod tests;
