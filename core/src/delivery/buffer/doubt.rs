//! Whether a batch may be in the stream although no answer has said so. Pure.

/// What is in doubt about one batch, over all its attempts. At first nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// An attempt under the present tuple may have been stored.
    maybe_stored: bool,
    /// Attempts under the present tuple that ended without a word of the server itself, which may
    /// have stored the batch, crashed and forgotten, since the stream last showed nothing of it.
    unanswered: u32,
    /// Of these, the attempts this side gave up: the stream does not show a request still on its
    /// way.
    late: u32,
    /// An attempt under an earlier tuple may have been stored.
    stored_before: bool,
    /// An attempt under an earlier tuple was not in the stream, and may only be late.
    late_before: bool,
}

impl Doubt {
    /// An attempt ended without a word of the server; if this side gave it up, it is `late` and may
    /// still arrive.
    pub(crate) fn unanswered(&mut self, late: bool) {
        self.maybe_stored = true;
        self.unanswered += 1;
        self.late += u32::from(late);
    }

    /// An answer did not say whether the batch is stored.
    pub(crate) fn answered_unclearly(&mut self) {
        self.maybe_stored = true;
    }

    /// The server has stored an attempt, and shows it to nobody yet: it is none of those that are late.
    pub(crate) fn stored_unseen(&mut self) {
        self.maybe_stored = true;
        self.unanswered = self.unanswered.max(self.late + 1);
    }

    /// The server refuses everything that could be stored under the present tuple, now and later.
    pub(crate) fn ruled_out(&mut self) {
        (self.maybe_stored, self.unanswered, self.late) = (false, 0, 0);
    }

    /// The stream shows nothing of the batch. A late attempt may still arrive: a server that then
    /// still knows the tuple, `is_known`, tells it from a repeat.
    pub(crate) fn not_found(&mut self, is_known: bool) {
        self.unanswered = self.late;
        if !is_known {
            self.late_before |= self.late > 0;
            self.maybe_stored = false;
        }
    }

    /// The batch goes out under another tuple.
    pub(crate) fn new_tuple(&mut self) {
        self.stored_before |= self.maybe_stored;
        self.ruled_out();
    }

    /// The batch may have been stored by an attempt that is known of from elsewhere.
    pub(crate) fn stored_elsewhere(&mut self) {
        self.stored_before = true;
    }

    /// Whether the batch may have been stored under the present tuple.
    pub(crate) fn maybe_stored(self) -> bool {
        self.maybe_stored
    }

    /// Whether the batch may be in the stream, or still arrive there, under an earlier tuple: an
    /// acknowledgement of the present one does not say that it is there once.
    pub(crate) fn is_from_before(self) -> bool {
        self.stored_before || self.late_before
    }

    /// Whether the batch may be in the stream, or still arrive there.
    pub(crate) fn is_open(self) -> bool {
        self.maybe_stored || self.is_from_before()
    }

    /// Whether a server that may forget could have stored it more than once under the present
    /// tuple, although its answer explains `explained` of the attempts.
    pub(crate) fn exceeds(self, explained: u32) -> bool {
        self.unanswered > explained
    }

    /// Whether an attempt under the present tuple was given up and may still arrive.
    pub(crate) fn is_late(self) -> bool {
        self.late > 0
    }

    /// Whether, with one attempt found in the stream, another one may still arrive there.
    pub(crate) fn may_come_again(self) -> bool {
        self.late > 0 && self.unanswered > 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What really happened, which the events only hint at.
    #[derive(Debug, Default)]
    struct Truth {
        stored: bool,
        /// Given up, and still on their way.
        under_way: bool,
        stored_before: bool,
        under_way_before: bool,
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// An attempt gets lost: whether it was stored, and whether it is given up on its way.
        Lost {
            stored: bool,
            late: bool,
        },
        /// What is on its way arrives.
        Arrives,
        Unclear {
            stored: bool,
        },
        RuledOut,
        NotFound {
            is_known: bool,
        },
        NewTuple,
    }

    impl Truth {
        /// What happens, and what is known of it; nothing where it could not happen so.
        fn take(&mut self, event: Event, doubt: &mut Doubt) {
            match event {
                Event::Lost { stored, late } => {
                    self.stored |= stored;
                    self.under_way |= late && !stored;
                    doubt.unanswered(late);
                }
                Event::Arrives => {
                    self.stored |= std::mem::take(&mut self.under_way);
                    self.stored_before |= std::mem::take(&mut self.under_way_before);
                }
                Event::Unclear { stored } => {
                    self.stored |= stored;
                    doubt.answered_unclearly();
                }
                Event::RuledOut if !self.stored => {
                    self.under_way = false;
                    doubt.ruled_out();
                }
                Event::NotFound { is_known } if !self.stored && !self.stored_before => {
                    doubt.not_found(is_known);
                }
                Event::NewTuple => {
                    self.stored_before |= std::mem::take(&mut self.stored);
                    self.under_way_before |= std::mem::take(&mut self.under_way);
                    doubt.new_tuple();
                }
                Event::RuledOut | Event::NotFound { .. } => {}
            }
        }

        fn is_or_comes(&self) -> bool {
            self.stored || self.under_way || self.stored_before || self.under_way_before
        }
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let one = prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(stored, late)| Event::Lost { stored, late }),
            Just(Event::Arrives),
            any::<bool>().prop_map(|stored| Event::Unclear { stored }),
            Just(Event::RuledOut),
            any::<bool>().prop_map(|is_known| Event::NotFound { is_known }),
            Just(Event::NewTuple),
        ];
        prop::collection::vec(one, 0..24)
    }

    proptest! {
        /// Whatever happened, a batch that is in the stream or arrives there is never taken for
        /// absent.
        #[test]
        fn what_may_be_there_is_in_doubt(events in events()) {
            let (mut truth, mut doubt) = (Truth::default(), Doubt::default());
            for event in events {
                truth.take(event, &mut doubt);
                prop_assert!(!truth.is_or_comes() || doubt.is_open(), "{truth:?} {doubt:?}");
                let earlier = truth.stored_before || truth.under_way_before;
                prop_assert!(!earlier || doubt.is_from_before(), "{truth:?} {doubt:?}");
            }
        }

        /// And what the server or the stream denied, with nothing on its way, is not in doubt.
        #[test]
        fn what_was_ruled_out_is_not(lost in 1u32..4, late in any::<bool>(), looked in any::<bool>()) {
            let mut doubt = Doubt::default();
            (0..lost).for_each(|_| doubt.unanswered(late && !looked));
            if looked { doubt.not_found(false) } else { doubt.ruled_out() }
            prop_assert_eq!(doubt, Doubt::default());
            doubt.new_tuple();
            prop_assert_eq!(doubt, Doubt::default());
        }
    }

    #[test]
    fn an_answer_explains_one_attempt_at_most() {
        let mut doubt = Doubt::default();
        assert!(!doubt.exceeds(0));
        doubt.unanswered(false);
        assert!(doubt.exceeds(0) && !doubt.exceeds(1));
        doubt.not_found(true);
        assert!(!doubt.exceeds(0) && doubt.maybe_stored(), "the tuple still decides");
        doubt.unanswered(true);
        assert!(!doubt.may_come_again(), "it is the one that was found");
        doubt.unanswered(false);
        assert!(doubt.may_come_again());
    }
}
