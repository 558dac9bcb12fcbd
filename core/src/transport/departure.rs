//! Whether a request has left. It is decided once, by the first of two: the wire that takes the
//! request, or the task that gives it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The request waits: at a gate, for a connection, with the connection's task.
const WAITING: u8 = 0;
/// Its first byte may be on its way: the server may store it.
const LEFT: u8 = 1;
/// The request was given up while it waited, and fails where it would have left.
const WITHDRAWN: u8 = 2;

/// The one place where giving a request up and its first byte leaving exclude each other.
///
/// Aborting the task that waits for an answer proves nothing: the request may lie with the
/// connection's own task, which asks for its body afterwards. Clones are of the same request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Departure(Arc<AtomicU8>);

impl Departure {
    /// Lets the request's next bytes leave, unless it was given up.
    pub(crate) fn leave(&self) -> bool {
        self.step(WAITING, LEFT) != WITHDRAWN
    }

    /// Gives the request up. `true`: nothing of it has left, and nothing will. `false`: it may be
    /// on its way, and aborting it does not call it back.
    pub(crate) fn withdraw(&self) -> bool {
        self.step(WAITING, WITHDRAWN) != LEFT
    }

    /// An answer says that nothing of what left was stored, so it counts as not having left.
    pub(crate) fn came_to_nothing(&self) {
        self.step(LEFT, WAITING);
    }

    /// Takes the step from a state; returns the state before.
    fn step(&self, from: u8, to: u8) -> u8 {
        let seen = self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        seen.unwrap_or_else(|other| other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_never_leaves_and_what_left_is_not_given_up() {
        let waiting = Departure::default();
        assert!(waiting.withdraw() && waiting.withdraw());
        assert!(!waiting.leave());

        let left = Departure::default();
        assert!(left.leave() && left.leave(), "a body leaves in parts");
        assert!(!left.withdraw());
        left.came_to_nothing();
        assert!(left.withdraw());
        left.came_to_nothing();
        assert!(!left.leave(), "what was given up stays so");
    }

    #[test]
    fn of_two_at_once_one_wins() {
        for _ in 0..2_000 {
            let departure = Departure::default();
            let wire = departure.clone();
            let left = std::thread::scope(|scope| {
                let wire = scope.spawn(move || wire.leave());
                let withdrawn = departure.withdraw();
                wire.join().unwrap() != withdrawn
            });
            assert!(left, "it is either withdrawn or has left");
        }
    }
}
