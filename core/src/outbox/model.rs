//! A disk in memory for tests, which loses what a crash may lose.
//!
//! A process that dies stops at a step: what it wrote before is there, a write it was at may be there
//! in part. A machine that dies keeps of each sector either what was made durable or what was
//! there at some moment since, in any order; names are kept or lost one by one. A sync that fails
//! loses what it should have written, and a later one does not find it again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::error::{Error, ErrorKind as Kind, Result};
use crate::outbox::disk::{Disk, File, Guard, Handle};
use crate::outbox::format::Boot;

const SECTOR: usize = 512;

/// A file as the system and as the disk have it.
#[derive(Clone, Default)]
struct Inode {
    current: Vec<u8>,
    /// What is on the disk; sectors beyond its end are zero.
    durable: Vec<u8>,
    /// Sectors that differ, and will be written some time.
    dirty: BTreeSet<usize>,
}

impl Inode {
    fn persist(&mut self, sector: usize) {
        self.durable.resize(self.current.len(), 0);
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.current.len());
        self.durable[range.clone()].copy_from_slice(&self.current[range]);
        self.dirty.remove(&sector);
    }
}

/// Changes of names that belong together.
type Names = Vec<(PathBuf, Option<usize>)>;

struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending: Vec<Names>,
    folders: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// How many times this life has a file mapped.
    mapped: BTreeMap<usize, usize>,
    rng: StdRng,
    boot: u8,
    /// Files opened in an earlier life write nothing.
    life: u64,
    steps: u64,
    dies_at: Option<u64>,
    is_dead: bool,
    /// There is no room for further files.
    is_full: bool,
    /// The step whose call fails.
    fails_at: Option<u64>,
    /// How many syncs have failed.
    failed_syncs: u64,
    /// Every sync fails.
    syncs_fail: bool,
    /// Files that read as empty.
    lost: BTreeSet<usize>,
    /// Whether the system writes pages of its own accord.
    writes_back: bool,
}

impl World {
    /// Counts a step; whether the process is alive in it, and goes through with it.
    fn step(&mut self) -> Step {
        if self.is_dead {
            return Step::Dead;
        }
        self.steps += 1;
        if self.writes_back && self.rng.random_range(0..4) == 0 && !self.inodes.is_empty() {
            let inode = self.rng.random_range(0..self.inodes.len());
            let dirty: Vec<_> = self.inodes[inode].dirty.iter().copied().collect();
            for sector in dirty {
                if self.rng.random_bool(0.5) {
                    self.inodes[inode].persist(sector);
                }
            }
        }
        if self.dies_at.is_some_and(|step| self.steps >= step) {
            self.is_dead = true;
            return Step::Dies;
        }
        Step::Lives
    }

    fn call(&mut self) -> io::Result<()> {
        match self.step() {
            Step::Lives if self.fails_at == Some(self.steps) => {
                Err(io::Error::other("input/output error"))
            }
            Step::Lives => Ok(()),
            _ => Err(io::Error::other("the process is dead")),
        }
    }

