//! The system's disk: files that are mapped into memory, and a lock that dies with its process.
#![allow(unsafe_code, reason = "mapped files")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{Error, ErrorKind, Result};
use crate::outbox::disk::{Disk, File, Guard, Handle, failed};
use crate::outbox::format::Boot;
use crate::outbox::owner::{LOCK, OWNER, Owner};
use crate::runtime::fork::PerProcess;
use crate::runtime::threads::lock;

/// The folders whose lock this process has: its own calls are not kept out by the system's lock.
/// A tree: leak checkers take what a hash table keeps, by a pointer into its middle, for lost.
static HELD: PerProcess<Mutex<BTreeSet<PathBuf>>> = PerProcess::new(Mutex::default);

/// The system's files.
pub(crate) struct RealDisk;

/// Options for a file of this user alone.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Disk for RealDisk {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        folder.parent().map_or(Ok(()), |parent| self.sync_folder(parent))
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn Guard>> {
        refuse_network(folder)?;
        let found = |error: io::Error| failed("find", folder, &error);
        let folder = fs::canonicalize(folder).map_err(found)?;
        if !lock(HELD.get()).insert(folder.clone()) {
            return Err(in_use(&folder, "this process has it open"));
        }
        let held = Held(folder.clone());
        let owner = fs::read(folder.join(OWNER)).ok().and_then(|bytes| Owner::parse(&bytes));
        if owner.as_ref().is_some_and(Owner::is_this_process) {
            // Another copy of this library: the system's lock would let both of them in.
            return Err(in_use(
                &folder,
                "another copy of this library in this process has it open",
            ));
        }
        let path = folder.join(LOCK);
        let file = loop {
            let file = open_lock(&path).map_err(|error| match is_taken(&error) {
                true => in_use(&folder, &Owner::shown(owner.as_ref())),
                false => failed("lock", &path, &error),
            })?;
            // Its name may have gone to another file in between.
            if same_file(&file, &path) {
                break file;
            }
        };
        // For people; a full disk must not keep anything from being delivered.
        let about = options().create(true).truncate(true).open(folder.join(OWNER));
        let _ = about.and_then(|mut about| about.write_all(&Owner::this_process().to_json()));
        Ok(Box::new(RealGuard { file, path, held }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = options().create(true).truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| self.sync_folder(folder))
    }

    fn create(&self, path: &Path, size: usize) -> io::Result<Box<dyn File>> {
        let _ = fs::remove_file(path);
        let file = options().create_new(true).open(path)?;
        let made = reserve(&file, size).and_then(|()| map(file, size, false));
        if made.is_err() {
            let _ = fs::remove_file(path);
        }
        made
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = options().open(path)?;
        let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        map(file, size, true)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = fs::remove_file(to);
        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(windows) {
            return Ok(()); // a folder cannot be opened there, and its changes are in a journal
        }
        fs::File::open(folder)?.sync_all()
    }

    fn boot(&self) -> Boot {
        boot()
    }
}

fn in_use(folder: &Path, by: &str) -> Error {
    let text = format!(
        "the outbox {} is in use: {by}. One process at a time may have it: give each its own `producer_id` or \
         `outbox_dir`, or set `shared` in all of them",
        folder.display()
    );
    Error::new(ErrorKind::OutboxInUse, text)
}

/// Opens the lock's file and locks it.
#[cfg(unix)]
fn open_lock(path: &Path) -> io::Result<fs::File> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    let file = options().create(true).truncate(false).open(path)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Whether a process has a folder's lock; `None` where that cannot be told. Takes no lock, and in a
/// process that may hold it does not open its file: closing that would let it go.
#[cfg(unix)]
pub(crate) fn is_locked(folder: &Path) -> Option<bool> {
    let own = fs::canonicalize(folder).ok()?;
    // Until the file is closed: whoever takes the lock meanwhile would lose it.
    let held = lock(HELD.get());
    if held.contains(&own) || Owner::this_process_owns(folder) {
        return Some(true);
    }
    let file = fs::File::open(folder.join(LOCK)).ok()?;
    // SAFETY: zeros are a lock of the whole file, of no kind.
    let mut asked: libc::flock = unsafe { std::mem::zeroed() };
    asked.l_type = libc::F_WRLCK as _;
    // SAFETY: the file is open, and the answer goes into what it was asked with.
    let result = unsafe {
        libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_GETLK, &raw mut asked)
    };
    (result == 0).then_some(asked.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(not(unix))]
pub(crate) fn is_locked(_: &Path) -> Option<bool> {
    None
}

/// A file that nobody else may open while it is open.
#[cfg(windows)]
fn open_lock(path: &Path) -> io::Result<fs::File> {
    let mut options = options();
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
    options.create(true).truncate(false).open(path)
}

