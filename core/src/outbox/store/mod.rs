//! The outbox of one producer: what was accepted, on disk, until it is settled.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::outbox::control::{CONTROL_BYTES, Controls};
use crate::outbox::disk::{Disk, Guard, failed, is_full};
use crate::outbox::format::{Control, Entry, Header, RECORDS, group_size, padded};
use crate::outbox::ledger::{Base, Ledger, Range, Sent, Session};
use crate::outbox::names::segment_name;
use crate::outbox::recover::Lost;
use crate::outbox::segment::{Read, Segment};
use crate::outbox::spare::{Shelf, Spare};
use crate::outbox::sync::Syncer;
use crate::runtime::chance::random;
use crate::runtime::fork::generation;

mod chores;
mod opening;

pub(crate) use chores::{Ahead, Chores};

/// What to do about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The open fails, and changes nothing.
    Refuse,
    /// What can be read is delivered; the rest is counted, and the damaged files are kept.
    Salvage,
}

/// What writes survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncMode {
    /// The process.
    Process,
    /// The machine too, once they may have been sent.
    Batch,
    /// The machine too, once they are accepted.
    Write,
}

impl SyncMode {
    fn number(self) -> u64 {
        match self {
            SyncMode::Process => 1,
            SyncMode::Batch => 2,
            SyncMode::Write => 3,
        }
    }
}

/// Sizes of files, small in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) control: usize,
    /// The first segment's; each further one of the same life has twice what the one before has.
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl Sizes {
    pub(crate) const USUAL: Sizes =
        Sizes { control: CONTROL_BYTES, least: 1024 * 1024, most: 16 * 1024 * 1024 };
}

/// What is not settled, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The first position that is not settled, and the next one to be given.
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// How many writes are not settled, and their bytes.
    pub(crate) writes: u64,
    pub(crate) bytes: u64,
    /// Those between `first` and `next` that are settled, as first positions and counts.
    pub(crate) settled: Vec<(u64, u64)>,
    /// Positions that have, or had, a tuple.
    pub(crate) ranges: Vec<Range>,
    /// The tuple of the last request that was sent, settled or not.
    pub(crate) session: Option<Session>,
    /// From where a look at the stream reads, where that is known.
    pub(crate) base: Option<Base>,
    /// The machine restarted, and the outbox was in [`SyncMode::Process`], or damaged: batches may
    /// have been sent of which nothing is known.
    pub(crate) may_miss_tuples: bool,
    /// The stream's last message was found, unsettled, and forgotten.
    pub(crate) forgot_last: bool,
    /// With [`Recovery::Salvage`].
    pub(crate) lost: Option<Lost>,
}

pub(crate) struct Outbox {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    sizes: Sizes,
    controls: Controls,
    ledger: Ledger,
    /// The last one is written to.
    segments: Vec<Segment>,
    /// The newest segment's number and first position.
    newest: (u64, u64),
    /// The highest number that a segment had.
    highest: u64,
    next: u64,
    syncer: Arc<Syncer>,
    /// The file of the next segment.
    shelf: Arc<Shelf>,
    /// It was looked, in this segment, whether there is one.
    looked_for_spare: bool,
    /// There was none, and one is to be made.
    wants_spare: bool,
    /// It was said that what is ready runs short, and nothing was done about it yet.
    said_short: bool,
    /// Something was settled since the last look at what can be deleted.
    is_settled: bool,
    /// What could not be recorded.
    failure: Option<Error>,
    may_miss_tuples: bool,
    forgot_last: bool,
    lost: Option<Lost>,
    made_in: u64,
    /// Last: the folder is let go of when everything else is closed.
    guard: Arc<dyn Guard>,
}

impl Outbox {
    /// What is not settled.
    pub(crate) fn found(&self) -> Found {
        let ranges = self.ledger.unsettled(self.first(), self.next);
        let writes = ranges.map(|(from, end)| end - from).sum();
        let bytes = self.segments.iter().map(|segment| self.waiting_bytes(segment)).sum();
        Found {
            first: self.first(),
            next: self.next,
            writes,
            bytes,
            settled: self.settled_ahead(),
            ranges: self.ledger.ranges().collect(),
            session: self.ledger.session,
            base: self.ledger.base.clone(),
            may_miss_tuples: self.may_miss_tuples,
            forgot_last: self.forgot_last,
            lost: self.lost.clone(),
        }
    }

    fn settled_ahead(&self) -> Vec<(u64, u64)> {
        let within = |(first, end): (u64, u64)| (first, end.min(self.next) - first);
        self.ledger.ahead().filter(|(first, _)| *first < self.next).map(within).collect()
    }

