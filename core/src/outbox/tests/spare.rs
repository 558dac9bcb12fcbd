//! What two threads do to a folder at once, told apart by the calls to the disk: the file of the next
//! segment, and syncs of the folder.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::error::{ErrorKind, Result};
use crate::outbox::disk::{Disk, File, Guard};
use crate::outbox::format::{Boot, Entry};
use crate::outbox::model::ModelDisk;
use crate::outbox::spare::SPARE;
use crate::outbox::store::{Chores, Outbox, Recovery, Sizes, SyncMode};
use crate::outbox::tests::{append, place, sent, texts};
use crate::runtime::threads::lock;

const DIR: &str = "/outbox";
/// All segments are of one size.
const EVEN: Sizes = Sizes { control: 2048, least: 1024, most: 1024 };

/// So many writes fill the first segment and more.
const SPENT: u64 = 9;

type Meanwhile = Box<dyn FnOnce() + Send>;

/// The model's disk, on which something else happens as a call begins.
struct Stage {
    model: ModelDisk,
    before_rename: Mutex<Option<Meanwhile>>,
    before_folder_sync: Mutex<Option<Meanwhile>>,
    folder_syncs: Mutex<u64>,
}

impl Stage {
    fn new() -> Arc<Self> {
        Arc::new(Stage {
            model: ModelDisk::new(1),
            before_rename: Mutex::default(),
            before_folder_sync: Mutex::default(),
            folder_syncs: Mutex::default(),
        })
    }
}

fn meanwhile(slot: &Mutex<Option<Meanwhile>>) {
    let happens = lock(slot).take();
    happens.into_iter().for_each(|happens| happens());
}

