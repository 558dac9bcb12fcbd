//! The accounts behind one producer's lock: what was accepted, what became of it, and who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::delivery::buffer::batch::{BATCH_OVERHEAD, Batch, Builder};
use crate::delivery::buffer::budget::{Budget, Reserved};
use crate::delivery::buffer::lifecycle::ProducerState;
use crate::delivery::buffer::queue::Queue;
use crate::delivery::buffer::receipts::Ledger;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::outcome::FlushReport;
use crate::outcome::{Outcome, Status};
use crate::runtime::pending::Completer;
use crate::stats::Stats;

/// Running totals a flush is the difference of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    report: FlushReport,
    undelivered: u64,
}

impl Totals {
    /// The earlier of two.
    fn min(self, other: Totals) -> Totals {
        let of = |totals: &Totals| (totals.report.delivered, totals.undelivered);
        if of(&other) <= of(&self) { other } else { self }
    }
}

/// Somebody waiting for everything up to an id.
pub(crate) struct Flush {
    up_to: u64,
    since: Totals,
    cause: Option<Error>,
    /// The report is a user's, so the next flush starts after it; whether nobody else's as well.
    only: Option<Arc<AtomicBool>>,
    completer: Completer<FlushReport>,
}

/// How a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stop {
    No,
    /// Deliver what was accepted, then end.
    Drain,
    /// End now.
    Now,
}

/// What is worth waking the task for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Nothing: it is busy, and looks by itself when it is not.
    Nothing,
    /// Any write.
    Data,
    /// A full batch, or somebody who waits: what there is still gathers.
    FullBatch,
}

/// What the handle and the owner task share, under one short lock.
pub(crate) struct Book {
    pub(crate) state: ProducerState,
    /// Why no more writes are taken, once that is so.
    pub(crate) terminal: Option<Error>,
    pub(crate) stop: Stop,
    /// A close is under way: no new writes until it succeeded or failed.
    pub(crate) closing: bool,
    pub(crate) wants: Wants,
    pub(crate) open: Builder,
    pub(crate) queue: Queue,
    pub(crate) next_id: u64,
    pub(crate) ledger: Ledger,
    /// All but the bytes; see [`Book::stats`].
    pub(crate) stats: Stats,
    /// What its writes hold, overhead included.
    pub(crate) reserved: Reserved,
    budget: Arc<Budget>,
    pub(crate) last_error: Option<Error>,
    pub(crate) gauges: Gauges,
    totals: Totals,
    reported: Totals,
    first_cause: Option<Error>,
    flushes: Vec<Flush>,
    /// Whether the stream is known to be there, where that is asked first.
    pub(crate) opened: bool,
    /// The size of the write that last found no room.
    pub(crate) wanted: usize,
    /// How many threads sleep until there is room.
    pub(crate) blocked: usize,
    /// Who waits for room.
    pub(crate) ready: Vec<Completer<()>>,
    /// Who waits for a fresh session.
    pub(crate) restarts: Vec<Completer<()>>,
}

/// What the task shows of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    pub(crate) in_flight: usize,
    pub(crate) attempt: u32,
    /// Whether its server is known to echo a producer's tuple.
    pub(crate) echoed: bool,
    pub(crate) last_offset: Option<std::sync::Arc<str>>,
}

/// Completions to run once the lock is released.
#[derive(Default)]
pub(crate) struct Due {
    waiters: Vec<(Completer<Outcome>, Outcome)>,
    flushes: Vec<(Completer<FlushReport>, Result<FlushReport>)>,
}

impl Due {
    pub(crate) fn complete(self) {
        for (completer, outcome) in self.waiters {
            completer.complete(Ok(outcome));
        }
        for (completer, report) in self.flushes {
            completer.complete(report);
        }
    }
}

impl Book {
    pub(crate) fn new(json: bool, opened: bool, share: u64, budget: Arc<Budget>) -> Self {
        Book {
            state: ProducerState::Connecting,
            terminal: None,
            stop: Stop::No,
            closing: false,
            wants: Wants::Nothing,
            open: Builder::new(json),
            queue: Queue::default(),
            next_id: 1,
            ledger: Ledger::default(),
            stats: Stats::default(),
            reserved: Reserved::new(share),
            budget,
            last_error: None,
            gauges: Gauges::default(),
            totals: Totals::default(),
            reported: Totals::default(),
            first_cause: None,
            flushes: Vec::new(),
            opened,
            wanted: 0,
            blocked: 0,
            ready: Vec::new(),
            restarts: Vec::new(),
        }
    }

    /// Steps to another state where that is legal; whatever ends a producer is kept.
    pub(crate) fn set_state(&mut self, next: ProducerState) {
        if self.state != next && self.state.may_become(next) {
            self.state = next;
        }
    }

    /// Out of its end and back to the beginning, for another session.
    pub(crate) fn reopen(&mut self) {
        (self.state, self.terminal, self.stop) = (ProducerState::Connecting, None, Stop::No);
    }

