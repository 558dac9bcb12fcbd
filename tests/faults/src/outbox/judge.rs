//! Judges the stream of a writer that was killed again and again: pure functions. A write whose call had
//! returned, and whose number had left the process, is in the stream once; the one that was in its call
//! when the process died is there once or not.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use durstream_tests::audit::outcomes::{End, Verdict};
use durstream_tests::failure::{Context, Result};
use durstream_tests::numbered::{Found, Kind};

/// Every such write begins a group of so many: the writers know this, too.
const GROUP_EACH: usize = 10;
const GROUP_AT: usize = 7;
const GROUP: usize = 3;

/// How many writes the call makes that begins with this one.
fn call(first: usize) -> usize {
    if first % GROUP_EACH == GROUP_AT { GROUP } else { 1 }
}

/// What is known of each write.
#[derive(Default)]
pub(crate) struct Accepted {
    ends: Vec<End>,
}

impl Accepted {
    /// The write that the next life begins with.
    pub(crate) fn next(&self) -> usize {
        self.ends.len()
    }

    /// A life accepted writes up to this one.
    pub(crate) fn up_to(&mut self, last: usize) {
        let count = self.ends.len().max(last + 1);
        self.ends.resize(count, End::Delivered);
    }

    /// The life was killed, perhaps in its next call.
    pub(crate) fn was_killed(&mut self) {
        let count = self.ends.len() + call(self.ends.len());
        self.ends.resize(count, End::Unknown);
    }

    /// Compares with what is in the stream.
    pub(crate) fn judge(self, writer: &str, stream: &[Found]) -> Verdict {
        Verdict::new(&[(writer.to_owned(), self.ends)], stream)
    }
}

/// The records of a stream's pages. The changes of a transaction have its id beside what they are.
pub(crate) fn records(kind: Kind, pages: &[Vec<u8>]) -> Result<Vec<Found>> {
    let plain = |page: &Vec<u8>| {
        let mut values: Vec<Value> = serde_json::from_slice(page).context("a page")?;
        for value in &mut values {
            if let Some(Value::Object(headers)) = value.get_mut("headers") {
                headers.remove("txid");
            }
        }
        serde_json::to_vec(&values).context("a page")
    };
    kind.read(&pages.iter().map(plain).collect::<Result<Vec<_>>>()?)
}

/// How many groups are there in part, or with something in between.
pub(crate) fn parted(stream: &[Found]) -> usize {
    let number = |place: usize| stream.get(place).and_then(|found| Some(found.as_ref()?.1));
    let is_wrong = |place: &usize| {
        let Some(this) = number(*place) else { return false };
        let within = (this % GROUP_EACH).wrapping_sub(GROUP_AT);
        let (begins, belongs) = (within == 0, within < GROUP);
        if begins {
            return (1..GROUP).any(|n| number(place + n) != Some(this + n));
        }
        // Counted at its first write, unless that is not there.
        belongs && (*place < within || number(place - within) != Some(this - within))
    };
    (0..stream.len()).filter(is_wrong).count()
}

/// The writes that are there twice, in runs of numbers that follow each other.
pub(crate) fn copies(stream: &[Found]) -> Vec<RangeInclusive<usize>> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (_, write) in stream.iter().flatten() {
        if !seen.insert(*write) {
            twice.insert(*write);
        }
    }
    let mut runs: Vec<RangeInclusive<usize>> = Vec::new();
    for write in twice {
        match runs.last_mut() {
            Some(run) if *run.end() + 1 == write => *run = *run.start()..=write,
            _ => runs.push(write..=write),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(numbers: &[usize]) -> Vec<Found> {
        numbers.iter().map(|number| Some(("a".to_owned(), *number))).collect()
    }

    /// Two lives: the first accepted 0 to 6 and was killed in the call of 7, 8, 9.
    fn accepted() -> Accepted {
        let mut accepted = Accepted::default();
        accepted.up_to(6);
        accepted.was_killed();
        assert_eq!(accepted.next(), 10);
        accepted.up_to(11);
        accepted
    }

    #[test]
    fn a_call_that_had_not_returned_may_be_there_or_not() {
        for stream in [&[0, 1, 2, 3, 4, 5, 6, 10, 11][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
        {
            let verdict = accepted().judge("a", &found(stream));
            assert!(verdict.is_true(), "{verdict:?}");
            assert_eq!((verdict.accepted, verdict.unknown), (12, 3));
            assert_eq!(parted(&found(stream)), 0);
        }
    }

    #[test]
    fn what_is_lost_doubled_or_moved_is_found() {
        let counts = |stream: &[usize]| {
            let verdict = accepted().judge("a", &found(stream));
            [verdict.lost, verdict.doubled, verdict.misplaced, verdict.foreign]
        };
        assert_eq!(counts(&[0, 1, 2, 3, 4, 5, 10, 11]), [1, 0, 0, 0]);
        assert_eq!(counts(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11]), [0, 1, 0, 0]);
        assert_eq!(counts(&[0, 1, 2, 3, 4, 6, 5, 10, 11]), [0, 0, 1, 0]);
        assert_eq!(counts(&[0, 1, 2, 3, 4, 5, 6, 10, 11, 12]), [0, 0, 0, 1]);
    }

    #[test]
    fn what_is_there_twice_is_named() {
        assert!(copies(&found(&[1, 2, 3])).is_empty());
        assert_eq!(copies(&found(&[1, 2, 3, 2, 3, 5, 5, 6])), [2..=3, 5..=5]);
    }

    #[test]
    fn a_group_that_is_not_whole_is_parted() {
        for (stream, expected) in [
            (&[6, 7, 8, 9, 10][..], 0),
            (&[6, 10], 0),
            (&[7, 8, 10], 1),
            (&[8, 9, 10], 2),
            (&[7, 10, 8, 9], 3),
            (&[17], 1),
        ] {
            assert_eq!(parted(&found(stream)), expected, "{stream:?}");
        }
    }

    #[test]
    fn the_id_of_a_transaction_is_no_part_of_a_change() {
        let event =
            Kind::State.record("a", 7).replace("\"operation\"", "\"txid\":\"t\",\"operation\"");
        assert!(event.contains("txid"));
        let pages = [format!("[{event}]").into_bytes()];
        assert_eq!(records(Kind::State, &pages).unwrap(), found(&[7]));
        assert_eq!(Kind::State.read(&pages).unwrap(), [None]);
    }
}
