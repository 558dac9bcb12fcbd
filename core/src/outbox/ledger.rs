//! What is known of the writes in an outbox: which are settled, which went out under which tuple.
//! Pure: the same steps, taken by a producer and read by its next life, give the same.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A batch bound to a tuple of the server's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// The position of its first write.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) flags: SentFlags,
}

/// The tuple that was used last, and what was known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) flags: SentFlags,
}

/// What was known when a batch was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SentFlags {
    /// It was framed as a JSON array.
    pub(crate) json: bool,
    /// It travels with `Stream-Closed`.
    pub(crate) closes: bool,
    /// It may be stored under an earlier tuple.
    pub(crate) in_doubt_before: bool,
    /// An attempt at each batch of the session that is settled may still arrive, of one at least.
    pub(crate) all_are_late: bool,
    /// The session had an acknowledgement.
    pub(crate) ever_acked: bool,
    /// The server echoes tuples.
    pub(crate) echoed: bool,
    /// Tuples of the session may have been used that are not known: it takes no further batch.
    pub(crate) is_over: bool,
    /// It was sent under this tuple more than once.
    pub(crate) repeated: bool,
}

impl SentFlags {
    pub(crate) fn to_bits(self) -> u64 {
        let flags = [
            self.json,
            self.closes,
            self.in_doubt_before,
            self.all_are_late,
            self.ever_acked,
            self.echoed,
            self.is_over,
            self.repeated,
        ];
        flags.iter().enumerate().map(|(bit, flag)| u64::from(*flag) << bit).sum()
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let has = |bit: u32| bits >> bit & 1 == 1;
        SentFlags {
            json: has(0),
            closes: has(1),
            in_doubt_before: has(2),
            all_are_late: has(3),
            ever_acked: has(4),
            echoed: has(5),
            is_over: has(6),
            repeated: has(7),
        }
    }
}

/// An end of the stream with nothing of the producer behind it but what is in doubt, and so much that
/// was acknowledged since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) offset: Arc<str>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Unsettled positions that have, or had, a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) state: RangeState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RangeState {
    /// The batch as it was sent. Where it has positions that the range has not, they are settled,
    /// or were sent anew.
    Sent(Arc<Sent>),
    /// They may be stored under a tuple they had.
    InDoubt,
}

/// The knowledge itself. Positions begin at 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Everything before it is settled.
    settled_to: u64,
    /// Settled ranges behind that, which do not touch: first position and end.
    ahead: BTreeMap<u64, u64>,
    /// By first position, with the end; they do not overlap.
    ranges: BTreeMap<u64, (u64, RangeState)>,
    /// That of the last request that was sent.
    pub(crate) session: Option<Session>,
    /// From where a look at the stream reads, where that is known.
    pub(crate) base: Option<Base>,
    /// No position from here on was ever named.
    known: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger::new(1, None)
    }
}

impl Ledger {
    pub(crate) fn new(settled_to: u64, session: Option<Session>) -> Self {
        let (ahead, ranges) = (BTreeMap::new(), BTreeMap::new());
        Ledger { settled_to, ahead, ranges, session, base: None, known: settled_to }
    }

    pub(crate) fn settled_to(&self) -> u64 {
        self.settled_to
    }

    /// Behind every position that was named.
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// These positions go out, or went out, with a batch.
    pub(crate) fn sent(&mut self, sent: Arc<Sent>, first: u64, end: u64) {
        let Sent { epoch, mut seq, mut flags, .. } = *sent;
        // A repeat is recorded behind what was sent meanwhile, and begins no session anew that is over.
        if let Some(last) = self.session.filter(|last| last.epoch == epoch) {
            seq = seq.max(last.seq);
            flags.is_over |= last.flags.is_over;
        }
        self.session = Some(Session { epoch, seq, flags });
        self.put(first, end, Some(RangeState::Sent(sent)));
    }

    pub(crate) fn unsent(&mut self, first: u64, end: u64, in_doubt: bool) {
        self.put(first, end, in_doubt.then_some(RangeState::InDoubt));
    }

    fn put(&mut self, first: u64, end: u64, state: Option<RangeState>) {
        if first >= end {
            return;
        }
        self.known = self.known.max(end);
        self.clear(first, end);
        let Some(state) = state else { return };
        for (from, to) in self.unsettled(first, end) {
            self.insert(from, to, state.clone());
        }
    }

    fn insert(&mut self, mut first: u64, mut end: u64, state: RangeState) {
        if state == RangeState::InDoubt {
            // Those that touch become one: their number stays small.
            if let Some((from, (to, RangeState::InDoubt))) = self.ranges.range(..first).next_back()
                && *to == first
            {
                first = *from;
            }
            if let Some((to, RangeState::InDoubt)) = self.ranges.get(&end) {
                let (from, to) = (end, *to);
                self.ranges.remove(&from);
                end = to;
            }
        }
        self.ranges.insert(first, (end, state));
    }

