//! The writers that are killed, one for each language, and how they are started.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stage::WRITER;
use durstream_tests::failure::{Context, Result};
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::numbered::Kind;
use durstream_tests::process::{self, Guarded};
use durstream_tests::signals;
use durstream_tests::tree::Tree;

const FOLDER: &str = "tests/faults/killed";
const RUST: &str = "durstream-faults-killed";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Language {
    Rust,
    C,
    Cpp,
    Python,
    Node,
}

impl Language {
    pub(crate) const ALL: [Self; 5] = [Self::Rust, Self::C, Self::Cpp, Self::Python, Self::Node];

    /// As people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Python => "Python",
            Self::Node => "Node",
        }
    }

    pub(crate) fn need(self) -> Need {
        match self {
            Self::Rust => Need::RustPrograms(WRITER.into()),
            Self::C | Self::Cpp => Need::CProgram(self.c_program()),
            Self::Python => Need::PythonPackage,
            Self::Node => Need::NodePackage,
        }
    }

    fn c_program(self) -> CProgram {
        let source = if self == Self::C { "c/writer.c" } else { "cpp/writer.cpp" };
        CProgram {
            title: format!("{} writer to kill", self.title()),
            source: format!("{FOLDER}/{source}"),
            program: format!("faults-killed/{}", source.replace(['/', '.'], "-")),
        }
    }

    fn command(self, tree: &Tree) -> Command {
        let script = |path: &str| tree.root.join(FOLDER).join(path);
        let (program, script) = match self {
            Self::Rust => (tree.release(&format!("{RUST}{}", std::env::consts::EXE_SUFFIX)), None),
            Self::C | Self::Cpp => (tree.target.join(self.c_program().path()), None),
            Self::Python => (tree.venv_python(), Some(script("python/writer.py"))),
            Self::Node => ("node".into(), Some(script("node/writer.mjs"))),
        };
        let mut command = Command::new(program);
        command.args(script);
        command
    }
}

/// Where a writer writes, in all of its lives.
pub(crate) struct Place<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) language: Language,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) stream_path: &'a str,
    pub(crate) outbox: PathBuf,
    /// The writer's name in what it writes.
    pub(crate) writer: &'a str,
    /// What it says on standard error.
    pub(crate) log: PathBuf,
}

/// What a writer said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// How many writes it found in its outbox, once it is open.
    pub(crate) opened: Option<u64>,
    /// The last write whose call returned.
    pub(crate) last: Option<usize>,
    /// How many of its writes may be there twice, as far as it knew.
    pub(crate) flagged: u64,
    /// `accepted` and `delivered` of its counters, at an end of its own.
    pub(crate) ended: Option<(u64, u64)>,
    /// What is none of this, or in no order.
    pub(crate) nonsense: Option<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        if self.understand(line).is_none() {
            self.nonsense.get_or_insert_with(|| line.to_owned());
        }
    }

    fn understand(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().ok();
        match words[..] {
            ["open", recovered] => self.opened = Some(number(recovered)?),
            ["flagged", count] => self.flagged = number(count)?,
            ["end", accepted, delivered, flagged] => {
                self.ended = Some((number(accepted)?, number(delivered)?));
                self.flagged = number(flagged)?;
            }
            [write] => {
                let write = write.parse().ok()?;
                self.last.is_none_or(|last| last < write).then_some(())?;
                self.last = Some(write);
            }
            _ => return None,
        }
        Some(())
    }
}

/// One life of a writer.
pub(crate) struct Life {
    process: Guarded,
    said: Arc<Mutex<Said>>,
    reader: JoinHandle<()>,
    log: PathBuf,
    pub(crate) started: Instant,
}

impl Life {
    /// Has it write from one number on up to another.
    pub(crate) fn start(place: &Place<'_>, first: usize, end: usize) -> Result<Self> {
        let log = File::create(&place.log).context(place.log.display())?;
        let mut command = place.language.command(place.tree);
        command.args([place.kind.name(), place.stream_path]).arg(&place.outbox);
        command.args([place.writer, &first.to_string(), &end.to_string()]);
        command.env("DURABLE_STREAMS_URL", &place.url);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        signals::own_group(signals::die_with_us(&mut command));
        let started = Instant::now();
        let mut process = Guarded::spawn(&mut command)?;
        let output = process.output().ok_or("the writer has no output")?;
        let said = Arc::<Mutex<Said>>::default();
        let heard = said.clone();
        let reader = process::follow(output, move |line| lock(&heard).hear(line))?;
        Ok(Self { process, said, reader, log: place.log.clone(), started })
    }

    /// What it said so far; an error where it has ended.
    pub(crate) fn look(&mut self) -> Result<Said> {
        signals::check()?;
        if let Some(status) = self.process.poll()? {
            return Err(self.failure(&format!("ended by itself: {status}")));
        }
        Ok(lock(&self.said).clone())
    }

    /// Kills it; all that it had said.
    pub(crate) fn kill(mut self) -> Result<Said> {
        if let Some(status) = self.process.poll()? {
            return Err(self.failure(&format!("ended by itself: {status}")));
        }
        self.process.kill();
        Ok(self.all_said())
    }

    /// Waits for an end of its own.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Said> {
        match self.process.wait(Some(limit), || ()) {
            Ok(status) if status.success() => Ok(self.all_said()),
            Ok(status) => Err(self.failure(&format!("ended: {status}"))),
            Err(failure) => Err(self.failure(&failure.to_string())),
        }
    }

    /// The pipe has what was written into it, whatever became of the writer.
    fn all_said(self) -> Said {
        let _ = self.reader.join();
        lock(&self.said).clone()
    }

    fn failure(&self, what: &str) -> durstream_tests::failure::Failure {
        format!("a writer {what}\n{}", process::tail(&self.log)).into()
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().expect("nobody panics with it")
}

/// Whether every program of a language is there.
#[cfg(test)]
fn has_its_source(language: Language, root: &std::path::Path) -> bool {
    match language {
        Language::Rust => {
            root.join("tests/faults/writer/src/bin").join(format!("{RUST}.rs")).exists()
        }
        Language::C | Language::Cpp => root.join(language.c_program().source).exists(),
        Language::Python => root.join(FOLDER).join("python/writer.py").exists(),
        Language::Node => root.join(FOLDER).join("node/writer.mjs").exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_writer_says_is_understood() {
        let mut said = Said::default();
        ["open 3", "0", "1", "9", "flagged 2"].iter().for_each(|line| said.hear(line));
        let mut expected = Said { opened: Some(3), last: Some(9), flagged: 2, ..Said::default() };
        assert_eq!(said, expected);
        said.hear("end 10 9 4");
        (expected.ended, expected.flagged) = (Some((10, 9)), 4);
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_nonsense_or_out_of_order_is_noted() {
        for wrong in ["", "open", "open x", "end 1 2", "hello", "5", "4"] {
            let mut said = Said::default();
            said.hear("5");
            said.hear(wrong);
            assert_eq!(said.nonsense.as_deref(), Some(wrong));
        }
    }

    #[test]
    fn every_language_has_its_program() {
        let tree = Tree::find().unwrap();
        for language in Language::ALL {
            assert!(has_its_source(language, &tree.root), "{}", language.title());
        }
    }
}
