//! What an outbox needs of a disk. There is the system's (`real.rs`), and a model for tests that
//! loses what a crash may lose (`model.rs`).

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::outbox::format::Boot;

/// Files and folders. Every call may take its time; the outbox makes them at its opening, and once
/// per segment or full control file.
pub(crate) trait Disk: Send + Sync {
    /// Makes a folder for this user alone, with those above it, if it is not there; durable.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes the folder's lock for this process, until the guard is dropped or the process ends.
    fn lock(&self, folder: &Path) -> Result<Box<dyn Guard>>;
    /// The names of the files in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// A small file as a whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes or replaces a small file as a whole, and makes that durable.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file of zeros whose space is reserved. What was there under the name is gone.
    fn create(&self, path: &Path, size: usize) -> io::Result<Box<dyn File>>;
    /// Opens a file with the size that it has.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// The number of the machine's start.
    fn boot(&self) -> Boot;
    /// Whether nothing takes time: a caller need not leave its thread to wait for it.
    fn is_instant(&self) -> bool {
        false
    }
}

/// A lock that is held.
pub(crate) trait Guard: Send + Sync {
    /// Whether the folder and its lock are still those that were locked.
    fn check(&self) -> io::Result<()>;
}

/// A file as memory: writing to it is no call, and outlives the process.
pub(crate) trait File: Send {
    fn bytes(&self) -> &[u8];
    /// Panics beyond the end.
    fn write(&mut self, at: usize, bytes: &[u8]);
    /// Writes eight bytes at a multiple of eight, all at once, and behind everything before.
    fn publish(&mut self, at: usize, word: u64);
    /// What was written so far need not be made durable any more.
    fn forget(&mut self) {}
    /// What makes it durable, from any thread.
    fn handle(&self) -> Arc<dyn Handle>;
}

pub(crate) trait Handle: Send + Sync {
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
    /// Whether the file still has a name and its size.
    fn check(&self) -> io::Result<()>;
    /// Has the system get a part of the file ready, so that a writer does not wait for each page of it.
    /// Nothing is lost where it does not.
    fn prepare(&self, _from: usize, _to: usize) {}
}

/// Fills with zeros.
pub(crate) fn wipe(file: &mut dyn File, from: usize, end: usize) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = from;
    while at < end {
        let size = (end - at).min(ZEROS.len());
        file.write(at, &ZEROS[..size]);
        at += size;
    }
}

/// A file of a folder in which a sync failed: the system takes what it could not write for written,
/// and no later sync writes it.
pub(crate) const SYNC_FAILED: &str = "sync-failed";

/// Makes a file durable, or leaves a mark that it is not.
pub(crate) fn sync(disk: &dyn Disk, folder: &Path, handle: &dyn Handle) -> io::Result<()> {
    handle.sync().inspect_err(|_| {
        let _ = disk.create(&folder.join(SYNC_FAILED), 0);
    })
}

/// Writes all of a file once more, so that the next sync writes it.
pub(crate) fn rewrite(file: &mut dyn File) {
    let bytes = file.bytes().to_vec();
    file.write(0, &bytes);
}

/// Whether a failure means that there is no room now, and may be later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The error of a call to the disk: [`ErrorKind::BufferFull`] where there is no room,
/// [`ErrorKind::OutboxFailed`] for all else.
pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    if is_full(error) {
        let text =
            format!("the outbox cannot {what} {path}: {error}; it goes on once there is room");
        return Error::new(ErrorKind::BufferFull, text);
    }
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "; `outbox_dir` has to be writable for this user",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; `outbox_dir` has to be on a filesystem that can be written to"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; `outbox_dir` has to be a folder, or to be free for one"
        }
        _ => "",
    };
    Error::new(ErrorKind::OutboxFailed, format!("the outbox cannot {what} {path}: {error}{advice}"))
}

/// The error of a file that does not say what it should.
pub(crate) fn damaged(path: &Path, offset: usize, what: &str) -> Error {
    let text = format!(
        "the outbox is damaged: {} at byte {offset}: {what}. Nothing was changed. \
         `outbox_recovery: \"salvage\"` delivers what can be read, counts the rest, and keeps the damaged file",
        path.display()
    );
    Error::new(ErrorKind::OutboxDamaged, text)
}

/// The error of a file that a later version of this library wrote.
pub(crate) fn newer(path: &Path, version: u64) -> Error {
    let text = format!(
        "the outbox was made by a newer version of this library: {} has format {version}, and this version knows \
         formats up to {}; use the newer version",
        path.display(),
        crate::outbox::format::VERSION
    );
    Error::new(ErrorKind::OutboxFailed, text)
}
