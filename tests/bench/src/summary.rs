//! Numbers of several rounds in one: medians, ranges, ratios, percentiles. Pure.

/// The middle and the ends of what several rounds gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// None of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, low, high })
    }

    /// Of the rounds' own ratios: what slows a whole round down does not count.
    pub(crate) fn of_ratios(numerators: &[f64], denominators: &[f64]) -> Option<Self> {
        Self::of(numerators.iter().zip(denominators).map(|(above, below)| above / below))
    }
}

/// The value that so many percent do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    per_mille(values, percent * 10)
}

/// The value that so many of a thousand do not exceed.
pub(crate) fn per_mille(values: &[f64], share: usize) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * share).div_ceil(1000).max(1);
    values.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[5.0, 1.0, 3.0]), Some(Spread { median: 3.0, low: 1.0, high: 5.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, low: 1.0, high: 4.0 }));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The second round was slow for both.
        let ratios = Spread::of_ratios(&[9.0, 3.0, 6.0], &[3.0, 1.0, 3.0]);
        assert_eq!(ratios, Some(Spread { median: 3.0, low: 2.0, high: 3.0 }));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=300).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(150.0));
        assert_eq!(percentile(&values, 99), Some(297.0));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
        let many: Vec<f64> = (1..=2000).map(f64::from).collect();
        assert_eq!(per_mille(&many, 999), Some(1998.0));
    }
}
