//! A distribution of numbers in little memory. Pure.
//!
//! Each power of two has 16 parts, and only the parts between the least and the greatest number that
//! was recorded are held: a producer that is idle holds nothing, one with steady latencies some
//! hundred bytes. Crates with the same parts (`hdrhistogram`, `hdrhist`) hold the whole range.

/// The parts of each power of two: a number is known to half of one.
const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 4;

/// Numbers from 1 on, each known to 3.2 %; a 0 counts as 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// How many numbers lie in each part, from the first one that has any.
    counts: Vec<u64>,
    first: usize,
    sum: u64,
}

/// What a distribution comes to. Each number but the sum is known to 3.2 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distribution {
    /// How many there are.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// As large as half of them, or larger; 0 where there are none.
    pub p50: u64,
    /// As large as 90 % of them, or larger.
    pub p90: u64,
    /// As large as 99 % of them, or larger.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Distribution {
    /// Every number with its name, for bindings that show them by name.
    pub fn entries(&self) -> [(&'static str, u64); 6] {
        [
            ("count", self.count),
            ("sum", self.sum),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("max", self.max),
        ]
    }
}

/// The part that a number lies in.
fn part_of(number: u64) -> usize {
    let below = number.saturating_sub(1); // a power of two is the last of its part
    let shift = below.checked_ilog2().unwrap_or(0).saturating_sub(PART_BITS);
    shift as usize * PARTS + (below >> shift) as usize
}

/// The largest number of a part.
fn last_of(part: usize) -> u64 {
    let shift = (part / PARTS).saturating_sub(1);
    let within = (part - shift * PARTS) as u64;
    (within + 1) << shift
}

/// The number that stands for those of a part.
fn middle_of(part: usize) -> u64 {
    let before = part.checked_sub(1).map_or(0, last_of);
    before + (last_of(part) - before).div_ceil(2)
}

impl Histogram {
    pub(crate) fn record(&mut self, number: u64) {
        self.add(part_of(number), 1);
        self.sum = self.sum.saturating_add(number);
    }

    fn add(&mut self, part: usize, count: u64) {
        if self.counts.is_empty() {
            self.first = part;
        }
        if let Some(missing) = self.first.checked_sub(part).filter(|missing| *missing > 0) {
            self.counts.reserve_exact(missing);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = part;
        }
        let place = part - self.first;
        if let Some(missing) = (place + 1).checked_sub(self.counts.len()) {
            self.counts.reserve_exact(missing);
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += count;
    }

    /// Takes in what another one has.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (part, count) in other.parts().filter(|(_, count)| *count > 0) {
            self.add(part, count);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    fn parts(&self) -> impl Iterator<Item = (usize, u64)> {
        (self.first..).zip(self.counts.iter().copied())
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// How many are no larger than a power of two.
    pub(crate) fn count_up_to(&self, power: u64) -> u64 {
        debug_assert!(power.is_power_of_two(), "only these end a part");
        let up_to = self.parts().take_while(|(part, _)| last_of(*part) <= power);
        up_to.map(|(_, count)| count).sum()
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let count = self.count();
        let mut seen = 0;
        let mut parts = self.parts();
        let (mut last, ranks) = (0, [50, 90, 99, 100].map(|percent| rank(count, percent)));
        let found = ranks.map(|rank| {
            while seen < rank {
                let Some((part, count)) = parts.next() else { break };
                seen += count;
                last = part;
            }
            if count == 0 { 0 } else { middle_of(last) }
        });
        let [p50, p90, p99, max] = found;
        Distribution { count, sum: self.sum, p50, p90, p99, max }
    }
}

/// How many of so many make up a share of them.
fn rank(count: u64, percent: u64) -> u64 {
    (u128::from(count) * u128::from(percent)).div_ceil(100) as u64 // no more than there are
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of every size.
    fn number() -> impl Strategy<Value = u64> {
        (0u32..50, any::<u64>()).prop_map(|(bits, random)| (random >> 13) >> bits)
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        for part in 0..900 {
            let (last, next) = (last_of(part), last_of(part) + 1);
            assert_eq!((part_of(last), part_of(next)), (part, part + 1), "{last}");
        }
        assert_eq!([0, 1, 2, 16, 17].map(part_of), [0, 0, 1, 15, 16]);
        part_of(u64::MAX);
    }

    #[test]
    fn nothing_is_held_for_what_never_was() {
        assert_eq!(Histogram::default().counts.capacity(), 0);
        assert_eq!(Histogram::default().distribution(), Distribution::default());
        let mut steady = Histogram::default();
        (0..10_000).for_each(|n| steady.record(900 + n % 200));
        assert!(steady.counts.capacity() <= 8, "{}", steady.counts.capacity());
    }

    proptest! {
        #[test]
        fn each_number_is_known_to_some_per_cent(mut numbers in prop::collection::vec(number(), 1..300)) {
            let mut histogram = Histogram::default();
            numbers.iter().for_each(|number| histogram.record(*number));
            numbers.sort_unstable();
            let found = histogram.distribution();
            prop_assert_eq!(found.count, numbers.len() as u64);
            prop_assert_eq!(found.sum, numbers.iter().sum::<u64>());
            let ranked = [(found.p50, 50), (found.p90, 90), (found.p99, 99), (found.max, 100)];
            for (found, percent) in ranked {
                let exact = numbers[(numbers.len() * percent).div_ceil(100) - 1].max(1);
                let error = found.abs_diff(exact) as f64 / exact as f64;
                prop_assert!(error <= 0.032, "{} for {}", found, exact);
            }
            for power in (0..52).map(|bits| 1u64 << bits) {
                let exact = numbers.iter().filter(|number| **number <= power).count() as u64;
                prop_assert_eq!(histogram.count_up_to(power), exact);
            }
        }

        #[test]
        fn what_is_merged_is_as_if_recorded_in_one(
            one in prop::collection::vec(number(), 0..50),
            other in prop::collection::vec(number(), 0..50),
        ) {
            let of = |numbers: &[u64]| {
                let mut histogram = Histogram::default();
                numbers.iter().for_each(|number| histogram.record(*number));
                histogram
            };
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(merged.distribution(), of(&[one, other].concat()).distribution());
        }
    }
}
