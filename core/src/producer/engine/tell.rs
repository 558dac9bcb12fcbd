//! Telling: what became of the writes, to the host's callbacks on the dispatcher thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Engine;
use crate::error::Error;
use crate::producer::batch::{Batch, Tags};
use crate::producer::receipts::Outcome;
use crate::runtime;

/// A write that was not delivered, as `on_error` receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The write's receipt id; 0 for failures that are not about one write.
    pub id: u64,
    /// The tag it was written with; 0 for none.
    pub tag: u64,
    /// Its bytes as they would have gone out, without framing.
    pub payload: Bytes,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub error: Error,
}

/// Consecutive writes that were delivered in one batch, as `on_delivery` receives them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// The receipt id of the first write; the others' follow it without a gap.
    pub first_id: u64,
    /// How many writes.
    pub count: u64,
    /// The tag of each, 0 for none; empty where none of them has one.
    pub tags: Vec<u64>,
    /// What became of all of them: whether they were duplicates, the attempts, the offset.
    pub outcome: Outcome,
}

/// Receives every write that was not delivered, on the library's dispatcher thread.
pub type ErrorCallback = Arc<dyn Fn(Failure) + Send + Sync>;

/// Receives every write that was delivered, a batch at a time in the order of the calls, on the
/// library's dispatcher thread.
///
/// What waits to be told counts against the buffer, so one that is slower than the server makes
/// writers wait instead of memory grow.
pub type DeliveryCallback = Arc<dyn Fn(Delivery) + Send + Sync>;

/// What a producer tells its host. Each accepted write is told to one of the two, once; it may be
/// before the call that made the write has returned.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// Of the writes that are not delivered. Without it the first of each reason is logged.
    pub on_error: Option<ErrorCallback>,
    /// Of the writes that are.
    pub on_delivery: Option<DeliveryCallback>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (on_error, on_delivery) = (self.on_error.is_some(), self.on_delivery.is_some());
        write!(f, "Callbacks {{ on_error: {on_error}, on_delivery: {on_delivery} }}")
    }
}

/// Callbacks and the number of the holder they belong to.
pub(super) type Holder = (u32, Callbacks);

/// What is accounted for delivered writes that are still to be told, beyond their tags: the call,
/// its place in the line, and what it shares with nobody.
const NOTICE: u64 = 256;

/// What became of a batch, and whom to tell.
pub(super) enum News {
    Failed {
        to: Vec<(u32, ErrorCallback)>,
        batch: Batch,
        outcome: Outcome,
        error: Error,
    },
    Delivered {
        to: Vec<(u32, DeliveryCallback)>,
        first_id: u64,
        count: u64,
        tags: Tags,
        outcome: Outcome,
    },
}

impl News {
    /// What it holds until it is told.
    pub(super) fn cost(&self) -> u64 {
        match self {
            News::Failed { batch, .. } => batch.cost(),
            News::Delivered { tags, .. } => NOTICE + tags.cost(),
        }
    }

    /// Tells everybody. A callback that panics takes the others' news from nobody.
    fn tell(self) {
        match self {
            News::Failed { to, batch, outcome, error } => {
                let to = to.into_iter().map(|(holder, callback)| {
                    (batch.tags.of(holder, batch.writes), callback) // a tag is its holder's alone
                });
                let to: Vec<(Vec<u64>, ErrorCallback)> = to.collect();
                for (id, payload) in batch.payloads() {
                    for (tags, callback) in &to {
                        let place = (id - batch.first_id) as usize;
                        let tag = tags.get(place).copied().unwrap_or(0);
                        let (payload, outcome) = (payload.clone(), outcome.clone());
                        let failure = Failure { id, tag, payload, outcome, error: error.clone() };
                        runtime::guarded(|| callback(failure));
                    }
                }
            }
            News::Delivered { to, first_id, count, tags, outcome } => {
                for (holder, callback) in to {
                    let (tags, outcome) = (tags.of(holder, count), outcome.clone());
                    let delivery = Delivery { first_id, count, tags, outcome };
                    runtime::guarded(|| callback(delivery));
                }
            }
        }
    }
}

impl Engine {
    /// What is to be told of a batch, if anybody wants to know.
    pub(super) fn news(
        &self,
        batch: &Batch,
        outcome: &Outcome,
        failed: Option<&Error>,
    ) -> Option<News> {
        let callbacks = runtime::lock(&self.callbacks);
        if let Some(error) = failed {
            let own = |(holder, own): &Holder| Some((*holder, own.on_error.clone()?));
            let to: Vec<_> = callbacks.iter().filter_map(own).collect();
            return (!to.is_empty()).then(|| News::Failed {
                to,
                batch: batch.clone(),
                outcome: outcome.clone(),
                error: error.clone(),
            });
        }
        let own = |(holder, own): &Holder| Some((*holder, own.on_delivery.clone()?));
        let to: Vec<_> = callbacks.iter().filter_map(own).collect();
        (!to.is_empty()).then(|| News::Delivered {
            to,
            first_id: batch.first_id,
            count: batch.writes,
            tags: batch.tags.clone(),
            outcome: outcome.clone(),
        })
    }

    /// Tells it on the dispatcher thread; the room it was `held` is free after that.
    pub(super) fn tell(self: &Arc<Self>, news: News, held: u64) {
        let engine = self.clone();
        self.runtime.dispatch(move || {
            news.tell();
            if held > 0 {
                engine.release(held);
            }
        });
    }

    /// Adds a holder's callbacks; everything is told to all holders.
    pub(crate) fn add_callbacks(&self, holder: u32, callbacks: Callbacks) {
        runtime::lock(&self.callbacks).push((holder, callbacks));
    }

    /// Forgets the callbacks of a holder that left while others stay.
    pub(crate) fn remove_callbacks(&self, holder: u32) {
        let mut callbacks = runtime::lock(&self.callbacks);
        let known = std::mem::take(&mut *callbacks).into_iter();
        let (its, others) = known.partition(|(known, _)| *known == holder);
        *callbacks = others;
        drop(callbacks);
        drop::<Vec<Holder>>(its); // not under the lock: they are the host's
    }

    /// Says the first failure of each reason, where there is no callback to say it to.
    pub(super) fn log_once(&self, outcome: &Outcome, error: &Error, writes: u64) {
        let bit = 1u64 << outcome.reason.map_or(0, |reason| reason as u32).min(63);
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let (status, id) = (outcome.status.as_str(), &self.config.producer_id);
            let writes = if writes == 1 { "a write was" } else { &format!("{writes} writes were") };
            runtime::log::warn(&format!("producer {id}: {writes} {status}: {error}"));
        }
    }

    /// The same for a write that was turned away with a receipt, which is easily overlooked.
    pub(crate) fn log_refusal(&self, outcome: &Outcome) {
        let unheard =
            || runtime::lock(&self.callbacks).iter().all(|(_, own)| own.on_error.is_none());
        if let Some(error) = outcome.error.as_ref().filter(|_| unheard()) {
            self.log_once(outcome, error, 1);
        }
    }
}
