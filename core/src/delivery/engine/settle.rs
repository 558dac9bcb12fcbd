//! Settling: the outcome of a batch is recorded, its room given back, and every caller informed
//! that waits for the batch, receives its report, or waits for room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::delivery::buffer::batch::Batch;
use crate::delivery::buffer::budget::Budget;
use crate::delivery::buffer::queue::Queued;
use crate::delivery::callbacks::Report;
use crate::delivery::engine::Engine;
use crate::error::Error;
use crate::outcome::{KEPT, Outcome, Status};
use crate::reason::Reason;
use crate::runtime::lifecycle::Telling;

/// What happens to the room that a settled batch had reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is free for other writes.
    Released,
    /// The bytes are still held.
    Kept,
}

impl Engine {
    /// Settles a batch and completes every wait for it.
    pub(crate) fn settle(self: &Arc<Self>, queued: &Queued, outcome: Outcome, room: Room) {
        let batch = &queued.batch;
        #[cfg(test)]
        self.runtime().chance().note(|| format!("{}+{} {outcome:?}", batch.first_id, batch.writes));
        if batch.is_end() {
            let end = self.closes().as_mut().and_then(|closes| closes.end.take());
            end.into_iter().for_each(|completer| completer.complete(Ok(outcome.clone())));
            return;
        }
        if self.config.trace {
            self.tell_span(queued, &outcome);
        }
        let end = outcome.error.as_ref().and_then(|_| self.end_notice());
        let report = self.listeners.report(batch, &outcome, end);
        let released = room == Room::Released;
        let report = report.map(|report| (report, Telling::begin()));
        let held = report.as_ref().map_or(0, |(report, _)| report.cost());
        let due = {
            let mut book = self.book();
            // Reserved until the host has seen the report, and before the rest is free for others.
            book.reserve_anyway(held);
            book.settle(batch, outcome.clone(), released)
        };
        let Some(error) = &outcome.error else {
            // First, where anybody is told: behind it a holder's callbacks are let go. Else nothing is
            // before what an idle producer's caller waits for.
            report.into_iter().for_each(|report| self.dispatch(report, held));
            due.complete();
            return self.announce();
        };
        self.announce();
        match report {
            Some(report) => self.dispatch(report, held),
            None if !self.config.awaited => self.log_once(&outcome, error, batch.writes),
            None => {}
        }
        due.complete();
    }

    /// Settles every write of a batch that is given up.
    pub(crate) fn give_up(
        self: &Arc<Self>,
        queued: &Queued,
        in_doubt: bool,
        status: Status,
        reason: Reason,
        error: Error,
    ) {
        self.settle(queued, Outcome::undelivered(in_doubt, status, reason, error), Room::Released);
    }

    /// Settles every write of a batch because the producer ends. In an outbox it stays: whatever ends
    /// the producer, nobody refused the write for good.
    pub(crate) fn leave(
        self: &Arc<Self>,
        queued: &Queued,
        in_doubt: bool,
        status: Status,
        reason: Reason,
        error: Error,
    ) {
        let outcome = self.left(in_doubt, status, reason, error);
        self.settle(queued, outcome, Room::Released);
    }

    /// Settles what waits in the outbox alone.
    pub(crate) fn leave_unread(self: &Arc<Self>, reason: Reason, error: &Error) {
        loop {
            let Some((first, writes)) = self.book().take_unread() else { break };
            let outcome = self.left(false, Status::Cancelled, reason, error.clone());
            self.settle(&Queued::new(Batch::unread(first, writes)), outcome, Room::Kept);
        }
    }

    /// The outcome of a write that is left behind.
    fn left(&self, in_doubt: bool, status: Status, reason: Reason, error: Error) -> Outcome {
        match self.config.outbox.is_some() && !self.discards.load(Ordering::Acquire) {
            true => Outcome::kept(in_doubt, reason, &error),
            false => Outcome::undelivered(in_doubt, status, reason, error),
        }
    }

    /// Gives room back to writers.
    pub(crate) fn release(&self, cost: u64) {
        self.book().release(cost);
        self.announce();
    }

    /// Delivers a report on the dispatcher thread; the room it `held` is free after that.
    fn dispatch(self: &Arc<Self>, (report, telling): (Report, Telling), held: u64) {
        let engine = self.clone();
        self.runtime().dispatch(move || {
            let _until_told = telling;
            report.deliver();
            if held > 0 {
                engine.release(held);
            }
        });
    }

    /// Wakes the writers that wait for room: there may be some, or never will be.
    pub(crate) fn announce(&self) {
        self.announce_own();
        Budget::of_process().tell_starving();
    }

    /// Wakes the writers that wait for this producer's room.
    pub(crate) fn announce_own(&self) {
        let due = {
            let mut book = self.book();
            // A thread that found no room under the lock sleeps by the time it can be taken. Mostly
            // no thread sleeps, and waking none would still cost a system call.
            if book.is_blocking() {
                self.room.notify_all();
            }
            book.take_ready()
        };
        let Some((waiters, result)) = due else { return };
        waiters.into_iter().for_each(|waiter| waiter.complete(result.clone()));
    }

    /// Logs the first failure of each reason, where there is no callback for it.
    fn log_once(&self, outcome: &Outcome, error: &Error, writes: u64) {
        let bit = 1u64 << outcome.reason.map_or(0, |reason| reason as u32).min(63);
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let status = outcome.status.as_str();
            let word = outcome.reason.map_or(error.kind().code(), Reason::as_str);
            if outcome.status == Status::Kept {
                let why = error.message().strip_prefix(KEPT).unwrap_or(error.message());
                let text = match writes {
                    1 => format!("{KEPT}{why}"),
                    _ => format!("{writes} writes stay in the outbox: {why}"),
                };
                let epoch = self.book().gauges.epoch;
                return self.warn(word, epoch, || text);
            }
            let what = match (outcome.status, writes) {
                (Status::DeliveryUnknown, 1) => "the delivery of a write is unknown".to_owned(),
                (Status::DeliveryUnknown, _) => {
                    format!("the delivery of {writes} writes is unknown")
                }
                (_, 1) => format!("a write was {status}"),
                _ => format!("{writes} writes were {status}"),
            };
            let epoch = self.book().gauges.epoch;
            self.warn(word, epoch, || format!("{what}: {error}"));
        }
    }

    /// What is given up at the end of the process is said in one line, and not here once more.
    pub(crate) fn is_said_for_all(&self) {
        self.logged.fetch_or(1 << Reason::ProducerStopped as u32, Ordering::Relaxed);
    }

    /// Logs a write that was turned away with a receipt, which is easily overlooked.
    pub(crate) fn log_refusal(&self, outcome: &Outcome) {
        if let Some(error) = outcome.error.as_ref().filter(|_| !self.listeners.hear_failures()) {
            self.log_once(outcome, error, 1);
        }
    }
}
