//! Files that were damaged, cut, removed, or are of another time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::outbox::about::ABOUT;
use crate::outbox::disk::Disk;
use crate::outbox::model::ModelDisk;
use crate::outbox::store::{Found, Outbox, Recovery, Sizes, SyncMode};
use crate::outbox::tests::{all, append, place, sent};

type Files = BTreeMap<PathBuf, Vec<u8>>;

const DIR: &str = "/outbox";
const TINY: Sizes = Sizes { control: 1024, least: 512, most: 1024 };

/// What an outbox says of itself.
#[derive(Debug, Clone, PartialEq)]
struct Said(Vec<(u64, String, bool, u64)>, Found);

/// An outbox of several segments, some of it settled, some sent, and what it says when it is opened.
fn small(is_rebooted: bool) -> (ModelDisk, Files, Said) {
    let model = ModelDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let mode = SyncMode::Batch;
    let opened = Outbox::open_with(disk, &place(Path::new(DIR)), mode, Recovery::Refuse, TINY);
    let (mut outbox, _) = opened.unwrap();
    for n in 0..8 {
        let text = format!("{n}").repeat(40);
        append(&mut outbox, &[&text, "group", "of three"]);
    }
    outbox.settled(1, 4, None);
    outbox.settled(10, 2, None);
    outbox.sent(&sent(5, 3, 1)).unwrap();
    outbox.unsent(8, 1, true);
    outbox.syncer().sync().unwrap();
    outbox.sent(&sent(14, 3, 2)).unwrap();
    outbox.settled(14, 1, None);
    outbox.syncer().sync().unwrap();
    // Records tell that a sync came through only once there is another one.
    outbox.sent(&sent(17, 1, 3)).unwrap();
    outbox.syncer().sync().unwrap();
    drop(outbox);
    if is_rebooted {
        model.crash();
    } else {
        model.kill();
    }
    let files = model.files();
    let said = open_and_read(&files, is_rebooted, Recovery::Refuse).0.unwrap();
    (model, files, said)
}

/// Opens these files on a disk of their own: what it says, and the files afterwards.
fn open_and_read(
    files: &Files,
    is_rebooted: bool,
    recovery: Recovery,
) -> (Result<Said, Error>, Files) {
    let model = ModelDisk::new(1);
    if is_rebooted {
        model.crash();
    }
    files.iter().for_each(|(path, bytes)| model.put(path, bytes.clone()));
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let opened = Outbox::open_with(disk, &place(Path::new(DIR)), SyncMode::Batch, recovery, TINY);
    let said = opened.map(|(mut outbox, found)| Said(all(&mut outbox, 0), found));
    (said, model.files())
}

/// Without the batch that was sent last.
fn without_last(found: &Found) -> Found {
    let mut found = found.clone();
    found.ranges.pop();
    found.session = found.session.map(|last| crate::outbox::Session { seq: last.seq - 1, ..last });
    found
}

/// An open that fails changes nothing and says what is wrong; one that does not finds what is there.
fn check(files: &Files, said: &Said, is_rebooted: bool, what: &str) -> bool {
    let (opened, after) = open_and_read(files, is_rebooted, Recovery::Refuse);
    match opened {
        Ok(found) => {
            // What was recorded between the last two syncs is not known to have been durable.
            let before = Said(said.0.clone(), without_last(&said.1));
            let fits = found == *said || is_rebooted && found == before;
            assert!(fits, "{what}: {found:?}, not {said:?}");
            false
        }
        Err(error) => {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::OutboxDamaged | ErrorKind::OutboxFailed), "{error}");
            assert!(error.message().contains(DIR), "it names the file: {error}");
            assert_eq!(after, *files, "{what}: nothing is changed");
            true
        }
    }
}

/// Salvage delivers a part of it, in order, and says that something is lost if anything is.
fn check_salvage(files: &Files, said: &Said, is_rebooted: bool, what: &str) {
    let (opened, after) = open_and_read(files, is_rebooted, Recovery::Salvage);
    let Said(read, found) = match opened {
        Ok(said) => said,
        Err(error) => return assert!(error.message().contains("newer"), "{what}: {error}"),
    };
    assert!(read.iter().map(|read| read.0).is_sorted(), "{what}");
    let whole: BTreeMap<u64, &(u64, String, bool, u64)> =
        said.0.iter().map(|read| (read.0, read)).collect();
    for read in &read {
        // What was settled may come back where the control files are lost.
        let same = whole.get(&read.0).is_none_or(|known| *known == read);
        assert!(same, "{what}: {read:?}");
    }
    let missing = said.0.iter().filter(|known| !read.contains(known)).count();
    if missing > 0 {
        let lost = found.lost.unwrap_or_else(|| panic!("{what}: {missing} are missing"));
        assert!(lost.writes > 0, "{what}: {lost:?}");
        let kept = after.keys().any(|path| path.extension().is_some_and(|end| end == "damaged"));
        let refused = open_and_read(files, is_rebooted, Recovery::Refuse).0.err();
        let what = format!("{what}, {lost:?}, {refused:?}, {:?}", after.keys());
        assert!(kept || what.starts_with("without"), "{what}: the damaged file is kept");
    }
    // It is an outbox again.
    let (again, _) = open_and_read(&after, is_rebooted, Recovery::Refuse);
    let again = again.unwrap_or_else(|error| panic!("{what}: after a salvage: {error}"));
    assert_eq!(again.0, read, "{what}");
}

