//! What a row has to come to, beyond a stream that is what the outcomes say.

use super::stage::Ran;
use super::writer::Told;
use durstream_tests::audit::outcomes::{End, Verdict};

/// Without anything said: the fault happened, and it cost nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// The fault happened at least so often.
    injected: u64,
    flags: bool,
    unknown: bool,
    rejected: Rejected,
    /// The state a producer ends in before everything is written.
    ends: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rejected {
    Exactly(usize),
    Any,
}

impl Expect {
    /// All of it is delivered, and nothing flagged.
    pub(crate) fn nothing_lost(injected: u64) -> Self {
        Self { injected, flags: false, unknown: false, rejected: Rejected::Exactly(0), ends: None }
    }

    /// Some may be there twice, and say so.
    pub(crate) fn may_flag(self) -> Self {
        Self { flags: true, ..self }
    }

    /// Where nobody can know what became of a write, its outcome says so.
    pub(crate) fn may_not_know(self) -> Self {
        Self { unknown: true, ..self }
    }

    pub(crate) fn rejects(self, count: usize) -> Self {
        Self { rejected: Rejected::Exactly(count), ..self }
    }

    pub(crate) fn may_reject(self) -> Self {
        Self { rejected: Rejected::Any, ..self }
    }

    /// A producer ends in this state with writes undelivered.
    pub(crate) fn ends(self, state: &'static str) -> Self {
        Self { ends: Some(state), ..self }
    }

    /// Everything that is not as expected.
    pub(crate) fn problems(&self, ran: &Ran, verdict: &Verdict) -> Vec<String> {
        let mut problems = ran.problems.clone();
        let mut require = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let v = verdict;
        require(v.lost == 0, format!("{} called delivered and not in the stream", v.lost));
        require(v.doubled == 0, format!("{} copies too many, and not flagged", v.doubled));
        require(v.denied == 0, format!("{} in the stream that were called undelivered", v.denied));
        require(v.misplaced == 0, format!("{} out of order", v.misplaced));
        require(v.foreign == 0, format!("{} records nobody wrote", v.foreign));
        let injected = ran.injected;
        require(
            injected >= self.injected,
            format!("injected {injected} times, not {}", self.injected),
        );
        require(v.accepted > 0, "nothing was accepted".to_owned());
        require(self.flags || v.flagged == 0, format!("{} flagged", v.flagged));
        require(self.unknown || v.unknown == 0, format!("{} unknown", v.unknown));
        require(
            self.rejected == Rejected::Any || self.rejected == Rejected::Exactly(v.rejected),
            format!("{} rejected, not {:?}", v.rejected, self.rejected),
        );
        let undelivered = v.cancelled + v.refused;
        let ended: Vec<&str> = ran.told.iter().map(|told| told.account.state.as_str()).collect();
        match self.ends {
            None => {
                require(undelivered == 0, format!("{undelivered} cancelled or refused"));
                let ends = |state: &&str| ["failed", "fenced", "stopped"].contains(state);
                require(!ended.iter().any(ends), format!("ended {}", ended.join(", ")));
            }
            Some(state) => {
                require(ended.contains(&state), format!("ended {}, not {state}", ended.join(", ")));
                require(undelivered + v.unknown > 0, "nothing undelivered".to_owned());
            }
        }
        ran.told.iter().for_each(|told| problems.extend(untruths(told)));
        problems
    }
}

