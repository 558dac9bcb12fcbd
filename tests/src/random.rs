//! Numbers that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number of a range, whose end is excluded.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + (self.fraction() * (range.end - range.start) as f64) as u64
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.within(0..all.len() as u64) as usize].clone()
    }

    /// Whether one of two equally likely things happens.
    pub fn coin(&mut self) -> bool {
        self.fraction() < 0.5
    }
}

/// A seed nobody chose.
pub fn chance() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 % 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_used_up_and_kept_to() {
        let mut random = Random::new(3);
        let mut seen = [0; 5];
        (0..500).for_each(|_| seen[random.within(2..5) as usize] += 1);
        assert_eq!(seen[..2], [0, 0]);
        assert!(seen[2..].iter().all(|count| *count > 100), "{seen:?}");
    }
}
