//! A schedule follows from its seed alone, so a failure can be run again.

use crate::delivery::tests::*;

/// How many seeds are run twice, at most.
const SEEDS: u64 = 1_000;

/// All that happens in the schedules of a seed, one of each kind.
fn journals(seed: u64) -> Vec<String> {
    let [rough, replays] = rough::journals(seed);
    [schedules::journal(seed), rough, replays, corners::journal(seed)].concat()
}

/// Every request that the server saw, every outcome and every state are the same at the same time.
#[test]
fn random_schedules_run_twice_are_the_same() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    let count = number("DURSTREAM_SCHEDULES").map_or(SEEDS, |count| count.min(SEEDS));
    for seed in first..first + count {
        let (one, other) = (journals(seed), journals(seed));
        let differ = |(one, other): (&String, &String)| one != other;
        if let Some(n) = one.iter().zip(&other).position(differ) {
            panic!("seed {seed}, line {n}:\n{}\n{}", one[n], other[n]);
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
