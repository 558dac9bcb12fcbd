//! Flushes: the waits for everything up to a write, and the report of each.

use std::sync::{Arc, Mutex};

use crate::error::{Detail, Error, ErrorKind, Result};
use crate::outcome::{FlushReport, Outcome};
use crate::runtime::pending::Completer;
use crate::runtime::threads::lock;

/// Running totals a flush is the difference of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    report: FlushReport,
    undelivered: u64,
    /// Of these, the writes that stay in the outbox.
    kept: u64,
}

impl Totals {
    /// How many calls these are: of two totals of one producer, the earlier has fewer.
    fn calls(&self) -> u64 {
        self.report.delivered + self.report.refused + self.undelivered
    }

    fn add(&mut self, more: &Totals) {
        let (own, more_of) = (&mut self.report, &more.report);
        own.delivered += more_of.delivered;
        own.duplicates += more_of.duplicates;
        own.uncertain += more_of.uncertain;
        own.refused += more_of.refused;
        self.undelivered += more.undelivered;
        self.kept += more.kept;
    }

    fn without(&self, earlier: &Totals) -> Totals {
        let (own, less) = (&self.report, &earlier.report);
        Totals {
            report: FlushReport {
                delivered: own.delivered - less.delivered,
                duplicates: own.duplicates - less.duplicates,
                uncertain: own.uncertain - less.uncertain,
                refused: own.refused - less.refused,
            },
            undelivered: self.undelivered - earlier.undelivered,
            kept: self.kept - earlier.kept,
        }
    }
}

/// The id of a call that was turned away: it comes behind every flush that waits.
const NO_WRITE: u64 = u64::MAX;

/// A wait for everything up to an id.
pub(crate) struct Flush {
    up_to: u64,
    since: Totals,
    cause: Option<Error>,
    /// What was counted since it began and came behind it: for the next flush to report.
    beyond: Totals,
    beyond_cause: Option<Error>,
    /// Set for a report: the next one starts after it.
    ticket: Option<Arc<Ticket>>,
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
    /// Counts writes that were delivered, from the id of the first on.
    pub(super) fn count_delivered(&mut self, first_id: u64, count: u64, outcome: &Outcome) {
        let report = FlushReport {
            delivered: count,
            duplicates: if outcome.duplicate { count } else { 0 },
            uncertain: if outcome.maybe_duplicate { count } else { 0 },
            refused: 0,
        };
        self.count(first_id, &Totals { report, ..Totals::default() }, None);
    }

    /// Counts accepted writes that a flush has to report as undelivered.
    pub(super) fn count_failed(&mut self, first_id: u64, count: u64, error: &Error) {
        self.count(first_id, &Totals { undelivered: count, ..Totals::default() }, Some(error));
    }

    /// Counts accepted writes that stay in the outbox: undelivered, and not lost.
    pub(super) fn count_kept(&mut self, first_id: u64, kept: u64, error: &Error) {
        let more = Totals { undelivered: kept, kept, ..Totals::default() };
        self.count(first_id, &more, Some(error));
    }

    /// Counts a call that was turned away, which a flush has to report as undelivered.
    pub(super) fn count_turned_away(&mut self, error: &Error) {
        self.count_failed(NO_WRITE, 1, error);
    }

    /// Counts a call that was turned away for its value, which fails no flush.
    pub(super) fn count_invalid(&mut self) {
        let report = FlushReport { refused: 1, ..FlushReport::default() };
        self.count(NO_WRITE, &Totals { report, ..Totals::default() }, None);
    }

    fn count(&mut self, first_id: u64, more: &Totals, error: Option<&Error>) {
        self.totals.add(more);
        let keep = |cause: &mut Option<Error>| {
            if let (None, Some(error)) = (&cause, error) {
                *cause = Some(error.clone());
            }
        };
        keep(&mut self.first_cause);
        for flush in &mut self.waiting {
            if first_id <= flush.up_to {
                keep(&mut flush.cause);
            } else {
                flush.beyond.add(more);
                keep(&mut flush.beyond_cause);
            }
        }
    }

    /// Takes back a report that reached nobody: the next flush reports again what no other report of
    /// its time told.
    pub(super) fn take_back(&mut self, ticket: &Ticket) {
        let Some((to, cause)) = ticket.give_up() else { return };
        let back = |since: &mut Totals, first: &mut Option<Error>| {
            if to.calls() < since.calls() {
                *since = to;
                *first = cause.clone().or(first.take());
            }
        };
        back(&mut self.reported, &mut self.first_cause);
        self.waiting.iter_mut().for_each(|flush| back(&mut flush.since, &mut flush.cause));
    }