    /// Moves the open batch to the queue.
    pub(crate) fn seal(&mut self) {
        if let Some(batch) = self.open.seal() {
            self.reserve_anyway(BATCH_OVERHEAD);
            self.queue.push_back(batch);
        }
    }

    /// Whether somebody waits for a write that still gathers.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.open.is_empty() && self.ledger.last_awaited() >= Some(self.open.first_id())
    }

    /// How many waits are kept.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.flushes.len() + self.ledger.waiting()
    }

    /// Books the end of a batch's writes; `release` gives their room back.
    pub(crate) fn settle(&mut self, batch: &Batch, outcome: Outcome, release: bool) -> Due {
        let count = batch.writes;
        self.stats.pending -= count;
        match outcome.status {
            Status::Delivered => {
                self.stats.delivered += count;
                self.totals.report.delivered += count;
                let flagged = |flag: bool| if flag { count } else { 0 };
                self.stats.duplicates += flagged(outcome.duplicate);
                self.totals.report.duplicates += flagged(outcome.duplicate);
                self.stats.uncertain += flagged(outcome.maybe_duplicate);
                self.totals.report.uncertain += flagged(outcome.maybe_duplicate);
            }
            Status::Rejected => self.stats.rejected += count,
            Status::Cancelled => self.stats.cancelled += count,
            Status::DeliveryUnknown | Status::Forgotten => self.stats.unknown += count,
        }
        if let Some(error) = &outcome.error {
            self.count_failure(count, error);
        }
        if release {
            self.release(batch.cost());
        }
        let waiters = self.ledger.settle(batch.first_id, count, &outcome);
        let waiters = waiters.into_iter().map(|w| (w, outcome.clone())).collect();
        Due { waiters, flushes: self.due_flushes() }
    }

    /// Counters and gauges, as they are now.
    pub(crate) fn stats(&self) -> Stats {
        Stats { buffered_bytes: self.reserved.bytes(), ..self.stats }
    }

    /// Reserves room for a write; whether the process's budget allowed it.
    pub(crate) fn reserve(&mut self, cost: u64) -> bool {
        self.reserved.add(cost, &self.budget)
    }

    /// The same for a write that is taken in any case.
    pub(crate) fn reserve_anyway(&mut self, cost: u64) {
        self.reserved.force(cost, &self.budget);
    }

    pub(crate) fn could_reserve(&self, cost: u64) -> bool {
        self.reserved.could_add(cost, &self.budget)
    }

    pub(crate) fn release(&mut self, cost: u64) {
        self.reserved.subtract(cost, &self.budget);
    }

    /// Counts writes a flush has to report as undelivered.
    pub(crate) fn count_failure(&mut self, count: u64, error: &Error) {
        self.totals.undelivered += count;
        self.first_cause.get_or_insert_with(|| error.clone());
        for flush in &mut self.flushes {
            flush.cause.get_or_insert_with(|| error.clone());
        }
    }

    /// Whether the server refuses its credentials now.
    pub(crate) fn is_refused(&self) -> bool {
        let refused = |error: &Error| error.kind() == ErrorKind::Unauthorized;
        self.gauges.attempt > 0 && self.last_error.as_ref().is_some_and(refused)
    }

    /// What the last flush reported.
    pub(crate) fn reported(&self) -> Totals {
        self.reported
    }

    /// A report about everything since then reached nobody: the next flush makes it again.
    pub(crate) fn take_back(&mut self, since: Totals, report: &Result<FlushReport>) {
        let cause = match report.as_ref().err().and_then(Error::detail) {
            Some(Detail::Delivery { cause, .. }) => Some(cause.clone()),
            _ => None,
        };
        self.reported = self.reported.min(since);
        self.first_cause = cause.clone().or(self.first_cause.take());
        for flush in &mut self.flushes {
            flush.since = flush.since.min(since);
            flush.cause = cause.clone().or(flush.cause.take());
        }
    }

    /// Registers a flush of everything accepted so far.
    /// `only` becomes false where others get the same report.
    pub(crate) fn flush(
        &mut self,
        completer: Completer<FlushReport>,
        only: Arc<AtomicBool>,
    ) -> Due {
        self.wait_for_all(self.reported, self.first_cause.clone(), completer, Some(only))
    }

    /// The same for a caller who was told what failed before, write by write.
    pub(crate) fn flush_the_rest(&mut self, completer: Completer<FlushReport>) -> Due {
        self.wait_for_all(self.totals, None, completer, Some(Arc::default()))
    }

    /// The same without taking anything from what the next flush reports.
    pub(crate) fn watch(&mut self, completer: Completer<FlushReport>) -> Due {
        self.wait_for_all(self.reported, self.first_cause.clone(), completer, None)
    }

    fn wait_for_all(
        &mut self,
        since: Totals,
        cause: Option<Error>,
        completer: Completer<FlushReport>,
        only: Option<Arc<AtomicBool>>,
    ) -> Due {
        self.seal(); // what is waited for gathers no more
        self.flushes.retain(|flush| !flush.completer.is_abandoned());
        self.flushes.push(Flush { up_to: self.next_id - 1, since, cause, only, completer });
        Due { waiters: Vec::new(), flushes: self.due_flushes() }
    }

    fn due_flushes(&mut self) -> Vec<(Completer<FlushReport>, Result<FlushReport>)> {
        let settled_to = self.ledger.settled_to();
        let (mut due, mut users) = (Vec::new(), Vec::new());
        for n in (0..self.flushes.len()).rev() {
            if self.flushes[n].up_to > settled_to {
                continue;
            }
            let flush = self.flushes.swap_remove(n);
            // A flush nobody waits for any more consumes nothing: the next one reports it.
            if flush.completer.is_abandoned() {
                continue;
            }
            due.push((flush.completer, report(&flush.since, &self.totals, flush.cause)));
            users.extend(flush.only);
        }
        if users.len() > 1 {
            users.iter().for_each(|only| only.store(false, Ordering::Relaxed));
        }
        if !users.is_empty() {
            self.reported = self.totals;
            self.first_cause = None;
        }
        due
    }
}

