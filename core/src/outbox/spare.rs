//! The file of a segment that is not in use yet, so that a writer who needs one finds it ready: made
//! ahead, or left by a segment all of whose writes are settled.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::outbox::disk::{Disk, File, wipe};
use crate::outbox::format::RECORDS;
use crate::outbox::segment::{AHEAD, Segment};
use crate::runtime::threads::lock;

/// Its name.
pub(crate) const SPARE: &str = "spare";
/// What is zero of it: where a header, a mark and the first record's head go.
const BLANK: usize = RECORDS + 8;

pub(crate) struct Spare {
    pub(crate) file: Box<dyn File>,
    /// How much of it the system has ready.
    pub(crate) ready: usize,
}

/// The one that an outbox has, if it has one.
pub(crate) struct Shelf {
    path: PathBuf,
    on: Mutex<On>,
}

/// What is on a shelf.
enum On {
    Nothing,
    /// Somebody is at the file that has the name: nobody else gives it to another one, and nobody waits.
    Busy,
    Spare(Spare),
}

impl Shelf {
    pub(crate) fn new(folder: &Path) -> Self {
        Shelf { path: folder.join(SPARE), on: Mutex::new(On::Nothing) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(*lock(&self.on), On::Nothing)
    }

    /// Takes it for a segment's file of so many bytes at least, which has this name then.
    pub(crate) fn take(&self, disk: &dyn Disk, size: usize, path: &Path) -> Option<Spare> {
        let spare = self.hold(|spare| spare.file.bytes().len() >= size)?;
        let renamed = disk.rename(&self.path, path);
        self.put_back(On::Nothing);
        // Somebody else may have given the name to another file.
        renamed.and_then(|()| spare.file.handle().check()).ok().map(|()| spare)
    }

    /// Deletes it, so that a disk that is full has room for what is needed more; whether there was one.
    pub(crate) fn clear(&self, disk: &dyn Disk) -> bool {
        let Some(spare) = self.hold(|_| true) else { return false };
        drop(spare);
        let removed = disk.remove(&self.path);
        self.put_back(On::Nothing);
        removed.is_ok()
    }

    /// Makes one, where there is none. A disk that has no room says so to the writer who needs it.
    pub(crate) fn make(&self, disk: &dyn Disk, size: usize) {
        if self.hold_place() {
            self.put_back(disk.create(&self.path, size).map_or(On::Nothing, ready));
        }
    }

    /// Takes a settled segment's file, where there is none; whether it did.
    pub(crate) fn put(&self, disk: &dyn Disk, segment: Segment) -> bool {
        if !self.hold_place() {
            return false;
        }
        let is_put = disk.rename(&segment.path, &self.path).is_ok();
        self.put_back(if is_put { ready(segment.into_file()) } else { On::Nothing });
        is_put
    }

    fn hold(&self, fits: impl FnOnce(&Spare) -> bool) -> Option<Spare> {
        let mut on = lock(&self.on);
        match std::mem::replace(&mut *on, On::Busy) {
            On::Spare(spare) if fits(&spare) => Some(spare),
            other => {
                *on = other;
                None
            }
        }
    }

    fn hold_place(&self) -> bool {
        let mut on = lock(&self.on);
        let is_free = matches!(*on, On::Nothing);
        if is_free {
            *on = On::Busy;
        }
        is_free
    }

    fn put_back(&self, on: On) {
        *lock(&self.on) = on;
    }
}

fn ready(mut file: Box<dyn File>) -> On {
    file.forget();
    wipe(file.as_mut(), 0, BLANK);
    let ready = AHEAD.min(file.bytes().len());
    file.handle().prepare(0, ready);
    On::Spare(Spare { file, ready })
}
