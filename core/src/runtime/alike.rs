//! What values that are made anew each time have in common: thousands of producers hold it once.

use std::sync::{Arc, Mutex, Weak};

use crate::runtime::fork::PerProcess;
use crate::runtime::threads::lock;

/// The values of a kind that a process holds, of which equal ones are one.
pub(crate) struct Alike<T: 'static>(PerProcess<Mutex<Recent<T>>>);

impl<T: PartialEq + Send + Sync> Alike<T> {
    pub(crate) const fn new() -> Self {
        Alike(PerProcess::new(Mutex::default))
    }

    /// The one that is equal, or this one from here on.
    pub(crate) fn one(&'static self, value: T) -> Arc<T> {
        let mut seen = Vec::new();
        let mut recent = lock(self.0.get());
        match recent.find(&mut seen, |known| *known == value) {
            Some(known) => known,
            None => recent.keep(value),
        }
    }
}

/// The last values of a kind that were kept and are still in use.
pub(crate) struct Recent<T>(Vec<Weak<T>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent(Vec::new())
    }
}

impl<T> Recent<T> {
    /// Each open compares with so many.
    const MOST: usize = 8;

    /// One that is as wanted. `seen` outlives the caller's lock: what was looked at may be let go by
    /// everybody else meanwhile, and holds functions of the host's.
    pub(crate) fn find(
        &self,
        seen: &mut Vec<Arc<T>>,
        mut is_wanted: impl FnMut(&T) -> bool,
    ) -> Option<Arc<T>> {
        let from = seen.len();
        seen.extend(self.0.iter().filter_map(Weak::upgrade));
        seen[from..].iter().find(|known| is_wanted(known)).cloned()
    }

    /// Keeps one more, and none that nobody uses.
    pub(crate) fn keep(&mut self, value: T) -> Arc<T> {
        self.0.retain(|known| known.strong_count() > 0);
        self.0.truncate(Self::MOST - 1);
        let value = Arc::new(value);
        self.0.insert(0, Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_in_use_are_found() {
        let mut recent = Recent::default();
        let kept: Vec<_> = (0..20).map(|n| recent.keep(n)).collect();
        let mut seen = Vec::new();
        let mut find = |n| recent.find(&mut seen, |known| *known == n).is_some();
        assert!(find(19) && find(12) && !find(11));
        drop(kept);
        drop(seen);
        assert!(recent.find(&mut Vec::new(), |_| true).is_none());
    }
}