    /// How much of a segment is not settled.
    fn waiting_bytes(&self, segment: &Segment) -> u64 {
        let (first, next) = (segment.first, segment.contents.next);
        let ledger = &self.ledger;
        if ledger.unsettled(first, next).eq([(first, next)]) {
            return segment.contents.bytes;
        }
        let mut bytes = 0;
        let read = segment.read(ledger.settled_to(), &mut |group| {
            for (position, _, entry) in group.entries() {
                if !ledger.is_settled(position, position + 1) {
                    bytes += entry.len() as u64;
                }
            }
            true
        });
        read.map_or(0, |_| bytes) // it was read a moment ago; `read` tells why it is not now
    }

    /// The first position that is not settled; the next one if all are.
    pub(crate) fn first(&self) -> u64 {
        self.ledger.settled_to().min(self.next)
    }

    /// The position that the next write gets.
    #[cfg(test)]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Why nothing can be accepted or sent any more, if that is so.
    #[cfg(test)]
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.clone().or_else(|| self.syncer.failure())
    }

    #[inline]
    fn check_usable(&self) -> Result<()> {
        if self.made_in != generation() {
            return Err(Error::forked("the outbox"));
        }
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => self.syncer.failure().map_or(Ok(()), Err),
        }
    }

    /// Stores writes as one group, of which all survive or none: the position of the first. With
    /// `last`, the last of them is the stream's last message, which a later life forgets.
    ///
    /// Without room on the disk the error is [`ErrorKind::BufferFull`], and nothing is changed.
    #[inline]
    pub(crate) fn append(&mut self, entries: &[Entry<'_>], last: bool) -> Result<u64> {
        self.check_usable()?;
        if entries.is_empty() {
            return Ok(self.next);
        }
        let size = group_size(entries).ok_or_else(too_large)?;
        let has_room =
            |segment: &Segment| segment.room() >= size && segment.contents.next == self.next;
        if !self.segments.last().is_some_and(has_room) {
            self.add_segment(size)?;
        }
        let position = self.next;
        self.segments.last_mut().expect("there is one").append(size, entries, last);
        self.next += entries.len() as u64;
        self.syncer.appended(self.next);
        Ok(position)
    }

    /// Makes a segment with room for a group.
    #[cold]
    fn add_segment(&mut self, size: usize) -> Result<()> {
        let number = self.highest + 1;
        let path = self.folder.join(segment_name(number));
        let needed = padded(RECORDS + size);
        let spare = match self.shelf.take(self.disk.as_ref(), needed, &path) {
            Some(spare) => spare,
            None => {
                let size = needed.max(self.usual_size());
                let mut made = self.disk.create(&path, size);
                if made.as_ref().is_err_and(is_full) && self.shelf.clear(self.disk.as_ref()) {
                    made = self.disk.create(&path, size);
                }
                let file = made.map_err(|error| failed("make", &path, &error))?;
                Spare { file, ready: 0 }
            }
        };
        let size = spare.file.bytes().len();
        let header = Header {
            salt: random(),
            number,
            extra: self.next,
            boot: self.disk.boot(),
            eighths: u32::try_from(size / 8).map_err(|_| too_large())?,
        };
        let segment = Segment::begin(spare.file, spare.ready, &path, &header);
        (self.looked_for_spare, self.wants_spare) = (false, false);
        self.highest = number;
        let newest = (number, self.next);
        self.controls.record(
            &Control::Segment { number, first: self.next },
            &self.ledger,
            newest,
        )?;
        self.newest = newest;
        self.syncer.add_segment(number, segment.handle(), true);
        self.segments.push(segment);
        self.is_settled = true; // the one before may be
        Ok(())
    }

    /// The size of the next segment, if no write needs more.
    fn usual_size(&self) -> usize {
        let Sizes { least, most, .. } = self.sizes;
        let last = self.segments.last().filter(|last| last.is_own());
        last.map_or(least, |last| last.size().saturating_mul(2).clamp(least, most))
    }

    /// Whether what is ready for a writer has begun to run short: said once, until [`Outbox::ahead`] and
    /// [`Outbox::chores`] are asked for what is to be done.
    #[inline]
    pub(crate) fn runs_short(&mut self) -> bool {
        let Some(segment) = self.segments.last() else { return false };
        if !self.looked_for_spare && segment.room() < segment.size() / 2 {
            (self.looked_for_spare, self.wants_spare) = (true, self.shelf.is_empty());
        }
        let is_short = !self.said_short && (self.wants_spare || segment.runs_short());
        self.said_short |= is_short;
        is_short
    }

    /// What is to be made ready for the writer, without the lock.
    pub(crate) fn ahead(&mut self) -> Option<Ahead> {
        self.said_short = false;
        let (handle, from, to) = self.segments.last_mut()?.ahead()?;
        Some(Ahead { handle, from, to })
    }

    fn record(&mut self, record: &Control) -> Result<()> {
        let recorded = self.controls.record(record, &self.ledger, self.newest);
        if let Err(error) = &recorded {
            self.failure.get_or_insert_with(|| error.clone());
        }
        recorded
    }

    /// Before the first request for a batch: its positions go out under this tuple.
    pub(crate) fn sent(&mut self, sent: &Sent) -> Result<()> {
        self.check_usable()?;
        let (from, end) = (sent.first, (sent.first + sent.count).min(self.next));
        if from >= end {
            let session = Session { epoch: sent.epoch, seq: sent.seq, flags: sent.flags };
            self.ledger.session = Some(session);
            return self.record(&Control::Tuple(session));
        }
        let sent = Arc::new(sent.clone());
        self.ledger.sent(sent.clone(), from, end);
        self.record(&Control::Sent { sent, from, end })
    }

    /// These positions have no tuple any more; `in_doubt`: they may be stored under one they had.
    pub(crate) fn unsent(&mut self, first: u64, count: u64, in_doubt: bool) {
        let end = first.saturating_add(count).min(self.next);
        if first >= end || self.made_in != generation() {
            return;
        }
        self.ledger.unsent(first, end, in_doubt);
        let _ = self.record(&Control::Unsent { first, count: end - first, in_doubt });
    }

    /// These positions are settled, and never delivered again. `base` is from where a look reads now, if
    /// that changed.
    pub(crate) fn settled(&mut self, first: u64, count: u64, base: Option<Option<Base>>) {
        let end = first.saturating_add(count).min(self.next);
        if first >= end || self.made_in != generation() || self.ledger.is_settled(first, end) {
            return;
        }
        if let Some(base) = &base {
            self.ledger.base = base.clone();
        }
        self.ledger.settled(first, end);
        self.is_settled = true;
        let _ = self.record(&Control::Settled { first, count: end - first, base });
    }

    /// Settles everything: how many writes that were.
    pub(crate) fn discard(&mut self) -> u64 {
        let first = self.first();
        let ranges = self.ledger.unsettled(first, self.next);
        let count = ranges.map(|(from, end)| end - from).sum();
        self.settled(first, self.next - first, None);
        count
    }

    /// Hands over what is not settled from a position on, each record checked again, until there
    /// is no more or `take` returns false.
    pub(crate) fn read(&mut self, from: u64, take: &mut dyn FnMut(Read<'_>) -> bool) -> Result<()> {
        self.each(from, take)
    }

    fn each(&self, from: u64, take: &mut dyn FnMut(Read<'_>) -> bool) -> Result<()> {
        let from = from.max(self.first());
        let ledger = &self.ledger;
        for segment in self.segments.iter().filter(|segment| segment.contents.next > from) {
            let goes_on = segment.read(from, &mut |group| {
                let entries = group.entries().filter(|(position, ..)| {
                    *position >= from && !ledger.is_settled(*position, position + 1)
                });
                for (position, tag, bytes) in entries {
                    let joined = position + 1 < group.end();
                    if !take(Read { position, bytes, joined, tag }) {
                        return false;
                    }
                }
                true
            })?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// What makes it durable, from any thread.
    pub(crate) fn syncer(&self) -> Arc<Syncer> {
        self.syncer.clone()
    }

    /// Work that takes its time and needs no lock: files that are no longer needed, and a control
    /// file that is to be durable. To be asked for once something was settled.
    pub(crate) fn chores(&mut self) -> Option<Chores> {
        if self.made_in != generation() || self.controls.is_behind() {
            return None; // what is settled is not recorded
        }
        let mut spent = Vec::new();
        if std::mem::take(&mut self.is_settled) {
            let (ledger, newest) = (&self.ledger, self.newest.0);
            spent = self
                .segments
                .extract_if(.., |segment| {
                    segment.number != newest
                        && ledger.is_settled(segment.first, segment.contents.next)
                })
                .collect();
        }
        let makes = std::mem::take(&mut self.wants_spare);
        if spent.is_empty() && !makes && !self.controls.wants_sync() {
            return None;
        }
        let (disk, syncer, shelf) = (self.disk.clone(), self.syncer.clone(), self.shelf.clone());
        let (usual, guard) = (self.usual_size(), self.guard.clone());
        Some(Chores { disk, syncer, shelf, spent, makes, sizes: usual..=self.sizes.most, guard })
    }

    /// Whether the folder and its files are still those that were opened.
    pub(crate) fn check(&self) -> Result<()> {
        let handles = self.segments.iter().try_for_each(|segment| segment.handle().check());
        self.guard
            .check()
            .and(handles)
            .and_then(|()| self.controls.check())
            .map_err(|error| failed("go on with", &self.folder, &error))
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "the write is larger than an outbox can hold (4 GiB)")
}
