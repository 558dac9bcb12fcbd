//! Where requests wait: for a time, for a name, for the end.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// All that waits; a stop wakes it up.
#[derive(Debug, Default)]
pub(super) struct Waits {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    held: HashMap<String, usize>,
    releases: HashMap<String, u64>,
    all_released: u64,
}

impl State {
    fn releases(&self, name: &str) -> u64 {
        self.all_released + self.releases.get(name).copied().unwrap_or_default()
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(state, limit) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }

    fn wait_until(&self, limit: Duration, mut done: impl FnMut(&mut State) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if done(&mut state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
    }

    /// Waits for a time; `false` if the proxy stops meanwhile.
    pub(super) fn pause(&self, ms: u64) -> bool {
        !self.wait_until(Duration::from_millis(ms), |state| state.stopping)
    }

    /// Waits for a release of this name that comes from now on; `false` if the proxy stops.
    pub(super) fn hold(&self, name: &str) -> bool {
        let mut state = self.lock();
        *state.held.entry(name.to_owned()).or_default() += 1;
        let before = state.releases(name);
        self.changed.notify_all();
        while !state.stopping && state.releases(name) == before {
            state = self.wait(state, Duration::from_secs(3600));
        }
        !state.stopping
    }

    /// Lets everything go that waits under a name, and says how much that was.
    pub(super) fn release(&self, name: &str) -> usize {
        let mut state = self.lock();
        *state.releases.entry(name.to_owned()).or_default() += 1;
        self.changed.notify_all();
        state.held.remove(name).unwrap_or_default()
    }

    /// Lets everything go that waits under any name.
    pub(super) fn release_all(&self) {
        let mut state = self.lock();
        state.all_released += 1;
        state.held.clear();
        self.changed.notify_all();
    }

    /// How much waits under a name.
    pub(super) fn held(&self, name: &str) -> usize {
        self.lock().held.get(name).copied().unwrap_or_default()
    }

    /// Waits until so much waits under a name; `false` if it did not come to it in time.
    pub(super) fn wait_held(&self, name: &str, count: usize, limit: Duration) -> bool {
        self.wait_until(limit, |state| state.held.get(name).copied().unwrap_or_default() >= count)
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }
}
