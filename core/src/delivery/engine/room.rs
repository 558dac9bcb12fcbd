//! Room: what the log has of a buffer or an outbox that stays full.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::delivery::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::reason::Reason;

/// How long calls wait for room, while nothing is delivered, before that is told.
const PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    /// A call's result, told where it was turned away for want of room.
    #[inline]
    pub(super) fn tell_if_full<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::BufferFull
        {
            self.tell_full(error);
        }
        result
    }

    #[cold]
    fn tell_full(&self, error: &Error) {
        let word = error.refusal().as_str();
        let epoch = self.book().gauges.epoch;
        self.warn_rarely(word, epoch, || format!("a write was turned away: {error}"));
    }

    /// Begins to watch whether calls wait for room in vain. Called under the lock.
    pub(super) fn watch_room(&self) {
        if self.watches_room.swap(true, Ordering::Relaxed) {
            return;
        }
        let own = self.own.clone();
        self.runtime().spawn(async move {
            loop {
                // Not held meanwhile: a producer ends with its last holder.
                let Some(before) = own.upgrade().map(|engine| engine.book().settled()) else {
                    return;
                };
                tokio::time::sleep(PATIENCE).await;
                let Some(engine) = own.upgrade() else { return };
                if !engine.goes_on_watching(before) {
                    return;
                }
            }
        });
    }

    fn goes_on_watching(&self, before: u64) -> bool {
        let (epoch, waiting, why) = {
            let book = self.book();
            let Some(lacking) = book.lacking() else {
                // Under the lock: who waits from here on begins anew.
                self.watches_room.store(false, Ordering::Relaxed);
                return false;
            };
            if book.settled() != before {
                return true;
            }
            let why = book.last_error().filter(|_| book.gauges.attempt > 0).cloned();
            (book.gauges.epoch, lacking, why)
        };
        let reason = match waiting {
            Reason::BufferBytesExceeded if self.config.outbox.is_some() => Reason::OutboxFull,
            reason => reason,
        };
        let place = if reason == Reason::OutboxFull { "outbox" } else { "buffer" };
        self.warn_rarely(reason.as_str(), epoch, || match why {
            Some(why) => format!("the {place} is full, and calls wait for room: {why}"),
            None => format!("the {place} is full, calls wait for room, and nothing is delivered"),
        });
        true
    }
}
