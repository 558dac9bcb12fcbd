//! The four services: what they are made of, how they are started, what they say.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::Duration;

use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::numbered::Kind;
use durstream_tests::process::Guarded;
use durstream_tests::signals;
use durstream_tests::tree::Tree;

const FOLDER: &str = "tests/soak/services";
const RUST: &str = "durstream-soak-service";
/// Node has its heap grow for an hour by itself, whatever is in it: the young part of it is small from
/// the start, and the service has it collected.
const NODE_HEAP: [&str; 2] = ["--max-semi-space-size=1", "--expose-gc"];

pub(crate) struct Service {
    /// As people call the language.
    pub(crate) title: &'static str,
    /// What its streams begin with.
    pub(crate) name: &'static str,
    words: Vec<PathBuf>,
}

/// What a service says of a stream that it is done with.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    pub(crate) writer: String,
    pub(crate) written: usize,
    pub(crate) delivered: usize,
    pub(crate) uncertain: usize,
    pub(crate) retries: usize,
    pub(crate) sessions: usize,
}

impl Told {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[kind, writer, ref counts @ ..] = words.as_slice() else {
            return Err(format!("a service said {line:?}").into());
        };
        let counts = counts.iter().map(|word| word.parse()).collect::<std::result::Result<_, _>>();
        let counts: Vec<usize> = counts.context(format!("a service said {line:?}"))?;
        let &[written, delivered, uncertain, retries, sessions] = counts.as_slice() else {
            return Err(format!("a service said {line:?}").into());
        };
        let (kind, writer) = (Kind::from_name(kind)?, writer.to_owned());
        Ok(Self { kind, writer, written, delivered, uncertain, retries, sessions })
    }

    pub(crate) fn stream_path(&self) -> String {
        format!("/soak/{}", self.writer)
    }
}

fn c_program() -> CProgram {
    CProgram {
        title: "C soak service".into(),
        source: format!("{FOLDER}/c/service.c"),
        program: "soak-service-c".into(),
    }
}

pub(crate) fn needs() -> [Need; 4] {
    [
        Need::RustPrograms(RUST.into()),
        Need::CProgram(c_program()),
        Need::PythonPackage,
        Need::NodePackage,
    ]
}

pub(crate) fn all(tree: &Tree) -> [Service; 4] {
    let rust = tree.release(&format!("{RUST}{}", std::env::consts::EXE_SUFFIX));
    let script = |path: &str| tree.root.join(FOLDER).join(path);
    let node: Vec<PathBuf> = std::iter::once("node").chain(NODE_HEAP).map(PathBuf::from).collect();
    let node = [node, vec![script("node/service.mjs")]].concat();
    let service = |title, name, words| Service { title, name, words };
    [
        service("Rust", "rust", vec![rust]),
        service("C", "c", vec![tree.target.join(c_program().path())]),
        service("Python", "python", vec![tree.venv_python(), script("python/service.py")]),
        service("Node", "node", node),
    ]
}

/// Where a service is started.
pub(crate) struct Surroundings<'a> {
    pub(crate) url: &'a str,
    pub(crate) token_file: &'a Path,
    pub(crate) lasts: Duration,
    pub(crate) folder: &'a Path,
}

impl Service {
    /// Starts it; what it says of its streams is sent on, with a number.
    pub(crate) fn start(
        &self,
        number: usize,
        around: &Surroundings<'_>,
        told: Sender<(usize, String)>,
    ) -> Result<Guarded> {
        let log = self.log(around.folder);
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(&log).context(log.display())?);
        command.env("DURABLE_STREAMS_URL", around.url);
        command.env("SOAK_NAME", self.name);
        command.env("SOAK_TOKEN", around.token_file);
        command.env("SOAK_SECONDS", around.lasts.as_secs().to_string());
        let mut process = Guarded::spawn(signals::die_with_us(&mut command))?;
        let output = BufReader::new(process.output().ok_or("no pipe")?);
        let hand_on = move || {
            for line in output.lines().map_while(std::result::Result::ok) {
                if told.send((number, line)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("hear {}", self.name));
        thread.spawn(hand_on).context("hearing a service")?;
        Ok(process)
    }

    /// Where its standard error goes.
    pub(crate) fn log(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_understood() {
        let told = Told::parse("state rust0x1 10 9 1 2 3").unwrap();
        let (kind, writer) = (Kind::State, "rust0x1".to_owned());
        let expected =
            Told { kind, writer, written: 10, delivered: 9, uncertain: 1, retries: 2, sessions: 3 };
        assert_eq!(told, expected);
        assert_eq!(told.stream_path(), "/soak/rust0x1");
        for wrong in
            ["", "state a 1 2 3 4", "state a 1 2 3 4 5 6", "jsom a 1 2 3 4 5", "json a 1 2 3 4 x"]
        {
            assert!(Told::parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn every_language_has_its_program() {
        let tree = Tree::find().unwrap();
        assert!(tree.root.join(c_program().source).exists());
        for service in all(&tree) {
            let script = service.words.last().filter(|_| service.words.len() > 1);
            assert!(script.is_none_or(|script| script.exists()), "{}", service.name);
        }
    }
}
