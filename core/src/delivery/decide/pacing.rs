//! When a request may follow one that is not answered yet. Pure.
//!
//! Each request travels on a connection of its own. A server that reads the second one first
//! refuses it (409) and all that follow it, and their bodies are sent twice. So requests keep a
//! distance: a part of the round trip, which evens out to no delay at all, since each answer then
//! starts the next request. At first each answer allows one more request. After one overtakes
//! another all the same, half as many are allowed, and more again only after many answers.
//!
//! And a batch that is not full is held for a moment behind a request that just left. A writer that
//! is slower than the wire would otherwise send a request for every few writes, and compete with
//! its own requests for the processor.

use std::time::Duration;

use tokio::time::Instant;

/// After how many answers another request is allowed, once one was overtaken. At most all bodies
/// but one of those under way are sent twice: of all requests, less than 2 %.
const PATIENCE: u32 = 128;

/// How long a batch that is not full is held behind the last request.
const HOLD: Duration = Duration::from_millis(1);

/// A delivery timeout below this is not spent on holding: timers are no finer than a millisecond.
const LITTLE: Duration = Duration::from_millis(16);

#[derive(Debug)]
pub(crate) struct Pacing {
    max_in_flight: u32,
    /// How many requests may be under way by now.
    places: u32,
    /// The time from a request to its answer, smoothed.
    round_trip: Duration,
    /// When the last request started.
    last: Option<Instant>,
    /// Answers since the start, or since a request was overtaken.
    answers: u32,
    /// After how many answers another request is allowed.
    patience: u32,
    hold: Duration,
}

impl Pacing {
    pub(crate) fn new(max_in_flight: usize, delivery_timeout: Option<Duration>) -> Self {
        let max_in_flight = max_in_flight as u32;
        let hurries = delivery_timeout.is_some_and(|limit| limit < LITTLE);
        let hold = if hurries { Duration::ZERO } else { HOLD };
        let round_trip = Duration::ZERO;
        let (answers, patience) = (0, 1);
        Pacing { max_in_flight, places: 1, round_trip, last: None, answers, patience, hold }
    }

    pub(crate) fn started(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// A request was answered in order.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.answers = self.answers.wrapping_add(1);
        if self.answers.is_multiple_of(self.patience) {
            self.places = self.max_in_flight.min(self.places + 1);
        }
        self.round_trip = match self.round_trip {
            Duration::ZERO => took,
            before => before / 8 * 7 + took / 8,
        };
    }

    /// A request reached the server before its predecessor.
    pub(crate) fn overtaken(&mut self) {
        // The requests that followed it come back too, before any answer.
        if self.answers > 0 {
            self.places = (self.places / 2).max(1);
            (self.answers, self.patience) = (0, PATIENCE);
        }
    }

    /// How many requests may be under way.
    pub(crate) fn places(&self) -> usize {
        self.places as usize
    }

    /// When another request may follow one that is under way.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.last.map(|last| last + self.round_trip * 3 / (4 * self.places))
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
        assert_eq!(pacing.next(), Some(start + Duration::from_millis(15)));
        for _ in 0..100 {
            pacing.answered(Duration::from_millis(80));
        }
        assert!(pacing.next() > Some(start + Duration::from_millis(29)));
    }

    #[test]
    fn a_short_delivery_timeout_is_not_spent_on_holding() {
        let start = Instant::now();
        for (timeout, expected) in [(None, HOLD), (Some(4), Duration::ZERO), (Some(60_000), HOLD)] {
            let mut pacing = Pacing::new(2, timeout.map(Duration::from_millis));
            assert_eq!(pacing.held_until(), None);
            pacing.started(start);
            assert_eq!(pacing.held_until(), Some(start + expected));
        }
    }

    #[test]
    fn those_that_overtake_each_other_become_fewer_and_slowly_more() {
        let mut pacing = Pacing::new(5, None);
        let answers = |pacing: &mut Pacing, count: u32| {
            (0..count).for_each(|_| pacing.answered(Duration::from_millis(1)));
            pacing.places()
        };
        assert_eq!(pacing.places(), 1);
        assert_eq!(answers(&mut pacing, 2), 3);
        assert_eq!(answers(&mut pacing, 9), 5);
        for _ in 0..4 {
            pacing.overtaken(); // it, and those that followed
        }
        assert_eq!(answers(&mut pacing, PATIENCE - 1), 2);
        assert_eq!(answers(&mut pacing, 1), 3);
        pacing.overtaken();
        assert_eq!(answers(&mut pacing, PATIENCE), 2);
        assert_eq!(answers(&mut pacing, 9 * PATIENCE), 5);
    }
}