/// Where a producer's own accounts differ from its outcomes.
fn untruths(told: &Told) -> Vec<String> {
    let account = &told.account;
    let count = |wanted: &[End]| told.ends.iter().filter(|end| wanted.contains(end)).count() as u64;
    let (rejected, cancelled) = (count(&[End::Rejected]), count(&[End::Cancelled]));
    let unknown = count(&[End::Unknown]);
    let undelivered = rejected + cancelled + unknown;
    let mut pairs = vec![
        ("accepted", told.ends.len() as u64 - count(&[End::Refused])),
        ("delivered", count(&[End::Delivered, End::Flagged])),
        ("uncertain", count(&[End::Flagged])),
        ("rejected", rejected),
        ("cancelled", cancelled),
        ("unknown", unknown),
        ("pending", 0),
    ];
    pairs.retain(|(name, outcomes)| account.stats.get(*name) != Some(outcomes));
    let mut found: Vec<String> = pairs
        .iter()
        .map(|(name, outcomes)| {
            format!("its `{name}` is {:?}, its outcomes say {outcomes}", account.stats.get(*name))
        })
        .collect();
    if account.unbalanced > 0 {
        found.push(format!("its counters did not add up {} times", account.unbalanced));
    }
    if account.told != undelivered {
        found.push(format!("on_error was told {}, not {undelivered}", account.told));
    }
    if account.flush.is_some() != (undelivered + count(&[End::Refused]) > 0) {
        found.push(format!("its flush said {:?}", account.flush));
    }
    found.iter().map(|problem| format!("writer {}: {problem}", told.writer)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::writer::Account;
    use super::*;

    fn ran(ends: &[End], state: &str) -> Ran {
        let count = |wanted: End| ends.iter().filter(|end| **end == wanted).count() as u64;
        let undelivered = ends.len() as u64 - count(End::Delivered) - count(End::Flagged);
        let stats = [
            ("accepted", ends.len() as u64),
            ("delivered", count(End::Delivered) + count(End::Flagged)),
            ("uncertain", count(End::Flagged)),
            ("rejected", count(End::Rejected)),
            ("cancelled", count(End::Cancelled)),
            ("unknown", count(End::Unknown)),
            ("pending", 0),
        ];
        let account = Account {
            stats: stats.map(|(name, value)| (name.to_owned(), value)).into(),
            told: undelivered,
            flush: (undelivered > 0).then(|| "failed".to_owned()),
            state: state.to_owned(),
            ..Account::default()
        };
        let told = vec![Told { writer: "a".into(), ends: ends.to_vec(), account }];
        Ran { injected: 3, told, ..Ran::default() }
    }

    fn problems(expect: Expect, ran: &Ran) -> usize {
        let verdict =
            Verdict { lost: 0, ..Verdict::new(&[("a".into(), ran.told[0].ends.clone())], &[]) };
        expect.problems(ran, &verdict).len()
    }

    #[test]
    fn what_is_expected_is_no_problem() {
        let plain = Expect::nothing_lost(3);
        assert_eq!(problems(plain, &ran(&[End::Delivered], "ready")), 0);
        assert_eq!(problems(plain.may_flag(), &ran(&[End::Flagged], "ready")), 0);
        assert_eq!(problems(plain.may_not_know(), &ran(&[End::Unknown], "ready")), 0);
        assert_eq!(problems(plain.rejects(1), &ran(&[End::Rejected], "ready")), 0);
        assert_eq!(problems(plain.may_reject(), &ran(&[End::Rejected], "ready")), 0);
        assert_eq!(problems(plain.ends("fenced"), &ran(&[End::Cancelled], "fenced")), 0);
    }

    #[test]
    fn what_is_not_expected_is_one() {
        let plain = Expect::nothing_lost(3);
        for end in [End::Flagged, End::Unknown, End::Rejected, End::Cancelled] {
            assert_eq!(problems(plain, &ran(&[end], "ready")), 1, "{end:?}");
        }
        let delivered = ran(&[End::Delivered], "ready");
        assert_eq!(problems(Expect::nothing_lost(4), &delivered), 1);
        assert_eq!(problems(plain.rejects(1), &delivered), 1);
        assert_eq!(problems(plain.ends("fenced"), &delivered), 2);
        assert_eq!(problems(plain, &ran(&[End::Delivered], "failed")), 1);
        assert_eq!(problems(plain, &ran(&[], "ready")), 1);
    }

    #[test]
    fn every_untruth_of_the_stream_is_one() {
        let ran = ran(&[End::Delivered], "ready");
        let told = &ran.told[0];
        let true_one = Verdict { lost: 0, ..Verdict::new(&[("a".into(), told.ends.clone())], &[]) };
        for wrong in [
            Verdict { lost: 1, ..true_one.clone() },
            Verdict { doubled: 1, ..true_one.clone() },
            Verdict { denied: 1, ..true_one.clone() },
            Verdict { misplaced: 1, ..true_one.clone() },
            Verdict { foreign: 1, ..true_one.clone() },
        ] {
            assert_eq!(Expect::nothing_lost(1).problems(&ran, &wrong).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn accounts_that_differ_from_the_outcomes_are_problems() {
        let change = |change: fn(&mut Account)| {
            let mut ran = ran(&[End::Delivered, End::Cancelled], "ready");
            change(&mut ran.told[0].account);
            untruths(&ran.told[0]).len()
        };
        assert_eq!(change(|_| ()), 0);
        assert_eq!(change(|account| account.unbalanced = 1), 1);
        assert_eq!(change(|account| account.told = 2), 1);
        assert_eq!(change(|account| account.flush = None), 1);
        assert_eq!(change(|account| account.stats.clear()), 7);
    }
}
