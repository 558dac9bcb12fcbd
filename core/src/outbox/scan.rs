//! Reads the records of a segment from its bytes. Pure.

use crate::outbox::format::{At, Group, RECORDS, position_at, record_at};

/// How far apart the places are that are remembered of a segment.
const STRIDE: usize = 64 * 1024;

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The position behind the last record; the segment's first one where there is none.
    pub(crate) next: u64,
    /// Where the next record goes.
    pub(crate) end: usize,
    /// Places to begin reading: positions and offsets, in order.
    pub(crate) index: Vec<(u64, usize)>,
    /// Places where something is missing.
    pub(crate) holes: Vec<Hole>,
    pub(crate) tail: Tail,
    /// How much its writes are together.
    pub(crate) bytes: u64,
    /// A last message, if there is one.
    pub(crate) last: Vec<u64>,
}

/// Positions that are missing between two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where the record that is missing or wrong begins, and the next good one.
    pub(crate) offset: usize,
    pub(crate) resumes: usize,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) why: &'static str,
}

/// What follows the last record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros.
    #[default]
    Clean,
    /// The head of a record is zero, and something is behind it: it was not finished.
    Torn,
    /// A record is wrong.
    Broken(&'static str),
}

/// The next good record from `from` on whose position is at least `least`.
fn resume(bytes: &[u8], from: usize, salt: u64, least: u64) -> Option<(usize, Group<'_>)> {
    let end = bytes.len().saturating_sub(7);
    let mut at = from;
    while at < end {
        if bytes[at..at + 8] == [0; 8] {
            at += 8;
            continue;
        }
        // Cheap before dear: most places have no position that can be.
        // A write takes a byte at least: what is between cannot have been more than that.
        let can_be = position_at(bytes, at)
            .is_some_and(|position| position >= least && position - least <= (at - from) as u64);
        if can_be
            && let At::Record(record) = record_at(bytes, at, salt)
            && let Some(group) = Group::read(record)
        {
            return Some((at, group));
        }
        at += 8;
    }
    None
}

/// Reads a segment whose header was read: `first` is its first position.
pub(crate) fn scan(bytes: &[u8], salt: u64, first: u64) -> Contents {
    let mut contents = Contents { next: first, end: RECORDS, ..Contents::default() };
    let mut marked = 0;
    loop {
        let at = contents.end;
        let why = match record_at(bytes, at, salt) {
            At::Record(record) => match Group::read(record) {
                Some(group) if group.position == contents.next => {
                    if contents.index.is_empty() || at - marked >= STRIDE {
                        contents.index.push((group.position, at));
                        marked = at;
                    }
                    contents.next = group.end();
                    contents.bytes += group.bytes as u64;
                    contents.end = at + record.size;
                    if group.last {
                        contents.last.push(group.end() - 1);
                    }
                    continue;
                }
                Some(group) if group.position > contents.next => "writes are missing before it",
                Some(_) => "a record has the position of an earlier one",
                None => "a record has impossible fields",
            },
            At::End => "a record has no head",
            At::Wrong(why) => why,
        };
        if let Some((resumes, group)) = resume(bytes, at, salt, contents.next) {
            let (first, end) = (contents.next, group.position);
            contents.holes.push(Hole { offset: at, resumes, first, end, why });
            contents.next = end;
            contents.end = resumes;
            contents.index.push((end, resumes));
            marked = resumes;
            continue;
        }
        contents.tail = match record_at(bytes, at, salt) {
            At::End if bytes[at.min(bytes.len())..].iter().all(|byte| *byte == 0) => Tail::Clean,
            At::End => Tail::Torn,
            _ => Tail::Broken(why),
        };
        return contents;
    }
}

/// Hands over the groups from the one with `from` on, each checked again, as long as they are
/// wanted; whether all were. An error says where, and what is wrong.
pub(crate) fn walk(
    bytes: &[u8],
    salt: u64,
    contents: &Contents,
    from: u64,
    take: &mut dyn FnMut(&Group<'_>) -> bool,
) -> Result<bool, (usize, &'static str)> {
    let place = contents.index.partition_point(|(position, _)| *position <= from).saturating_sub(1);
    let Some((_, mut at)) = contents.index.get(place).copied() else { return Ok(true) };
    while at < contents.end {
        if let Some(hole) = contents.holes.iter().find(|hole| hole.offset == at) {
            at = hole.resumes;
            continue;
        }
        let why = match record_at(bytes, at, salt) {
            At::Record(record) => match Group::read(record) {
                Some(group) => {
                    at += record.size;
                    if group.end() > from && !take(&group) {
                        return Ok(false);
                    }
                    continue;
                }
                None => "a record has impossible fields",
            },
            At::End => "a record has no head",
            At::Wrong(why) => why,
        };
        return Err((at, why));
    }
    Ok(true)
}
