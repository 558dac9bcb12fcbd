//! What was measured, round by round, and the numbers that follow from it. Pure.

use super::contestant::Id;
use super::messages::Kind;
use super::run::{Around, Streamed};
use super::summary::{Spread, percentile};

/// What one client did with one kind of messages, round by round.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
    rounds: Vec<Round>,
    /// Of single writes, round by round.
    pub(crate) waits_us: Vec<Vec<f64>>,
    /// Why it is not complete, or wrong.
    pub(crate) trouble: Option<String>,
}

struct Round {
    events: usize,
    streamed: Streamed,
    around: Around,
}

impl Row {
    pub(crate) fn new(id: Id, kind: Kind) -> Self {
        Self { id, kind, rounds: Vec::new(), waits_us: Vec::new(), trouble: None }
    }

    pub(crate) fn add(&mut self, events: usize, streamed: Streamed, around: Around) {
        self.rounds.push(Round { events, streamed, around });
    }

    /// Whether it was never measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    fn spread(&self, of: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(of))
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.events as f64 / round.streamed.seconds).collect()
    }

    /// Delivered events per second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        Spread::of(self.rates())
    }

    pub(crate) fn ratio_to(&self, other: &Row) -> Option<Spread> {
        Spread::of_ratios(&self.rates(), &other.rates())
    }

    pub(crate) fn cpu_us(&self) -> Option<Spread> {
        self.spread(|round| round.streamed.cpu_seconds * 1e6 / round.events as f64)
    }

    /// How many cores it kept busy.
    pub(crate) fn cores(&self) -> Option<Spread> {
        self.spread(|round| round.streamed.cpu_seconds / round.streamed.seconds)
    }

    /// What a call costs; nothing where nothing is called.
    pub(crate) fn accept_ns(&self) -> Option<Spread> {
        let per_call = |streamed: &Streamed| streamed.accept_seconds * 1e9 / streamed.accept_calls;
        let costs = self.rounds.iter().map(|round| per_call(&round.streamed));
        Spread::of(costs.filter(|cost| cost.is_finite()))
    }

    /// What so many percent of the single writes did not take longer than, round by round.
    pub(crate) fn waits(&self, percent: usize) -> Vec<f64> {
        self.waits_us.iter().filter_map(|waits| percentile(waits, percent)).collect()
    }

    pub(crate) fn idle_ratio_to(&self, other: &Row) -> Option<Spread> {
        Spread::of_ratios(&self.waits(50), &other.waits(50))
    }

    pub(crate) fn peak_megabytes(&self) -> Option<Spread> {
        let known = self.rounds.iter().filter_map(|round| round.around.peak_bytes);
        Spread::of(known.map(|bytes| bytes as f64 / 1e6))
    }

    /// What the server used, and what nobody of the two did.
    pub(crate) fn server_us(&self) -> Option<Spread> {
        let per_event =
            |round: &Round| Some(round.around.server_cpu_seconds? * 1e6 / round.events as f64);
        Spread::of(self.rounds.iter().filter_map(per_event))
    }

    pub(crate) fn others(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.around.others_part))
    }

    /// Requests, and those of them that repeated a body: of the round in the middle.
    pub(crate) fn requests(&self) -> Option<(u64, u64)> {
        let part = |round: &Round| round.streamed.repeats as f64 / round.streamed.requests as f64;
        let mut rounds: Vec<&Round> = self.rounds.iter().collect();
        rounds.sort_by(|one, other| part(one).total_cmp(&part(other)));
        let middle = &rounds.get(rounds.len() / 2)?.streamed;
        Some((middle.requests, middle.repeats))
    }
}
