//! Who takes part: how each is built and started, and what it writes how often.

use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};

use super::messages::Kind;
use crate::artefacts;
use crate::stage::{self, Linkage};
use crate::stamp::Stamp;
use crate::step::step;
use crate::toolchain::{self, Languages};
use crate::tree::Tree;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    Ceiling,
    Rust,
    C,
    Node,
    NpmClient,
    Python,
    UpstreamPython,
}

impl Id {
    /// In the order of the table: each beside what it is compared with.
    pub(crate) const ALL: [Self; 7] = [
        Self::Ceiling,
        Self::Rust,
        Self::C,
        Self::Node,
        Self::NpmClient,
        Self::Python,
        Self::UpstreamPython,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Id::Ceiling => "ceiling",
            Id::Rust => "rust",
            Id::C => "c",
            Id::Node => "node",
            Id::NpmClient => "npm-client",
            Id::Python => "python",
            Id::UpstreamPython => "upstream-python",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Id::Ceiling => "the ceiling",
            Id::Rust => "durstream, Rust",
            Id::C => "durstream, C",
            Id::Node => "durstream, Node",
            Id::NpmClient => "@durable-streams/client",
            Id::Python => "durstream, Python",
            Id::UpstreamPython => "upstream's Python",
        }
    }

    /// What its users would otherwise pick.
    pub(crate) fn alternative(self) -> Option<Self> {
        match self {
            Id::Node => Some(Id::NpmClient),
            Id::Python => Some(Id::UpstreamPython),
            _ => None,
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Id::Rust | Id::C | Id::Node | Id::Python)
    }

    /// Options other than the defaults. A plain sender keeps no distance: close to the server, half
    /// of what it sends over more than two connections comes too early, and goes twice.
    pub(super) fn options(self, round_trip_ms: u64) -> Vec<String> {
        match (self, round_trip_ms) {
            (Id::Ceiling, 0) => vec!["max_in_flight=2".to_owned()],
            _ => Vec::new(),
        }
    }

    /// How many messages of a kind one run writes: about a second's worth. None where the
    /// language has nothing of that kind of its own.
    pub(crate) fn events(self, kind: Kind) -> Option<usize> {
        match (self, kind) {
            (Id::Rust | Id::C, Kind::Objects) => None,
            (Id::Ceiling | Id::Rust | Id::C, _) => Some(2_000_000),
            (Id::Node | Id::Python, Kind::Objects) => Some(300_000),
            (Id::Node | Id::Python, _) => Some(600_000),
            (Id::NpmClient, Kind::Objects) => Some(200_000),
            (Id::NpmClient, _) => Some(300_000),
            (Id::UpstreamPython, _) => Some(200_000),
        }
    }
}

/// The toolchains that building these takes.
pub(crate) fn languages(ids: &[Id]) -> Languages {
    let any = |of: &[Id]| of.iter().any(|id| ids.contains(id));
    Languages {
        c: ids.contains(&Id::C),
        python: any(&[Id::Python, Id::UpstreamPython]),
        node: any(&[Id::Node, Id::NpmClient]),
    }
}

/// A contestant that is built: the start of its command.
pub(crate) struct Contestant {
    pub(crate) id: Id,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Contestant {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        command
    }

    fn new(id: Id, program: PathBuf, arguments: Vec<String>) -> Self {
        Self { id, program, arguments, variables: Vec::new() }
    }
}

/// The programs in Rust: two contestants and the long line.
pub(crate) fn rust_programs(tree: &Tree) -> Result {
    step(tree, "Rust programs", |step| artefacts::cargo_build(tree, step))
}

pub(crate) fn rust_program(tree: &Tree, name: &str) -> PathBuf {
    tree.release(&format!("bench-{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Builds a contestant with everything it needs; the Rust programs are there.
pub(crate) fn build(tree: &Tree, id: Id, upstream: Option<&Path>) -> Result<Contestant> {
    let folder = tree.root.join("tests/bench");
    let node = |client: &str| {
        let script = folder.join("node/client.mjs").display().to_string();
        Contestant::new(id, "node".into(), vec![script, format!("client={client}")])
    };
    let python = |interpreter: PathBuf, script: &str| {
        let script = folder.join("python").join(script).display().to_string();
        Contestant::new(id, interpreter, vec![script])
    };
    match id {
        Id::Ceiling | Id::Rust => {
            Ok(Contestant::new(id, rust_program(tree, id.name()), Vec::new()))
        }
        Id::C => Ok(Contestant::new(id, c_program(tree, &folder)?, Vec::new())),
        Id::Node => {
            artefacts::node_package(tree)?;
            Ok(node("durstream"))
        }
        Id::NpmClient => {
            // The version that the comparison names.
            let comparison = tree.root.join("tests/comparison");
            artefacts::npm_packages(tree, "comparison packages", &comparison)?;
            Ok(node("official"))
        }
        Id::Python => {
            artefacts::python_wheel(tree)?;
            Ok(python(tree.venv_python(), "client.py"))
        }
        Id::UpstreamPython => {
            let sources = upstream_sources(upstream.ok_or("no checkout was given")?)?;
            let mut contestant = python(upstream_environment(tree)?, "upstream.py");
            contestant.variables.push(("PYTHONPATH", sources));
            Ok(contestant)
        }
    }
}

fn c_program(tree: &Tree, folder: &Path) -> Result<PathBuf> {
    artefacts::c_library(tree)?;
    let source = folder.join("c/client.c");
    let program = tree.directory("bench")?.join(format!("c{}", std::env::consts::EXE_SUFFIX));
    let inputs = [source.clone(), tree.stage().join("include"), stage::shared_library(tree)];
    let stamp = Stamp::new(tree.directory("stamps")?.join("bench-c"), &inputs, "")?;
    step(tree, "C program", |step| {
        step.unless_done(&stamp, &program, || {
            stage::compile(tree, step, &[&source], &program, Linkage::Shared)
        })
    })?;
    Ok(program)
}

/// Where the package is in a checkout: of the repository, or of the client alone.
fn upstream_sources(checkout: &Path) -> Result<PathBuf> {
    let checkout = std::path::absolute(checkout).context(checkout.display())?;
    let places = ["packages/client-py/src", "src", "."].map(|place| checkout.join(place));
    let found = places.into_iter().find(|place| place.join("durable_streams").is_dir());
    found.ok_or_else(|| format!("{}: no durable_streams package", checkout.display()).into())
}

/// A virtual environment with what upstream's client needs, apart from the one with our wheel.
fn upstream_environment(tree: &Tree) -> Result<PathBuf> {
    let environment = tree.directory("bench")?.join("upstream-venv");
    let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let python = environment.join(inside);
    let requirements = tree.root.join("tests/bench/python/upstream-requirements.txt");
    let inputs = std::slice::from_ref(&requirements);
    let stamp = Stamp::new(environment.join("installed"), inputs, "")?;
    step(tree, "upstream Python environment", |step| {
        step.unless_done(&stamp, &python, || {
            step.run(toolchain::python().args(["-m", "venv", "--clear"]).arg(&environment))?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r"]);
            step.run(pip.arg(&requirements))
        })
    })?;
    Ok(python)
}
