//! What is done for an outbox beside the requests: files are deleted, and looked at.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// How far apart the looks at the files of an outbox are.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// What is done for an outbox beside the requests.
#[derive(Default)]
pub(super) struct Upkeep {
    chores: Option<JoinHandle<Result<()>>>,
    checked: Option<Instant>,
}

impl Upkeep {
    /// Whether work is being done.
    pub(super) fn is_under_way(&self) -> bool {
        self.chores.is_some()
    }

    pub(super) fn begin(&mut self, chores: JoinHandle<Result<()>>) {
        self.chores = Some(chores);
    }

    /// Whether it is time for a look at the files, which then counts as done.
    pub(super) fn checks_at(&mut self, now: Instant) -> bool {
        let is_due = self.checked.is_none_or(|at| now >= at + BETWEEN_CHECKS);
        if is_due {
            self.checked = Some(now);
        }
        is_due
    }

    /// Waits for what is being done. Whatever comes of it, the next life does it again.
    pub(super) async fn end(&mut self) {
        if self.chores.is_some() {
            let _ = self.done().await;
        }
    }

    /// The end of the work that is being done.
    pub(super) async fn done(&mut self) -> Result<()> {
        let Some(chores) = &mut self.chores else { return std::future::pending().await };
        let done = chores.await;
        self.chores = None;
        done.map_err(died).and_then(|done| done)
    }
}

pub(super) fn died(_: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the thread that wrote to the outbox died")
}
