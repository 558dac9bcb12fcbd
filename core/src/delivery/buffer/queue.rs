//! Sealed batches on their way to the wire, in order. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::delivery::buffer::batch::Batch;
use crate::delivery::buffer::doubt::Doubt;

/// A batch that waits to be sent, or to be sent again under another tuple.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    /// When its oldest write was accepted.
    pub(crate) born: Born,
    /// Ends the stream with this batch.
    pub(crate) closes: bool,
    pub(crate) doubt: Doubt,
    /// Requests it took so far, under all its tuples.
    pub(crate) attempts: u32,
    /// What may still be spent on the refused batch that this is a part of.
    pub(crate) splits: Option<Arc<SplitBudget>>,
}

/// How many requests taking one refused batch apart may cost with nothing accepted in between:
/// a server that refuses everything is not asked about every write.
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

    /// Takes one request; whether there are more.
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

/// Since when a batch counts as waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Born {
    pub(crate) at: Instant,
    /// It was made younger once, for a jump of the clock: no more than that, or a machine that is
    /// always late would hold it for ever.
    again: bool,
}

impl Born {
    fn now() -> Self {
        Born { at: Instant::now(), again: false }
    }

    /// Makes it younger, once.
    pub(crate) fn not_before(&mut self, then: Instant) {
        if self.at < then && !self.again {
            *self = Born { at: then, again: true };
        }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    batches: VecDeque<Queued>,
    /// When the first write of the open batch was accepted.
    open: Option<Born>,
}

impl Queue {
    pub(crate) fn push_back(&mut self, batch: Batch) {
        let born = self.open.take().unwrap_or_else(Born::now);
        self.batches.push_back(Queued {
            batch,
            born,
            closes: false,
            doubt: Doubt::default(),
            attempts: 0,
            splits: None,
        });
    }

    /// Ends the stream with the last batch, which holds the final message alone, or nothing.
    pub(crate) fn close_with_last(&mut self) {
        if let Some(last) = self.batches.back_mut() {
            last.closes = true;
        }
    }

    /// The batch sealed last.
    pub(crate) fn last(&mut self) -> Option<&mut Batch> {
        self.batches.back_mut().map(|queued| &mut queued.batch)
    }

    /// The first write of the open batch is accepted now.
    pub(crate) fn begin(&mut self) {
        self.open = Some(Born::now());
    }

    /// When the first write of the open batch was accepted.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.open.map(|born| born.at)
    }

    /// Makes everything younger that was accepted before then, once.
    pub(crate) fn born_not_before(&mut self, then: Instant) {
        self.batches.iter_mut().for_each(|queued| queued.born.not_before(then));
        self.open.iter_mut().for_each(|born| born.not_before(then));
    }

    /// Puts batches back, ahead of all others, in their order.
    pub(crate) fn put_back(&mut self, batches: impl DoubleEndedIterator<Item = Queued>) {
        batches.rev().for_each(|queued| self.batches.push_front(queued));
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        self.batches.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.batches.front().map(|queued| queued.born.at).or(self.open_since())
    }
}
