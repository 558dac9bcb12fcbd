//! Flushes: the waits for everything up to a write, and the report of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Detail, Error, ErrorKind, Result};
use crate::outcome::{FlushReport, Outcome};
use crate::runtime::pending::Completer;

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

/// A wait for everything up to an id.
pub(crate) struct Flush {
    up_to: u64,
    since: Totals,
    cause: Option<Error>,
    /// Set for a report: the next one starts after it. The flag says whether no other flush got the
    /// same report.
    only: Option<Arc<AtomicBool>>,
    completer: Completer<FlushReport>,
}

/// The totals, and how much of them was reported.
#[derive(Default)]
pub(super) struct Flushes {
    totals: Totals,
    reported: Totals,
    first_cause: Option<Error>,
    waiting: Vec<Flush>,
}

pub(super) type DueFlush = (Completer<FlushReport>, Result<FlushReport>);

impl Flushes {
    /// Counts writes that were delivered.
    pub(super) fn count_delivered(&mut self, count: u64, outcome: &Outcome) {
        let report = &mut self.totals.report;
        report.delivered += count;
        report.duplicates += if outcome.duplicate { count } else { 0 };
        report.uncertain += if outcome.maybe_duplicate { count } else { 0 };
    }

    /// Counts writes that a flush has to report as undelivered.
    pub(super) fn count_failed(&mut self, count: u64, error: &Error) {
        self.totals.undelivered += count;
        self.first_cause.get_or_insert_with(|| error.clone());
        for flush in &mut self.waiting {
            flush.cause.get_or_insert_with(|| error.clone());
        }
    }

    /// The totals at the last report.
    pub(super) fn reported(&self) -> Totals {
        self.reported
    }

    /// Takes back a report that reached nobody: the next flush reports everything since then again.
    pub(super) fn take_back(&mut self, since: Totals, report: &Result<FlushReport>) {
        let cause = match report.as_ref().err().and_then(Error::detail) {
            Some(Detail::Delivery { cause, .. }) => Some(cause.clone()),
            _ => None,
        };
        self.reported = self.reported.min(since);
        self.first_cause = cause.clone().or(self.first_cause.take());
        for flush in &mut self.waiting {
            flush.since = flush.since.min(since);
            flush.cause = cause.clone().or(flush.cause.take());
        }
    }

    /// Adds a wait for everything up to an id.
    pub(super) fn add(&mut self, kind: FlushKind, up_to: u64, completer: Completer<FlushReport>) {
        let (since, cause, only) = match kind {
            FlushKind::Report(only) => (self.reported, self.first_cause.clone(), Some(only)),
            FlushKind::Rest => (self.totals, None, Some(Arc::default())),
            FlushKind::Watch | FlushKind::Look => (self.reported, self.first_cause.clone(), None),
        };
        self.waiting.retain(|flush| !flush.completer.is_abandoned());
        self.waiting.push(Flush { up_to, since, cause, only, completer });
    }

    /// The flushes whose writes are settled, now that everything up to an id is.
    pub(super) fn due(&mut self, settled_to: u64) -> Vec<DueFlush> {
        let (mut due, mut users) = (Vec::new(), Vec::new());
        for n in (0..self.waiting.len()).rev() {
            if self.waiting[n].up_to > settled_to {
                continue;
            }
            let flush = self.waiting.swap_remove(n);
            // An abandoned flush consumes nothing: the next one reports it.
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

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The writes that a flush reports.
pub(crate) enum FlushKind {
    /// Everything since the last report; the flag becomes false where another flush gets the same
    /// report.
    Report(Arc<AtomicBool>),
    /// Only pending writes: the caller already received the earlier failures, write by write.
    Rest,
    /// Everything; the next report repeats it.
    Watch,
    /// Everything, as `Watch`, and without sealing the open batch: no effect on what is sent.
    Look,
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
    let cause = cause
        .unwrap_or_else(|| Error::new(ErrorKind::Internal, "the first failure was not recorded"));
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
