//! The outbox as the book of a producer uses it: which writes it holds, which of them are in memory,
//! and what an earlier life left there.
//!
//! A write has an id in this life and a position in the outbox, which all lives share; the two are a
//! fixed distance apart.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::delivery::buffer::batch::Tag;
use crate::error::Result;
use crate::outbox::{
    Ahead, Base, Chores, Entry, Found, Outbox, Range, RangeState, Sent, SentFlags, Session, Syncer,
};

/// What an earlier life of the producer left, by the ids of this one.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// The first id and how many ids there are, settled ones among them included.
    pub(crate) ids: (u64, u64),
    /// How many of them are not settled, and their bytes.
    pub(crate) writes: u64,
    pub(crate) bytes: u64,
    /// Those that are settled, as first ids and counts.
    pub(crate) settled: Vec<(u64, u64)>,
}

/// The session that an earlier life was in.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    /// What it knew when it sent its last batch.
    pub(crate) flags: SentFlags,
    /// The batches under way then, by ids, with consecutive sequence numbers.
    pub(crate) sent: Vec<Sent>,
    /// From where a look at the stream reads.
    pub(crate) base: Option<Base>,
    /// Nothing new may go out under its epoch: tuples may have been used that the outbox does not
    /// know of.
    pub(crate) is_over: bool,
}

pub(crate) struct Store {
    pub(super) outbox: Outbox,
    /// What an id is below its position.
    shift: u64,
    /// Ids from here on are not in memory.
    pub(super) read_to: u64,
    /// What the ids that are not in memory count against the bounds.
    pub(super) unread: u64,
    /// How many bytes may lie in memory before they are sent.
    pub(super) memory: usize,
    /// Ids below it were not checked by this life.
    pub(super) unchecked_to: u64,
    /// Ranges of ids not in memory that may be in the stream already, in order.
    in_doubt: VecDeque<(u64, u64)>,
    resume: Option<Resume>,
    /// Ranges of ids that were settled in an earlier life.
    gaps: VecDeque<(u64, u64)>,
    /// From where a look reads once the next batch is settled.
    next_base: Option<Base>,
}

impl Store {
    pub(crate) fn new(outbox: Outbox, memory: u64) -> Self {
        Store {
            outbox,
            shift: 0,
            read_to: 1,
            unread: 0,
            memory: memory as usize,
            unchecked_to: 0,
            in_doubt: VecDeque::new(),
            resume: None,
            gaps: VecDeque::new(),
            next_base: None,
        }
    }

    /// Gives ids, from `first_id` on, to what is not settled. The session that it belongs to goes on
    /// if it `resumes`; else what may be stored under it is in doubt.
    pub(super) fn take_up(&mut self, found: Found, first_id: u64, resumes: bool) -> Left {
        self.shift = found.first.wrapping_sub(first_id);
        self.read_to = first_id;
        self.unread = 0;
        self.in_doubt.clear();
        self.resume = None;
        let count = found.next - found.first;
        self.unchecked_to = first_id + count;
        let id = |position: u64| position.wrapping_sub(self.shift);
        let settled: Vec<_> =
            found.settled.iter().map(|(first, count)| (id(*first), *count)).collect();
        let gaps: u64 = settled.iter().map(|(_, count)| count).sum();
        self.gaps = settled.iter().copied().collect();
        let (mut sent, mut in_doubt) = (Vec::new(), VecDeque::new());
        let session = found.session.filter(|_| resumes && count > 0);
        let mut first = found.first;
        let mut is_whole = true;
        for range in found.ranges {
            let Range { first: start, count, state } = range;
            first = skip(&found.settled, first);
            match (state, session) {
                (RangeState::Sent(own), Some(session))
                    if own.epoch == session.epoch
                        && (own.first, own.count) == (start, count)
                        && start == first
                        && follows(&sent, own.seq) =>
                {
                    first = start + count;
                    sent.push(Sent { first: id(start), ..Sent::clone(&own) });
                }
                (state, _) => {
                    is_whole &= !matches!(state, RangeState::Sent(_));
                    first = u64::MAX; // nothing behind it is under way
                    in_doubt.push_back((id(start), count));
                }
            }
        }
        if found.may_miss_tuples {
            // Any of it may have been sent.
            let under_way = sent.last().map_or(first_id, |last| last.first + last.count);
            let all = (under_way, first_id + count - under_way);
            in_doubt = VecDeque::from([all]);
            // The next life has to know it, too; what cannot be recorded now fails at the first batch.
            self.record_unsent(all.0, all.1, true);
            if let Some(Session { epoch, seq, flags }) = found.session {
                let flags = SentFlags { is_over: true, ..flags };
                let _ = self.outbox.sent(&Sent { epoch, seq, first: 0, count: 0, flags });
            }
        }
        self.in_doubt = in_doubt;
        self.in_doubt.retain(|(_, count)| *count > 0);
        self.resume = session.map(|session| Resume {
            epoch: session.epoch,
            next_seq: session.seq + 1,
            flags: session.flags,
            is_over: found.may_miss_tuples
                || session.flags.is_over
                || !is_whole
                || sent.last().is_some_and(|last: &Sent| last.seq != session.seq),
            sent,
            base: found.base,
        });
        let bytes = found.bytes;
        debug_assert_eq!(found.writes, count - gaps);
        Left { ids: (first_id, count), writes: count - gaps, bytes, settled }
    }

