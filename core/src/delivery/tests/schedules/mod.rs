//! Every promise at once (delivery.md 1): random schedules of calls and faults.
//!
//! A schedule follows from its seed alone. One that fails is shrunk, printed, and run again with
//! `cargo xtask simulate --seed S --schedules 1`; `DURSTREAM_SEED` and `DURSTREAM_SCHEDULES` say so
//! to the tests.

mod lives;
mod program;
mod replays;
mod schedule;

use std::ops::Range;

use crate::delivery::tests::schedules::schedule::Schedule;

/// How many schedules of each kind are run, unless told.
const SCHEDULES: u64 = 500;
/// How many seeds are run twice, at most.
const TWICE: u64 = 1_000;

/// A promise that was not kept, by a name that is the same in a shorter schedule, and how.
struct Broken {
    promise: &'static str,
    how: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.promise, self.how)
    }
}

/// What came of a schedule, and all that happened in it.
type Run = (Result<(), Broken>, Vec<String>);

fn broken<T>(promise: &'static str, how: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { promise, how: how.into() })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(count: u64) -> Range<u64> {
    let first = number("DURSTREAM_SEED").unwrap_or(0);
    first..first + count
}

fn schedules() -> Range<u64> {
    seeds(number("DURSTREAM_SCHEDULES").unwrap_or(SCHEDULES))
}

fn keep_every_promise(schedule: impl Fn(u64) -> Schedule) {
    for seed in schedules() {
        let schedule = schedule(seed);
        if let Err(failure) = schedule.run().0 {
            eprintln!("seed {seed}: {failure}; shrinking");
            let (schedule, failure) = schedule.shrink(failure);
            panic!("seed {seed}: {failure}\n{schedule:#?}");
        }
    }
}

#[test]
fn random_schedules_keep_every_promise() {
    keep_every_promise(|seed| Schedule::random(seed, false));
}

#[test]
fn rough_random_schedules_keep_every_promise() {
    keep_every_promise(|seed| Schedule::random(seed, true));
}

#[test]
fn random_schedules_of_crashes_keep_every_promise() {
    keep_every_promise(Schedule::crashing);
}

#[test]
fn random_schedules_of_appends_keep_every_promise() {
    keep_every_promise(Schedule::of_appends);
}

#[test]
fn random_schedules_of_untyped_handles_keep_every_promise() {
    keep_every_promise(Schedule::untyped);
}

#[test]
fn random_schedules_of_groups_keep_every_promise() {
    keep_every_promise(Schedule::grouped);
}

#[test]
fn random_schedules_of_mortal_streams_keep_every_promise() {
    keep_every_promise(Schedule::mortal);
}

#[test]
fn random_schedules_of_lives_keep_every_promise() {
    for seed in schedules() {
        let lives = lives::Lives::random(seed);
        if let Err(failure) = lives.run().0 {
            eprintln!("seed {seed}: {failure}; shrinking");
            let (lives, failure) = lives.shrink(failure);
            panic!("seed {seed}: {failure}\n{lives:#?}");
        }
    }
}

#[test]
fn random_schedules_of_replays_store_everything_once() {
    for seed in schedules() {
        if let Err(failure) = replays::of_single_writes(seed).0 {
            panic!("seed {seed}: {failure}");
        }
    }
}

/// The same calls under the same epoch store everything once, whatever the server did meanwhile.
#[test]
fn random_schedules_of_replays_that_wait_store_everything_once() {
    for seed in schedules() {
        if let Err(failure) = replays::that_wait(seed).0 {
            panic!("seed {seed}: {failure}");
        }
    }
}

/// Every request that the server saw, every outcome and every state are the same at the same time.
#[test]
fn random_schedules_run_twice_are_the_same() {
    let kinds: [fn(u64) -> Run; 9] = [
        |seed| Schedule::random(seed, false).run(),
        |seed| Schedule::random(seed, true).run(),
        |seed| Schedule::of_appends(seed).run(),
        |seed| Schedule::untyped(seed).run(),
        |seed| Schedule::mortal(seed).run(),
        |seed| Schedule::grouped(seed).run(),
        replays::of_single_writes,
        replays::that_wait,
        |seed| lives::Lives::random(seed).run(),
    ];
    let count = number("DURSTREAM_SCHEDULES").map_or(TWICE, |count| count.min(TWICE));
    for seed in seeds(count) {
        for (kind, run) in kinds.iter().enumerate() {
            let ((_, one), (_, other)) = (run(seed), run(seed));
            let differ = |(one, other): (&String, &String)| one != other;
            if let Some(n) = one.iter().zip(&other).position(differ) {
                panic!("seed {seed}, kind {kind}, line {n}:\n{}\n{}", one[n], other[n]);
            }
            assert_eq!(one.len(), other.len(), "seed {seed}, kind {kind}");
        }
    }
}
