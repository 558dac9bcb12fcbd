//! What an outbox holds as it is opened, and what is wrong with it. Changes nothing: what is to be
//! changed is a plan, which is carried out once all of it has been read.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::outbox::control::{Known, NAMES};
use crate::outbox::disk::{Disk, damaged, failed, newer};
use crate::outbox::format::{BadHeader, Header};
use crate::outbox::ledger::Ledger;
use crate::outbox::names::{segment_name, segment_number};
use crate::outbox::scan::Tail;
use crate::outbox::segment::Segment;

/// What could not be read, with [`Recovery::Salvage`](crate::outbox::store::Recovery).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many writes at least.
    pub(crate) writes: u64,
    /// How much of the files.
    pub(crate) bytes: u64,
    /// Where the first of it is, and what is wrong there.
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) why: &'static str,
}

/// What was found, and what is to be done.
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) segments: Vec<Segment>,
    pub(crate) next: u64,
    /// The highest number that a segment has or had.
    pub(crate) highest: u64,
    pub(crate) lost: Option<Lost>,
    /// Files of which nothing is needed.
    pub(crate) remove: Vec<PathBuf>,
    /// Damaged files that are kept: under another name, or a second one.
    pub(crate) rename: Vec<PathBuf>,
    pub(crate) link: Vec<PathBuf>,
    /// Segments behind whose records something is.
    pub(crate) wipe: Vec<u64>,
    /// Something was cut off, or given up: what is known now has to be durable first.
    pub(crate) is_changed: bool,
    /// What is known of the writes may be less than what was.
    pub(crate) is_doubtful: bool,
    /// The last segment cannot be gone on with.
    pub(crate) needs_segment: bool,
}

/// The way through the segments.
struct Walk<'a> {
    known: &'a Known,
    salvage: bool,
    found: Recovered,
    /// The position that is to come.
    expected: u64,
    /// A file whose header is wrong, until it is known whether anything of it is missing.
    bad: Option<(PathBuf, &'static str)>,
}

/// What is to be done about positions that are missing.
enum Missing {
    /// They are settled, or given up.
    Nothing,
    /// They were never promised: the outbox ends before them.
    Cut,
}

pub(crate) fn recover(
    disk: &dyn Disk,
    folder: &Path,
    names: &[String],
    known: &Known,
    salvage: bool,
) -> Result<Recovered> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let highest = numbers.last().copied().unwrap_or_default().max(known.newest.0);
    let found = Recovered {
        ledger: known.ledger.clone(),
        segments: Vec::new(),
        next: 1,
        highest,
        lost: None,
        remove: Vec::new(),
        rename: Vec::new(),
        link: Vec::new(),
        wipe: Vec::new(),
        is_changed: false,
        is_doubtful: known.is_doubtful,
        needs_segment: false,
    };
    let mut walk = Walk { known, salvage, found, expected: 1, bad: None };
    for (n, number) in numbers.iter().enumerate() {
        let path = folder.join(segment_name(*number));
        if !walk.segment(disk, *number, path)? {
            // Everything behind it is cut off.
            let rest = numbers[n + 1..].iter().map(|number| folder.join(segment_name(*number)));
            walk.found.remove.extend(rest);
            break;
        }
    }
    walk.end(folder)?;
    Ok(walk.found)
}

