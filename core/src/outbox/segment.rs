//! A segment: a file of fixed size that holds nothing but writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::outbox::disk::{File, Handle, damaged, rewrite, wipe};
use crate::outbox::format::{Entry, Group, HEAD, Header, MARK, RECORDS, mark, write_group};
use crate::outbox::scan::{Contents, Tail, scan, walk};

/// How far apart the places are from which reading can begin.
const STRIDE: usize = 64 * 1024;
/// How much is made ready ahead of the writer at once, when less than half of it is left.
pub(crate) const AHEAD: usize = 1024 * 1024;
/// A segment with less than that in it has nothing made ready: most producers write little.
const LITTLE: usize = 32 * 1024;

pub(crate) struct Segment {
    file: Box<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    salt: u64,
    pub(crate) first: u64,
    pub(crate) contents: Contents,
    is_cut: bool,
    /// How much of it the system has ready.
    ready: usize,
    /// This life has made it: its file has no second name.
    is_own: bool,
}

/// An entry as it is read.
pub(crate) struct Read<'a> {
    pub(crate) position: u64,
    pub(crate) bytes: &'a [u8],
    /// The next entry is of the same group.
    pub(crate) joined: bool,
    pub(crate) tag: u64,
}

impl Segment {
    /// A segment in a file that is blank where its beginning goes, and of which so much is ready.
    pub(crate) fn begin(
        mut file: Box<dyn File>,
        ready: usize,
        path: &Path,
        header: &Header,
    ) -> Self {
        file.write(0, &header.encode_segment());
        Segment { ready, is_own: true, ..Segment::new(file, path, header) }
    }

    /// A segment whose header was read, and its contents.
    pub(crate) fn opened(file: Box<dyn File>, path: &Path, header: &Header) -> Self {
        let mut contents = scan(file.bytes(), header.salt, header.extra);
        let is_cut = !header.fits(file.bytes().len());
        if is_cut {
            contents.tail = Tail::Broken("the file was cut");
        }
        Segment { contents, is_cut, ..Segment::new(file, path, header) }
    }

    fn new(file: Box<dyn File>, path: &Path, header: &Header) -> Self {
        let (number, salt, first) = (header.number, header.salt, header.extra);
        let contents = Contents { next: first, end: RECORDS, ..Contents::default() };
        let path = path.to_owned();
        let (is_cut, ready, is_own) = (false, 0, false);
        Segment { file, path, number, salt, first, contents, is_cut, ready, is_own }
    }

    /// Whether another segment may go into its file.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    pub(crate) fn into_file(self) -> Box<dyn File> {
        self.file
    }

    /// Whether the writer is about to come to what is not ready.
    #[inline]
    pub(crate) fn runs_short(&self) -> bool {
        let end = self.contents.end;
        end >= LITTLE && end + AHEAD / 2 > self.ready && self.ready < self.size()
    }

    /// What is to be made ready next, from where to where; it counts as ready.
    pub(crate) fn ahead(&mut self) -> Option<(Arc<dyn Handle>, usize, usize)> {
        if !self.runs_short() {
            return None;
        }
        let from = self.ready.max(self.contents.end);
        self.ready = (from + AHEAD).min(self.size());
        Some((self.handle(), from, self.ready))
    }

    pub(crate) fn size(&self) -> usize {
        self.file.bytes().len()
    }

    /// Whether the file is not what it was made with.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn room(&self) -> usize {
        self.size().saturating_sub(self.contents.end)
    }

    /// Adds a group, for which there is room.
    #[inline]
    pub(crate) fn append(&mut self, size: usize, entries: &[Entry<'_>], last: bool) {
        let (at, position) = (self.contents.end, self.contents.next);
        let file = &mut self.file;
        let head = write_group(self.salt, position, entries, last, |offset, bytes| {
            file.write(at + offset, bytes);
        });
        if at + size + HEAD <= file.bytes().len() {
            // The end, before there is something in front of it: another segment may have been in the file.
            file.publish(at + size, 0);
        }
        file.publish(at, head);
        let marked = self.contents.index.last().map_or(0, |(_, at)| *at);
        if marked == 0 || at - marked >= STRIDE {
            self.contents.index.push((position, at));
        }
        self.contents.next += entries.len() as u64;
        self.file.publish(MARK, self.contents.next);
        self.contents.end += size;
        self.contents.bytes += entries.iter().map(Entry::size).sum::<usize>() as u64;
    }

    /// Hands over the groups from the one with `from` on, as long as they are wanted.
    pub(crate) fn read(&self, from: u64, take: &mut dyn FnMut(&Group<'_>) -> bool) -> Result<bool> {
        walk(self.file.bytes(), self.salt, &self.contents, from, take)
            .map_err(|(at, why)| damaged(&self.path, at, why))
    }

    /// Forgets everything from an offset on, of which nothing was promised.
    pub(crate) fn cut(&mut self, offset: usize) {
        self.contents = scan(&self.file.bytes()[..offset], self.salt, self.first);
    }

    /// Fills what is behind the records with zeros, so that nothing of it is taken for a record
    /// later; to be made durable before anything is written.
    pub(crate) fn wipe_tail(&mut self) {
        let (end, size) = (self.contents.end, self.size());
        wipe(self.file.as_mut(), end, size);
    }

    /// Writes all of it once more.
    pub(crate) fn rewrite(&mut self) {
        rewrite(self.file.as_mut());
    }

    /// The position behind the last write, as it was noted beside the records; `None` where that
    /// cannot be.
    pub(crate) fn mark(&self) -> Option<u64> {
        let mark = mark(self.file.bytes());
        let most = self.first + (self.size() / 4) as u64;
        (mark == 0 || (self.first..=most).contains(&mark)).then_some(mark)
    }

    /// Takes back a mark of writes that a crash of the machine took.
    pub(crate) fn lower_mark(&mut self) {
        if mark(self.file.bytes()) > self.contents.next {
            self.file.publish(MARK, self.contents.next);
        }
    }

    /// How much is behind the records.
    pub(crate) fn tail_bytes(&self) -> usize {
        let tail = self.file.bytes().get(self.contents.end..).unwrap_or_default();
        tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    pub(crate) fn handle(&self) -> Arc<dyn Handle> {
        self.file.handle()
    }
}