    /// Adds a wait for everything up to an id.
    pub(super) fn add(&mut self, kind: FlushKind, up_to: u64, completer: Completer<FlushReport>) {
        let (since, cause, ticket) = match kind {
            FlushKind::Report(ticket) => (self.reported, self.first_cause.clone(), Some(ticket)),
            FlushKind::Rest => (self.totals, None, Some(Arc::default())),
            FlushKind::Watch | FlushKind::Look => (self.reported, self.first_cause.clone(), None),
        };
        self.waiting.retain(|flush| !flush.completer.is_abandoned());
        let (beyond, beyond_cause) = (Totals::default(), None);
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(1); // most producers never have a second one
        }
        self.waiting.push(Flush { up_to, since, cause, beyond, beyond_cause, ticket, completer });
    }

    /// The flushes whose writes are settled, now that everything up to an id is.
    pub(super) fn due(&mut self, settled_to: u64) -> Vec<DueFlush> {
        let (mut due, mut told, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
        for n in (0..self.waiting.len()).rev() {
            if self.waiting[n].up_to > settled_to {
                continue;
            }
            let flush = self.waiting.swap_remove(n);
            // An abandoned flush consumes nothing: the next one reports it.
            if flush.completer.is_abandoned() {
                continue;
            }
            let counted = self.totals.without(&flush.beyond);
            let cause = flush.cause.clone();
            due.push((flush.completer, report(&counted.without(&flush.since), cause)));
            let Some(ticket) = flush.ticket else { continue };
            tickets.push(ticket);
            let (from, to) = ((flush.since, flush.cause), (counted, flush.beyond_cause));
            told.push(Told { from, to, is_lost: false });
        }
        if let Some(most) = Told::most(&told) {
            (self.reported, self.first_cause) = most.to.clone();
            let told = Arc::new(Mutex::new(told));
            tickets.iter().enumerate().for_each(|(n, own)| own.take_part(n, told.clone()));
        }
        due
    }

    pub(super) fn rest(&mut self) {
        self.waiting.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The writes that a flush reports.
pub(crate) enum FlushKind {
    /// Everything since the last report; the ticket takes it back if it reaches nobody.
    Report(Arc<Ticket>),
    /// Only pending writes: the caller already received the earlier failures, write by write.
    Rest,
    /// Everything; the next report repeats it.
    Watch,
    /// Everything, as `Watch`, and without sealing the open batch: no effect on what is sent.
    Look,
}

/// A place between two calls: the totals there, and the first cause of what failed behind it.
type Place = (Totals, Option<Error>);

/// The part of the calls that a report told of.
struct Told {
    from: Place,
    to: Place,
    /// It reached nobody.
    is_lost: bool,
}

impl Told {
    /// Of those that reached somebody, or still may, the one that told the most.
    fn most(all: &[Told]) -> Option<&Told> {
        all.iter().filter(|told| !told.is_lost).max_by_key(|told| told.to.0.calls())
    }
}

/// The share of a flush in the reports that were made together with its own.
#[derive(Default)]
pub(crate) struct Ticket(Mutex<Option<Share>>);

/// Its number among them, and all of them.
type Share = (usize, Arc<Mutex<Vec<Told>>>);

impl Ticket {
    fn take_part(&self, number: usize, together: Arc<Mutex<Vec<Told>>>) {
        *lock(&self.0) = Some((number, together));
    }

    /// Its report reached nobody: up to where the calls are reported now. `None` where it made no
    /// report.
    fn give_up(&self) -> Option<Place> {
        let (number, together) = lock(&self.0).take()?;
        let mut together = lock(&together);
        together[number].is_lost = true;
        let first = || together.iter().map(|told| &told.from).min_by_key(|from| from.0.calls());
        Told::most(&together).map(|told| &told.to).or_else(first).cloned()
    }
}

fn report(counted: &Totals, cause: Option<Error>) -> Result<FlushReport> {
    let Totals { report, undelivered, kept } = *counted;
    if undelivered == 0 {
        return Ok(report);
    }
    let cause = cause
        .unwrap_or_else(|| Error::new(ErrorKind::Internal, "the first failure was not recorded"));
    let delivered = report.delivered;
    let stay = match kept {
        0 => String::new(),
        _ if kept == undelivered => ", all of them kept in the outbox".to_owned(),
        _ => format!(", {kept} of them kept in the outbox"),
    };
    let text = format!(
        "{undelivered} of {} writes were not delivered{stay}: {}",
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
    Err(error.with_detail(Detail::Delivery { delivered, undelivered, kept, cause }))
}
