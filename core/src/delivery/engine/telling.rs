//! What a producer tells of itself: lines of the log, and its states.

use crate::delivery::buffer::book::Book;
use crate::delivery::buffer::lifecycle::{Lifecycle, StateChange};
use crate::delivery::callbacks::Callbacks;
use crate::delivery::engine::Engine;
use crate::runtime::lifecycle::Telling;
use crate::runtime::log;
use crate::runtime::log_line::{About, LogLevel, Target};

impl Engine {
    /// Takes steps of the lifecycle under the lock, and tells of the states that they led to.
    pub(crate) fn step<T>(&self, steps: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book();
        let result = steps(&mut book);
        let changes = book.lifecycle.take_changes();
        if changes.is_empty() {
            return result;
        }
        let epoch = book.gauges.epoch;
        // Kept under the lock, so that callbacks are called in the order of the changes.
        let tells = self.listeners.hear_states() && book.lifecycle.keep_untold(&changes);
        drop(book);
        changes.iter().for_each(|change| self.log_change(epoch, change));
        if tells {
            self.tell_states();
        }
        result
    }

    /// Calls the callbacks, on the dispatcher thread, for the changes that wait then.
    fn tell_states(&self) {
        let Some(engine) = self.own.upgrade() else { return };
        let telling = Telling::begin();
        self.runtime().dispatch(move || {
            let _until_told = telling;
            let changes = engine.book().lifecycle.take_untold();
            engine.listeners.tell_states(&changes);
        });
    }

    /// Adds the callbacks of a holder of a producer that may have come further meanwhile.
    pub(crate) fn listen(&self, holder: u32, callbacks: Callbacks) {
        for orphan in self.adopted() {
            orphan.listeners.add_late(holder, callbacks.of_another());
        }
        let hears_states = callbacks.on_state.is_some();
        self.listeners.add_late(holder, callbacks);
        let Some(engine) = self.own.upgrade().filter(|_| hears_states) else { return };
        let telling = Telling::begin();
        // In turn with the changes that are told.
        self.runtime().dispatch(move || {
            let _until_told = telling;
            let begins = {
                let book = engine.book();
                let (from, to) = (Lifecycle::Connecting, book.lifecycle.known());
                use Lifecycle::{Backoff, Failed, Fenced, Reconnecting};
                let is_failing = matches!(to, Backoff | Reconnecting | Failed | Fenced);
                StateChange { from, to, error: book.last_error().filter(|_| is_failing).cloned() }
            };
            engine.listeners.begin_states(holder, &begins);
        });
    }

    fn log_change(&self, epoch: u64, change: &StateChange) {
        let is_end = matches!(change.to, Lifecycle::Failed | Lifecycle::Fenced);
        // With a callback for errors somebody is told.
        let level = match is_end && !self.config.awaited && !self.listeners.hear_failures() {
            true => LogLevel::Error,
            false => LogLevel::Debug,
        };
        let (from, to) = (change.from.as_str(), change.to.as_str());
        self.log(level, epoch, || match &change.error {
            Some(error) if is_end => format!("{to}: {error}"),
            Some(error) => format!("{from} -> {to}: {error}"),
            None => format!("{from} -> {to}"),
        });
    }

    /// Queues a line about this producer, in a session.
    pub(crate) fn log(&self, level: LogLevel, epoch: u64, text: impl FnOnce() -> String) {
        let about = || About { epoch: Some(epoch), ..self.about() };
        let text = || format!("producer {}: {}", self.config.producer_id, text());
        log::log(level, Target::Producer, about, text);
    }

    /// What its lines are about.
    pub(crate) fn about(&self) -> About {
        let stream = Some(self.endpoint.shown.clone());
        About { stream, producer_id: Some(self.config.producer_id.clone()), ..About::default() }
    }
}