fn is_data(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "seg") || path.to_string_lossy().contains("control")
}

#[test]
fn each_byte_turned_is_found_or_does_no_harm() {
    for is_rebooted in [false, true] {
        let (_, files, said) = small(is_rebooted);
        let mut found = 0;
        let mut turned = 0;
        for (path, bytes) in &files {
            for at in 0..bytes.len() {
                let flips: &[u8] = if at % 7 == 0 { &[0xff, 0x01, 0x80] } else { &[0xff] };
                for flip in flips {
                    let mut files = files.clone();
                    files.get_mut(path).unwrap()[at] ^= flip;
                    let what = format!("{} byte {at} ^ {flip}", path.display());
                    if path.ends_with(ABOUT) {
                        // Its date is nobody's concern.
                        let _ = check(&files, &said, is_rebooted, &what);
                        continue;
                    }
                    turned += 1;
                    if check(&files, &said, is_rebooted, &what) {
                        found += 1;
                        if at % 5 == 0 {
                            check_salvage(&files, &said, is_rebooted, &what);
                        }
                    }
                }
            }
        }
        // The rest is what is settled, the older control file, and room.
        assert!(found * 10 > turned, "{found} of {turned}");
    }
}

#[test]
fn each_cut_is_found_or_does_no_harm() {
    for is_rebooted in [false, true] {
        let (_, files, said) = small(is_rebooted);
        for (path, bytes) in files.iter().filter(|(path, _)| is_data(path)) {
            for length in 0..bytes.len() {
                let mut files = files.clone();
                files.get_mut(path).unwrap().truncate(length);
                let what = format!("{} cut to {length}", path.display());
                if check(&files, &said, is_rebooted, &what) && length % 16 == 0 {
                    check_salvage(&files, &said, is_rebooted, &what);
                }
            }
        }
    }
}

#[test]
fn each_file_that_is_gone_is_missed() {
    for is_rebooted in [false, true] {
        let (_, files, said) = small(is_rebooted);
        for path in files.keys() {
            let mut files = files.clone();
            files.remove(path);
            let what = format!("without {}", path.display());
            if check(&files, &said, is_rebooted, &what) {
                check_salvage(&files, &said, is_rebooted, &what);
            } else {
                let name = path.to_string_lossy();
                assert!(name.contains("control") || name.contains(".seg"), "{what}");
            }
        }
    }
}

#[test]
fn a_sector_of_zeros_is_found_or_does_no_harm() {
    let (_, files, said) = small(false);
    for (path, bytes) in files.iter().filter(|(path, _)| is_data(path)) {
        for sector in 0..bytes.len() / 512 {
            let mut files = files.clone();
            files.get_mut(path).unwrap()[sector * 512..(sector + 1) * 512].fill(0);
            let what = format!("{} sector {sector}", path.display());
            check(&files, &said, false, &what);
        }
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let (_, files, _) = small(false);
    let path = files.keys().find(|path| path.ends_with(ABOUT)).unwrap();
    let mut files = files.clone();
    let text =
        String::from_utf8(files[path].clone()).unwrap().replace("\"format\": 1", "\"format\": 2");
    files.insert(path.clone(), text.into_bytes());
    for recovery in [Recovery::Refuse, Recovery::Salvage] {
        let error = open_and_read(&files, false, recovery).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutboxFailed);
        assert!(error.message().contains("newer version"), "{error}");
    }
}

/// What is kept of a damaged file is for people: no later segment goes into it.
#[test]
fn a_damaged_file_that_is_kept_is_not_written_to() {
    let model = ModelDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let sizes = Sizes { most: 4096, ..TINY };
    let open = |recovery| {
        let mode = SyncMode::Process;
        Outbox::open_with(disk.clone(), &place(Path::new(DIR)), mode, recovery, sizes).unwrap().0
    };
    let write = |outbox: &mut Outbox| {
        for n in 0..100 {
            append(outbox, &[&format!("{n}").repeat(40)]);
        }
    };
    write(&mut open(Recovery::Refuse));
    model.kill();
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|own| own == "seg");
    let mut damaged = model.files();
    damaged.retain(|path, _| is_segment(path));
    for (path, bytes) in &mut damaged {
        bytes[100] ^= 1;
        model.put(path, bytes.clone());
    }
    let mut outbox = open(Recovery::Salvage);
    for _ in 0..4 {
        outbox.discard();
        outbox.chores().unwrap().run().unwrap();
        write(&mut outbox);
    }
    damaged.pop_last(); // the mark of the newest one is put right
    assert!(damaged.len() > 1);
    for (path, bytes) in damaged {
        let kept = PathBuf::from(format!("{}.damaged", path.display()));
        assert!(model.files()[&kept] == bytes, "{path:?}");
    }
}
