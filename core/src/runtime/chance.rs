//! Chance and time: random numbers, the wall clock, and the clock of threads that wait for each
//! other. No other module asks for them (`clippy.toml`), so a test that seeds this and drives
//! tokio's clock sees one run again and again.

use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(test)]
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The source of a runtime's random numbers, and its wall clock.
#[derive(Clone)]
pub(crate) enum Chance {
    System,
    #[cfg(test)]
    Seeded(Arc<Seeded>),
}

impl Chance {
    /// A number that no other process has; see [`random`].
    pub(crate) fn random(&self) -> u64 {
        match self {
            Chance::System => random(),
            #[cfg(test)]
            Chance::Seeded(seeded) => seeded.draw(),
        }
    }

    /// A number from 0 to 1, for pauses that are not to meet. Two processes may have the same.
    #[expect(clippy::disallowed_methods, reason = "this is the source")]
    pub(crate) fn fraction(&self) -> f64 {
        match self {
            Chance::System => rand::random(),
            #[cfg(test)]
            Chance::Seeded(seeded) => seeded.draw(),
        }
    }

    /// The time on the wall clock.
    #[expect(clippy::disallowed_methods, reason = "this is the source")]
    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Chance::System => SystemTime::now(),
            #[cfg(test)]
            Chance::Seeded(seeded) => seeded.now(),
        }
    }

    /// A UUID that nobody has, in the order of time (version 7).
    pub(crate) fn uuid(&self) -> uuid::Uuid {
        let random = [self.random(), self.random()].map(u64::to_ne_bytes).concat();
        let random = random[..10].try_into().expect("there are sixteen");
        uuid::Builder::from_unix_timestamp_millis(self.unix_ms(), random).into_uuid()
    }

    /// The time on the wall clock in milliseconds since 1970.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
    }

    /// The next one of a series that rises within the process, made of the last one, 0 at first.
    pub(crate) fn rise(&self, next: impl Fn(u64) -> u64) -> u64 {
        /// Not a runtime's own: the next runtime's numbers are above this one's.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = match self {
            Chance::System => &LAST,
            #[cfg(test)]
            Chance::Seeded(seeded) => &seeded.last,
        };
        let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(next(n)));
        next(before.unwrap_or_default())
    }
}

/// A number no other process has, a forked one included: a generator of this process's own would go
/// on from the same state on both sides of a fork.
#[expect(clippy::disallowed_methods, reason = "this is the source")]
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| rand::random())
}

/// The time for a thread that waits for another one; no test's clock drives it.
#[expect(clippy::disallowed_methods, reason = "this is the source")]
pub(crate) fn real_now() -> Instant {
    Instant::now()
}

/// The source that a test's runtimes share, as those of one process do: everything follows from a
/// seed and from tokio's clock.
#[cfg(test)]
pub(crate) struct Seeded {
    random: Mutex<rand::rngs::StdRng>,
    /// When it was made, which is [`Seeded::BEGAN`] on the wall.
    began: tokio::time::Instant,
    last: AtomicU64,
    journal: Mutex<Vec<String>>,
}

#[cfg(test)]
impl Seeded {
    /// In November 2023.
    const BEGAN: std::time::Duration = std::time::Duration::from_secs(1_700_000_000);

    fn draw<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        rand::RngExt::random(&mut *self.lock_random())
    }

    fn lock_random(&self) -> std::sync::MutexGuard<'_, rand::rngs::StdRng> {
        self.random.lock().unwrap()
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Self::BEGAN + self.began.elapsed()
    }
}

#[cfg(test)]
impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Chance::Seeded(Arc::new(Seeded {
            random: Mutex::new(rand::SeedableRng::seed_from_u64(seed)),
            began: tokio::time::Instant::now(),
            last: AtomicU64::new(0),
            journal: Mutex::default(),
        }))
    }

    /// Writes down what happens, and when: two runs of one seed write the same.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if let Chance::Seeded(seeded) = self {
            let line = format!("{:?} {}", seeded.began.elapsed(), what());
            seeded.journal.lock().unwrap().push(line);
        }
    }

    /// The notes so far.
    pub(crate) fn journal(&self) -> Vec<String> {
        match self {
            Chance::System => Vec::new(),
            Chance::Seeded(seeded) => seeded.journal.lock().unwrap().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seed_gives_the_same_numbers_and_the_clock_is_tokios() {
        let draw = |chance: &Chance| (chance.random(), chance.fraction().to_bits());
        let (one, same, other) = (Chance::seeded(1), Chance::seeded(1), Chance::seeded(2));
        let (first, second) = (draw(&one), draw(&one));
        assert_eq!((first, second), (draw(&same), draw(&same)));
        assert!(first != second && first != draw(&other));
        let before = one.unix_ms();
        tokio::time::advance(std::time::Duration::from_secs(7)).await;
        assert_eq!(one.unix_ms() - before, 7_000);
    }

    #[test]
    fn a_series_is_the_processs_or_the_seeds() {
        let step = |chance: &Chance| chance.rise(|last| last + 1);
        let (one, other) = (Chance::seeded(1), Chance::seeded(1));
        assert_eq!((step(&one), step(&one.clone()), step(&other)), (1, 2, 1));
        let first = step(&Chance::System);
        assert!(step(&Chance::System) > first);
    }
}
