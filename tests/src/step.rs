//! One step of a build: its output goes to a log, a person sees one line with its seconds.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::console;
use crate::failure::{Context, Result};
use crate::process;
use crate::stamp::Stamp;
use crate::tree::Tree;

/// A step at work.
pub struct Step {
    name: String,
    log: PathBuf,
    started: Instant,
    worked: Cell<bool>,
    /// When somebody without a terminal was last told that it goes on.
    told: Cell<Instant>,
}

/// How often somebody without a terminal is told.
const PAUSE: Duration = Duration::from_secs(20);

/// Runs one step and prints its line.
pub fn step<T>(tree: &Tree, name: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let file_name = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let log = tree.directory("logs")?.join(format!("{file_name}.log"));
    std::fs::write(&log, "").context(log.display())?;
    let (name_kept, started) = (name.to_owned(), Instant::now());
    let step = Step { name: name_kept, log, started, worked: false.into(), told: started.into() };
    step.show_progress(None);
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
    pub fn run(&self, command: &mut Command) -> Result {
        self.worked.set(true);
        process::logged(command, &self.log, |progress| self.show_progress(progress))
    }

    /// Does the work unless the stamp says that nothing has changed since it was last done.
    pub fn unless_done(
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

    fn show_progress(&self, progress: Option<&str>) {
        let seconds = self.started.elapsed().as_secs();
        let text = format!("  {:<26} {seconds:>4} s … {}", self.name, progress.unwrap_or_default());
        if console::is_terminal() {
            console::status(&text);
        } else if self.told.get().elapsed() > PAUSE {
            self.told.set(Instant::now());
            console::line(text.trim_end());
        }
    }
}
