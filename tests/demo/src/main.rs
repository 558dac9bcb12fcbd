//! `demo`: the shipment service in five languages, side by side, each restarted half way and their
//! server killed once while all write, and then a count of what arrived.

mod report;
mod runner;
mod services;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::server::{Durability, Server};
use durstream_tests::signals;
use durstream_tests::table::grouped;
use durstream_tests::tree::Tree;
use lexopt::prelude::*;
use report::Outcome;
use services::Service;

const DEFAULT_SHIPMENTS: usize = 2000;
/// What may be asked for alone; C comes with C++.
const LANGUAGES: [&str; 4] = ["rust", "c", "python", "node"];

struct Options {
    /// Of [`LANGUAGES`].
    only: Vec<&'static str>,
    keep: bool,
    shipments: usize,
}

fn main() -> ExitCode {
    Harness { name: "demo", parse, needs: |options| Ok(needs(options)), run: demo }.main()
}

fn demo(tree: &Tree, options: Options) -> Result<u8> {
    let started = Instant::now();
    let services = services(tree, &options);
    let mut server = Server::start_as(tree, Durability::Disk)?;
    announce(services.len(), options.shipments, &server.url());
    let runs = runner::run(tree, &services, &mut server, options.shipments)?;
    let outcomes: Vec<Outcome> = services
        .iter()
        .zip(runs)
        .map(|(service, run)| Outcome::new(service, run, options.shipments, server.address()))
        .collect();
    let clean = report::show(&outcomes);
    let seconds = started.elapsed().as_secs_f64();
    console::line(&format!("Took {seconds:.1} s to run and check."));
    if options.keep {
        hold(&mut server, &services)?;
    }
    Ok(if clean { 0 } else { 1 })
}

/// `[--only LANGUAGE]… [--keep] [--shipments N]`
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { only: Vec::new(), keep: false, shipments: DEFAULT_SHIPMENTS };
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("only") => options.only.push(language(&words.value()?.string()?)?),
            Long("keep") => options.keep = true,
            Long("shipments") => options.shipments = words.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if options.shipments == 0 {
        return Err("--shipments: at least 1".into());
    }
    if options.only.is_empty() {
        options.only = LANGUAGES.into();
    }
    Ok(options)
}

fn language(name: &str) -> Result<&'static str> {
    let known = LANGUAGES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("no language {name:?}: there are {}", LANGUAGES.join(", ")).into())
}

/// Everything the services need.
fn needs(options: &Options) -> Vec<Need> {
    let of = |language: &&str| match *language {
        "rust" => vec![Need::RustPrograms("durstream-demo-service".into())],
        "c" => vec![Need::CProgram(c_program()), Need::CProgram(cpp_program())],
        "python" => vec![Need::PythonPackage],
        _ => vec![Need::NodePackage],
    };
    options.only.iter().flat_map(of).chain([Need::Server]).collect()
}

fn c_program() -> CProgram {
    CProgram::example("C", "shipments.c")
}

fn cpp_program() -> CProgram {
    CProgram::example("C++", "shipments.cpp")
}

/// The services of the languages that were asked for, in the order of the table.
fn services(tree: &Tree, options: &Options) -> Vec<Service> {
    let rust = tree.release(&format!("shipments{}", std::env::consts::EXE_SUFFIX));
    let (c, cpp) = (tree.target.join(c_program().path()), tree.target.join(cpp_program().path()));
    let script = |path: &str| Some(tree.root.join(path));
    let python = script("bindings-python/examples/shipments.py");
    let node = script("bindings-node/examples/shipments.mjs");
    let all = [
        ("rust", Service::new("Rust", "rust", rust, None)),
        ("c", Service::new("C", "c", c, None)),
        ("c", Service::new("C++", "cpp", cpp, None)),
        ("python", Service::new("Python", "python", tree.venv_python(), python)),
        ("node", Service::new("Node", "node", "node".into(), node)),
    ];
    let is_wanted = |language: &&str| options.only.contains(language);
    all.into_iter().filter(|(of, _)| is_wanted(of)).map(|(_, service)| service).collect()
}

fn announce(services: usize, shipments: usize, url: &str) {
    let each = format!("{} shipments and one restart each", grouped(shipments));
    console::line(&format!("Running {services} services with {each}, on {url}"));
}

/// Keeps the server until Ctrl-C.
fn hold(server: &mut Server, services: &[Service]) -> Result {
    let url = server.url();
    console::line(&format!("\nThe server stays up at {url} until Ctrl-C. To follow a stream:"));
    for service in services {
        let path = service.stream_path();
        console::line(&format!("  curl -N \"{url}/v1/stream{path}?offset=-1&live=sse\""));
    }
    while !signals::interrupted() {
        if !server.is_running() {
            return Err("the server ended".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    console::line("Stopping the server.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_language_alone_needs_nothing_of_the_others() {
        let tree = Tree { root: "/r".into(), target: "/t".into() };
        for (language, titles) in
            [("rust", "Rust"), ("c", "C C++"), ("python", "Python"), ("node", "Node")]
        {
            let options = parse(&["--only".to_owned(), language.to_owned()]).unwrap();
            let found: Vec<&str> =
                services(&tree, &options).iter().map(|service| service.title).collect();
            assert_eq!(found.join(" "), titles);
            let needs = needs(&options);
            assert_eq!(needs.contains(&Need::NodePackage), language == "node");
            assert_eq!(needs.contains(&Need::PythonPackage), language == "python");
            assert_eq!(
                needs.iter().any(|need| matches!(need, Need::RustPrograms(_))),
                language == "rust"
            );
        }
    }

    #[test]
    fn options_are_read_and_checked() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--shipments 20 --keep")).unwrap();
        assert!(options.keep && options.shipments == 20);
        let usual = parse(&[]).unwrap();
        assert_eq!((usual.shipments, usual.only), (DEFAULT_SHIPMENTS, LANGUAGES.to_vec()));
        for wrong in ["--shipments", "--shipments many", "--shipments 0", "--fast", "--only go"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }
}