#[cfg(unix)]
fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock // EAGAIN; EACCES is a path's
}

#[cfg(windows)]
fn is_taken(error: &io::Error) -> bool {
    error.raw_os_error() == Some(32) // ERROR_SHARING_VIOLATION
}

/// Whether a name leads to an open file.
#[cfg(unix)]
fn same_file(file: &fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(inode), fs::metadata(path).map(inode));
    open.is_ok_and(|open| named.is_ok_and(|named| named == open))
}

#[cfg(windows)]
fn same_file(_: &fs::File, path: &Path) -> bool {
    path.exists()
}

/// An entry in [`HELD`].
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        lock(HELD.get()).remove(&self.0);
    }
}

struct RealGuard {
    /// Closing it lets go of the lock, in the process that took it.
    file: fs::File,
    path: PathBuf,
    held: Held,
}

impl Guard for RealGuard {
    fn check(&self) -> io::Result<()> {
        if same_file(&self.file, &self.path) {
            return Ok(());
        }
        let text = format!("the folder {} was removed or replaced", self.held.0.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

impl Drop for RealGuard {
    fn drop(&mut self) {
        if self.held.0.is_dir() && Owner::this_process_owns(&self.held.0) {
            let _ = fs::remove_file(self.held.0.join(OWNER));
        }
    }
}

/// Filesystems over a network lie about locks and about memory that is mapped.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn refuse_network(folder: &Path) -> Result<()> {
    /// By the numbers of `statfs(2)`.
    const NAMES: [(u32, &str); 7] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x0102_1997, "9p"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
    ];
    let kind = rustix::fs::statfs(folder).map_or(0, |about| about.f_type as u32);
    match NAMES.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => Err(no_network(folder, name)),
        None => Ok(()),
    }
}

#[cfg(target_vendor = "apple")]
fn refuse_network(folder: &Path) -> Result<()> {
    let Ok(about) = rustix::fs::statfs(folder) else { return Ok(()) };
    let name: Vec<u8> =
        about.f_fstypename.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
    match name.as_slice() {
        b"nfs" => Err(no_network(folder, "NFS")),
        b"smbfs" | b"cifs" => Err(no_network(folder, "SMB")),
        b"afpfs" | b"webdav" => Err(no_network(folder, "a network's")),
        _ => Ok(()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn refuse_network(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn no_network(folder: &Path, name: &str) -> Error {
    let text = format!(
        "the outbox cannot be at {}: a filesystem over the network ({name}) keeps neither locks nor the order of \
         writes; `outbox_dir` has to be on a local disk",
        folder.display()
    );
    Error::new(ErrorKind::OutboxFailed, text)
}

/// Gives a new file its size, all of it zero, and its space.
fn reserve(file: &fs::File, size: usize) -> io::Result<()> {
    #[cfg(all(
        unix,
        not(any(target_os = "openbsd", target_os = "netbsd", target_os = "dragonfly"))
    ))]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(file, FallocateFlags::empty(), 0, size as u64) {
            Ok(()) if file.metadata()?.len() == size as u64 => return Ok(()),
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Written, so that the space is there.
    let zeros = [0; 64 * 1024];
    let mut left = size;
    let mut file = file;
    while left > 0 {
        left -= file.write(&zeros[..left.min(zeros.len())])?;
    }
    Ok(())
}

fn map(file: fs::File, size: usize, is_old: bool) -> io::Result<Box<dyn File>> {
    let mapped = match size {
        0 => None, // the system maps nothing
        _ => Some(MmapOptions::new().len(size).map_raw(&file)?),
    };
    Ok(Box::new(RealFile(Arc::new(Mapped {
        file,
        mapped,
        written: AtomicUsize::new(0),
        is_old: AtomicBool::new(is_old),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        left: AtomicUsize::new(0),
    }))))
}

/// A mapped file. Nobody but its owner writes to it: the folder's lock sees to that.
struct Mapped {
    file: fs::File,
    mapped: Option<MmapRaw>,
    /// Behind what this life wrote to it. Pages behind that may be ready, and need not be on the disk.
    written: AtomicUsize,
    /// An earlier life may have left what is not on the disk.
    is_old: AtomicBool,
    /// Behind what is not in this process's memory any more.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    left: AtomicUsize,
}

impl Mapped {
    fn write_to(&self, end: usize) {
        // There is one writer. It says behind this what is in the file, to whoever makes it durable.
        if end > self.written.load(Ordering::Relaxed) {
            self.written.store(end, Ordering::Release);
        }
    }

    /// Takes the pages behind the writer out of this process's memory, all at once: for each one that is
    /// in it, the system would stop every processor that runs the process, as it writes it to the disk.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn leave(&self, map: &MmapRaw, written: usize) {
        const PAGE: usize = 64 * 1024; // the largest that there is
        let end = written & !(PAGE - 1);
        // The first one has the mark, which each write changes.
        let from = self.left.swap(end, Ordering::Relaxed).max(PAGE);
        if from < end {
            // SAFETY: the pages of a shared mapping are the file's: what was written stays in them, and is
            // found there.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, end - from)
            };
        }
    }
}

