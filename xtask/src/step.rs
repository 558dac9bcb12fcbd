//! One step of a build: its output goes to a log, a person sees one line with its seconds.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::stamp::Stamp;
use durstream_tests::console;
use durstream_tests::failure::{Context, Result};
use durstream_tests::process;
use durstream_tests::tree::Tree;

pub(crate) struct Step {
    name: String,
    log: PathBuf,
    started: Instant,
    worked: Cell<bool>,
}

/// Runs one step and prints its line.
pub(crate) fn step<T>(tree: &Tree, name: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let file_name = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let log = tree.directory("logs")?.join(format!("{file_name}.log"));
    std::fs::write(&log, "").context(log.display())?;
    let step = Step { name: name.to_owned(), log, started: Instant::now(), worked: false.into() };
    step.show_progress();
    let result = work(&step);
    let seconds = step.started.elapsed().as_secs_f64();
    match (&result, step.worked.get()) {
        (Err(_), _) => console::line(&format!("  {name:<26} failed after {seconds:.1} s")),
        (Ok(_), true) => console::line(&format!("  {name:<26} {seconds:>6.1} s")),
        (Ok(_), false) => console::line(&format!("  {name:<26} up to date")),
    }
    result
}

impl Step {
    /// Runs a command of this step; its output is in the step's log.
    pub(crate) fn run(&self, command: &mut Command) -> Result {
        self.worked.set(true);
        process::logged(command, &self.log, || self.show_progress())
    }

    /// Does the work unless the stamp says that nothing has changed since it was last done.
    pub(crate) fn unless_done(
        &self,
        stamp: &Stamp,
        product: &Path,
        work: impl FnOnce() -> Result,
    ) -> Result {
        if product.exists() && stamp.is_current() {
            return Ok(());
        }
        stamp.remove();
        work()?;
        stamp.write()
    }

    fn show_progress(&self) {
        console::status(&format!(
            "  {:<26} {:>4} s …",
            self.name,
            self.started.elapsed().as_secs()
        ));
    }
}
