//! What an outbox promises, on the model's disk and on the system's.

mod damage;
#[cfg(unix)]
mod looking;
#[cfg(unix)]
mod processes;
mod random;
mod spare;
mod speed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::outbox::about::Place;
use crate::outbox::disk::Disk;
use crate::outbox::format::Entry;
use crate::outbox::ledger::{Base, RangeState, Sent, SentFlags};
use crate::outbox::model::ModelDisk;
use crate::outbox::real::RealDisk;
use crate::outbox::store::{Found, Outbox, Recovery, Sizes, SyncMode};

const SMALL: Sizes = Sizes { control: 2048, least: 1024, most: 4096 };

fn place(dir: &Path) -> Place {
    Place {
        shared: None,
        dir: dir.to_owned(),
        stream: "http://h/v1/stream/a".into(),
        producer_id: "p".to_owned(),
    }
}

fn open_in(disk: &Arc<dyn Disk>, dir: &Path, mode: SyncMode) -> Result<(Outbox, Found)> {
    Outbox::open_with(disk.clone(), &place(dir), mode, Recovery::Refuse, SMALL)
}

fn append(outbox: &mut Outbox, texts: &[&str]) -> u64 {
    let parts: Vec<[&[u8]; 2]> = texts.iter().map(|text| [text.as_bytes(), b"!"]).collect();
    let entries: Vec<_> =
        parts.iter().enumerate().map(|(n, parts)| Entry { parts, tag: n as u64 }).collect();
    outbox.append(&entries, false).unwrap()
}

fn all(outbox: &mut Outbox, from: u64) -> Vec<(u64, String, bool, u64)> {
    let mut out = Vec::new();
    let mut take = |read: crate::outbox::segment::Read<'_>| {
        let text = String::from_utf8(read.bytes.to_vec()).unwrap();
        out.push((read.position, text, read.joined, read.tag));
        true
    };
    outbox.read(from, &mut take).unwrap();
    out
}

fn texts(outbox: &mut Outbox) -> Vec<String> {
    all(outbox, 0).into_iter().map(|(_, text, ..)| text).collect()
}

fn sent(first: u64, count: u64, seq: u64) -> Sent {
    let flags = SentFlags { json: true, echoed: true, ..SentFlags::default() };
    Sent { epoch: 7, seq, first, count, flags }
}

/// A folder of the system's that is gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("durstream-outbox-{:016x}", crate::runtime::chance::random());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether another process would find the lock taken. Asked in another process: this one's own
/// lock does not keep it out, and would be gone once it had looked.
#[cfg(unix)]
fn is_locked(folder: &Path) -> bool {
    let script =
        "import fcntl, sys\nfcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)";
    let mut python = std::process::Command::new("python3");
    let python = python.args(["-c", script]).arg(folder.join("lock"));
    !python.stderr(std::process::Stdio::null()).status().unwrap().success()
}

/// Runs a test on both disks.
fn on_each_disk(test: impl Fn(&Arc<dyn Disk>, &Path)) {
    let model: Arc<dyn Disk> = Arc::new(ModelDisk::new(1));
    test(&model, Path::new("/outbox"));
    let folder = Folder::new();
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    test(&real, &folder.0);
}

#[test]
fn what_was_accepted_is_there_in_order_when_it_is_opened_again() {
    on_each_disk(|disk, dir| {
        let (mut outbox, found) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert_eq!((found.first, found.next, found.bytes), (1, 1, 0));
        assert_eq!(append(&mut outbox, &["a"]), 1);
        assert_eq!(append(&mut outbox, &["b", "c", "d"]), 2);
        assert_eq!(append(&mut outbox, &[""]), 5);
        drop(outbox);
        let (mut outbox, found) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert_eq!((found.first, found.next, found.writes, found.bytes), (1, 6, 5, 9));
        // Where the system does not say since when it is up, it may have been another machine's life.
        assert_eq!((found.session, found.may_miss_tuples), (None, disk.boot().is_none()));
        let read = all(&mut outbox, 0);
        let text = |text: &str| format!("{text}!");
        let expected = [
            (1, text("a"), false, 0),
            (2, text("b"), true, 0),
            (3, text("c"), true, 1),
            (4, text("d"), false, 2),
            (5, text(""), false, 0),
        ];
        assert_eq!(read, expected);
        assert_eq!(all(&mut outbox, 3), expected[2..]);
        assert_eq!(append(&mut outbox, &["e"]), 6);
    });
}

#[test]
fn what_is_settled_does_not_come_back_and_its_segments_are_deleted() {
    on_each_disk(|disk, dir| {
        let (mut outbox, _) = open_in(disk, dir, SyncMode::Process).unwrap();
        let long = "x".repeat(200);
        for _ in 0..100 {
            append(&mut outbox, &[&long]);
        }
        let folder = place(dir).folder();
        let segments = || {
            let names = disk.list(&folder).unwrap();
            names.iter().filter(|name| name.ends_with(".seg")).count()
        };
        let before = segments();
        assert!(before > 4, "{before}");
        outbox.settled(2, 89, None); // the first one is not
        outbox.chores().expect("files are spent").run().unwrap();
        assert!(segments() < before);
        drop(outbox);
        let (mut outbox, found) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert_eq!((found.first, found.next, found.writes), (1, 101, 11));
        let positions: Vec<_> = all(&mut outbox, 0).iter().map(|read| read.0).collect();
        assert_eq!(positions, [1].into_iter().chain(91..=100).collect::<Vec<_>>());
        assert_eq!(outbox.discard(), 11);
        outbox.chores().expect("files are spent").run().unwrap();
        assert_eq!(segments(), 1);
        assert_eq!(append(&mut outbox, &["new"]), 101);
        drop(outbox);
        let (mut outbox, _) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert_eq!(texts(&mut outbox), ["new!"]);
    });
}

