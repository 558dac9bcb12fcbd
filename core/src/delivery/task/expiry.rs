//! Time: which writes have waited too long, and when the task checks again.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::engine::Engine;
use crate::delivery::engine::settle::Room;
use crate::delivery::task::Task;
use crate::delivery::task::slot::Slot;
use crate::error::{Error, ErrorKind};
use crate::outcome::{Outcome, Status};
use crate::reason::Reason;

/// Parts of a delivery timeout after which an open batch is sealed, so that the writes of one batch
/// expire within that time of each other.
const AGE_GRAIN: u32 = 16;
/// How late a timer may come before the clock is taken to have jumped.
const OVERSLEPT: Duration = Duration::from_secs(1);

impl Task {
    /// Settles the writes that are older than `delivery_timeout_ms`.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(limit) = self.time_limit() else { return };
        let engine = self.engine.clone();
        self.expire_sent(now, limit);
        loop {
            let mut book = engine.book();
            if book.queue().open_since().is_some_and(|since| now >= since + self.age_limit(limit))
                && !self.can_take()
            {
                book.seal();
            }
            if book.queue().oldest().is_none_or(|oldest| now < oldest + limit) {
                break;
            }
            // Not sealed while something older leaves: the open batch is cut elsewhere.
            let queued = book.pop_any().expect("something is old");
            let error = expiry(&engine, book.last_error(), limit);
            drop(book);
            let (status, reason) = (Status::Cancelled, Reason::Expired);
            engine.give_up(&queued, queued.doubt.is_open(), status, reason, error);
            self.leave_replay();
        }
        if !self.window.is_empty() && self.window.iter().all(|slot| slot.expired) {
            // No caller waits for these any more; the next batches go out under a new session.
            self.requests.abort_all();
            self.renew_session(0);
            std::mem::take(&mut self.window).iter().for_each(|slot| self.leave(slot));
        }
    }

    /// How long a write may take. Without an identity the number of repeats is bounded instead.
    fn time_limit(&self) -> Option<Duration> {
        self.engine.config.delivery_timeout.filter(|_| self.identified)
    }

    /// How long a batch gathers while it cannot be sent.
    fn age_limit(&self, limit: Duration) -> Duration {
        let config = &self.engine.config;
        let grain = limit / AGE_GRAIN;
        if config.is_replay { grain.max(config.linger) } else { grain }
    }

    /// A batch that may be stored keeps its place and is repeated, since those behind it depend on
    /// it; a batch that certainly is not stored leaves, and those behind it go into a new session.
    fn expire_sent(&mut self, now: Instant, limit: Duration) {
        let mut n = 0;
        while n < self.window.len() {
            let slot = &mut self.window[n];
            if slot.expired || now < slot.queued.enqueued.at + limit {
                n += 1;
                continue;
            }
            let error = expiry(&self.engine, self.engine.book().last_error(), limit);
            slot.expired = true;
            // A batch that may be stored goes on; any other is given up, if it has not left by now.
            let stays = slot.doubt().maybe_stored() || !slot.withdraw();
            let in_doubt = stays || slot.doubt().is_open();
            if let (Some((request, _)), false) = (&slot.request, stays) {
                request.abort();
            }
            self.end_in_doubt |= in_doubt && slot.queued.closes;
            let (status, reason) = (Status::Cancelled, Reason::Expired);
            let outcome = Outcome::undelivered(in_doubt, status, reason, error);
            // The bytes of a batch that stays are held, and so they stay counted.
            let room = if stays { Room::Kept } else { Room::Released };
            self.engine.settle(&slot.queued, outcome, room);
            if stays {
                n += 1;
            } else {
                self.renew_session(n);
                self.window.remove(n);
            }
        }
    }

    /// A batch whose writes have expired gives up its place, and the room it held.
    pub(super) fn leave(&self, slot: &Slot) {
        if slot.expired {
            self.engine.release(slot.queued.batch.cost());
        }
    }

    /// A process that was stopped, or a machine that slept, wakes up late: every batch it holds
    /// gets the time for one more attempt. Once: a machine that is always late must not hold writes
    /// for ever.
    pub(super) fn notice_oversleep(&mut self, timer: Option<Instant>) {
        let now = Instant::now();
        let Some(late) = timer.map(|at| now.saturating_duration_since(at)) else { return };
        if late <= OVERSLEPT {
            return;
        }
        self.tell_clock_jump(late);
        let Some(limit) = self.time_limit() else { return };
        let before = limit.saturating_sub(self.engine.config.request_timeout);
        if let Some(earliest) = now.checked_sub(before) {
            self.window.iter_mut().for_each(|slot| slot.queued.enqueued.not_before(earliest));
            self.engine.book().enqueued_not_before(earliest);
        }
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        let book = self.engine.book();
        let mut timers = [self.trouble.paused_until, None, None, None];
        if let Some(limit) = self.time_limit() {
            let slots = self.window.iter().filter(|slot| !slot.expired);
            timers[1] = slots.map(|slot| slot.queued.enqueued.at + limit).min();
            timers[2] = book.queue().oldest().map(|oldest| oldest + limit);
            if let (Some(since), false) = (book.queue().open_since(), self.can_take()) {
                timers[2] = timers[2].min(Some(since + self.age_limit(limit)));
            }
        }
        timers[3] = self.takes_at(&book);
        timers.into_iter().flatten().min()
    }
}

/// Why a write expired: the failure that kept it from being delivered, if there was one.
fn expiry(engine: &Engine, cause: Option<&Error>, limit: Duration) -> Error {
    let text = format!(
        "the write was not delivered within {} ms (`delivery_timeout_ms`)",
        limit.as_millis()
    );
    match cause {
        Some(cause) => {
            let text = format!("{text}: {}", cause.message());
            let error = Error::new(cause.kind(), text).with_url(&engine.endpoint.shown);
            cause.status().map_or(error.clone(), |status| error.with_status(status))
        }
        None => Error::new(ErrorKind::Timeout, text).with_url(&engine.endpoint.shown),
    }
}