impl Disk for Stage {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.model.make_folder(folder)
    }
    fn lock(&self, folder: &Path) -> Result<Box<dyn Guard>> {
        self.model.lock(folder)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.model.list(folder)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.model.read(path)
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.model.replace(path, bytes)
    }
    fn create(&self, path: &Path, size: usize) -> io::Result<Box<dyn File>> {
        self.model.create(path, size)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.model.open(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.model.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        meanwhile(&self.before_rename);
        self.model.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.model.link(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        meanwhile(&self.before_folder_sync);
        self.model.sync_folder(folder)?;
        *lock(&self.folder_syncs) += 1;
        Ok(())
    }
    fn boot(&self) -> Boot {
        self.model.boot()
    }
}

fn open(disk: &Arc<dyn Disk>, sizes: Sizes) -> Outbox {
    let (mode, refuse) = (SyncMode::Process, Recovery::Refuse);
    Outbox::open_with(disk.clone(), &place(Path::new(DIR)), mode, refuse, sizes).unwrap().0
}

fn run(chores: Option<Chores>) {
    chores.expect("there is something to do").run().unwrap();
}

fn names(disk: &dyn Disk) -> Vec<String> {
    disk.list(&place(Path::new(DIR)).folder()).unwrap()
}

/// Fills the segment in use until there is a file for the next one.
fn have_spare(outbox: &mut Outbox, disk: &dyn Disk, written: &mut Vec<String>) {
    while !names(disk).iter().any(|name| name == SPARE) {
        write(outbox, written);
        if outbox.runs_short() {
            run(outbox.chores());
        }
    }
}

fn write(outbox: &mut Outbox, written: &mut Vec<String>) {
    let text = format!("{}{}", written.len(), "x".repeat(100));
    append(outbox, &[&text]);
    written.push(text + "!");
}

/// The writer takes the next segment's file while the chores have a settled one that could take its place.
#[test]
fn the_name_of_a_spare_that_is_being_taken_goes_to_no_other_file() {
    let stage = Stage::new();
    let disk: Arc<dyn Disk> = stage.clone();
    let mut outbox = open(&disk, EVEN);
    let mut written = Vec::new();
    for _ in 0..12 {
        write(&mut outbox, &mut written);
    }
    have_spare(&mut outbox, &stage.model, &mut written);
    outbox.settled(1, SPENT, None);
    let chores = outbox.chores().expect("the first segment is spent");
    *lock(&stage.before_rename) = Some(Box::new(move || chores.run().unwrap()));
    while lock(&stage.before_rename).is_some() {
        write(&mut outbox, &mut written);
    }
    drop(outbox);
    stage.model.kill();
    assert_eq!(texts(&mut open(&disk, EVEN)), written[SPENT as usize..]);
}

/// A task may end with its runtime, and the thread of its chores later.
#[test]
fn chores_that_outlive_their_outbox_keep_its_lock() {
    let disk: Arc<dyn Disk> = Arc::new(ModelDisk::new(1));
    let mut outbox = open(&disk, EVEN);
    for _ in 0..12 {
        write(&mut outbox, &mut Vec::new());
    }
    outbox.settled(1, SPENT, None);
    let chores = outbox.chores().expect("the first segment is spent");
    drop(outbox);
    let (mode, place) = (SyncMode::Process, place(Path::new(DIR)));
    let again = Outbox::open_with(disk.clone(), &place, mode, Recovery::Refuse, EVEN);
    assert_eq!(again.err().map(|error| error.kind()), Some(ErrorKind::OutboxInUse));
    chores.run().unwrap();
    open(&disk, EVEN);
}

/// One write larger than all others would take its room on the disk for good.
#[test]
fn a_segment_that_is_larger_than_usual_is_no_spare() {
    let disk: Arc<dyn Disk> = Arc::new(ModelDisk::new(1));
    let mut outbox = open(&disk, EVEN);
    append(&mut outbox, &[&"x".repeat(100_000)]);
    append(&mut outbox, &["small"]);
    outbox.settled(1, 1, None);
    run(outbox.chores());
    let names = names(disk.as_ref());
    assert!(!names.iter().any(|name| name == SPARE || name == "00000001.seg"), "{names:?}");
}

#[test]
fn a_spare_makes_room_for_a_segment_that_it_is_too_small_for() {
    let model = ModelDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let mut outbox = open(&disk, EVEN);
    let mut written = Vec::new();
    have_spare(&mut outbox, disk.as_ref(), &mut written);
    model.set_full(true);
    let large = [&[b'x'; 2000][..]];
    let error = outbox.append(&[Entry { parts: &large, tag: 0 }], false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert!(!names(disk.as_ref()).iter().any(|name| name == SPARE));
    model.set_full(false);
    append(&mut outbox, &["there is room"]);
    drop(outbox);
    written.push("there is room!".to_owned());
    assert_eq!(texts(&mut open(&disk, EVEN)), written);
}

/// On some filesystems a crash leaves what was being renamed under both names.
#[test]
fn a_spare_of_an_earlier_life_is_not_written_to() {
    let disk: Arc<dyn Disk> = Arc::new(ModelDisk::new(1));
    let mut outbox = open(&disk, EVEN);
    append(&mut outbox, &["a"]);
    drop(outbox);
    let folder = place(Path::new(DIR)).folder();
    disk.link(&folder.join("00000001.seg"), &folder.join(SPARE)).unwrap();
    assert_eq!(texts(&mut open(&disk, EVEN)), ["a!"]);
    assert_eq!(texts(&mut open(&disk, EVEN)), ["a!"]);
}

/// The chores are at the folder as a batch is to be durable, with a segment made before.
#[test]
fn a_sync_waits_for_the_folder_though_another_one_has_begun_with_it() {
    let stage = Stage::new();
    let disk: Arc<dyn Disk> = stage.clone();
    let mut outbox = open(&disk, EVEN);
    append(&mut outbox, &["a"]);
    outbox.sent(&sent(1, 1, 0)).unwrap();
    *lock(&stage.folder_syncs) = 0;
    let (syncer, of_stage) = (outbox.syncer(), stage.clone());
    *lock(&stage.before_folder_sync) = Some(Box::new(move || {
        syncer.sync_writes().unwrap();
        assert_eq!(*lock(&of_stage.folder_syncs), 1, "the name of the segment is not durable");
    }));
    outbox.syncer().sync_notes().unwrap();
    assert!(lock(&stage.before_folder_sync).is_none());
}

/// The larger file that a snapshot needs cannot be made; the one before is gone by then.
#[test]
fn a_control_file_that_cannot_be_made_is_made_once_there_is_room() {
    let model = ModelDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let mut outbox = open(&disk, Sizes { control: 1024, least: 65_536, most: 65_536 });
    for _ in 0..200 {
        append(&mut outbox, &["a"]);
    }
    // One file after the other is filled with what takes no room in a snapshot.
    for _ in 0..100 {
        outbox.unsent(1, 1, true);
    }
    // Each second one on its own: soon a snapshot takes more than a file has.
    model.set_full(true);
    let mut n = 1;
    while outbox.failure().is_none() {
        n += 2;
        outbox.unsent(n, 1, true);
    }
    outbox.unsent(n + 2, 1, true);
    model.set_full(false);
    outbox.unsent(n + 4, 1, true);
    drop(outbox);
    let (mode, place) = (SyncMode::Process, place(Path::new(DIR)));
    let (_, found) = Outbox::open_with(disk, &place, mode, Recovery::Refuse, Sizes::USUAL).unwrap();
    assert_eq!(found.ranges.len() as u64, (n + 5).div_ceil(2));
}