    /// Takes the positions out of the ranges that have them.
    fn clear(&mut self, first: u64, end: u64) {
        let before = self.ranges.range(..first).next_back().map(|(from, (to, _))| (*from, *to));
        if let Some((from, to)) = before
            && to > first
        {
            let (_, state) = self.ranges.remove(&from).expect("it was found");
            if to > end {
                self.ranges.insert(end, (to, state.clone()));
            }
            self.ranges.insert(from, (first, state));
        }
        while let Some((from, to)) =
            self.ranges.range(first..end).next().map(|(f, (t, _))| (*f, *t))
        {
            let (_, state) = self.ranges.remove(&from).expect("it was found");
            if to > end {
                self.ranges.insert(end, (to, state));
            }
        }
    }

    pub(crate) fn settled(&mut self, mut first: u64, mut end: u64) {
        if first >= end {
            return;
        }
        self.known = self.known.max(end);
        self.clear(first, end);
        if first <= self.settled_to {
            self.settled_to = self.settled_to.max(end);
        } else {
            if let Some((from, to)) = self.ahead.range(..=first).next_back().map(|(f, t)| (*f, *t))
                && to >= first
            {
                (first, end) = (from, end.max(to));
            }
            while let Some((from, to)) = self.ahead.range(first..=end).next().map(|(f, t)| (*f, *t))
            {
                self.ahead.remove(&from);
                end = end.max(to);
            }
            self.ahead.insert(first, end);
        }
        while let Some(next) = self.ahead.first_entry()
            && *next.key() <= self.settled_to
        {
            self.settled_to = self.settled_to.max(next.remove());
        }
    }

    /// Whether all of these positions are settled.
    pub(crate) fn is_settled(&self, first: u64, end: u64) -> bool {
        if end <= self.settled_to || first >= end {
            return true;
        }
        !self.ahead.is_empty() && self.unsettled(first, end).next().is_none()
    }

    /// The parts of a range that are not settled, in order.
    pub(crate) fn unsettled(
        &self,
        first: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, u64)> + use<> {
        let mut out = Vec::new();
        let mut from = first.max(self.settled_to);
        let before = self.ahead.range(..from).next_back();
        for (settled, to) in before.into_iter().chain(self.ahead.range(from..end.max(from))) {
            if *settled > from {
                out.push((from, (*settled).min(end)));
            }
            from = from.max(*to);
        }
        if from < end {
            out.push((from, end));
        }
        out.into_iter()
    }

    /// Forgets everything from a position on: nothing is there.
    pub(crate) fn cut(&mut self, position: u64) {
        self.clear(position, u64::MAX);
        let ahead = self.ahead.split_off(&position);
        debug_assert!(ahead.keys().all(|first| *first >= position));
        if let Some(mut last) = self.ahead.last_entry() {
            let end = (*last.get()).min(position);
            last.insert(end);
        }
        self.settled_to = self.settled_to.min(position);
        self.known = self.known.min(position);
    }

    /// The ranges, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range> {
        self.ranges.iter().map(|(first, (end, state))| Range {
            first: *first,
            count: end - first,
            state: state.clone(),
        })
    }

    /// Whether two say the same of every write that is not settled.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn same(&self, other: &Ledger) -> bool {
        let known = |ledger: &Ledger| (ledger.settled_to, ledger.session);
        known(self) == known(other) && self.ahead == other.ahead && self.ranges == other.ranges
    }

    /// The settled ranges behind the first unsettled position: first and end.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ahead.iter().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a repeat records is of its batch: the session stays as far as it was, and over where it is.
    #[test]
    fn a_repeat_takes_nothing_back_of_its_session() {
        let mut ledger = Ledger::default();
        let mut sent = |epoch, seq, is_over| {
            let flags = SentFlags { is_over, ..SentFlags::default() };
            let first = 10 * seq + 1;
            ledger.sent(Arc::new(Sent { epoch, seq, first, count: 1, flags }), first, first + 1);
            let Session { epoch, seq, flags } = ledger.session.unwrap();
            (epoch, seq, flags.is_over)
        };
        assert_eq!(sent(7, 0, false), (7, 0, false));
        assert_eq!(sent(7, 2, true), (7, 2, true));
        assert_eq!(sent(7, 1, false), (7, 2, true));
        assert_eq!(sent(8, 0, false), (8, 0, false), "a new one is not over");
    }
}
