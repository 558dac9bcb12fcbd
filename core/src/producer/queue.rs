//! Sealed batches on their way to the wire, in order. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::batch::Batch;

/// A batch that waits to be sent, or to be sent again under another tuple.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    /// When its oldest write was accepted.
    pub(crate) born: Instant,
    /// Ends the stream with this batch.
    pub(crate) closes: bool,
    /// An earlier tuple of these bytes may have been stored.
    pub(crate) maybe_duplicate: bool,
}

#[derive(Default)]
pub(crate) struct Queue {
    batches: VecDeque<Queued>,
    /// When the first write of the open batch was accepted.
    pub(crate) open_since: Option<Instant>,
}

impl Queue {
    pub(crate) fn push_back(&mut self, batch: Batch) {
        let born = self.open_since.take().unwrap_or_else(Instant::now);
        self.batches.push_back(Queued { batch, born, closes: false, maybe_duplicate: false });
    }

    /// Ends the stream with the last batch, which holds the final message alone.
    pub(crate) fn close_with_last(&mut self) {
        if let Some(last) = self.batches.back_mut() {
            last.closes = true;
        }
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
        self.batches.front().map(|queued| queued.born).or(self.open_since)
    }
}
