//! Where the parts are measured: who takes part, how long, and one job at a time.

use std::time::Duration;

use super::store::Point;
use crate::contestant::{Contestant, Id};
use crate::messages::{Kind, Messages};
use crate::run::{self, Job, Measured, Place};
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::signals;
use durstream_tests::tree::Tree;

pub(crate) struct Lab<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) contestants: Vec<Contestant>,
    /// Fewer rounds and shorter runs.
    pub(crate) quick: bool,
    /// Divides the numbers of events: for a look at whether everything works.
    pub(crate) shrink: usize,
}

/// What a job is to do beside its messages.
pub(crate) struct Task {
    pub(crate) mode: &'static str,
    pub(crate) events: usize,
    pub(crate) round_trip_ms: u64,
    pub(crate) options: Vec<String>,
    /// How long it takes at least.
    pub(crate) time: Duration,
}

/// What takes so much longer hangs: then the row has failed, and the others go on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

impl Lab<'_> {
    pub(crate) fn rounds(&self, quick: usize, whole: usize) -> usize {
        if self.quick { quick } else { whole }
    }

    pub(crate) fn events(&self, wanted: usize) -> usize {
        (wanted / self.shrink).max(wanted.min(10))
    }

    pub(crate) fn those(&self, ids: &[Id]) -> Vec<&Contestant> {
        let find = |id: &Id| self.contestants.iter().find(|contestant| contestant.id == *id);
        ids.iter().filter_map(find).collect()
    }

    /// Runs one job on a server of its own.
    pub(crate) fn run(
        &self,
        who: &Contestant,
        messages: &Messages,
        task: Task,
    ) -> Result<Measured> {
        let place = Place { tree: self.tree, round_trip_ms: task.round_trip_ms };
        let job = self.job(messages, &task);
        run::run(&place, who, &job)
    }

    pub(crate) fn job<'m>(&self, messages: &'m Messages, task: &Task) -> Job<'m> {
        let (mode, events, options) = (task.mode, task.events, task.options.clone());
        let limit = task.time + PATIENCE;
        Job { messages, kind: messages.kind().name(), events, mode, options, limit }
    }

    pub(crate) fn messages(&self, kind: Kind, bytes: usize) -> Result<Messages> {
        Messages::sized(self.tree, kind, bytes)
    }

    pub(crate) fn say(&self, text: &str) {
        console::status(&format!("  {text}"));
    }

    /// Keeps why somebody failed, unless it was Ctrl-C.
    pub(crate) fn note(&self, point: &mut Point, result: Result) -> Result {
        if let Err(failure) = result {
            signals::check()?;
            point.trouble = Some(failure.to_string());
        }
        Ok(())
    }

    pub(crate) fn sleep(&self, time: Duration) -> Result {
        let until = std::time::Instant::now() + time;
        while std::time::Instant::now() < until {
            signals::check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