#[test]
fn tuples_are_known_to_the_next_life() {
    let base = Base { offset: "0_10".into(), messages: 3, bytes: 12 };
    on_each_disk(|disk, dir| {
        let (mut outbox, _) = open_in(disk, dir, SyncMode::Process).unwrap();
        for _ in 0..40 {
            append(&mut outbox, &["a"]);
        }
        outbox.sent(&sent(1, 10, 0)).unwrap();
        outbox.sent(&sent(11, 10, 1)).unwrap();
        outbox.sent(&sent(21, 10, 2)).unwrap();
        outbox.settled(1, 10, Some(Some(base.clone())));
        outbox.unsent(21, 4, false);
        outbox.unsent(25, 6, true);
        // More than a control file holds: a snapshot tells the same.
        for _ in 0..200 {
            outbox.unsent(31, 1, true);
        }
        for _ in 0..3 {
            drop(outbox);
            let (next, found) = open_in(disk, dir, SyncMode::Process).unwrap();
            outbox = next;
            let ranges: Vec<_> =
                found.ranges.iter().map(|range| (range.first, range.count)).collect();
            assert_eq!(ranges, [(11, 10), (25, 7)]);
            assert_eq!(found.ranges[0].state, RangeState::Sent(Arc::new(sent(11, 10, 1))));
            assert_eq!(found.ranges[1].state, RangeState::InDoubt);
            let session = found.session.map(|session| (session.epoch, session.seq));
            assert_eq!((found.first, session), (11, Some((7, 2))));
            assert_eq!(found.base.as_ref(), Some(&base));
        }
    });
}

#[test]
fn the_streams_last_message_is_forgotten_by_the_next_life() {
    on_each_disk(|disk, dir| {
        let (mut outbox, _) = open_in(disk, dir, SyncMode::Process).unwrap();
        append(&mut outbox, &["a"]);
        outbox.append(&[Entry { parts: &[b"end"], tag: 0 }], true).unwrap();
        drop(outbox);
        let (mut outbox, found) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert_eq!((found.first, found.next, found.writes, found.forgot_last), (1, 3, 1, true));
        assert_eq!(texts(&mut outbox), ["a!"]);
        drop(outbox);
        let (_, found) = open_in(disk, dir, SyncMode::Process).unwrap();
        assert!(!found.forgot_last);
    });
}

#[test]
fn one_has_it_open_at_a_time() {
    on_each_disk(|disk, dir| {
        let (outbox, _) = open_in(disk, dir, SyncMode::Process).unwrap();
        let error = open_in(disk, dir, SyncMode::Process).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::OutboxInUse);
        drop(outbox);
        open_in(disk, dir, SyncMode::Process).unwrap();
    });
}

#[test]
fn a_full_disk_refuses_a_write_and_nothing_else() {
    let model = ModelDisk::new(1);
    let (disk, dir): (Arc<dyn Disk>, _) = (Arc::new(model.clone()), Path::new("/outbox"));
    let (mut outbox, _) = open_in(&disk, dir, SyncMode::Process).unwrap();
    model.set_full(true);
    let long = [&[b'x'; 300][..]];
    let full = loop {
        match outbox.append(&[Entry { parts: &long, tag: 0 }], false) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::BufferFull);
    let next = outbox.next();
    for n in 0..100 {
        outbox.sent(&sent(1, next.saturating_sub(1).max(1), n)).unwrap();
    }
    drop(outbox);
    let (mut outbox, found) = open_in(&disk, dir, SyncMode::Process).unwrap();
    assert_eq!(found.next, next);
    outbox.settled(1, next, None);
    model.set_full(false);
    assert_eq!(append(&mut outbox, &["there is room"]), next);
}

#[test]
fn a_failed_sync_stays_failed() {
    let model = ModelDisk::new(1);
    let (disk, dir): (Arc<dyn Disk>, _) = (Arc::new(model.clone()), Path::new("/outbox"));
    let (mut outbox, _) = open_in(&disk, dir, SyncMode::Write).unwrap();
    append(&mut outbox, &["a"]);
    let syncer = outbox.syncer();
    model.fail_in(1);
    assert_eq!(syncer.sync().unwrap_err().kind(), ErrorKind::OutboxFailed);
    assert_eq!(syncer.sync().unwrap_err().kind(), ErrorKind::OutboxFailed);
    let error = outbox.append(&[Entry { parts: &[b"b"], tag: 0 }], false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutboxFailed);
}

/// The system counts the calls of a thread that read and write. What it counts for looking at them is the
/// same with and without writes in between.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_survives_the_process_is_no_call_of_the_system() {
    let folder = Folder::new();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mode, refuse) = (SyncMode::Process, Recovery::Refuse);
    let opened = Outbox::open_with(disk, &place(&folder.0), mode, refuse, Sizes::USUAL);
    let (mut outbox, _) = opened.unwrap();
    append(&mut outbox, &["the first one makes a segment"]);
    let calls = || {
        let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let of = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        let of = |name| -> u64 { of(name).unwrap() };
        of("syscr: ") + of("syscw: ")
    };
    let (before, idle) = (calls(), calls());
    for _ in 0..1000 {
        append(&mut outbox, &["a write"]);
    }
    assert_eq!(calls() - idle, idle - before);
}
