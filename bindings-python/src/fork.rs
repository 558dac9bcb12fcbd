//! Which side of a `fork` a handle was made on.
//!
//! The core refuses inherited handles wherever they would write or wait. A call that only reads a
//! producer's state takes its lock, which a thread of the parent may have held at the fork, so it
//! is refused here.

use std::sync::atomic::{AtomicU64, Ordering};

use durstream_core::{Error, ErrorKind};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Counts a fork; called in the child.
pub(crate) fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Where a handle was made.
#[derive(Clone, Copy)]
pub(crate) struct Origin(u64);

impl Origin {
    pub(crate) fn here() -> Self {
        Origin(GENERATION.load(Ordering::Relaxed))
    }

    pub(crate) fn is_foreign(self) -> bool {
        self.0 != GENERATION.load(Ordering::Relaxed)
    }

    /// Refuses a producer of the parent's.
    pub(crate) fn check(self) -> Result<(), Error> {
        self.check_as("producer")
    }

    /// Refuses a handle of the parent's.
    pub(crate) fn check_as(self, what: &str) -> Result<(), Error> {
        if self.is_foreign() {
            let text = format!("this {what} was opened before fork; open another one in the child");
            return Err(Error::new(ErrorKind::Forked, text));
        }
        Ok(())
    }
}
