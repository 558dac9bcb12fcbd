//! The keys that a producer has written, for `insert` or `update` in place of `upsert`.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::state::event::Operation;

/// A bounded set of keys, kept as hashes of 64 bits: among a million keys, one new one in 18 million
/// million counts as known.
pub(super) struct Tracked {
    written: HashSet<u64>,
    hashes: RandomState,
    most: usize,
}

impl Tracked {
    pub(super) fn new(most: usize) -> Self {
        Tracked { written: HashSet::new(), hashes: RandomState::new(), most }
    }

    /// The place of a collection's key, by the collection's own text.
    pub(super) fn place(&self, collection: &str, key: &str) -> u64 {
        self.hashes.hash_one((collection, key))
    }

    /// What becomes of an operation: an upsert says whether its key is new.
    pub(super) fn decided(&self, told: Operation, place: u64) -> Operation {
        match told {
            Operation::Upsert => self.operation(place),
            told => told,
        }
    }

    /// What an upsert is: the first one of its key, as far as it is remembered, or a later one.
    fn operation(&self, place: u64) -> Operation {
        match self.written.len() < self.most && !self.written.contains(&place) {
            true => Operation::Insert,
            false => Operation::Update,
        }
    }

    /// Remembers a write; whether its key was known before.
    pub(super) fn note(&mut self, place: u64, operation: Operation) -> bool {
        self.set(place, operation != Operation::Delete)
    }

    /// Makes a key known or unknown; whether it was known before.
    pub(super) fn set(&mut self, place: u64, is_known: bool) -> bool {
        match is_known {
            false => self.written.remove(&place),
            true if self.written.len() < self.most => !self.written.insert(place),
            true => self.written.contains(&place),
        }
    }

    /// Takes every key for one that is not there.
    pub(super) fn forget(&mut self) {
        self.written.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_until_it_is_written_and_again_when_it_is_deleted() {
        let mut tracked = Tracked::new(10);
        let place = tracked.place("a", "1");
        assert_eq!(tracked.operation(place), Operation::Insert);
        tracked.note(place, Operation::Insert);
        assert_eq!(tracked.operation(place), Operation::Update);
        assert_eq!(tracked.operation(tracked.place("b", "1")), Operation::Insert);
        tracked.note(place, Operation::Delete);
        assert_eq!(tracked.operation(place), Operation::Insert);
    }

    #[test]
    fn what_cannot_be_remembered_counts_as_known() {
        let mut tracked = Tracked::new(1);
        let [first, second] = ["1", "2"].map(|key| tracked.place("a", key));
        tracked.note(first, Operation::Insert);
        assert_eq!(tracked.operation(second), Operation::Update);
        tracked.note(second, Operation::Update);
        tracked.note(first, Operation::Delete);
        assert_eq!(tracked.operation(second), Operation::Insert);
        assert_eq!(Tracked::new(0).operation(first), Operation::Update);
    }
}
