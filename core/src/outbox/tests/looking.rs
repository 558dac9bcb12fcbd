//! The tool that looks into outboxes.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use crate::outbox::disk::Disk;
use crate::outbox::format::Entry;
use crate::outbox::look::outbox_tool;
use crate::outbox::real::RealDisk;
use crate::outbox::store::SyncMode;
use crate::outbox::tests::{Folder, append, open_in, place, sent};

fn run(arguments: &[&str]) -> Result<String, String> {
    let mut out = Vec::new();
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    outbox_tool(&arguments, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Takes everything, and fails in this way once it is flushed.
struct Unflushed(ErrorKind);

impl Write for Unflushed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_reader_that_left_is_no_failure_and_a_full_disk_is_one() {
    let help = ["--help".to_owned()];
    assert_eq!(outbox_tool(&help, &mut Unflushed(ErrorKind::BrokenPipe)), Ok(()));
    assert!(outbox_tool(&help, &mut Unflushed(ErrorKind::StorageFull)).is_err());
}

#[test]
fn it_shows_what_waits_while_a_producer_is_at_work_and_takes_no_lock() {
    let folder = Folder::new();
    let dir = folder.0.to_str().unwrap();
    assert_eq!(run(&["list", dir]).unwrap(), "no outbox is here\n");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut outbox, _) = open_in(&disk, &folder.0, SyncMode::Process).unwrap();
    append(&mut outbox, &["settled", "a"]);
    append(&mut outbox, &["b"]);
    outbox.append(&[Entry { parts: &[b"\xff\n"], tag: 9 }], false).unwrap();
    outbox.settled(1, 1, None);
    outbox.sent(&sent(2, 1, 4)).unwrap();
    outbox.unsent(3, 1, true);

    let list = run(&["list", dir]).unwrap();
    assert!(list.starts_with("http://h/v1/stream/a\n"), "{list}");
    let expected =
        "waiting    3 writes, 6 bytes (1 bound to a request and unanswered, 1 may be stored)";
    assert!(list.contains(expected), "{list}");
    assert!(list.contains(&format!("process {} on ", std::process::id())), "{list}");
    let show = run(&["show", dir]).unwrap();
    let bound = "2  2 bytes, tag 1, bound to epoch 7, sequence number 4, unanswered: a!";
    assert!(show.contains(bound), "{show}");
    assert!(show.contains("3  2 bytes, may be stored: b!"), "{show}");
    assert!(show.contains("4  2 bytes, tag 9, waits: \u{fffd}\\n"), "{show}");
    let show = run(&["show", dir, "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&show).unwrap();
    assert_eq!((&value["writes"], &value["producer_id"]), (&3.into(), &"p".into()));
    assert_eq!(value["session"], serde_json::json!({ "epoch": 7, "next_seq": 5 }));
    assert_eq!(
        (&value["waiting"][0]["text"], &value["waiting"][2]["hex"]),
        (&"a!".into(), &"ff0a".into())
    );
    assert_eq!((&value["unanswered"], &value["is_open"]), (&1.into(), &true.into()));
    let own = place(&folder.0).folder();
    let export = run(&["export", own.to_str().unwrap(), "--json"]).unwrap();
    assert_eq!(export.lines().count(), 3);

    // Had it opened the lock's file, the lock would be gone, and another process could have it.
    assert_eq!(append(&mut outbox, &["goes on"]), 5);
    assert!(crate::outbox::tests::is_locked(&own));
    drop(outbox);
    assert!(!crate::outbox::tests::is_locked(&own));
    assert!(!run(&["list", dir]).unwrap().contains("opened by"));
}

#[test]
fn it_shows_what_is_left_of_a_damaged_outbox() {
    let folder = Folder::new();
    let dir = folder.0.to_str().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut outbox, _) = open_in(&disk, &folder.0, SyncMode::Process).unwrap();
    for text in ["a", "b", "c"] {
        append(&mut outbox, &[text]);
    }
    drop(outbox);
    let segment = place(&folder.0).folder().join("00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(2).position(|two| two == b"b!").unwrap();
    bytes[at] = b'x';
    std::fs::write(&segment, bytes).unwrap();
    let list = run(&["list", dir]).unwrap();
    assert!(list.contains("waiting    2 writes") && list.contains("damaged    "), "{list}");
    assert!(run(&["export", dir]).unwrap_err().contains("not everything could be read"));
}

#[test]
fn it_explains_itself() {
    assert!(run(&["--help"]).unwrap().contains("export DIR"));
    assert!(run(&[]).unwrap_err().contains("list DIR"));
    assert!(run(&["look", "/"]).unwrap_err().contains("there is no command look"));
    assert!(run(&["list", "/", "--all"]).unwrap_err().contains("there is no --all"));
    assert!(run(&["list", "/nowhere"]).unwrap_err().contains("/nowhere"));
}

/// While an outbox is read, another segment may go into the file of one that is settled.
#[test]
fn a_file_with_the_header_of_another_segment_is_passed_over() {
    let folder = Folder::new();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut outbox, _) = open_in(&disk, &folder.0, SyncMode::Process).unwrap();
    append(&mut outbox, &["a"]);
    let own = place(&folder.0).folder();
    std::fs::copy(own.join("00000001.seg"), own.join("00000002.seg")).unwrap();
    let list = run(&["list", folder.0.to_str().unwrap()]).unwrap();
    assert!(list.contains("waiting    1 write, 2 bytes") && !list.contains("damaged"), "{list}");
}

/// The process may have ended before the header was in the file.
#[test]
fn a_segment_that_is_being_made_of_a_used_file_is_no_damage() {
    let folder = Folder::new();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut outbox, _) = open_in(&disk, &folder.0, SyncMode::Process).unwrap();
    append(&mut outbox, &["a"]);
    let own = place(&folder.0).folder();
    let mut bytes = std::fs::read(own.join("00000001.seg")).unwrap();
    bytes[..80].fill(0);
    std::fs::write(own.join("00000002.seg"), bytes).unwrap();
    let list = run(&["list", folder.0.to_str().unwrap()]).unwrap();
    assert!(list.contains("waiting    1 write, 2 bytes") && !list.contains("damaged"), "{list}");
    drop(outbox);
    open_in(&disk, &folder.0, SyncMode::Process).unwrap();
}
