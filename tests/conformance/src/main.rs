//! `conformance`: the cases of `tests/conformance`, run with the adapter of each language against
//! the official server behind a proxy that makes faults.

mod adapter;
mod adapters;
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
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use adapter::Program;
use case::Case;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::harness::Harness;
use durstream_tests::needs::Need;
use durstream_tests::network::authority::Authority;
use durstream_tests::network::front::{self, ServerConfig};
use durstream_tests::server::Server;
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;
use report::{Column, Outcome};
use run::Bench;

/// An adapter that takes longer over one command hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// A broken adapter is not waited for case by case.
const MAX_FAILURES_IN_A_ROW: usize = 8;

#[derive(Debug, Default, PartialEq)]
struct Options {
    adapters: Vec<&'static str>,
    cases: Option<String>,
    /// Instead of the one adapter that is built for it.
    program: Option<PathBuf>,
    /// The adapters speak TLS, with the certificate of an authority that their environment names.
    tls: bool,
    /// Not every case is shown.
    brief: bool,
    /// Does nothing but be the one adapter.
    becomes: bool,
}

fn main() -> ExitCode {
    Harness { name: "conformance", parse, needs, run: conformance }.main()
}

fn needs(options: &Options) -> Result<Vec<Need>> {
    let adapters = options.adapters.iter().map(|name| adapters::need(name));
    let mut needs: Vec<Need> = adapters.collect();
    if !options.becomes {
        needs.push(Need::Server);
    }
    Ok(needs)
}

fn conformance(tree: &Tree, options: Options) -> Result<u8> {
    let command = |name: &str| match &options.program {
        Some(program) => Command::new(program),
        None => adapters::command(tree, name),
    };
    if options.becomes {
        return adapters::replace(command(options.adapters[0]));
    }
    let mut cases = load(tree)?;
    cases.retain(|case| options.cases.as_ref().is_none_or(|pattern| matches(pattern, &case.id)));
    if cases.is_empty() {
        return Err(format!("no case is called {}", options.cases.unwrap_or_default()).into());
    }
    let tls = options.tls.then(|| Tls::new(tree)).transpose()?;
    if tls.is_some() {
        // What such a fault does to a connection, it does behind the handshake.
        cases.retain(|case| !case.breaks_connections());
    }
    let server = Server::start(tree)?;
    let mut columns = Vec::new();
    for name in &options.adapters {
        let mut command = command(name);
        let config = tls.as_ref().map(|tls| tls.trusted_by(&mut command));
        columns.push(column(tree, (server.address(), config), name, command, &cases)?);
    }
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    if !options.brief {
        report::show_table(&ids, &columns);
    }
    Ok(if report::show(&ids, &columns) { 0 } else { 1 })
}

/// `[--adapter NAME]… [--case PATTERN] [--tls]`, and what `cargo xtask` itself asks for.
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("adapter") => options.adapters.push(adapters::known(&words.value()?.string()?)?),
            Long("case") => options.cases = Some(words.value()?.string()?),
            Long("tls") => options.tls = true,
            Long("brief") => options.brief = true,
            Long("program") => options.program = Some(words.value()?.into()),
            Long("become") => {
                options.becomes = true;
                options.adapters.push(adapters::known(&words.value()?.string()?)?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if (options.program.is_some() || options.becomes) && options.adapters.len() != 1 {
        return Err("one program is one adapter".into());
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

/// Runs every case with an adapter. Only Ctrl-C is an error here.
fn column(
    tree: &Tree,
    (server, tls): (SocketAddr, Option<ServerConfig>),
    name: &'static str,
    command: Command,
    cases: &[Case],
) -> Result<Column> {
    let start = move || -> Result<Bench> {
        let log = tree.directory("conformance")?.join(format!("{name}.err"));
        std::fs::write(&log, "").context(log.display())?;
        let command = Box::new(move || again(&command));
        let mut bench = Bench::new(Program { command, log, limit: COMMAND_LIMIT }, server, tls)?;
        bench.start()?;
        Ok(bench)
    };
    let started = start();
    signals::check()?;
    match started {
        Ok(mut bench) => run_all(&mut bench, name, cases),
        Err(failure) => Ok(Column {
            adapter: name,
            outcomes: cases.iter().map(|_| Outcome::NotRun).collect(),
            trouble: Some(failure.to_string()),
        }),
    }
}

/// A server's side of TLS, and the authority that adapters have to trust.
struct Tls {
    authority: PathBuf,
    config: ServerConfig,
}

impl Tls {
    fn new(tree: &Tree) -> Result<Self> {
        let authority = Authority::new("the conformance cases")?;
        let config = front::config(&authority.server(&["localhost", "127.0.0.1"])?, None)?;
        let file = tree.directory("conformance")?.join("ca.pem");
        std::fs::write(&file, authority.pem()).context(file.display())?;
        Ok(Tls { authority: file, config })
    }

    fn trusted_by(&self, command: &mut Command) -> ServerConfig {
        command.env("SSL_CERT_FILE", &self.authority).env("SSL_CERT_DIR", "");
        self.config.clone()
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
