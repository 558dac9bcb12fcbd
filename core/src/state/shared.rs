//! What producers that were opened alike have in common: thousands of them hold it once.

use std::sync::{Arc, Weak};

use http::HeaderMap;

use crate::delivery::config::Config;
use crate::options::Options;
use crate::transport::connect::Connect;
use crate::transport::endpoint::Endpoint;

/// Options without the place of the stream, and what follows from them alone.
pub(super) struct Shared {
    pub(super) options: Options,
    config: Arc<Config>,
    headers: Arc<HeaderMap>,
    connect: Arc<Connect>,
}

impl Shared {
    pub(super) fn new(options: Options, config: &Arc<Config>, endpoint: &Endpoint) -> Self {
        let (headers, connect) = (endpoint.headers.clone(), endpoint.connect.clone());
        Shared { options, config: config.clone(), headers, connect }
    }

    /// Has a producer hold what it has in common with the others, and nothing of that twice; returns its
    /// settings.
    pub(super) fn share(&self, own: Arc<Config>, endpoint: &mut Endpoint) -> Arc<Config> {
        endpoint.connect = self.connect.clone();
        // A secret of the environment may be another one by now.
        if self.headers == endpoint.headers {
            endpoint.headers = self.headers.clone();
        }
        // Workers of a shared id differ in its suffix.
        if self.config.producer_id == own.producer_id { self.config.clone() } else { own }
    }
}

/// The last values of a kind that were kept and are still in use.
pub(super) struct Recent<T>(Vec<Weak<T>>);

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
    pub(super) fn find(
        &self,
        seen: &mut Vec<Arc<T>>,
        mut is_wanted: impl FnMut(&T) -> bool,
    ) -> Option<Arc<T>> {
        let from = seen.len();
        seen.extend(self.0.iter().filter_map(Weak::upgrade));
        seen[from..].iter().find(|known| is_wanted(known)).cloned()
    }

    /// Keeps one more, and none that nobody uses.
    pub(super) fn keep(&mut self, value: T) -> Arc<T> {
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
