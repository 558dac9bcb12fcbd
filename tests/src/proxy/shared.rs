//! What all connections go by, and where they write down what they did.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use super::journal::Journal;
use super::rule::Rules;
use super::waits::Waits;

#[derive(Debug)]
pub(super) struct Shared {
    /// How much of each body the log keeps.
    pub(super) max_body_bytes: usize,
    pub(super) waits: Waits,
    upstream: Mutex<SocketAddr>,
    rules: Mutex<Rules>,
    journal: Mutex<Journal>,
}

impl Shared {
    pub(super) fn new(
        max_body_bytes: usize,
        upstream: SocketAddr,
        rules: Rules,
        journal: Journal,
    ) -> Self {
        Self {
            max_body_bytes,
            waits: Waits::default(),
            upstream: Mutex::new(upstream),
            rules: Mutex::new(rules),
            journal: Mutex::new(journal),
        }
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, Rules> {
        lock(&self.rules)
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// Where the server is now.
    pub(super) fn upstream(&self) -> SocketAddr {
        *lock(&self.upstream)
    }

    pub(super) fn set_upstream(&self, upstream: SocketAddr) {
        *lock(&self.upstream) = upstream;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
