//! Receipts as numbers: the outcome of every write, in memory that does not grow with their number.
//!
//! Ids count up from 1 in call order and settle mostly in that order, so a watermark says "settled
//! and delivered" for nearly all of them. Only other outcomes are kept, as ranges, and of those a
//! bounded number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::outcome::{Outcome, Status};
use crate::runtime::pending::Completer;

/// How many exceptional ranges are remembered; older ones answer `forgotten`.
const EXCEPTIONS: usize = 4096;

/// A range of ids with one outcome.
struct Exception {
    first: u64,
    last: u64,
    outcome: Exceptional,
}

/// What is kept of an outcome. On a bad network repeats are most of these, and a producer that lives
/// long has thousands: they are small.
#[derive(Clone, PartialEq)]
enum Exceptional {
    Repeated { duplicate: bool, maybe_duplicate: bool },
    Other(Box<Outcome>),
}

impl Exceptional {
    fn of(outcome: &Outcome) -> Self {
        let Outcome { duplicate, maybe_duplicate, .. } = *outcome;
        if outcome.is_delivered() && outcome.error.is_none() && outcome.reason.is_none() {
            return Self::Repeated { duplicate, maybe_duplicate };
        }
        Self::Other(Box::new(Outcome { attempts: 0, offset: None, ..outcome.clone() }))
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Repeated { duplicate, maybe_duplicate } => Outcome {
                duplicate: *duplicate,
                maybe_duplicate: *maybe_duplicate,
                ..Outcome::delivered()
            },
            Self::Other(outcome) => (**outcome).clone(),
        }
    }
}

/// All receipts of one producer.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Every id up to this one is settled.
    settled_to: u64,
    /// Settled ranges beyond the watermark: first id to last id.
    ahead: BTreeMap<u64, u64>,
    /// Ranges with another outcome than delivered, in order.
    exceptions: VecDeque<Exception>,
    /// Up to this id, an exception may have been dropped.
    forgotten_to: u64,
    /// The last write whose offset is known, and that offset.
    offset: Option<(u64, Arc<str>)>,
    waiters: BTreeMap<u64, Vec<Completer<Outcome>>>,
}

