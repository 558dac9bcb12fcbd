//! Sealed batches on their way to the wire, in order. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::delivery::buffer::batch::{Batch, Builder, Tag};
use crate::delivery::buffer::doubt::Doubt;
use crate::protocol::json::check;

/// A batch that waits to be sent, or to be sent again under another tuple.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    /// When its oldest write was accepted.
    pub(crate) enqueued: EnqueuedAt,
    /// Ends the stream with this batch.
    pub(crate) closes: bool,
    pub(crate) doubt: Doubt,
    /// Requests sent for it so far, under all its tuples.
    pub(crate) attempts: u32,
    /// An end of the stream at which the batch was certainly not in it.
    pub(crate) absent_at: Option<Arc<str>>,
    /// The requests that the refused batch it is a part of may still cost.
    pub(crate) splits: Option<Arc<SplitBudget>>,
}

impl Queued {
    /// A batch that was accepted now, as far as is known.
    pub(crate) fn new(batch: Batch) -> Self {
        Queued {
            batch,
            enqueued: EnqueuedAt::now(),
            closes: false,
            doubt: Doubt::default(),
            attempts: 0,
            absent_at: None,
            splits: None,
        }
    }

    /// Two parts of half the groups each, in order; `None` for a single group. The second part ends
    /// the stream if this batch does.
    pub(crate) fn split(&self) -> Option<[Queued; 2]> {
        let (first, second) = self.batch.split()?;
        let part = |batch, closes| Queued {
            batch,
            closes,
            absent_at: self.absent_at.clone(),
            splits: self.splits.clone(),
            ..*self
        };
        Some([part(first, false), part(second, self.closes)])
    }
}

/// How many requests the splitting of one refused batch may cost while no part is accepted: a
/// server that refuses everything is not asked about every write.
#[derive(Debug)]
pub(crate) struct SplitBudget {
    full: u32,
    left: AtomicU32,
}

impl SplitBudget {
    pub(crate) fn new(groups: usize) -> Self {
        let full = 2 * (groups.max(2).ilog2() + 1) + 8;
        SplitBudget { full, left: AtomicU32::new(full) }
    }

    /// Takes one request; whether any is left.
    pub(crate) fn spend(&self) -> bool {
        let less = |left: u32| Some(left.saturating_sub(1));
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok_and(|left| left > 1)
    }

    /// A part was accepted.
    pub(crate) fn refill(&self) {
        self.left.store(self.full, Ordering::Relaxed);
    }
}

/// The moment since which a batch counts as waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EnqueuedAt {
    pub(crate) at: Instant,
    /// It was moved once, for a jump of the clock: no more than that, or a machine that is always
    /// late would hold the batch for ever.
    again: bool,
}

impl EnqueuedAt {
    fn now() -> Self {
        EnqueuedAt { at: Instant::now(), again: false }
    }

    /// Moves it to `then` if it is earlier, once.
    pub(crate) fn not_before(&mut self, then: Instant) {
        if self.at < then && !self.again {
            *self = EnqueuedAt { at: then, again: true };
        }
    }
}

/// The batches of a producer: the open one, in which writes gather, and the sealed ones.
pub(crate) struct Queue {
    open: Builder,
    /// When the first write of the open batch was accepted.
    open_since: Option<EnqueuedAt>,
    sealed: VecDeque<Queued>,
    /// How many bytes the sealed ones have.
    sealed_bytes: usize,
}

impl Queue {
    pub(super) fn new(json: bool) -> Self {
        Queue {
            open: Builder::new(json),
            open_since: None,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
        }
    }

    /// Copies a write into the open batch.
    pub(super) fn gather(&mut self, id: u64, parts: &[&[u8]]) {
        if self.open.is_empty() {
            self.open_since = Some(EnqueuedAt::now());
        }
        self.open.push(id, parts);
    }

    /// Joins the write that was gathered last to the next one.
    pub(super) fn join(&mut self) {
        self.open.join();
    }

    /// Tags the write that was gathered last.
    pub(super) fn tag(&mut self, tag: Tag) {
        self.open.tag(tag);
    }

    /// Seals the open batch; whether there was one.
    pub(super) fn seal(&mut self) -> bool {
        let batch = self.open.seal();
        let seals = batch.is_some();
        batch.into_iter().for_each(|batch| self.push_back(batch));
        seals
    }

    pub(super) fn push_back(&mut self, batch: Batch) {
        let enqueued = self.open_since.take().unwrap_or_else(EnqueuedAt::now);
        if self.sealed.capacity() == 0 {
            self.sealed.reserve_exact(1); // most producers never have a second one
        }
        self.push_queued(Queued { enqueued, ..Queued::new(batch) });
    }

