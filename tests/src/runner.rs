//! Runs the steps of suites, goes on after a failure, and keeps the score.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::console;
use crate::failure::{Context, Result};
use crate::process;
use crate::signals;
use crate::table;
use crate::tree::Tree;

/// The result of one step.
struct Entry {
    name: String,
    took: Duration,
    failure: Option<String>,
}

/// The score of all suites.
#[derive(Default)]
pub struct Runner {
    entries: Vec<Entry>,
}

impl Runner {
    /// Prints the table, once more what failed, and the counts; whether everything passed.
    pub fn report(&self, took: Duration) -> bool {
        let row = |entry: &Entry| {
            let result = if entry.failure.is_none() { "passed" } else { "FAILED" };
            vec![entry.name.clone(), result.to_owned(), format!("{:.1}", entry.took.as_secs_f64())]
        };
        let rows: Vec<Vec<String>> = self.entries.iter().map(row).collect();
        console::line(&format!("\n{}", table::render(&["suite", "result", "seconds"], &rows)));
        for entry in &self.entries {
            if let Some(failure) = &entry.failure {
                console::line(&format!("{}: {failure}\n", entry.name));
            }
        }
        console::line(&format!("Took {:.1} s.", took.as_secs_f64()));
        let (passed, failed) = self.counts();
        console::line(&format!("{passed} passed, {failed} failed"));
        failed == 0 && passed > 0
    }

    fn counts(&self) -> (usize, usize) {
        let passed = self.entries.iter().filter(|entry| entry.failure.is_none()).count();
        (passed, self.entries.len() - passed)
    }
}

/// One suite that runs beside its server.
pub struct Suite<'a> {
    runner: &'a mut Runner,
    /// Where everything is.
    pub tree: &'a Tree,
    name: &'static str,
    url: String,
}

impl<'a> Suite<'a> {
    /// A suite of a name beside the server at a URL.
    pub fn new(runner: &'a mut Runner, tree: &'a Tree, name: &'static str, url: String) -> Self {
        Self { runner, tree, name, url }
    }

    /// Does one step; whether it passed. Nothing is started any more after Ctrl-C.
    pub fn step(&mut self, name: &str, work: impl FnOnce(&Tree) -> Result) -> bool {
        let started = Instant::now();
        let result = signals::check().and_then(|()| work(self.tree));
        let failure = result.err().map(|failure| failure.to_string());
        if let Some(failure) = &failure {
            console::line(&format!("{}: {name}: {failure}", self.name));
        }
        self.record(name, failure, started.elapsed())
    }

    /// Runs a test program with its output shown and the server in its environment.
    pub fn run(&mut self, name: &str, command: Command) -> bool {
        self.run_within(name, command, None)
    }

    /// Runs a test program as [`Suite::run`] does, and kills it at a limit.
    pub fn run_within(
        &mut self,
        name: &str,
        mut command: Command,
        limit: Option<Duration>,
    ) -> bool {
        console::line(&format!("-- {}: {name}", self.name));
        self.surround(&mut command);
        self.step(name, |_| process::shown(&mut command, limit))
    }

    /// Tells a program where the server and everything else is.
    pub fn surround(&self, command: &mut Command) {
        command.env("DURABLE_STREAMS_URL", &self.url);
        command.env("DURSTREAM_STAGE", self.tree.stage());
        command.env("DURSTREAM_TARGET", &self.tree.target);
    }

    /// Where the suite's server listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.url.trim_start_matches("http://").parse();
        address.context(&self.url)
    }

    /// A step that cannot run because what it needs failed: that is a failure too.
    pub fn blocked(&mut self, name: &str) {
        let failure = "it needs what failed before it".to_owned();
        self.record(&format!("{name} (not run)"), Some(failure), Duration::ZERO);
    }

    /// A file or folder of the repository; without it the suite has failed.
    pub fn folder(&mut self, name: &str) -> Option<PathBuf> {
        let path = self.tree.root.join(name);
        if path.exists() {
            return Some(path);
        }
        let failure = format!("{name} does not exist");
        console::line(&format!("{}: {failure}", self.name));
        self.record(&format!("{name} (missing)"), Some(failure), Duration::ZERO);
        None
    }

    fn record(&mut self, name: &str, failure: Option<String>, took: Duration) -> bool {
        let name = format!("{}: {name}", self.name);
        let passed = failure.is_none();
        self.runner.entries.push(Entry { name, took, failure });
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_the_rest_goes_on() {
        let tree = Tree { root: "/nowhere".into(), target: "/nowhere".into() };
        let mut runner = Runner::default();
        let mut suite = Suite::new(&mut runner, &tree, "c", "http://127.0.0.1:1".into());
        assert!(!suite.step("first", |_| Err("it is broken".into())));
        assert!(suite.step("second", |_| Ok(())));
        assert!(suite.folder("tests").is_none());
        suite.blocked("third");
        assert_eq!(runner.counts(), (1, 3));
        assert!(!runner.report(Duration::ZERO));
    }

    #[test]
    #[cfg(unix)]
    fn what_a_program_said_of_its_failure_is_kept_for_the_end() {
        let tree = Tree { root: "/nowhere".into(), target: "/nowhere".into() };
        let mut runner = Runner::default();
        let mut suite = Suite::new(&mut runner, &tree, "c", "http://127.0.0.1:1".into());
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo test one ... ok; echo 'test two ... FAILED'; exit 1"]);
        assert!(!suite.run("tests", shell));
        if !console::is_terminal() {
            let failure = runner.entries[0].failure.as_deref().unwrap_or_default();
            assert!(failure.ends_with("\n    test two ... FAILED"), "{failure}");
        }
    }

    #[test]
    fn nothing_run_is_no_success() {
        assert!(!Runner::default().report(Duration::ZERO));
    }

    #[test]
    #[cfg(unix)]
    fn programs_see_the_server_and_where_things_are() {
        let tree = Tree { root: "/nowhere".into(), target: "/made".into() };
        let mut runner = Runner::default();
        let mut suite = Suite::new(&mut runner, &tree, "c", "http://127.0.0.1:1".into());
        let script = "[ $DURABLE_STREAMS_URL = http://127.0.0.1:1 ] && \
                      [ $DURSTREAM_STAGE = /made/stage ] && [ $DURSTREAM_TARGET = /made ]";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        assert!(suite.run("environment", shell));
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        assert!(!suite.run_within("a hang", sleeper, Some(Duration::from_millis(50))));
    }
}
