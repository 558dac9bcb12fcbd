//! Room: what the log has of a buffer or an outbox that stays full.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::delivery::buffer::book::Book;
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::Full;
use crate::error::{Error, ErrorKind};
use crate::reason::Reason;

/// How long calls wait for room, while nothing is delivered, before that is told.
const PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    /// The error of a write that was turned away, which is told where that is for want of room. The lock
    /// goes first.
    #[cold]
    pub(super) fn turned_away(
        &self,
        book: MutexGuard<'_, Book>,
        error: Error,
        full: Full,
    ) -> Error {
        let epoch = book.gauges.epoch;
        drop(book);
        if full != Full::Told && error.kind() == ErrorKind::BufferFull {
            let text = || format!("a write was turned away: {error}");
            self.warn_rarely(error.refusal().as_str(), epoch, text);
        }
        error
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