    pub(super) fn push_queued(&mut self, queued: Queued) {
        self.sealed_bytes += queued.batch.body.len();
        self.sealed.push_back(queued);
    }

    /// Gives back the memory that batches have left.
    pub(super) fn rest(&mut self) {
        self.sealed.shrink_to_fit();
    }

    /// Whether writes are framed as JSON.
    pub(super) fn is_framed(&self) -> bool {
        self.open.is_framed()
    }

    /// How many bytes wait here.
    pub(super) fn bytes(&self) -> usize {
        self.open.bytes() + self.sealed_bytes
    }

    #[cfg(test)]
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.bytes()
    }

    fn count_bytes(&mut self) {
        self.sealed_bytes = self.sealed.iter().map(|queued| queued.batch.body.len()).sum();
    }

    /// The id that the open batch goes on with, if it has a write.
    pub(super) fn next_open_id(&self) -> Option<u64> {
        self.open.next_id()
    }

    /// Ends the stream with the last batch, which holds the final message alone, or nothing.
    pub(super) fn close_with_last(&mut self) {
        if let Some(last) = self.sealed.back_mut() {
            last.closes = true;
        }
    }

    /// Gives the batch sealed last a `Stream-Seq`.
    pub(super) fn set_stream_seq(&mut self, seq: &str) {
        if let Some(last) = self.sealed.back_mut() {
            last.batch.stream_seq = Some(seq.into());
        }
    }

    /// When the first write of the open batch was accepted.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.open_since.map(|enqueued| enqueued.at)
    }

    /// Counts every batch accepted before `then` as accepted then, once.
    pub(super) fn enqueued_not_before(&mut self, then: Instant) {
        self.sealed.iter_mut().for_each(|queued| queued.enqueued.not_before(then));
        self.open_since.iter_mut().for_each(|enqueued| enqueued.not_before(then));
    }

    /// Puts batches back, ahead of all others, in their order.
    pub(super) fn put_back(&mut self, batches: impl DoubleEndedIterator<Item = Queued>) {
        for queued in batches.rev() {
            self.sealed_bytes += queued.batch.body.len();
            self.sealed.push_front(queued);
        }
    }

    /// Frames what waits as the stream's type wants it, all of it framed as JSON before. Returns the
    /// writes that are no JSON values, each with the reason.
    pub(super) fn frame_as(&mut self, json: bool) -> Vec<(Queued, String)> {
        let mut wrong = Vec::new();
        if !json {
            self.open.unframe();
            self.sealed.iter_mut().for_each(|queued| queued.batch.unframe());
            self.count_bytes();
            return wrong;
        }
        if self.open.framed().any(|write| check(write).is_err()) {
            self.seal();
        }
        let mut unchecked = std::mem::take(&mut self.sealed);
        while let Some(queued) = unchecked.pop_front() {
            let why = queued.batch.payloads().find_map(|(_, write)| check(&write).err());
            match (why, queued.split()) {
                (None, _) => self.sealed.push_back(queued),
                (Some(_), Some(parts)) => {
                    parts.into_iter().rev().for_each(|part| unchecked.push_front(part));
                }
                (Some(why), None) => wrong.push((queued, why)),
            }
        }
        self.count_bytes();
        wrong
    }

    /// Takes out what may be in the stream already, or still come there.
    pub(super) fn take_in_doubt(&mut self) -> Vec<Queued> {
        let sealed = std::mem::take(&mut self.sealed);
        let (in_doubt, others) = sealed.into_iter().partition(|queued| queued.doubt.is_open());
        self.sealed = Vec::into(others);
        self.count_bytes();
        in_doubt
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.sealed.pop_front()?;
        self.sealed_bytes -= queued.batch.body.len();
        Some(queued)
    }

    /// How many batches are sealed.
    pub(super) fn sealed(&self) -> usize {
        self.sealed.len()
    }

    /// Whether nothing is sealed.
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }

    /// Whether nothing is sealed, and the open batch is empty.
    pub(crate) fn is_all_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_empty()
    }

    /// How many writes the open batch has.
    pub(super) fn open_items(&self) -> u64 {
        self.open.items()
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.open.bytes()
    }

    /// As many bytes as the open batch would have as JSON.
    pub(super) fn open_framed_bytes(&self) -> usize {
        self.open.framed_bytes()
    }

    /// The first write of the open batch, if it has one.
    pub(super) fn first_open_id(&self) -> Option<u64> {
        (!self.open.is_empty()).then(|| self.open.first_id())
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.sealed.front().map(|queued| queued.enqueued.at).or(self.open_since())
    }
}