/// How much the system gets ready at once: what changes the memory of the process waits meanwhile.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SLICE: usize = 128 * 1024;

/// Has the processor fetch what the next writes go to: another one may have made it ready.
#[cfg(target_arch = "x86_64")]
fn fetch(end: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    const LINE: usize = 64;
    for line in 2..5 {
        // SAFETY: it reads nothing, and may point anywhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(end.wrapping_add(line * LINE).cast()) };
    }
}

struct RealFile(Arc<Mapped>);

impl File for RealFile {
    fn bytes(&self) -> &[u8] {
        match &self.0.mapped {
            None => &[],
            // SAFETY: the mapping lives as long as `self`. Only `&mut self` writes to it in this
            // process, and the lock keeps others out; handles ask the system to write it, and do
            // not change it.
            Some(map) => unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) },
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let Some(map) = &self.0.mapped else { return assert!(bytes.is_empty(), "an empty file") };
        let end = at.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= map.len()), "beyond the end of a file");
        // SAFETY: within the mapping, and `bytes` is none of it: a slice of it would borrow `self`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.as_mut_ptr().add(at), bytes.len())
        }
        self.0.write_to(at + bytes.len());
        #[cfg(target_arch = "x86_64")]
        fetch(map.as_ptr().wrapping_add(at + bytes.len()));
    }

    fn publish(&mut self, at: usize, word: u64) {
        let Some(map) = &self.0.mapped else { panic!("an empty file") };
        assert!(at.is_multiple_of(8) && at + 8 <= map.len(), "beyond the end of a file");
        // SAFETY: within the mapping, which begins at a page, so it is aligned.
        let place = unsafe { AtomicU64::from_ptr(map.as_mut_ptr().add(at).cast()) };
        place.store(word.to_le(), Ordering::Release);
        self.0.write_to(at + 8);
    }

    fn forget(&mut self) {
        self.0.written.store(0, Ordering::Release);
        self.0.is_old.store(false, Ordering::Release);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        self.0.left.store(0, Ordering::Relaxed);
    }

    fn handle(&self) -> Arc<dyn Handle> {
        self.0.clone()
    }
}

impl Handle for Mapped {
    fn sync(&self) -> io::Result<()> {
        let is_old = self.is_old.load(Ordering::Acquire);
        let written = self.written.load(Ordering::Acquire);
        if let Some(map) = self.mapped.as_ref().filter(|_| written > 0 && !is_old) {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            self.leave(map, written);
            map.flush_range(0, written)?;
            if cfg!(any(target_os = "linux", target_os = "android")) {
                return Ok(()); // of a part of a file, `msync` is what `fdatasync` is of all of it
            }
        } else if let Some(map) = &self.mapped
            && !cfg!(any(target_os = "linux", target_os = "android"))
        {
            map.flush()?; // elsewhere a file does not know what was written to its mapping
        }
        self.file.sync_data()?;
        self.is_old.store(false, Ordering::Release);
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn prepare(&self, from: usize, to: usize) {
        let Some(map) = &self.mapped else { return };
        for at in (from..to.min(map.len())).step_by(SLICE) {
            // Linux has it since 5.14.
            let size = SLICE.min(to.min(map.len()) - at);
            if map.advise_range(memmap2::Advice::PopulateWrite, at, size).is_err() {
                return;
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        let about = self.file.metadata()?;
        let size = self.mapped.as_ref().map_or(0, MmapRaw::len) as u64;
        if about.len() < size {
            let text = format!("a file of it was cut to {} of {size} bytes", about.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&about) == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "a file of it was removed"));
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot() -> Boot {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    uuid::Uuid::parse_str(text.trim()).ok().map(uuid::Uuid::into_bytes)
}

#[cfg(target_vendor = "apple")]
fn boot() -> Boot {
    let mut text = [0_u8; 64];
    let mut size = text.len();
    // SAFETY: the name ends with a zero, and `size` says how much room there is.
    let result = unsafe {
        let name = c"kern.bootsessionuuid".as_ptr();
        libc::sysctlbyname(name, text.as_mut_ptr().cast(), &mut size, std::ptr::null_mut(), 0)
    };
    let text = std::str::from_utf8(text.get(..size.checked_sub(1)?)?).ok()?;
    (result == 0).then(|| uuid::Uuid::parse_str(text).ok().map(uuid::Uuid::into_bytes))?
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn boot() -> Boot {
    None
}
