//! The lock among real processes, and folders that are not what they should be.
#![allow(unsafe_code, reason = "forks")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::outbox::disk::Disk;
use crate::outbox::format::Entry;
use crate::outbox::look::outbox_tool;
use crate::outbox::real::RealDisk;
use crate::outbox::store::{Found, Outbox, SyncMode};
use crate::outbox::tests::{Folder, append, open_in, place, texts};

/// What another process is to do, and in which folder.
const ROLE: &str = "DURSTREAM_TEST_OUTBOX_ROLE";
const DIR: &str = "DURSTREAM_TEST_OUTBOX_DIR";

fn open(dir: &Path) -> Result<(Outbox, Found), Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    open_in(&disk, dir, SyncMode::Process)
}

/// Another process with an outbox, which lives until it is killed or its input ends.
struct Other {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Other {
    fn start(role: &str, dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["outbox::tests::processes::another_process", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Other { process, lines }
    }

    /// What it says with this word in front.
    fn says(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended before `{word}`");
            if let Some((_, rest)) = line.trim_end().split_once(&format!("@{word}")) {
                return rest.trim_start().to_owned();
            }
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(word: &str, what: &str) {
    println!("\n@{word} {what}");
    std::io::stdout().flush().unwrap();
}

/// Waits until nobody holds the input's other end.
fn wait_for_end_of_input() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// The body of the other processes; nothing in a run of the tests.
#[test]
fn another_process() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) else { return };
    let dir = PathBuf::from(dir);
    let (mut outbox, _) = open(&dir).unwrap();
    match role.as_str() {
        "hold" => {
            append(&mut outbox, &["from another process"]);
            say("open", "");
            wait_for_end_of_input();
        }
        "fork" => {
            append(&mut outbox, &["before the fork"]);
            // SAFETY: the child uses what this thread made, and ends with `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let refused = outbox.append(&[Entry { parts: &[b"forked"], tag: 0 }], false);
                let own = open(&dir).map(drop);
                outbox.settled(1, 1, None);
                drop(outbox);
                say(
                    "child",
                    &format!(
                        "{:?} {:?}",
                        refused.err().map(|e| e.kind()),
                        own.err().map(|e| e.kind())
                    ),
                );
                wait_for_end_of_input();
                // SAFETY: nothing is left to be done.
                unsafe { libc::_exit(0) };
            }
            wait_for_end_of_input();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn whoever_comes_second_is_told_who_has_it_and_a_kill_frees_it() {
    let folder = Folder::new();
    let mut other = Other::start("hold", &folder.0);
    other.says("open");
    let error = open(&folder.0).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutboxInUse);
    let pid = format!("process {} ", other.process.id());
    assert!(error.message().contains(&pid), "{error}");
    assert!(error.message().contains(folder.0.to_str().unwrap()), "{error}");
    other.kill();
    let (mut outbox, found) = open(&folder.0).unwrap();
    assert_eq!((found.writes, found.may_miss_tuples), (1, false));
    assert_eq!(texts(&mut outbox), ["from another process!"]);
}

/// Who was killed left its name, and no lock.
#[test]
fn the_tool_says_whether_the_process_that_opened_it_is_still_there() {
    let folder = Folder::new();
    let list = || {
        let mut out = Vec::new();
        let arguments = ["list".to_owned(), folder.0.to_str().unwrap().to_owned()];
        outbox_tool(&arguments, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let mut other = Other::start("hold", &folder.0);
    other.says("open");
    let opened = format!("opened by  process {} on ", other.process.id());
    assert!(list().contains(&opened) && !list().contains("ended"), "{}", list());
    assert!(list().contains("waiting    1 write, 21 bytes (0 bound"), "{}", list());
    other.kill();
    let last = format!("  last opened by process {} on ", other.process.id());
    assert!(list().contains(&last) && list().contains(", which has ended\n"), "{}", list());
}

#[test]
fn a_forked_child_writes_nothing_and_keeps_no_lock() {
    let folder = Folder::new();
    let mut other = Other::start("fork", &folder.0);
    assert_eq!(other.says("child"), "Some(Forked) Some(OutboxInUse)");
    assert_eq!(open(&folder.0).err().unwrap().kind(), ErrorKind::OutboxInUse);
    // The child is alive: it holds the other end of our pipe.
    let input = other.process.stdin.take();
    other.kill();
    let (mut outbox, _) = open(&folder.0).unwrap();
    assert_eq!(texts(&mut outbox), ["before the fork!"]);
    drop(input);
}

#[test]
fn a_second_producer_of_the_process_is_refused_and_takes_nothing() {
    let folder = Folder::new();
    let (outbox, _) = open(&folder.0).unwrap();
    let link = folder.0.join("another-name");
    std::os::unix::fs::symlink(&folder.0, &link).unwrap();
    for dir in [&folder.0, &link] {
        assert_eq!(open(dir).err().unwrap().kind(), ErrorKind::OutboxInUse);
    }
    // The system's lock is still held.
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["outbox::tests::processes::another_process", "--exact"]);
    other.env(ROLE, "hold").env(DIR, &folder.0).stdin(Stdio::null());
    let output = other.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains("OutboxInUse"), "{text}");
    drop(outbox);
    open(&folder.0).unwrap();
}

#[test]
fn the_folder_and_its_files_are_for_this_user_alone() {
    let folder = Folder::new();
    let dir = folder.0.join("a/b");
    let (mut outbox, _) = open(&dir).unwrap();
    append(&mut outbox, &["a"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = place(&dir).folder();
    assert_eq!((mode(&dir), mode(&own)), (0o700, 0o700));
    let mut count = 0;
    for entry in std::fs::read_dir(&own).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn a_folder_that_is_gone_or_replaced_is_noticed() {
    let folder = Folder::new();
    let own = place(&folder.0).folder();
    let (mut outbox, _) = open(&folder.0).unwrap();
    append(&mut outbox, &["a"]);
    outbox.check().unwrap();
    let segment = own.join("00000001.seg");
    std::fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(512).unwrap();
    assert!(outbox.check().unwrap_err().message().contains("was cut"));
    drop(outbox);
    std::fs::remove_dir_all(&own).unwrap();
    let (outbox, _) = open(&folder.0).unwrap();
    outbox.check().unwrap();
    std::fs::remove_file(own.join("lock")).unwrap();
    let error = outbox.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutboxFailed);
    assert!(error.message().contains("removed or replaced"), "{error}");
    drop(outbox);
    let (outbox, _) = open(&folder.0).unwrap();
    std::fs::rename(&own, folder.0.join("away")).unwrap();
    assert_eq!(outbox.check().unwrap_err().kind(), ErrorKind::OutboxFailed);
}

#[test]
fn a_file_in_place_of_the_folder_is_told() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let error = open(&file).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutboxFailed);
    assert!(error.message().contains("has to be a folder"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    let path = ["/proc/durstream", "/sys/durstream"].map(Path::new);
    let Some(path) = path.into_iter().find(|path| path.parent().unwrap().is_dir()) else { return };
    let error = open(path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutboxFailed);
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
}

/// A filesystem of some hundred kilobytes, where this may be mounted; gone with the value.
struct SmallDisk(Folder);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<Self> {
        let folder = Folder::new();
        let options = format!("size={kilobytes}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "durstream"])
            .arg(&folder.0)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0.0).status();
    }
}

#[test]
fn a_disk_that_is_full_refuses_at_the_call_and_goes_on_once_there_is_room() {
    // Where nothing may be mounted the model's disk says it.
    let Some(disk) = SmallDisk::mount(64) else { return };
    let dir = &disk.0.0;
    let (mut outbox, _) = open(dir).unwrap();
    let long = [&[b'x'; 900][..]];
    let write = |outbox: &mut Outbox| outbox.append(&[Entry { parts: &long, tag: 0 }], false);
    let error = loop {
        if let Err(error) = write(&mut outbox) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert!(error.retryable(), "{error}");
    let next = outbox.next();
    assert!(next > 10, "{next}");
    // Nothing else needs room: not to send, not to settle, not to be opened again.
    for seq in 0..300 {
        outbox.sent(&crate::outbox::tests::sent(1, 3, seq)).unwrap();
    }
    drop(outbox);
    let (mut outbox, found) = open(dir).unwrap();
    assert_eq!((found.first, found.next), (1, next));
    outbox.settled(1, next - 2, None);
    outbox.chores().unwrap().run().unwrap();
    assert_eq!(write(&mut outbox).unwrap(), next);
    assert_eq!(texts(&mut outbox).len(), 2);
}
