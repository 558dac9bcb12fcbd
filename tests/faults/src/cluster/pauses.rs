//! How long streams stood still.

use std::time::{Duration, Instant};

/// The longest time without an acknowledgement, from a fault on; with none since, until `until`.
pub(super) fn pause(acks: &[Instant], fault: Instant, until: Instant) -> Duration {
    let (mut last, mut longest) = (fault, Duration::ZERO);
    for ack in acks.iter().filter(|ack| (fault..=until).contains(*ack)) {
        longest = longest.max(ack.duration_since(last));
        last = *ack;
    }
    longest.max(until.duration_since(last).saturating_sub(STILL))
}

/// What is no pause at the end: a stream is written to so often.
const STILL: Duration = Duration::from_secs(1);

/// The median and the longest.
pub(super) fn summary(mut pauses: Vec<Duration>) -> Option<(Duration, Duration)> {
    pauses.sort();
    Some((pauses[pauses.len().checked_sub(1)? / 2], *pauses.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_an_acknowledgement_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let acks: Vec<_> = [0, 900, 1_001, 1_002, 5_000, 5_010].map(at).into();
        let paused = |from, until| pause(&acks, at(from), at(until)).as_millis();
        assert_eq!(paused(1_000, 5_500), 3_998);
        assert_eq!(paused(5_005, 5_500), 5);
        assert_eq!(paused(5_005, 9_010), 3_000, "it still stands still");
    }

    #[test]
    fn the_median_and_the_longest_are_named() {
        let seconds = |all: &[u64]| all.iter().copied().map(Duration::from_secs).collect();
        let of = |all: &[u64]| summary(seconds(all)).map(|(a, b)| (a.as_secs(), b.as_secs()));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7, 1, 3]), Some((3, 7)));
        assert_eq!(of(&[7, 1]), Some((1, 7)));
    }
}
