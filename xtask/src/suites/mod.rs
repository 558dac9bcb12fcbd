//! `test`: every suite of every language, each beside its own fresh server.

mod c;
mod c_packages;
mod ends;
mod fuzz;
mod readme;
mod sanitizers;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::artefacts;
use crate::harness;
use crate::simulate;
use crate::toolchain::{self, Languages};
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::runner::{Runner, Suite};
use durstream_tests::secrets;
use durstream_tests::server::{OFFICIAL, Server};
use durstream_tests::signals;
use durstream_tests::tree::Tree;
use durstream_tests::writing;

type Body = fn(&mut Suite<'_>);

/// For a program that takes a second.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);

const SUITES: [(&str, Body); 12] = [
    ("rust", rust),
    ("c", c::suite),
    ("python", python),
    ("node", node),
    ("conformance", conformance),
    ("faults", faults),
    ("interop", interop),
    ("ends", ends::suite),
    ("board", board),
    ("comparison", comparison),
    ("readme", readme::suite),
    ("packages", packages),
];

/// What takes a toolchain or time that not everybody has: it runs when it is named.
const NAMED_SUITES: [(&str, Body); 4] = [
    ("sanitizers", sanitizers::suite),
    ("fuzz", fuzz::suite),
    ("cluster", cluster),
    ("soak", soak),
];

/// `test [SUITE…]`
pub(crate) fn test(tree: &Tree, arguments: &[String]) -> Result<u8> {
    let chosen = choose(arguments)?;
    let started = Instant::now();
    let any_of = |names: &[&str]| chosen.iter().any(|(chosen, _)| names.contains(chosen));
    console::line("Toolchains");
    toolchain::check(Languages {
        c: any_of(&[
            "c",
            "conformance",
            "faults",
            "interop",
            "ends",
            "board",
            "readme",
            "packages",
            "sanitizers",
            "fuzz",
            "soak",
        ]),
        python: any_of(&[
            "python",
            "conformance",
            "faults",
            "interop",
            "ends",
            "board",
            "readme",
            "packages",
            "soak",
        ]),
        node: any_of(&[
            "node",
            "conformance",
            "faults",
            "interop",
            "ends",
            "board",
            "comparison",
            "readme",
            "packages",
            "soak",
        ]),
    })?;
    OFFICIAL.install(tree, "server")?;
    let mut runner = Runner::default();
    for (name, body) in chosen {
        console::line(&format!("\n== {name}"));
        let began = SystemTime::now();
        let server = Server::start(tree);
        let url = server.as_ref().map(Server::url).unwrap_or_default();
        let mut suite = Suite::new(&mut runner, tree, name, url);
        match &server {
            Ok(_) => {
                body(&mut suite);
                suite.step("secrets in files", |tree| secrets::none_in_files(&tree.target, began));
            }
            Err(failure) => drop(suite.step("server", |_| Err(failure.to_string().into()))),
        }
        signals::check()?;
    }
    Ok(if runner.report(started.elapsed()) { 0 } else { 1 })
}

fn choose(arguments: &[String]) -> Result<Vec<(&'static str, Body)>> {
    let all: Vec<(&'static str, Body)> = SUITES.into_iter().chain(NAMED_SUITES).collect();
    if let Some(other) = arguments.iter().find(|given| all.iter().all(|(name, _)| name != given)) {
        let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        return Err(format!("no suite {other:?}: there are {}", known.join(", ")).into());
    }
    if arguments.is_empty() {
        return Ok(SUITES.to_vec());
    }
    Ok(all.into_iter().filter(|(name, _)| arguments.iter().any(|given| given == name)).collect())
}

fn rust(suite: &mut Suite<'_>) {
    let root = suite.tree.root.clone();
    let cargo = |arguments: &[&str]| toolchain::cargo(&root, arguments);
    suite.run("format", cargo(&["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    suite.run("clippy", cargo(&clippy));
    // Of what is private too: a link that only private pages can follow is an error all the same.
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    suite.run("docs", docs);
    suite.step("C library", artefacts::c_library);
    suite.run("cargo test", artefacts::cargo_test(suite.tree, &["--no-fail-fast"]));
    let example = Command::new(
        suite.tree.debug(&format!("examples/writing{}", std::env::consts::EXE_SUFFIX)),
    );
    writing::run(suite, "writing.rs", example, EXAMPLE_LIMIT);
    suite.step("simulate", |tree| simulate::simulate(tree, &[]).map(drop));
}

fn python(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("bindings-python/tests") else { return };
    suite.step("fault proxy", artefacts::fault_proxy);
    if !suite.step("wheel", artefacts::python_wheel) {
        suite.blocked("pytest");
        suite.blocked("mypy");
        return;
    }
    let python = |arguments: &[&str]| {
        let mut command = Command::new(suite.tree.venv_python());
        command.arg("-m").args(arguments);
        command
    };
    let mut pytest = python(&["pytest", "-p", "no:cacheprovider"]);
    pytest.current_dir(&suite.tree.root).arg(&folder);
    let mut mypy = python(&["mypy", "--strict", "--cache-dir"]);
    // From here it finds its configuration.
    mypy.current_dir(suite.tree.root.join("bindings-python"));
    mypy.arg(suite.tree.target.join("mypy-cache")).args(["python", "examples"]);
    suite.run("pytest", pytest);
    suite.run("mypy", mypy);
}

fn node(suite: &mut Suite<'_>) {
    let Some(file) = suite.folder("bindings-node/package.json") else { return };
    suite.step("fault proxy", artefacts::fault_proxy);
    if !suite.step("package", artefacts::node_package) {
        return suite.blocked("npm test");
    }
    let Some(folder) = suite.folder("bindings-node/tests/tools") else { return };
    if !suite.step("tools", |tree| artefacts::npm_packages(tree, "Node tools", &folder)) {
        return suite.blocked("npm test");
    }
    suite.run("npm test", npm(&["test"], file.parent().map(PathBuf::from)));
}

/// Each adapter is a step.
fn conformance(suite: &mut Suite<'_>) {
    for name in ["rust", "c", "python", "node"] {
        suite.step(&format!("adapter {name}"), |tree| {
            harness::passes(tree, "conformance", &["--adapter", name, "--brief"])
        });
    }
    suite.step("all, over TLS", |tree| harness::passes(tree, "conformance", &["--tls", "--brief"]));
}

fn faults(suite: &mut Suite<'_>) {
    suite.step("all rows", |tree| harness::passes(tree, "faults", &[]));
}

fn cluster(suite: &mut Suite<'_>) {
    suite.step("all rows", |tree| harness::passes(tree, "faults", &["--cluster"]));
}

fn soak(suite: &mut Suite<'_>) {
    suite.step("a minute", |tree| harness::passes(tree, "soak", &["--minutes", "1"]));
}

fn interop(suite: &mut Suite<'_>) {
    suite.step("readers", |tree| harness::passes(tree, "interop", &[]));
}

/// The demo's page in a browser, where there is one, and the demo whose services are killed.
fn board(suite: &mut Suite<'_>) {
    let killed = ["--outbox", "--shipments", "400"];
    suite.step("services killed", |tree| harness::passes(tree, "demo", &killed));
    suite.step("browser", |tree| harness::passes(tree, "demo", &["--web", "--check"]));
}

/// What the other suites built, packed as a release is and installed elsewhere.
fn packages(suite: &mut Suite<'_>) {
    suite.step("installed", |tree| harness::passes(tree, "package", &["--as-built"]));
}

fn comparison(suite: &mut Suite<'_>) {
    let Some(folder) = suite.folder("tests/comparison") else { return };
    let packages = suite
        .step("packages", |tree| artefacts::npm_packages(tree, "comparison packages", &folder));
    // The official client's half needs no build of ours, and says something without it.
    suite.step("package", artefacts::node_package);
    if !packages {
        return suite.blocked("comparison");
    }
    suite.run("comparison", npm(&["test"], Some(folder)));
}

fn npm(arguments: &[&str], folder: Option<PathBuf>) -> Command {
    let mut command = toolchain::npm();
    command.args(arguments).current_dir(folder.unwrap_or_default());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_chosen_by_name_and_the_usual_ones_without_one() {
        let names = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|name| (*name).to_owned()).collect();
            let chosen = choose(&arguments).map_err(|failure| failure.to_string())?;
            Ok(chosen.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        let all = [
            "rust",
            "c",
            "python",
            "node",
            "conformance",
            "faults",
            "interop",
            "ends",
            "board",
            "comparison",
            "readme",
            "packages",
        ];
        assert_eq!(names(&[]), Ok(all.to_vec()));
        assert_eq!(names(&["node", "c"]), Ok(vec!["c", "node"]));
        assert_eq!(names(&["sanitizers", "c"]), Ok(vec!["c", "sanitizers"]));
        let unknown = format!(
            "no suite \"go\": there are {}, sanitizers, fuzz, cluster, soak",
            all.join(", ")
        );
        assert_eq!(names(&["go"]), Err::<Vec<&str>, _>(unknown));
    }
}
