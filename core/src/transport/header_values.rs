//! Headers whose values are functions: the functions, and their values for one request.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName};

use crate::options::headers::HeaderFn;
use crate::runtime::fork::{generation, made_in};
use crate::runtime::threads::lock;

/// The functions of one stream or producer.
pub(crate) struct HeaderFns {
    list: Vec<(HeaderName, HeaderFn)>,
    /// One request asks at a time, so that requests start in the order in which they were built.
    turn: tokio::sync::Mutex<()>,
    /// In a forked child, a thread that does not exist there may hold the turn.
    generation: u64,
}

impl HeaderFns {
    pub(crate) fn new(list: Vec<(HeaderName, HeaderFn)>) -> Option<Arc<Self>> {
        let turn = tokio::sync::Mutex::new(());
        let generation = made_in();
        (!list.is_empty()).then(|| Arc::new(HeaderFns { list, turn, generation }))
    }

    pub(crate) fn list(&self) -> &[(HeaderName, HeaderFn)] {
        &self.list
    }

    /// Waits for the turn to ask. In a forked child it does not wait: no thread there would give
    /// the turn back.
    pub(super) async fn turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match self.generation == generation() {
            true => Some(self.turn.lock().await),
            false => None,
        }
    }
}

impl std::fmt::Debug for HeaderFns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.list.iter().map(|(name, _)| name)).finish()
    }
}

/// The values of the functions for one request; its repeats hold clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderValues(Arc<Mutex<Option<HeaderMap>>>);

impl HeaderValues {
    pub(super) fn get(&self) -> Option<HeaderMap> {
        lock(&self.0).clone()
    }

    pub(super) fn keep(&self, values: HeaderMap) -> HeaderMap {
        lock(&self.0).insert(values).clone()
    }

    /// Forgets refused values: the next attempt asks anew.
    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }
}