    /// The next run of ids below `end` that are not read and not settled; they count as read.
    pub(super) fn take_run(&mut self, end: u64) -> Option<(u64, u64)> {
        while let Some((first, count)) = self.gaps.front().copied() {
            if first > self.read_to {
                break;
            }
            self.read_to = self.read_to.max(first + count);
            self.gaps.pop_front();
        }
        let until = self.gaps.front().map_or(end, |(first, _)| (*first).min(end));
        let first = self.read_to;
        self.read_to = until;
        (until > first).then(|| (first, until - first))
    }

    pub(super) fn take_resume(&mut self) -> Option<Resume> {
        self.resume.take()
    }

    /// Stores a group of writes, each given in parts.
    #[inline]
    pub(super) fn append(&mut self, writes: &[(&[&[u8]], Tag)], last: bool) -> Result<u64> {
        match writes {
            [one] => self.outbox.append(&[entry(one)], last),
            _ => self.outbox.append(&writes.iter().map(entry).collect::<Vec<_>>(), last),
        }
    }

    pub(crate) fn position(&self, id: u64) -> u64 {
        id.wrapping_add(self.shift)
    }

    /// Whether the write that is read next begins a range that may be stored already: its length.
    pub(super) fn begins_doubt(&self, id: u64) -> Option<u64> {
        self.in_doubt.front().filter(|(first, _)| *first == id).map(|(_, count)| *count)
    }

    /// The first id of the next range in doubt.
    pub(super) fn next_doubt(&self) -> Option<u64> {
        self.in_doubt.front().map(|(first, _)| *first)
    }

    /// What is in doubt begins at `id` now.
    pub(super) fn pass_doubt(&mut self, id: u64) {
        let Some((first, count)) = self.in_doubt.pop_front() else { return };
        let end = first + count;
        if id < end {
            self.in_doubt.push_front((id, end - id));
        }
    }

    /// Records, before the first request, the tuple of a batch by ids.
    pub(super) fn record_sent(&mut self, sent: Sent) -> Result<()> {
        let first = self.position(sent.first);
        self.outbox.sent(&Sent { first, ..sent })
    }

    /// These ids have no tuple any more.
    pub(super) fn record_unsent(&mut self, first: u64, count: u64, in_doubt: bool) {
        let first = self.position(first);
        self.outbox.unsent(first, count, in_doubt);
    }

    /// From where a look at the stream reads once the next batch is settled, where that is known.
    pub(crate) fn record_base(&mut self, base: Option<Base>) {
        self.next_base = base;
    }

    /// These are settled. Where they were delivered a look reads from another place, which is unknown if
    /// it was not said.
    pub(super) fn record_settled(&mut self, first: u64, count: u64, is_delivered: bool) {
        let base = self.next_base.take();
        let first = self.position(first);
        self.outbox.settled(first, count, is_delivered.then_some(base));
    }

    /// Settles all of it for good: how many writes that were.
    pub(crate) fn discard(&mut self) -> Result<u64> {
        let dropped = self.outbox.discard();
        self.outbox.syncer().sync()?;
        Ok(dropped)
    }

    /// Work that takes its time, to be done without the lock.
    pub(crate) fn chores(&mut self) -> Option<Chores> {
        self.outbox.chores()
    }

    /// Whether what is ready for writers has begun to run short.
    pub(super) fn runs_short(&mut self) -> bool {
        self.outbox.runs_short()
    }

    /// What is to be made ready for writers, without the lock.
    pub(crate) fn ahead(&mut self) -> Option<Ahead> {
        self.outbox.ahead()
    }

    /// Whether its files are still those that were opened.
    pub(crate) fn check(&self) -> Result<()> {
        self.outbox.check()
    }

    pub(crate) fn syncer(&self) -> Arc<Syncer> {
        self.outbox.syncer()
    }
}

fn entry<'a>((parts, tag): &(&'a [&'a [u8]], Tag)) -> Entry<'a> {
    Entry { parts, tag: tag.number }
}

/// The next position that is not among the settled ranges.
fn skip(settled: &[(u64, u64)], mut position: u64) -> u64 {
    for (first, count) in settled {
        if *first == position {
            position += count;
        }
    }
    position
}

/// Whether a batch with this sequence number comes directly behind those.
fn follows(sent: &[Sent], seq: u64) -> bool {
    sent.last().is_none_or(|last| last.seq + 1 == seq)
}
