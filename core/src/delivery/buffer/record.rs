//! What a producer remembers of its writes: their outcomes, the flushes that report them, and what was
//! counted and measured.

use crate::delivery::buffer::batch::Batch;
use crate::delivery::buffer::flushes::{DueFlush, Flushes};
use crate::delivery::buffer::receipts::Ledger;
use crate::outcome::{Outcome, Status};
use crate::reason::Reason;
use crate::stats::{Counts, Meters};

#[derive(Default)]
pub(super) struct Record {
    pub(super) ledger: Ledger,
    pub(super) flushes: Flushes,
    /// All but the gauges, and but what is counted of idle producers, too.
    pub(super) counts: Counts,
    pub(super) meters: Meters,
}

impl Record {
    pub(super) fn due_flushes(&mut self) -> Vec<DueFlush> {
        self.flushes.due(self.ledger.settled_to())
    }

    /// Counts a batch's writes by their outcome.
    pub(super) fn count(&mut self, batch: &Batch, outcome: &Outcome) {
        let (count, counts) = (batch.writes, &mut self.counts);
        match outcome.status {
            Status::Delivered => {
                let bytes = batch.payload_bytes();
                counts.delivered += count;
                counts.duplicates += if outcome.duplicate { count } else { 0 };
                counts.uncertain += if outcome.maybe_duplicate { count } else { 0 };
                counts.batches += 1;
                counts.delivered_bytes += bytes;
                self.meters.batch_writes.record(count);
                self.meters.batch_bytes.record(bytes);
                self.flushes.count_delivered(batch.first_id, count, outcome);
            }
            Status::Rejected => counts.rejected += count,
            Status::Cancelled => counts.cancelled += count,
            Status::DeliveryUnknown | Status::Forgotten => counts.unknown += count,
            Status::Kept => counts.kept += count,
        }
        if let Some(reason) = outcome.reason {
            counts.expired += if reason == Reason::Expired { count } else { 0 };
            self.meters.count(reason, count);
        }
        match &outcome.error {
            Some(error) if outcome.status == Status::Kept => {
                self.flushes.count_kept(batch.first_id, count, error);
            }
            Some(error) => self.flushes.count_failed(batch.first_id, count, error),
            None => {}
        }
    }
}
