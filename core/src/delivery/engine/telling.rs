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
        let is_told = self.config.awaited || self.listeners.hear_failures();
        let (from, to) = (change.from.as_str(), change.to.as_str());
        match &change.error {
            Some(error) if is_end && !is_told => {
                let word = error.kind().code();
                let text = || self.line(&format!("{to}: {error}"));
                log::attend(LogLevel::Error, word, Target::Producer, || self.about(epoch), text);
            }
            Some(error) if is_end => self.debug(epoch, || format!("{to}: {error}")),
            Some(error) => self.debug(epoch, || format!("{from} -> {to}: {error}")),
            None => self.debug(epoch, || format!("{from} -> {to}")),
        }
    }

    fn debug(&self, epoch: u64, text: impl FnOnce() -> String) {
        self.log(LogLevel::Debug, epoch, text);
    }

    /// Queues a line that is no warning.
    pub(crate) fn log(&self, level: LogLevel, epoch: u64, text: impl FnOnce() -> String) {
        let text = || self.line(&text());
        log::log(level, Target::Producer, || self.about(epoch), text);
    }

    /// Queues a warning about this producer, in a session, with a word of `docs/errors.md`.
    pub(crate) fn warn(&self, word: &'static str, epoch: u64, text: impl FnOnce() -> String) {
        let text = || self.line(&text());
        log::warn_with(word, Target::Producer, || self.about(epoch), text);
    }

    /// Queues a warning that other producers of the process may have cause for, too.
    pub(crate) fn warn_rarely(
        &self,
        word: &'static str,
        epoch: u64,
        text: impl FnOnce() -> String,
    ) {
        let text = || self.line(&text());
        log::warn_rarely(word, Target::Producer, || self.about(epoch), text);
    }

    /// A text about this producer.
    pub(crate) fn line(&self, text: &str) -> String {
        format!("producer {}: {text}", self.config.producer_id)
    }

    /// What its lines in a session are about.
    pub(crate) fn about(&self, epoch: u64) -> About {
        let stream = Some(self.endpoint.shown.clone());
        let producer_id = Some(self.config.producer_id.clone());
        About { stream, producer_id, epoch: Some(epoch), attempt: None }
    }
}
