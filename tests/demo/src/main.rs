//! `demo`: the shipment service in five languages, side by side, each restarted half way and their
//! server killed once while all write, and then a count of what arrived. On a board, a page shows it.

mod board;
mod browser;
mod options;
mod pace;
mod report;
mod runner;
mod services;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use board::Board;
use browser::{Browser, Errand, FOLDER, chromium};
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::server::{Durability, Server};
use durstream_tests::signals;
use durstream_tests::table::grouped;
use durstream_tests::tree::Tree;
use options::Options;
use report::Outcome;
use runner::Plan;
use services::Service;

fn main() -> ExitCode {
    Harness { name: "demo", parse: options::parse, needs: |options| Ok(needs(options)), run: demo }
        .main()
}

fn demo(tree: &Tree, options: Options) -> Result<u8> {
    if let (Some(Errand::Test), Err(failure)) = (&options.errand, chromium()) {
        console::line(&format!("{failure}; the board is not tested"));
        return Ok(0);
    }
    let started = Instant::now();
    let services = services(tree, &options);
    let mut server = Server::start_as(tree, Durability::Disk)?;
    let folder = tree.fresh_directory("demo")?;
    let mut board = show(tree, &folder, &options, &server.url())?;
    announce(services.len(), &options, &server.url());
    signals::defer(board.is_some());
    let plan = Plan { shipments: options.shipments, outbox: options.outbox };
    let runs = runner::run(&folder, &services, &mut server, plan, board.as_mut());
    signals::defer(false);
    let runs = runs?;
    let looked = board.as_mut().map_or(Ok(()), Board::end);
    let outcomes: Vec<Outcome> = services
        .iter()
        .zip(runs)
        .map(|(service, run)| Outcome::new(service, run, options.shipments, server.address()))
        .collect();
    let clean = report::show(&outcomes);
    let seconds = started.elapsed().as_secs_f64();
    console::line(&format!("Took {seconds:.1} s to run and check."));
    looked?;
    if options.keep && !board.as_ref().is_some_and(|board| board.hurries) {
        hold(&mut server, &services)?;
    }
    Ok(if clean { 0 } else { 1 })
}

/// The board, where it was asked for, and who looks at it.
fn show(tree: &Tree, folder: &Path, options: &Options, server: &str) -> Result<Option<Board>> {
    let Some(seconds) = options.web else { return Ok(None) };
    let mut board = Board::start(tree, folder, server, options.shipments, seconds)?;
    console::line(&format!("The board: {}", board.url()));
    if let Some(errand) = &options.errand {
        board.watch(Browser::start(tree, folder, errand, &board.url(), server)?);
    }
    Ok(Some(board))
}

/// Everything the services and the board need; nothing for a test that no browser can make.
fn needs(options: &Options) -> Vec<Need> {
    if options.errand == Some(Errand::Test) && chromium().is_err() {
        return Vec::new();
    }
    let board = Need::NpmPackages { title: "board packages".into(), folder: FOLDER.into() };
    let board = options.web.map(|_| board);
    let of = |language: &&str| match *language {
        "rust" => vec![Need::RustPrograms("durstream-demo-service".into())],
        "c" => vec![Need::CProgram(c_program()), Need::CProgram(cpp_program())],
        "python" => vec![Need::PythonPackage],
        _ => vec![Need::NodePackage],
    };
    options.only.iter().flat_map(of).chain([Need::Server]).chain(board).collect()
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

fn announce(services: usize, options: &Options, url: &str) {
    let end = if options.outbox { "SIGKILL" } else { "restart" };
    let each = format!("{} shipments and one {end} each", grouped(options.shipments));
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
            let options = options::parse(&["--only".to_owned(), language.to_owned()]).unwrap();
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
}
