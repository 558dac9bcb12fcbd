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

struct Options {
    keep: bool,
    shipments: usize,
}

fn main() -> ExitCode {
    Harness { name: "demo", parse, needs: |_| Ok(needs()), run: demo }.main()
}

fn demo(tree: &Tree, options: Options) -> Result<u8> {
    let started = Instant::now();
    let services = services(tree);
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

/// `[--keep] [--shipments N]`
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { keep: false, shipments: DEFAULT_SHIPMENTS };
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("keep") => options.keep = true,
            Long("shipments") => options.shipments = words.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if options.shipments == 0 {
        return Err("--shipments: at least 1".into());
    }
    Ok(options)
}

/// Everything the five services need.
fn needs() -> Vec<Need> {
    vec![
        Need::RustPrograms,
        Need::CProgram(c_program()),
        Need::CProgram(cpp_program()),
        Need::PythonPackage,
        Need::NodePackage,
        Need::Server,
    ]
}

fn c_program() -> CProgram {
    CProgram::example("C", "shipments.c")
}

fn cpp_program() -> CProgram {
    CProgram::example("C++", "shipments.cpp")
}

fn services(tree: &Tree) -> Vec<Service> {
    let rust = tree.release(&format!("shipments{}", std::env::consts::EXE_SUFFIX));
    let (c, cpp) = (tree.target.join(c_program().path()), tree.target.join(cpp_program().path()));
    let script = |path: &str| Some(tree.root.join(path));
    let python = script("bindings-python/examples/shipments.py");
    let node = script("bindings-node/examples/shipments.mjs");
    vec![
        Service::new("Rust", "rust", rust, None),
        Service::new("C", "c", c, None),
        Service::new("C++", "cpp", cpp, None),
        Service::new("Python", "python", tree.venv_python(), python),
        Service::new("Node", "node", "node".into(), node),
    ]
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
    fn options_are_read_and_checked() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&words("--shipments 20 --keep")).unwrap();
        assert!(options.keep && options.shipments == 20);
        assert_eq!(parse(&[]).unwrap().shipments, DEFAULT_SHIPMENTS);
        for wrong in ["--shipments", "--shipments many", "--shipments 0", "--fast"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
        }
    }
}
