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
    spare: Mutex<Option<Spare>>,
}

impl Shelf {
    pub(crate) fn new(folder: &Path) -> Self {
        Shelf { path: folder.join(SPARE), spare: Mutex::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.spare).is_none()
    }

    /// Takes it for a segment's file of so many bytes at least, which has this name then.
    pub(crate) fn take(&self, disk: &dyn Disk, size: usize, path: &Path) -> Option<Spare> {
        let fits = |spare: &mut Spare| spare.file.bytes().len() >= size;
        let spare = lock(&self.spare).take_if(fits)?;
        disk.rename(&self.path, path).ok().map(|()| spare)
    }

    /// Takes what an earlier life left under its name, unless that is smaller than a segment.
    pub(crate) fn find(&self, disk: &dyn Disk, least: usize) -> std::io::Result<()> {
        let file = disk.open(&self.path)?;
        if file.bytes().len() < least {
            return disk.remove(&self.path);
        }
        self.shelve(file);
        Ok(())
    }

    /// Makes one, where there is none. A disk that has no room says so to the writer who needs it.
    pub(crate) fn make(&self, disk: &dyn Disk, size: usize) {
        if !self.is_empty() {
            return;
        }
        if let Ok(file) = disk.create(&self.path, size) {
            self.shelve(file);
        }
    }

    /// Takes a settled segment's file, where there is none; whether it did.
    pub(crate) fn put(&self, disk: &dyn Disk, segment: Segment) -> bool {
        if !self.is_empty() || disk.rename(&segment.path, &self.path).is_err() {
            return false;
        }
        self.shelve(segment.into_file());
        true
    }

    fn shelve(&self, mut file: Box<dyn File>) {
        file.forget();
        wipe(file.as_mut(), 0, BLANK);
        let ready = AHEAD.min(file.bytes().len());
        file.handle().prepare(0, ready);
        *lock(&self.spare) = Some(Spare { file, ready });
    }
}
