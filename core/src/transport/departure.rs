//! Whether a request has left. It is decided once, by the first of two: the wire that takes the
//! request, or the task that gives it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// The attempt waits: at a gate, for a connection, with the connection's task.
const WAITING: u8 = 0;
/// Its first byte may be on its way: the server may store it.
const LEFT: u8 = 1;
/// The attempt was given up while it waited, and fails where it would have left.
const WITHDRAWN: u8 = 2;

/// In place of a count: the whole request was given up while nothing of it had left.
const GONE: u32 = u32::MAX;

/// The one place where giving a request up and its first byte leaving exclude each other.
///
/// Aborting the task that waits for an answer proves nothing: the request may lie with the
/// connection's own task, which asks for its body afterwards. Clones are of the same attempt; one
/// that is made [`beside`](Departure::beside) it carries the same request to another server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Departure {
    own: Arc<AtomicU8>,
    whole: Arc<Whole>,
}

/// All attempts at one request.
#[derive(Debug, Default)]
struct Whole {
    /// How many have left, or [`GONE`].
    out: AtomicU32,
    /// Of these, those that were given up without a word, for another's answer.
    late: AtomicU32,
    /// One was answered in a way that leaves open whether it was stored.
    is_unclear: AtomicBool,
}

impl Departure {
    /// An attempt beside this one: each leaves by itself, and none once the whole was given up.
    pub(crate) fn beside(&self) -> Self {
        Departure { own: Arc::default(), whole: self.whole.clone() }
    }

    /// Lets the attempt's next bytes leave, unless it was given up.
    pub(crate) fn leave(&self) -> bool {
        match self.own.load(Ordering::Acquire) {
            LEFT => return true,
            WITHDRAWN => return false,
            _ => {}
        }
        let more = |out: u32| (out != GONE).then(|| out + 1);
        if self.whole.out.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return false;
        }
        let before = self.step(WAITING, LEFT);
        if before != WAITING {
            self.whole.less();
        }
        before != WITHDRAWN
    }

    /// Gives the request up, each attempt at it. `true`: nothing of it has left, and nothing will.
    /// `false`: it may be on its way, and aborting it does not call it back.
    pub(crate) fn withdraw(&self) -> bool {
        let gone = self.whole.out.compare_exchange(0, GONE, Ordering::AcqRel, Ordering::Acquire);
        gone.map_or_else(|out| out == GONE, |_| true)
    }

    /// Gives this attempt up, with the same meaning; those beside it go on.
    pub(crate) fn give_up(&self) -> bool {
        self.step(WAITING, WITHDRAWN) != LEFT
    }

    /// Gives this attempt up because another was answered: it may still arrive.
    pub(crate) fn abandon(&self) {
        if !self.give_up() {
            self.whole.late.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// An answer says that nothing of what left was stored, so it counts as not having left.
    pub(crate) fn came_to_nothing(&self) {
        if self.step(LEFT, WAITING) == LEFT {
            self.whole.less();
        }
    }

    /// An answer to this attempt, which is not the request's, does not say whether it was stored.
    pub(crate) fn was_unclear(&self) {
        self.whole.is_unclear.store(true, Ordering::Release);
    }

    /// What is left of the attempts beside the one that was answered: how many were given up and may
    /// still arrive, and whether one may have been stored for all that its answer says. Told once.
    pub(crate) fn take_doubts(&self) -> (u32, bool) {
        let late = self.whole.late.swap(0, Ordering::AcqRel);
        (late, self.whole.is_unclear.swap(false, Ordering::AcqRel))
    }

    /// Takes the step from a state; returns the state before.
    fn step(&self, from: u8, to: u8) -> u8 {
        let seen = self.own.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        seen.unwrap_or_else(|other| other)
    }
}

impl Whole {
    fn less(&self) {
        self.out.fetch_sub(1, Ordering::AcqRel);
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
        for give_up in [Departure::withdraw, Departure::give_up] {
            for _ in 0..2_000 {
                let departure = Departure::default();
                let wire = departure.clone();
                let left = std::thread::scope(|scope| {
                    let wire = scope.spawn(move || wire.leave());
                    let given_up = give_up(&departure);
                    wire.join().unwrap() != given_up
                });
                assert!(left, "it is either given up or has left");
            }
        }
    }

    #[test]
    fn a_request_has_left_once_any_attempt_at_it_has() {
        let first = Departure::default();
        let second = first.beside();
        assert!(first.give_up() && !first.leave());
        assert!(second.leave(), "the one beside it goes on");
        assert!(!first.withdraw(), "and so the request may be stored");
        second.came_to_nothing();
        assert!(first.withdraw());
        assert!(!second.leave() && !first.beside().leave());
    }

    #[test]
    fn an_attempt_that_left_and_is_abandoned_stays_in_doubt() {
        let first = Departure::default();
        let second = first.beside();
        assert!(first.leave());
        first.abandon();
        second.abandon();
        assert!(!second.leave());
        second.was_unclear();
        assert_eq!(first.take_doubts(), (1, true));
        assert_eq!(second.take_doubts(), (0, false), "it is told once");
        assert!(!second.withdraw());
    }
}
