//! Delivery reports: what became of the writes, for the callbacks of the host.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::delivery::buffer::batch::{Batch, Tags};
use crate::error::Error;
use crate::outcome::Outcome;
use crate::runtime::dispatcher::guarded;
use crate::runtime::threads::lock;

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

/// What a producer reports to its host. Each accepted write is told to one of the two, once; it may be
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

/// What is accounted for delivered writes that are still to be reported, beyond their tags: the
/// call, its place in the line, and what it shares with nobody.
const NOTICE: u64 = 256;

/// What became of a batch, and who is told.
pub(crate) enum Report {
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

impl Report {
    /// What it holds until it has been delivered.
    pub(crate) fn cost(&self) -> u64 {
        match self {
            Report::Failed { batch, .. } => batch.cost(),
            Report::Delivered { tags, .. } => NOTICE + tags.cost(),
        }
    }

    /// Calls everybody back. A callback that panics takes the report from nobody else.
    pub(crate) fn deliver(self) {
        match self {
            Report::Failed { to, batch, outcome, error } => {
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
                        guarded(|| callback(failure));
                    }
                }
            }
            Report::Delivered { to, first_id, count, tags, outcome } => {
                for (holder, callback) in to {
                    let (tags, outcome) = (tags.of(holder, count), outcome.clone());
                    let delivery = Delivery { first_id, count, tags, outcome };
                    guarded(|| callback(delivery));
                }
            }
        }
    }
}

/// The callbacks of a producer, each set with the number of the holder it belongs to.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Vec<(u32, Callbacks)>>);

impl Listeners {
    /// Adds a holder's callbacks; all holders are told of every write.
    pub(crate) fn add(&self, holder: u32, callbacks: Callbacks) {
        lock(&self.0).push((holder, callbacks));
    }

    /// Forgets the callbacks of a holder that left while others stay.
    pub(crate) fn remove(&self, holder: u32) {
        let mut listeners = lock(&self.0);
        let (its, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *listeners).into_iter().partition(|(known, _)| *known == holder);
        *listeners = others;
        drop(listeners);
        drop(its); // not under the lock: they are the host's
    }

    /// Whether anybody is told of failures.
    pub(crate) fn hear_failures(&self) -> bool {
        lock(&self.0).iter().any(|(_, own)| own.on_error.is_some())
    }

    /// The report of a batch, if anybody is told of its outcome.
    pub(crate) fn report(&self, batch: &Batch, outcome: &Outcome) -> Option<Report> {
        let listeners = lock(&self.0);
        if let Some(error) = &outcome.error {
            let own = |(holder, own): &(u32, Callbacks)| Some((*holder, own.on_error.clone()?));
            let to: Vec<_> = listeners.iter().filter_map(own).collect();
            return (!to.is_empty()).then(|| Report::Failed {
                to,
                batch: batch.clone(),
                outcome: outcome.clone(),
                error: error.clone(),
            });
        }
        let own = |(holder, own): &(u32, Callbacks)| Some((*holder, own.on_delivery.clone()?));
        let to: Vec<_> = listeners.iter().filter_map(own).collect();
        (!to.is_empty()).then(|| Report::Delivered {
            to,
            first_id: batch.first_id,
            count: batch.writes,
            tags: batch.tags.clone(),
            outcome: outcome.clone(),
        })
    }
}
