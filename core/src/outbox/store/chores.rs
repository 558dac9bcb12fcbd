//! Work on the disk that takes its time: done outside the lock, and not by a writer.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::Result;
use crate::outbox::disk::{Disk, Guard, Handle, failed};
use crate::outbox::segment::Segment;
use crate::outbox::spare::Shelf;
use crate::outbox::sync::Syncer;

/// See [`Outbox::chores`](crate::outbox::Outbox::chores).
pub(crate) struct Chores {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) syncer: Arc<Syncer>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) spent: Vec<Segment>,
    /// A file is to be made for the next segment.
    pub(super) makes: bool,
    /// From the usual one on, the sizes that a file for it may have.
    pub(super) sizes: RangeInclusive<usize>,
    /// Whoever opens the folder next waits for this.
    #[expect(dead_code, reason = "held")]
    pub(super) guard: Arc<dyn Guard>,
}

/// Pages that a writer is about to come to; see [`Outbox::ahead`](crate::outbox::Outbox::ahead).
pub(crate) struct Ahead {
    pub(super) handle: Arc<dyn Handle>,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Ahead {
    pub(crate) fn run(self) {
        self.handle.prepare(self.from, self.to);
    }
}

impl Chores {
    /// Waits for the disk. Files that are not deleted now are at the next opening.
    pub(crate) fn run(self) -> Result<()> {
        if self.makes {
            self.shelf.make(self.disk.as_ref(), *self.sizes.start());
        }
        // What says that a segment is settled has to last longer than the segment.
        self.syncer.sync_notes()?;
        for segment in self.spent {
            let path = segment.path.clone();
            self.syncer.forget_segment(segment.number);
            let fits = |own: &Segment| own.is_own() && self.sizes.contains(&own.size());
            // One that does not is closed here: not every system deletes a file that is mapped.
            let reused = Some(segment).filter(fits);
            if reused.is_some_and(|own| self.shelf.put(self.disk.as_ref(), own)) {
                continue;
            }
            self.disk.remove(&path).map_err(|error| failed("delete", &path, &error))?;
        }
        Ok(())
    }
}
