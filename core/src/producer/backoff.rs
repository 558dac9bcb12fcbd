//! Pauses between attempts: exponential, with jitter so that a herd does not return as one.

use std::time::Duration;

/// An exponential schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) multiplier: f64,
}

impl Backoff {
    /// The pause after failed attempt `attempt` (from 0): between half of and the full
    /// exponential step, placed there by `random` in `0.0..1.0`.
    pub(crate) fn delay(&self, attempt: u32, random: f64) -> Duration {
        let growth = self.multiplier.powi(attempt.min(1_000) as i32);
        let step = (self.initial.as_secs_f64() * growth).min(self.max.as_secs_f64());
        Duration::from_secs_f64(step * (0.5 + random.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn within_its_limits(attempt in 0u32.., random in 0.0f64..1.0, multiplier in 1.0f64..10.0) {
            let (initial, max) = (Duration::from_millis(100), Duration::from_secs(5));
            let delay = Backoff { initial, max, multiplier }.delay(attempt, random);
            prop_assert!(delay >= initial / 2 && delay <= max);
        }
    }

    #[test]
    fn the_largest_values_stay_a_pause() {
        let day = Duration::from_secs(86_400);
        let backoff = Backoff { initial: day, max: day, multiplier: f64::MAX };
        assert!(backoff.delay(u32::MAX, 1.0) <= day && backoff.delay(0, 0.0) >= day / 2);
    }

    #[test]
    fn grows_by_the_multiplier() {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
            multiplier: 2.0,
        };
        let full: Vec<_> = (0..8).map(|n| backoff.delay(n, 1.0).as_millis()).collect();
        assert_eq!(full, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
