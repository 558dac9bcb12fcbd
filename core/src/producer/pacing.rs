//! When a request may follow one that is not answered yet. Pure.
//!
//! Each travels on a connection of its own. A server that reads the second one first refuses it
//! (409), and its body goes twice. So they keep a distance: a part of the round trip, which evens
//! out to no delay at all, since each answer then starts the next one. Where requests overtake each
//! other all the same, they go one by one for a while.
//!
//! And a batch that is not full is held for a moment behind one that just went out. A writer who
//! is slower than the wire would otherwise send a request for every few writes, and compete with
//! his own requests for the processor.

use std::time::Duration;

use tokio::time::Instant;

/// Requests that go alone after one was overtaken: of many, less than 2 % go twice.
const ALONE: u32 = 64;

/// How long a batch that is not full is held behind the last request.
const HOLD: Duration = Duration::from_millis(1);

/// The part of a delivery timeout that holding may take at most.
const HOLD_SHARE: u32 = 16;

#[derive(Debug)]
pub(crate) struct Pacing {
    max_in_flight: u32,
    /// What a request takes to its answer, smoothed.
    round_trip: Duration,
    /// When the last request started.
    last: Option<Instant>,
    /// How many more go alone.
    alone: u32,
    hold: Duration,
}

impl Pacing {
    pub(crate) fn new(max_in_flight: usize, delivery_timeout: Option<Duration>) -> Self {
        let max_in_flight = max_in_flight as u32;
        let hold = delivery_timeout.map_or(HOLD, |limit| HOLD.min(limit / HOLD_SHARE));
        Pacing { max_in_flight, round_trip: Duration::ZERO, last: None, alone: 0, hold }
    }

    pub(crate) fn started(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// A request was answered in its turn.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.alone = self.alone.saturating_sub(1);
        self.round_trip = match self.round_trip {
            Duration::ZERO => took,
            before => before / 8 * 7 + took / 8,
        };
    }

    /// A request came before its predecessor.
    pub(crate) fn overtaken(&mut self) {
        self.alone = ALONE;
    }

    /// From when on another may follow; `None` if not before the answer.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.alone > 0 {
            return None;
        }
        self.last.map(|last| last + self.round_trip / (2 * self.max_in_flight))
    }

    /// Until when a batch that is not full is held.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.last.map(|last| last + self.hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_a_distance() {
        let mut pacing = Pacing::new(2, None);
        let start = Instant::now();
        pacing.started(start);
        pacing.answered(Duration::from_millis(40));
        assert_eq!(pacing.next(), Some(start + Duration::from_millis(10)));
        for _ in 0..100 {
            pacing.answered(Duration::from_millis(80));
        }
        assert!(pacing.next() > Some(start + Duration::from_millis(19)));
    }

    #[test]
    fn a_short_delivery_timeout_is_not_spent_on_holding() {
        let start = Instant::now();
        for (timeout, expected) in [(None, HOLD), (Some(4), HOLD / 4), (Some(60_000), HOLD)] {
            let mut pacing = Pacing::new(2, timeout.map(Duration::from_millis));
            assert_eq!(pacing.held_until(), None);
            pacing.started(start);
            assert_eq!(pacing.held_until(), Some(start + expected));
        }
    }

    #[test]
    fn one_that_was_overtaken_slows_down_for_a_while() {
        let mut pacing = Pacing::new(2, None);
        pacing.started(Instant::now());
        pacing.overtaken();
        for _ in 0..ALONE {
            assert_eq!(pacing.next(), None);
            pacing.answered(Duration::from_millis(1));
        }
        assert!(pacing.next().is_some());
    }
}