fn report(since: &Totals, now: &Totals, cause: Option<Error>) -> Result<FlushReport> {
    let delivered = now.report.delivered - since.report.delivered;
    let undelivered = now.undelivered - since.undelivered;
    if undelivered == 0 {
        return Ok(FlushReport {
            delivered,
            duplicates: now.report.duplicates - since.report.duplicates,
            uncertain: now.report.uncertain - since.report.uncertain,
        });
    }
    let cause = cause.unwrap_or_else(|| Error::new(ErrorKind::Internal, "the cause was lost"));
    let text = format!(
        "{undelivered} of {} writes were not delivered: {}",
        delivered + undelivered,
        cause.message()
    );
    let mut error = Error::new(ErrorKind::Delivery, text);
    if let Some(url) = cause.url() {
        error = error.with_url(&url.into());
    }
    if let Some(status) = cause.status() {
        error = error.with_status(status);
    }
    Err(error.with_detail(Detail::Delivery { delivered, undelivered, cause }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;
    use crate::runtime::pending::pending;

    fn book() -> Book {
        Book::new(false, true, 0, Arc::new(Budget::new(0)))
    }

    fn accept(book: &mut Book, count: u64) -> Batch {
        for _ in 0..count {
            book.open.push(book.next_id, &[b"x"]);
            book.next_id += 1;
            book.stats.accepted += 1;
            book.stats.pending += 1;
            book.reserve_anyway(1 + crate::delivery::buffer::batch::OVERHEAD);
        }
        book.seal();
        book.queue.pop().unwrap().batch
    }

    fn refused() -> Outcome {
        Outcome::failed(Status::Rejected, Reason::Refused, Error::new(ErrorKind::Protocol, "no"))
    }

    fn flush(book: &mut Book) -> crate::Pending<FlushReport> {
        let (completer, waiting) = pending();
        book.flush(completer, Arc::default()).complete();
        waiting
    }

    #[test]
    fn concurrent_flushes_all_report_and_the_next_one_starts_afresh() {
        let mut book = book();
        let batch = accept(&mut book, 3);
        let (first, second) = (flush(&mut book), flush(&mut book));
        book.settle(&batch, refused(), true).complete();
        for waiting in [first, second] {
            let error = waiting.wait().unwrap_err();
            assert!(matches!(error.detail(), Some(Detail::Delivery { undelivered: 3, .. })));
        }
        assert_eq!(flush(&mut book).wait().unwrap(), FlushReport::default());
        assert_eq!(book.stats().buffered_bytes, 0);
    }

    #[test]
    fn an_abandoned_flush_consumes_nothing() {
        let mut book = book();
        let batch = accept(&mut book, 1);
        drop(flush(&mut book));
        book.settle(&batch, refused(), true).complete();
        assert!(flush(&mut book).wait().is_err());
    }

    #[test]
    fn a_flush_does_not_wait_for_later_writes() {
        let mut book = book();
        let first = accept(&mut book, 1);
        let waiting = flush(&mut book);
        let _later = accept(&mut book, 1);
        book.settle(&first, Outcome::delivered(), true).complete();
        assert_eq!(waiting.wait().unwrap().delivered, 1);
    }

    #[test]
    fn what_ended_a_producer_stays() {
        let mut book = book();
        for (next, expected) in [
            (ProducerState::Ready, ProducerState::Ready),
            (ProducerState::Stopping, ProducerState::Stopping),
            (ProducerState::Ready, ProducerState::Stopping),
            (ProducerState::Fenced, ProducerState::Fenced),
            (ProducerState::Stopped, ProducerState::Fenced),
        ] {
            book.set_state(next);
            assert_eq!(book.state, expected);
        }
    }
}
