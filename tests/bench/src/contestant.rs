//! Who takes part: what each needs, how it is started, and what it writes how often.

use std::path::{Path, PathBuf};
use std::process::Command;

use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::{CProgram, Need};

use super::messages::Kind;
use durstream_tests::tree::Tree;

/// With what upstream's client needs, below the target directory.
const UPSTREAM_ENVIRONMENT: &str = "bench/upstream-venv";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    Ceiling,
    Rust,
    C,
    Node,
    NpmClient,
    Python,
    UpstreamPython,
    UpstreamRust,
    UpstreamGo,
    Librdkafka,
    /// A POST by the HTTP client that ours uses.
    Bare,
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

    /// In the order of the whole report.
    pub(crate) const WHOLE: [Self; 10] = [
        Self::Ceiling,
        Self::Rust,
        Self::C,
        Self::Node,
        Self::Python,
        Self::UpstreamRust,
        Self::UpstreamGo,
        Self::NpmClient,
        Self::UpstreamPython,
        Self::Librdkafka,
    ];
    pub(crate) const OURS: [Self; 4] = [Self::Rust, Self::C, Self::Node, Self::Python];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::WHOLE.into_iter().chain([Self::Bare]).find(|id| id.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Id::Ceiling => "ceiling",
            Id::Rust => "rust",
            Id::C => "c",
            Id::Node => "node",
            Id::NpmClient => "npm-client",
            Id::Python => "python",
            Id::UpstreamPython => "upstream-python",
            Id::UpstreamRust => "upstream-rust",
            Id::UpstreamGo => "upstream-go",
            Id::Librdkafka => "librdkafka",
            Id::Bare => "bare",
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
            Id::UpstreamRust => "upstream's Rust",
            Id::UpstreamGo => "upstream's Go",
            Id::Librdkafka => "librdkafka, mock broker",
            Id::Bare => "a bare POST by reqwest",
        }
    }

    /// What its users would otherwise pick.
    pub(crate) fn alternative(self) -> Option<Self> {
        match self {
            Id::Node => Some(Id::NpmClient),
            Id::Python => Some(Id::UpstreamPython),
            Id::Rust => Some(Id::UpstreamRust),
            _ => None,
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        Self::OURS.contains(&self)
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
            (Id::UpstreamRust | Id::UpstreamGo, Kind::Objects) => None,
            (Id::UpstreamRust | Id::UpstreamGo, _) => Some(300_000),
            (Id::Librdkafka, Kind::Bytes) => Some(600_000),
            (Id::Librdkafka | Id::Bare, _) => None,
        }
    }

    /// Whether what it wrote can be read back from our server.
    pub(crate) fn is_read_back(self) -> bool {
        self != Id::Librdkafka
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

    pub(crate) fn new(id: Id, program: PathBuf, arguments: Vec<String>) -> Self {
        Self { id, program, arguments, variables: Vec::new() }
    }
}

pub(crate) fn rust_program(tree: &Tree, name: &str) -> PathBuf {
    tree.release(&format!("bench-{name}{}", std::env::consts::EXE_SUFFIX))
}

/// What must be built for a contestant, beside the programs in Rust.
pub(crate) fn need(id: Id) -> Option<Need> {
    match id {
        Id::Ceiling | Id::Rust | Id::Bare => None,
        // The report makes these itself: one that is missing costs a row.
        Id::UpstreamRust | Id::UpstreamGo | Id::Librdkafka => None,
        Id::C => Some(Need::CProgram(c_program())),
        Id::Node => Some(Need::NodePackage),
        // The version that the comparison names.
        Id::NpmClient => Some(Need::NpmPackages {
            title: "comparison packages".into(),
            folder: "tests/comparison".into(),
        }),
        Id::Python => Some(Need::PythonPackage),
        Id::UpstreamPython => Some(Need::PythonEnvironment {
            title: "upstream Python environment".into(),
            folder: UPSTREAM_ENVIRONMENT.into(),
            requirements: "tests/bench/python/upstream-requirements.txt".into(),
        }),
    }
}

/// A contestant of which everything is built.
pub(crate) fn of(tree: &Tree, id: Id, upstream: Option<&Path>) -> Result<Contestant> {
    let folder = tree.root.join("tests/bench");
    let node = |client: &str| {
        let script = folder.join("node/client.mjs").display().to_string();
        Contestant::new(id, "node".into(), vec![script, format!("client={client}")])
    };
    let python = |interpreter: PathBuf, script: &str| {
        let script = folder.join("python").join(script).display().to_string();
        Contestant::new(id, interpreter, vec![script])
    };
    Ok(match id {
        Id::Ceiling | Id::Rust | Id::Bare => {
            Contestant::new(id, rust_program(tree, id.name()), Vec::new())
        }
        Id::UpstreamRust | Id::UpstreamGo | Id::Librdkafka => return Err("not built".into()),
        Id::C => Contestant::new(id, tree.target.join(c_program().path()), Vec::new()),
        Id::Node => node("durstream"),
        Id::NpmClient => node("official"),
        Id::Python => python(tree.venv_python(), "client.py"),
        Id::UpstreamPython => {
            let sources = upstream_sources(upstream.ok_or("no checkout was given")?)?;
            let environment = tree.target.join(UPSTREAM_ENVIRONMENT);
            let mut contestant = python(Tree::python_of(&environment), "upstream.py");
            contestant.variables.push(("PYTHONPATH", sources));
            contestant
        }
    })
}

fn c_program() -> CProgram {
    CProgram {
        title: "C program".into(),
        source: "tests/bench/c/client.c".into(),
        program: "bench/c".into(),
    }
}

/// Where the package is in a checkout: of the repository, or of the client alone.
fn upstream_sources(checkout: &Path) -> Result<PathBuf> {
    let places = ["packages/client-py/src", "src", "."];
    within(checkout, &places, "durable_streams").map_err(|_| no_client(checkout, "Python"))
}

/// The first of some places in a checkout that has a certain file or folder.
pub(crate) fn within(checkout: &Path, places: &[&str], holding: &str) -> Result<PathBuf> {
    let checkout = std::path::absolute(checkout).context(checkout.display())?;
    let mut places = places.iter().map(|place| checkout.join(place));
    let found = places.find(|place| place.join(holding).exists());
    found.ok_or_else(|| format!("{}: no {holding}", checkout.display()).into())
}

pub(crate) fn no_client(checkout: &Path, language: &str) -> durstream_tests::failure::Failure {
    format!("{} is no checkout of upstream's {language} client", checkout.display()).into()
}
