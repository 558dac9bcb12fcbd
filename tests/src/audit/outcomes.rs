//! Judges a stream by what its writers say became of each write: a pure function.

use std::collections::HashMap;

use super::Places;
use crate::numbered::Found;

/// What a producer said about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In the stream, once.
    Delivered,
    /// Delivered, and possibly twice.
    Flagged,
    /// Possibly in the stream.
    Unknown,
    /// Refused for good.
    Rejected,
    /// Given up, nobody refused it.
    Cancelled,
    /// Turned away at the call.
    Refused,
}

impl End {
    /// The outcome of a name; `flagged` and `refused` are the writer's own.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "delivered" => End::Delivered,
            "flagged" => End::Flagged,
            "delivery-unknown" => End::Unknown,
            "rejected" => End::Rejected,
            "cancelled" => End::Cancelled,
            "refused" => End::Refused,
            _ => return None,
        })
    }
}

/// Counts of what became of the writes, and of what is wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Not turned away at the call.
    pub accepted: usize,
    /// By their outcome, the flagged ones included.
    pub delivered: usize,
    /// Called possibly doubled.
    pub flagged: usize,
    /// By their outcome.
    pub unknown: usize,
    /// By their outcome.
    pub rejected: usize,
    /// By their outcome.
    pub cancelled: usize,
    /// Turned away at the call.
    pub refused: usize,
    /// Called delivered, not in the stream.
    pub lost: usize,
    /// More than once in the stream and not flagged: by how many too many.
    pub doubled: usize,
    /// Called certainly not in the stream, and there.
    pub denied: usize,
    /// The fewest records that would have to move to give the order of the calls.
    pub misplaced: usize,
    /// In the stream, written by nobody or damaged.
    pub foreign: usize,
}

/// Of several runs together.
impl std::ops::AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.flagged += other.flagged;
        self.unknown += other.unknown;
        self.rejected += other.rejected;
        self.cancelled += other.cancelled;
        self.refused += other.refused;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.denied += other.denied;
        self.misplaced += other.misplaced;
        self.foreign += other.foreign;
    }
}

impl Verdict {
    /// `writers` has each writer's name and what became of its writes, in the order of the calls.
    pub fn new(writers: &[(String, Vec<End>)], stream: &[Found]) -> Self {
        let mut verdict = Self::default();
        let mut places: HashMap<&str, Places> = HashMap::new();
        for (writer, ends) in writers {
            places.insert(writer, Places::of(ends.len()));
        }
        for (place, found) in stream.iter().enumerate() {
            let is_a_write = found.as_ref().is_some_and(|(writer, number)| {
                places.get_mut(writer.as_str()).is_some_and(|places| places.found(*number, place))
            });
            verdict.foreign += usize::from(!is_a_write);
        }
        for (writer, ends) in writers {
            let places = &places[writer.as_str()];
            ends.iter().zip(places.copies()).for_each(|(end, copies)| verdict.count(*end, copies));
            verdict.misplaced += places.out_of_order_by_any();
        }
        verdict
    }

    fn count(&mut self, end: End, copies: usize) {
        self.accepted += usize::from(end != End::Refused);
        match end {
            End::Delivered | End::Flagged => {
                self.delivered += 1;
                self.flagged += usize::from(end == End::Flagged);
                self.lost += usize::from(copies == 0);
            }
            End::Unknown => self.unknown += 1,
            End::Rejected => self.rejected += 1,
            End::Cancelled => self.cancelled += 1,
            End::Refused => self.refused += 1,
        }
        if matches!(end, End::Rejected | End::Cancelled | End::Refused) {
            self.denied += copies;
        } else if end != End::Flagged {
            self.doubled += copies.saturating_sub(1);
        }
    }

    /// Whether the stream is what the outcomes say.
    pub fn is_true(&self) -> bool {
        [self.lost, self.doubled, self.denied, self.misplaced, self.foreign] == [0; 5]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [End; 7] = [
        End::Delivered,
        End::Delivered,
        End::Flagged,
        End::Unknown,
        End::Rejected,
        End::Cancelled,
        End::Refused,
    ];

    /// What is wrong when the writes of [`ENDS`] are in the stream as listed.
    fn wrong(stream: &[usize]) -> [usize; 5] {
        let stream: Vec<Found> = stream.iter().map(|n| Some(("a".to_owned(), *n))).collect();
        let verdict = Verdict::new(&[("a".to_owned(), ENDS.to_vec())], &stream);
        let Verdict { lost, doubled, denied, misplaced, foreign, .. } = verdict;
        assert_eq!(verdict.is_true(), [lost, doubled, denied, misplaced, foreign] == [0; 5]);
        [lost, doubled, denied, misplaced, foreign]
    }

    #[test]
    fn outcomes_are_counted() {
        let verdict = Verdict::new(&[("a".to_owned(), ENDS.to_vec())], &[]);
        let Verdict { accepted, delivered, flagged, unknown, rejected, cancelled, .. } = verdict;
        assert_eq!([accepted, delivered, flagged, unknown], [6, 3, 1, 1]);
        assert_eq!([rejected, cancelled, verdict.refused], [1, 1, 1]);
    }

    #[test]
    fn a_true_stream_may_hold_the_unknown_and_the_flagged_twice() {
        for stream in [&[0, 1, 2][..], &[0, 1, 2, 3], &[0, 1, 2, 2, 3]] {
            assert_eq!(wrong(stream), [0; 5], "{stream:?}");
        }
    }

    #[test]
    fn each_untruth_is_found() {
        for (stream, expected) in [
            (&[0, 2][..], [1, 0, 0, 0, 0]),
            (&[0, 1], [1, 0, 0, 0, 0]),
            (&[], [3, 0, 0, 0, 0]),
            (&[0, 0, 1, 2], [0, 1, 0, 0, 0]),
            (&[0, 1, 2, 3, 3, 3], [0, 2, 0, 0, 0]),
            (&[0, 1, 2, 4], [0, 0, 1, 0, 0]),
            (&[0, 1, 2, 5, 6], [0, 0, 2, 0, 0]),
            (&[1, 0, 2], [0, 0, 0, 1, 0]),
            (&[2, 0, 1], [0, 0, 0, 1, 0]),
            (&[0, 2, 1, 2], [0, 0, 0, 1, 0]),
            (&[0, 1, 2, 7], [0, 0, 0, 0, 1]),
        ] {
            assert_eq!(wrong(stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn writers_side_by_side_have_an_order_each() {
        let ends = |writer: &str| (writer.to_owned(), vec![End::Delivered; 2]);
        let found = |writer: &str, number| Some((writer.to_owned(), number));
        let stream = [found("b", 0), found("a", 0), found("a", 1), found("b", 1)];
        assert!(Verdict::new(&[ends("a"), ends("b")], &stream).is_true());
        let verdict = Verdict::new(&[ends("a")], &stream);
        assert_eq!((verdict.foreign, verdict.misplaced), (2, 0));
        assert_eq!(Verdict::new(&[], &[None]).foreign, 1);
    }
}
