//! The files of an outbox.

use crate::error::ErrorKind;
use crate::fuzzing::{check_text, first_line, parts};
use crate::outbox::control;
use crate::outbox::format::{self, At, Entry, Group, Header};
use crate::outbox::scan::{Tail, scan};

/// The salt of an outbox's files.
const SALT: u64 = 7;

/// What an outbox may find on its disk, a rule between the records. The first line says which file
/// it is; a record that begins with `!` is there as it stands, any other has its head in front.
pub fn outbox(data: &[u8]) {
    let parts = parts(data);
    let words = first_line(parts.first().copied().unwrap_or_default());
    let mut records = Vec::new();
    for part in parts.iter().skip(1).take(64) {
        match part.strip_prefix(b"!") {
            Some(raw) => records.extend(raw),
            None => {
                let mut record = [&[0; 8][..], part].concat();
                format::seal(&mut record, SALT);
                records.extend(record);
            }
        }
        records.resize(format::padded(records.len()), 0);
    }
    let first = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(1).max(1);
    match words.first() {
        Some(&"control") => check_control(&records),
        _ => check_segment(&records, first),
    }
}

fn check_segment(records: &[u8], first: u64) {
    let bytes = [&[0; format::RECORDS][..], records].concat();
    let contents = scan(&bytes, SALT, first);
    assert!(contents.next >= first && contents.end <= bytes.len());
    assert!(contents.index.is_sorted() && contents.last.is_sorted());
    let (mut at, mut next) = (format::RECORDS, first);
    while at < contents.end {
        if let Some(hole) = contents.holes.iter().find(|hole| hole.offset == at) {
            assert!(hole.first == next && hole.end >= next && hole.resumes >= at);
            (at, next) = (hole.resumes, hole.end);
        }
        let At::Record(record) = format::record_at(&bytes, at, SALT) else { panic!("no record") };
        let group = Group::read(record).expect("it was read");
        assert_eq!((group.position, group.entries().count() as u64), (next, group.count));
        // What is read is what would be written.
        let entries: Vec<_> = group.entries().map(|(_, tag, bytes)| (tag, [bytes])).collect();
        let entries: Vec<_> =
            entries.iter().map(|(tag, parts)| Entry { parts, tag: *tag }).collect();
        let mut again = vec![0; format::group_size(&entries).expect("it was read")];
        let head = format::write_group(SALT, next, &entries, group.last, |at, bytes| {
            again[at..at + bytes.len()].copy_from_slice(bytes);
        });
        again[..8].copy_from_slice(&head.to_le_bytes());
        let At::Record(copy) = format::record_at(&again, 0, SALT) else { panic!("not readable") };
        let copy = Group::read(copy).expect("it was written");
        assert!(copy.entries().eq(group.entries()) && copy.last == group.last);
        (at, next) = (at + record.size, group.end());
    }
    assert_eq!((at, next), (contents.end, contents.next));
    // What is cut off changes nothing of what is before it.
    let cut = scan(&bytes[..contents.end], SALT, first);
    assert!(cut.tail == Tail::Clean && (cut.next, cut.end) == (next, at));
}

fn check_control(records: &[u8]) {
    let size = format::HEADER + records.len();
    let header = |size: usize| Header {
        salt: SALT,
        number: 3,
        extra: 1,
        boot: Some([1; 16]),
        eighths: (size / 8) as u32,
    };
    let bytes = [&header(size).encode_control()[..], records].concat();
    let folder = std::path::Path::new("/outbox");
    for boot in [1, 2] {
        let read = |bytes: &[u8], salvage| {
            control::read([Some(bytes), None], folder, Some([boot; 16]), salvage)
        };
        let salvaged = read(&bytes, true).expect("something can be said of it");
        let known = match read(&bytes, false) {
            Ok(known) => known,
            Err(error) => {
                assert!(error.kind() == ErrorKind::OutboxDamaged && salvaged.is_doubtful);
                check_text(error.message());
                continue;
            }
        };
        assert!(known.end <= size && known.ledger == salvaged.ledger && !salvaged.is_doubtful);
        // A snapshot of it says the same.
        let length = control::image(&header(0), &known.ledger, known.newest, known.synced).len();
        let image = control::image(&header(length), &known.ledger, known.newest, known.synced);
        let again = read(&image, false).expect("it was written");
        assert!(again.ledger.same(&known.ledger), "{:?}, not {:?}", again.ledger, known.ledger);
        assert_eq!((again.newest, again.synced), (known.newest, known.synced));
    }
}