    fn rename(&mut self, changes: Names) {
        for (path, inode) in &changes {
            match inode {
                Some(inode) => self.names.insert(path.clone(), *inode),
                None => self.names.remove(path),
            };
        }
        self.pending.push(changes);
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn add(&mut self, bytes: Vec<u8>) -> usize {
        let dirty = (0..bytes.len().div_ceil(SECTOR)).collect();
        self.inodes.push(Inode { current: bytes, dirty, ..Inode::default() });
        self.inodes.len() - 1
    }
}

enum Step {
    Lives,
    /// It dies in this very step.
    Dies,
    Dead,
}

#[derive(Clone)]
pub(crate) struct ModelDisk(Arc<Mutex<World>>);

impl ModelDisk {
    pub(crate) fn new(seed: u64) -> Self {
        ModelDisk(Arc::new(Mutex::new(World {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            folders: BTreeSet::new(),
            locks: BTreeSet::new(),
            mapped: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            boot: 1,
            life: 0,
            steps: 0,
            dies_at: None,
            is_dead: false,
            is_full: false,
            fails_at: None,
            failed_syncs: 0,
            syncs_fail: false,
            lost: BTreeSet::new(),
            writes_back: true,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The process dies in this many steps.
    pub(crate) fn die_in(&self, steps: u64) {
        let mut world = self.world();
        world.dies_at = Some(world.steps + steps);
    }

    /// The call in this many steps fails, if it is one that can.
    pub(crate) fn fail_in(&self, steps: u64) {
        let mut world = self.world();
        world.fails_at = Some(world.steps + steps);
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.world().is_full = is_full;
    }

    pub(crate) fn steps(&self) -> u64 {
        self.world().steps
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.world().is_dead
    }

    /// From here on no sync goes well.
    pub(crate) fn fail_syncs(&self) {
        self.world().syncs_fail = true;
    }

    /// From here on nothing is in the segments that are there, for whoever reads them.
    pub(crate) fn lose_segments(&self) {
        let mut world = self.world();
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|own| own == "seg");
        let lost = world.names.iter().filter(|(path, _)| is_segment(path)).map(|(_, inode)| *inode);
        world.lost = lost.collect();
    }

    pub(crate) fn failed_syncs(&self) -> u64 {
        self.world().failed_syncs
    }

    /// Ends the process, whatever it is at.
    pub(crate) fn kill(&self) {
        let mut world = self.world();
        world.life += 1;
        world.locks.clear();
        world.mapped.clear();
        (world.is_dead, world.dies_at, world.fails_at) = (false, None, None);
    }

    /// Ends the machine: what was not durable is there in part.
    pub(crate) fn crash(&self) {
        self.kill();
        let world = &mut *self.world();
        world.boot = world.boot.wrapping_add(1);
        let rng = &mut world.rng;
        // Mostly nearly all is there, or nearly nothing.
        let chance = [0.02, 0.5, 0.98][rng.random_range(0..3)];
        for changes in world.pending.drain(..) {
            if rng.random_bool(chance) {
                let leaves_both = changes.len() > 1 && rng.random_bool(0.2);
                for (path, inode) in changes {
                    match inode {
                        Some(inode) => world.durable_names.insert(path, inode),
                        None if leaves_both => None,
                        None => world.durable_names.remove(&path),
                    };
                }
            }
        }
        for inode in &mut world.inodes {
            if inode.durable.len() < inode.current.len() && rng.random_bool(0.5) {
                inode.durable.resize(inode.current.len(), 0); // its size came through
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if inode.durable.len() == inode.current.len() && rng.random_bool(chance) {
                    inode.persist(sector);
                }
            }
            inode.current = inode.durable.clone();
        }
        world.names = world.durable_names.clone();
    }

    /// The files, by path.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        let bytes = |inode: &usize| world.inodes[*inode].current.clone();
        world.names.iter().map(|(path, inode)| (path.clone(), bytes(inode))).collect()
    }

    /// Puts a file there, durable.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let world = &mut *self.world();
        let durable = bytes.clone();
        world.inodes.push(Inode { current: bytes, durable, dirty: BTreeSet::new() });
        let inode = world.inodes.len() - 1;
        world.names.insert(path.to_owned(), inode);
        world.durable_names.insert(path.to_owned(), inode);
    }
}

impl Disk for ModelDisk {
    fn is_instant(&self) -> bool {
        true
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.folders.insert(folder.to_owned());
        Ok(())
    }

    fn lock(&self, folder: &Path) -> Result<Box<dyn Guard>> {
        let mut world = self.world();
        if !world.locks.insert(folder.to_owned()) {
            return Err(Error::new(Kind::OutboxInUse, "it is locked"));
        }
        let life = world.life;
        Ok(Box::new(ModelGuard { world: self.0.clone(), folder: folder.to_owned(), life }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.call()?;
        let below = world.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let names = below.filter_map(|path| path.iter().next()?.to_str().map(str::to_owned));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(path)?;
        Ok(world.inodes[inode].current.clone())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.add(bytes.to_vec());
        let sectors: Vec<_> = world.inodes[inode].dirty.iter().copied().collect();
        sectors.into_iter().for_each(|sector| world.inodes[inode].persist(sector));
        world.rename(vec![(path.to_owned(), Some(inode))]);
        drop(world);
        self.sync_folder(path.parent().unwrap())
    }

    fn create(&self, path: &Path, size: usize) -> io::Result<Box<dyn File>> {
        let mut world = self.world();
        world.call()?;
        if world.is_full {
            return Err(ErrorKind::StorageFull.into());
        }
        let inode = world.add(Vec::new());
        world.rename(vec![(path.to_owned(), Some(inode))]);
        world.call()?; // it may die with an empty file
        world.inodes[inode].current = vec![0; size];
        drop(world);
        self.open_inode(inode, true)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(path)?;
        drop(world);
        self.open_inode(inode, false)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(path)?;
        let names = world.names.values().filter(|other| **other == inode).count();
        if names == 1 && world.mapped.get(&inode).is_some_and(|count| *count > 0) {
            return Err(ErrorKind::PermissionDenied.into()); // as on Windows
        }
        world.rename(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(from)?;
        world.rename(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(from)?;
        world.rename(vec![(to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        world.call()?;
        world.pending.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn boot(&self) -> Boot {
        Some([self.world().boot; 16])
    }
}

impl ModelDisk {
    fn open_inode(&self, inode: usize, is_new: bool) -> io::Result<Box<dyn File>> {
        let mut world = self.world();
        let memory = world.inodes[inode].current.clone();
        let (life, written) = (world.life, AtomicUsize::new(if is_new { 0 } else { memory.len() }));
        let handle = Arc::new(ModelHandle { world: self.0.clone(), inode, life, written });
        *world.mapped.entry(inode).or_default() += 1;
        Ok(Box::new(ModelFile { memory, handle }))
    }
}

struct ModelGuard {
    world: Arc<Mutex<World>>,
    folder: PathBuf,
    life: u64,
}

impl Guard for ModelGuard {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ModelGuard {
    fn drop(&mut self) {
        let mut world = self.world.lock().unwrap();
        if world.life == self.life {
            world.locks.remove(&self.folder);
        }
    }
}

struct ModelHandle {
    world: Arc<Mutex<World>>,
    inode: usize,
    life: u64,
    /// Behind what a sync writes.
    written: AtomicUsize,
}

struct ModelFile {
    memory: Vec<u8>,
    handle: Arc<ModelHandle>,
}

impl ModelFile {
    fn store(&mut self, at: usize, bytes: &[u8], is_whole: bool) {
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.handle.written.fetch_max(at + bytes.len(), Ordering::Relaxed);
        let world = &mut *self.handle.world.lock().unwrap();
        if world.life != self.handle.life {
            return;
        }
        let written = match world.step() {
            Step::Lives => bytes.len(),
            Step::Dies if is_whole => [0, bytes.len()][usize::from(world.rng.random_bool(0.5))],
            Step::Dies => world.rng.random_range(0..=bytes.len()),
            Step::Dead => 0,
        };
        if written > 0 {
            let inode = &mut world.inodes[self.handle.inode];
            inode.current[at..at + written].copy_from_slice(&bytes[..written]);
            inode.dirty.extend(at / SECTOR..=(at + written - 1) / SECTOR);
        }
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        let mut world = self.handle.world.lock().unwrap();
        if world.life == self.handle.life {
            *world.mapped.get_mut(&self.handle.inode).expect("it was opened") -= 1;
        }
    }
}

impl File for ModelFile {
    fn bytes(&self) -> &[u8] {
        let is_lost = self.handle.world.lock().unwrap().lost.contains(&self.handle.inode);
        if is_lost { &[] } else { &self.memory }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.store(at, bytes, false);
    }

    fn publish(&mut self, at: usize, word: u64) {
        assert!(at.is_multiple_of(8));
        self.store(at, &word.to_le_bytes(), true);
    }

    fn forget(&mut self) {
        self.handle.written.store(0, Ordering::Relaxed);
    }

    fn handle(&self) -> Arc<dyn Handle> {
        self.handle.clone()
    }
}

impl Handle for ModelHandle {
    fn sync(&self) -> io::Result<()> {
        let world = &mut *self.world.lock().unwrap();
        if world.life != self.life {
            return Err(io::Error::other("the process is dead"));
        }
        let broken = || io::Error::other("input/output error");
        let mut result = world.call();
        if world.syncs_fail {
            result = result.and_then(|()| Err(broken()));
        }
        let inode = &mut world.inodes[self.inode];
        match &result {
            Ok(()) => {
                let end = self.written.load(Ordering::Relaxed).div_ceil(SECTOR);
                let dirty: Vec<_> = inode.dirty.range(..end).copied().collect();
                inode.durable.resize(inode.current.len(), 0);
                dirty.into_iter().for_each(|sector| inode.persist(sector));
            }
            Err(_) if !world.is_dead => {
                // The system takes the pages for clean.
                inode.dirty.clear();
                world.failed_syncs += 1;
            }
            Err(_) => {}
        }
        result
    }

    fn check(&self) -> io::Result<()> {
        let world = self.world.lock().unwrap();
        match world.names.values().any(|inode| *inode == self.inode) {
            true => Ok(()),
            false => Err(io::Error::new(ErrorKind::NotFound, "it was removed")),
        }
    }
}