impl Ledger {
    /// Settles the ids `first..first + count`. Returns the waits for them, which are completed
    /// outside the lock.
    pub(crate) fn settle(
        &mut self,
        first: u64,
        count: u64,
        outcome: &Outcome,
    ) -> Vec<Completer<Outcome>> {
        let last = first + count - 1;
        let is_later = |known: &(u64, _)| last > known.0;
        if let Some(offset) = &outcome.offset
            && self.offset.as_ref().is_none_or(is_later)
        {
            self.offset = Some((last, offset.clone()));
        }
        if !outcome.is_plain() {
            self.except(first, last, Exceptional::of(outcome));
        }
        if first <= self.settled_to + 1 {
            self.settled_to = self.settled_to.max(last); // as nearly all do, without a node
        } else {
            self.ahead.insert(first, last);
        }
        while let Some(range) = self.ahead.first_entry() {
            if *range.key() > self.settled_to + 1 {
                break;
            }
            self.settled_to = self.settled_to.max(range.remove());
        }
        let ids: Vec<u64> = self.waiters.range(first..=last).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.waiters.remove(id)).flatten().collect()
    }

    fn except(&mut self, first: u64, last: u64, outcome: Exceptional) {
        let place = self.exceptions.partition_point(|range| range.first < first);
        if let Some(before) = place.checked_sub(1).and_then(|n| self.exceptions.get_mut(n))
            && before.last + 1 == first
            && before.outcome == outcome
        {
            before.last = last;
            return;
        }
        self.exceptions.insert(place, Exception { first, last, outcome });
        if self.exceptions.len() > EXCEPTIONS
            && let Some(oldest) = self.exceptions.pop_front()
        {
            self.forgotten_to = self.forgotten_to.max(oldest.last);
        }
    }

    /// The outcome of an id, if it is settled.
    pub(crate) fn outcome(&self, id: u64) -> Option<Outcome> {
        let mut outcome = self.kept(id)?;
        if outcome.is_delivered() {
            // At or before the latest offset lies every write before it, too.
            let known = self.offset.as_ref().filter(|(last, _)| id <= *last);
            outcome.offset = known.map(|(_, offset)| offset.clone());
        }
        Some(outcome)
    }

    fn kept(&self, id: u64) -> Option<Outcome> {
        let behind = self.exceptions.partition_point(|range| range.first <= id);
        if let Some(range) = behind.checked_sub(1).and_then(|n| self.exceptions.get(n))
            && id <= range.last
        {
            return Some(range.outcome.outcome());
        }
        let ahead = || self.ahead.range(..=id).next_back().is_some_and(|(_, last)| id <= *last);
        if id > self.settled_to && !ahead() {
            return None;
        }
        let mut outcome = Outcome::delivered();
        if id <= self.forgotten_to {
            outcome.status = Status::Forgotten;
        }
        Some(outcome)
    }

    /// Registers a wait for an id that is not settled yet.
    pub(crate) fn wait(&mut self, id: u64, completer: Completer<Outcome>) {
        let waiters = self.waiters.entry(id).or_default();
        // A caller that polls with short waits leaves one behind each time.
        waiters.retain(|waiter| !waiter.is_abandoned());
        waiters.push(completer);
    }

    /// The latest id that a caller waits for.
    pub(crate) fn last_awaited(&self) -> Option<u64> {
        self.waiters.last_key_value().map(|(id, _)| *id)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.values().map(Vec::len).sum()
    }

    pub(crate) fn settled_to(&self) -> u64 {
        self.settled_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A producer that lives long on a bad network keeps as many of them as it may.
    #[test]
    fn what_is_kept_of_a_repeat_is_small() {
        assert!(size_of::<Exception>() <= 32, "{} bytes", size_of::<Exception>());
    }
    use crate::error::{Error, ErrorKind};
    use crate::reason::Reason;
    use crate::runtime::pending::pending;

    fn failed(reason: Reason) -> Outcome {
        Outcome::failed(Status::Rejected, reason, Error::new(ErrorKind::Protocol, "x"))
    }

    #[test]
    fn the_watermark_waits_for_gaps() {
        let mut ledger = Ledger::default();
        ledger.settle(1, 10, &Outcome::delivered());
        ledger.settle(21, 5, &failed(Reason::Refused));
        assert_eq!(ledger.settled_to(), 10);
        assert_eq!(ledger.outcome(11), None);
        assert_eq!(ledger.outcome(22).unwrap().reason, Some(Reason::Refused));
        ledger.settle(11, 10, &Outcome::delivered());
        assert_eq!(ledger.settled_to(), 25);
        assert!(ledger.outcome(20).unwrap().is_delivered());
        assert_eq!(ledger.outcome(26), None);
    }

    #[test]
    fn exceptions_are_bounded_and_never_become_delivered() {
        let mut ledger = Ledger::default();
        for id in 1..=3 * EXCEPTIONS as u64 {
            let outcome = if id % 2 == 0 { failed(Reason::Refused) } else { Outcome::delivered() };
            ledger.settle(id, 1, &outcome);
        }
        assert!(ledger.exceptions.len() <= EXCEPTIONS);
        assert_eq!(ledger.outcome(2).unwrap().status, Status::Forgotten);
        assert_eq!(ledger.outcome(3 * EXCEPTIONS as u64).unwrap().status, Status::Rejected);
    }

    #[test]
    fn neighbours_with_one_outcome_share_a_range() {
        let mut ledger = Ledger::default();
        for id in 1..=1000 {
            ledger.settle(id, 1, &failed(Reason::Expired));
        }
        assert_eq!(ledger.exceptions.len(), 1);
    }

    #[test]
    fn only_those_who_wait_are_told() {
        let mut ledger = Ledger::default();
        let (completer, _waiting) = pending();
        ledger.wait(5, completer);
        assert!(ledger.settle(1, 4, &Outcome::delivered()).is_empty());
        assert_eq!(ledger.settle(5, 1, &Outcome::delivered()).len(), 1);
    }
}