impl Walk<'_> {
    /// Takes a segment in; whether to go on.
    fn segment(&mut self, disk: &dyn Disk, number: u64, path: PathBuf) -> Result<bool> {
        let file = disk.open(&path).map_err(|error| failed("open", &path, &error))?;
        let is_known =
            number <= self.known.newest.0 || !self.known.same_boot || self.found.is_doubtful;
        let header = match Header::decode_segment(file.bytes()) {
            Err(BadHeader::Newer(version)) => return Err(newer(&path, version.into())),
            Err(_) if !is_known => {
                self.found.remove.push(path); // the process died as it made it
                return Ok(true);
            }
            Err(BadHeader::Blank) => return self.bad_header(path, "its header is missing"),
            Err(BadHeader::Wrong(why)) => return self.bad_header(path, why),
            Ok(header) => header,
        };
        if header.number != number {
            return self.bad_header(path, "its header is another file's");
        }
        if header.extra < self.expected {
            return self.bad_header(path, "its first position is an earlier file's");
        }
        let segment = Segment::opened(file, &path, &header);
        if !is_known && segment.contents.next == segment.first {
            self.found.remove.push(path);
            return Ok(true);
        }
        if !is_known {
            let place = path.with_file_name(NAMES[self.known.file]);
            if !self.salvage {
                return Err(damaged(&place, self.known.end, "a segment is not known in it"));
            }
            self.found.is_doubtful = true;
        }
        let (place, offset, why) = self.place_before(&path);
        let last = self.found.segments.last().filter(|last| last.path == place);
        let bytes = last.map_or(0, Segment::tail_bytes);
        let is_there = last.is_some();
        let before = self.found.lost.clone();
        let at = (offset, bytes);
        if let Missing::Cut = self.missing(self.expected, segment.first, &place, at, why)? {
            self.found.remove.push(path);
            return Ok(false);
        }
        if is_there && self.found.lost != before && !self.found.link.contains(&place) {
            self.found.link.push(place);
        }
        self.take_bad();
        self.take(segment)
    }

    /// Looks through the holes of a segment, and takes it; whether to go on.
    fn take(&mut self, mut segment: Segment) -> Result<bool> {
        let mut is_damaged = false;
        for hole in segment.contents.holes.clone() {
            let before = self.found.lost.clone();
            match self.missing(
                hole.first,
                hole.end,
                &segment.path,
                (hole.offset, hole.resumes - hole.offset),
                hole.why,
            )? {
                Missing::Nothing => is_damaged |= self.found.lost != before,
                Missing::Cut => {
                    segment.cut(hole.offset);
                    self.expected = segment.contents.next;
                    self.found.wipe.push(segment.number);
                    self.found.segments.push(segment);
                    return Ok(false);
                }
            }
        }
        if is_damaged {
            self.found.link.push(segment.path.clone());
        }
        self.expected = segment.contents.next;
        self.found.segments.push(segment);
        Ok(true)
    }

    /// A segment whose header is no help: whether it matters shows at the next one.
    fn bad_header(&mut self, path: PathBuf, why: &'static str) -> Result<bool> {
        self.take_bad();
        self.bad = Some((path, why));
        Ok(true)
    }

    /// Nothing of the file with a bad header is missing, or it is given up.
    fn take_bad(&mut self) {
        if let Some((path, _)) = self.bad.take() {
            let gave_up = self.found.lost.is_some();
            let to = if gave_up { &mut self.found.rename } else { &mut self.found.remove };
            to.push(path);
        }
    }

    /// Where something is missing that would come before a file.
    fn place_before(&self, path: &Path) -> (PathBuf, usize, &'static str) {
        if let Some((path, why)) = &self.bad {
            return (path.clone(), 0, why);
        }
        match self.found.segments.last() {
            Some(before) => {
                let why = match before.contents.tail {
                    Tail::Broken(why) => why,
                    _ => "writes are missing at its end",
                };
                (before.path.clone(), before.contents.end, why)
            }
            None => (path.to_owned(), 0, "the file before it is missing"),
        }
    }

    /// Positions that are not there.
    fn missing(
        &mut self,
        first: u64,
        end: u64,
        path: &Path,
        (offset, bytes): (usize, usize),
        why: &'static str,
    ) -> Result<Missing> {
        let Some((unsettled, _)) = self.found.ledger.unsettled(first, end).next() else {
            return Ok(Missing::Nothing);
        };
        if !self.known.same_boot && !self.found.is_doubtful && unsettled >= self.known.synced {
            return Ok(Missing::Cut);
        }
        if !self.salvage {
            return Err(damaged(path, offset, why));
        }
        // Behind what anybody knows of there may have been more: one at least.
        let known_end = if end == u64::MAX { self.found.ledger.known().max(first) } else { end };
        let ranges = self.found.ledger.unsettled(first, known_end);
        let writes =
            ranges.map(|(from, to)| to - from).sum::<u64>().max(u64::from(end == u64::MAX));
        self.found.ledger.settled(first, known_end);
        let file = path.to_owned();
        let lost = self.found.lost.get_or_insert_with(|| Lost {
            file,
            offset: offset as u64,
            why,
            ..Lost::default()
        });
        lost.writes += writes;
        lost.bytes += bytes as u64;
        self.found.is_changed = true;
        Ok(Missing::Nothing)
    }

    /// What follows the last segment.
    fn end(&mut self, folder: &Path) -> Result<()> {
        let newest = self.known.newest.0;
        let (place, offset, why) = self.place_before(&folder.join(segment_name(newest.max(1))));
        let last = self.found.segments.last();
        let is_gone = self.bad.is_some() || last.map_or(0, |segment| segment.number) < newest;
        let is_broken = last.is_some_and(|last| matches!(last.contents.tail, Tail::Broken(_)));
        let bytes = last.filter(|_| is_broken).map_or(0, Segment::tail_bytes);
        // Who has the newest segment, and who has a record that is wrong, had writes of which
        // nothing else knows. Behind another start of the machine they may never have been.
        let mark = last.filter(|_| self.known.same_boot).map_or(Some(0), Segment::mark);
        let unknown =
            mark.is_none() || is_broken || is_gone && (self.known.same_boot || self.salvage);
        let known_end =
            self.found.ledger.known().max(self.known.synced).max(mark.unwrap_or_default());
        let end = if unknown { u64::MAX } else { known_end };
        let before = self.found.lost.clone();
        if end > self.expected {
            self.missing(self.expected, end, &place, (offset, bytes), why)?;
        }
        let is_lost = self.found.lost != before;
        let is_there = self.found.segments.last().is_some_and(|last| last.path == place);
        if is_lost && is_there && !self.found.link.contains(&place) {
            self.found.link.push(place);
        }
        self.take_bad();
        let found = &mut self.found;
        let unsettled = found.ledger.unsettled(self.expected, u64::MAX).next();
        found.next = unsettled.map_or(self.expected, |(from, _)| from);
        if found.ledger.known() > found.next {
            found.ledger.cut(found.next);
            found.is_changed = true;
        }
        found.needs_segment = is_lost || found.segments.last().is_some_and(Segment::is_cut);
        if let Some(last) = found.segments.last()
            && last.contents.tail != Tail::Clean
            && !is_lost
        {
            found.wipe.push(last.number);
        }
        found.is_changed |= !found.wipe.is_empty();
        Ok(())
    }
}
