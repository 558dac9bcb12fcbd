//! Whether a service holds more at the end than early on. Pure.

use std::ops::Range;
use std::time::Duration;

use crate::meter::{Held, Sample};

/// A run that is shorter says less, as its services are still warming up.
const LONG: Duration = Duration::from_secs(600);

/// The two times that are compared, and by how much the later may be above the earlier.
pub(crate) struct Rule {
    pub(crate) early: Range<Duration>,
    pub(crate) late: Range<Duration>,
    /// A part of the earlier value.
    pub(crate) most: f64,
    /// How many times a measure's slack is allowed.
    slacks: f64,
}

impl Rule {
    /// Minutes 4 to 6 and the last two, of a long run. In a shorter one memory still grows into its
    /// caches, and a single outage leaves more connections than there are otherwise.
    pub(crate) fn of(lasts: Duration) -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        if lasts >= LONG {
            let (early, late) = (minutes(4)..minutes(6), lasts - minutes(2)..lasts);
            return Self { early, late, most: 0.05, slacks: 1.0 };
        }
        let (early, late) = (lasts / 3..lasts / 2, lasts * 5 / 6..lasts);
        Self { early, late, most: 0.25, slacks: 12.0 }
    }
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Held) -> f64,
    /// What stands for all values of a time.
    value: fn(Vec<f64>) -> Option<f64>,
    /// So much more is no growth, however little there was: one descriptor, a few pages.
    slack: f64,
}

impl Measure {
    const fn median(name: &'static str, of: fn(&Held) -> f64, slack: f64) -> Self {
        Self { name, of, value: median, slack }
    }
}

/// An outage opens connections, up to the limit of a host, which stay for a while: what there are most
/// of the time depends on when the last was, and says nothing of a leak. What there are at least does.
pub(crate) const MEASURES: [Measure; 5] = [
    Measure::median("memory, MiB", |held| held.resident / 1024.0, 0.0),
    Measure::median("of that its own, MiB", |held| held.own / 1024.0, 0.4),
    Measure::median("descriptors", |held| held.descriptors, f64::INFINITY),
    Measure {
        name: "descriptors, at least",
        of: |held| held.descriptors,
        value: least,
        slack: 1.0,
    },
    Measure::median("threads", |held| held.threads, 1.0),
];

/// A measure of a service at both times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) early: f64,
    pub(crate) late: f64,
    pub(crate) is_growth: bool,
}

impl Change {
    /// In percent of the earlier value.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * (self.late - self.early) / self.early
    }
}

/// `None` where there is no sample of one of the times.
pub(crate) fn change(
    samples: &[Sample],
    service: usize,
    measure: &Measure,
    rule: &Rule,
) -> Option<Change> {
    let value_in = |time: &Range<Duration>| {
        let wanted = samples.iter().filter(|sample| time.contains(&sample.at));
        (measure.value)(wanted.map(|sample| (measure.of)(&sample.held[service])).collect())
    };
    let (early, late) = (value_in(&rule.early)?, value_in(&rule.late)?);
    let most = (early * (1.0 + rule.most)).max(early + rule.slacks * measure.slack);
    Some(Change { early, late, is_growth: late > most })
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

fn least(values: Vec<f64>) -> Option<f64> {
    values.into_iter().min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTORS: Measure = MEASURES[3];
    const OWN: Measure = MEASURES[1];

    /// A sample each five seconds of an hour.
    fn hour(of: impl Fn(f64) -> Held) -> Vec<Sample> {
        let at = |n: u64| Duration::from_secs(5 * n);
        (0..720).map(|n| Sample { at: at(n), held: vec![of(n as f64 / 12.0)] }).collect()
    }

    fn found(samples: &[Sample], measure: &Measure) -> Change {
        change(samples, 0, measure, &Rule::of(Duration::from_secs(3600))).unwrap()
    }

    #[test]
    fn what_is_flat_is_no_growth_whatever_its_peaks() {
        let samples = hour(|minute| {
            let peak = if (minute as u64).is_multiple_of(10) { 50.0 } else { 0.0 };
            Held { descriptors: 20.0 + peak, own: 1024.0, ..Held::default() }
        });
        let found = found(&samples, &DESCRIPTORS);
        assert_eq!(found, Change { early: 20.0, late: 20.0, is_growth: false });
    }

    #[test]
    fn a_slow_leak_is_growth() {
        let samples = hour(|minute| Held { own: 10_240.0 + 12.0 * minute, ..Held::default() });
        let change = found(&samples, &OWN);
        assert!(change.is_growth && change.percent() > 5.0, "{change:?}");
        let samples = hour(|minute| Held { own: 10_240.0 + minute, ..Held::default() });
        assert!(!found(&samples, &OWN).is_growth);
        let samples = hour(|minute| Held { own: 10_240.0 - minute, ..Held::default() });
        assert!(!found(&samples, &OWN).is_growth);
    }

    #[test]
    fn one_descriptor_more_is_none_and_two_are_some() {
        let peaks = hour(|minute| Held {
            descriptors: if minute > 30.0 && minute as u64 % 2 == 1 { 20.0 } else { 12.0 },
            ..Held::default()
        });
        assert!(!found(&peaks, &DESCRIPTORS).is_growth);
        assert!(!found(&peaks, &MEASURES[2]).is_growth);
        let with = |more: f64| {
            hour(move |minute| Held {
                descriptors: if minute > 30.0 { 12.0 + more } else { 12.0 },
                ..Held::default()
            })
        };
        assert!(!found(&with(1.0), &DESCRIPTORS).is_growth);
        assert!(found(&with(2.0), &DESCRIPTORS).is_growth);
    }

    #[test]
    fn a_run_without_samples_says_nothing() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!((least(vec![]), least(vec![3.0, 1.0, 2.0])), (None, Some(1.0)));
        let rule = Rule::of(Duration::from_secs(60));
        assert_eq!(change(&[], 0, &OWN, &rule), None);
        assert_eq!((rule.early.start.as_secs(), rule.late.start.as_secs()), (20, 50));
    }
}
