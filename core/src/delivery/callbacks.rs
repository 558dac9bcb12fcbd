//! Delivery reports: what became of the writes, for the callbacks of the host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use crate::delivery::buffer::batch::{Batch, Tags};
use crate::delivery::buffer::lifecycle::StateChange;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::runtime::dispatcher::guarded;
use crate::runtime::threads::lock;

/// A write that was not delivered, as `on_error` receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The write's receipt id; 0 for failures that are not about one write, and for the writes of another
    /// worker that has died (`shared` with an outbox).
    pub id: u64,
    /// The tag it was written with; 0 for none.
    pub tag: u64,
    /// Its bytes as the library would have sent them, without framing.
    pub payload: Bytes,
    /// Its outcome.
    pub outcome: Outcome,
    /// The error: why it was not delivered.
    pub error: Error,
    end: Weak<EndNotice>,
}

impl Failure {
    /// What a binding keeps that tells its host later than the callback returns.
    #[doc(hidden)]
    pub fn until_told(&self) -> UntilTold {
        UntilTold { _end: self.end.upgrade() }
    }
}

/// Kept until the host has been told: writes of a producer that has failed raise only then.
#[doc(hidden)]
#[derive(Debug)]
pub struct UntilTold {
    _end: Option<Arc<EndNotice>>,
}

/// Dropped with the last report of a producer's end: all callbacks were called.
pub(crate) struct EndNotice(Box<dyn Fn() + Send + Sync>);

impl EndNotice {
    pub(crate) fn new(told: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(EndNotice(Box::new(told)))
    }
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl std::fmt::Debug for EndNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndNotice")
    }
}

/// Consecutive writes that were delivered in one batch, as `on_delivery` receives them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// The receipt id of the first write; the others follow it without a gap. 0 for the writes of another
    /// worker that has died (`shared` with an outbox).
    pub first_id: u64,
    /// How many writes there are.
    pub count: u64,
    /// The tag of each, 0 for none; empty where none of them has one.
    pub tags: Vec<u64>,
    /// The outcome they share: whether they were duplicates, the attempts, the offset.
    pub outcome: Outcome,
}

/// Receives every write that was not delivered, on the library's dispatcher thread.
pub type ErrorCallback = Arc<dyn Fn(Failure) + Send + Sync>;

/// Receives every write that was delivered, a batch at a time in the order of the calls, on the
/// library's dispatcher thread.
///
/// Reports that wait count against the buffer, so a callback that is slower than the server makes
/// writers wait instead of memory grow.
pub type DeliveryCallback = Arc<dyn Fn(Delivery) + Send + Sync>;

/// Receives each change of the producer's state, in their order, on the library's dispatcher thread.
///
/// A producer begins as [`Connecting`](crate::Lifecycle::Connecting), which is no change; who becomes a
/// holder of one that has come further is told that first, as one change. Of changes that a slow callback does not keep up with, the last ones become one.
pub type StateCallback = Arc<dyn Fn(StateChange) + Send + Sync>;

/// The callbacks of a producer. Each accepted write is reported to one of the first two, once; the
/// report may come before the call that made the write has returned.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// For the writes that are not delivered. Without it the first of each reason is logged.
    pub on_error: Option<ErrorCallback>,
    /// For the writes that are delivered.
    pub on_delivery: Option<DeliveryCallback>,
    /// For the changes of the producer's state.
    pub on_state: Option<StateCallback>,
}

impl Callbacks {
    /// For the writes of another worker that has died, which have no id here: their tags say what they
    /// are.
    pub(crate) fn of_another(&self) -> Self {
        let on_error = self.on_error.clone().map(|told| -> ErrorCallback {
            Arc::new(move |failure| told(Failure { id: 0, ..failure }))
        });
        let on_delivery = self.on_delivery.clone().map(|told| -> DeliveryCallback {
            Arc::new(move |delivery| told(Delivery { first_id: 0, ..delivery }))
        });
        Callbacks { on_error, on_delivery, on_state: None }
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks")
            .field("on_error", &self.on_error.is_some())
            .field("on_delivery", &self.on_delivery.is_some())
            .field("on_state", &self.on_state.is_some())
            .finish()
    }
}

/// Bytes accounted for a report of delivered writes beyond their tags: the queued call, and its own
/// allocations.
const NOTICE: u64 = 256;

/// A holder of a producer and its callbacks.
struct Listener {
    holder: u32,
    callbacks: Callbacks,
    /// The first write that is not reported to it: it was accepted after the holder was let go.
    until: u64,
    /// Whether it is told of changes: it knows the state that they go on from.
    knows_state: bool,
}

impl Listener {
    /// Its callback for a batch, if it has that callback and the batch is reported to it.
    fn called<C: Clone>(
        &self,
        batch: &Batch,
        callback: impl Fn(&Callbacks) -> &Option<C>,
    ) -> Option<Called<C>> {
        let Listener { holder, until, .. } = *self;
        let callback = callback(&self.callbacks).clone().filter(|_| batch.first_id < until)?;
        Some(Called { holder, until, callback })
    }
}

/// A holder's callback that is called, and the first write that is not reported to it.
pub(crate) struct Called<C> {
    holder: u32,
    until: u64,
    callback: C,
}

/// A delivery report: the outcome of a batch, and the callbacks that receive it.
pub(crate) enum Report {
    Failed {
        to: Vec<Called<ErrorCallback>>,
        batch: Batch,
        outcome: Outcome,
        error: Error,
        end: Option<Arc<EndNotice>>,
    },
    Delivered {
        to: Vec<Called<DeliveryCallback>>,
        first_id: u64,
        count: u64,
        tags: Tags,
        outcome: Outcome,
    },
}

impl Report {
    /// The room it holds until it has been delivered.
    pub(crate) fn cost(&self) -> u64 {
        match self {
            Report::Failed { batch, .. } => batch.cost(),
            Report::Delivered { tags, .. } => NOTICE + tags.cost(),
        }
    }

    /// Calls every callback. A callback that panics takes the report from no other.
    pub(crate) fn deliver(self) {
        match self {
            Report::Failed { to, batch, outcome, error, end } => {
                // A tag is its holder's alone.
                let tags = |to: &Called<_>| batch.tags.of(to.holder, batch.writes);
                let to: Vec<_> = to.into_iter().map(|to| (tags(&to), to)).collect();
                for (id, payload) in batch.payloads() {
                    for (tags, to) in to.iter().filter(|(_, to)| id < to.until) {
                        let place = (id - batch.first_id) as usize;
                        let tag = tags.get(place).copied().unwrap_or(0);
                        let (payload, outcome) = (payload.clone(), outcome.clone());
                        let end = end.as_ref().map_or_else(Weak::new, Arc::downgrade);
                        let error = error.clone();
                        let failure = Failure { id, tag, payload, outcome, error, end };
                        guarded(|| (to.callback)(failure));
                    }
                }
            }
            Report::Delivered { to, first_id, count, tags, outcome } => {
                for to in to {
                    let (mut tags, outcome) = (tags.of(to.holder, count), outcome.clone());
                    let count = count.min(to.until - first_id);
                    tags.truncate(count as usize);
                    let delivery = Delivery { first_id, count, tags, outcome };
                    guarded(|| (to.callback)(delivery));
                }
            }
        }
    }
}

/// The callbacks of a producer, those of each holder.
#[derive(Default)]
pub(crate) struct Listeners {
    list: Mutex<Vec<Listener>>,
    /// Whether any was ever told of states.
    hear_states: AtomicBool,
}

impl Listeners {
    /// Adds a holder's callbacks before anything has happened; every holder receives the reports of all
    /// writes.
    pub(crate) fn add(&self, holder: u32, callbacks: Callbacks) {
        self.add_with(holder, callbacks, true);
    }

    /// Adds the callbacks of a holder that does not know the state yet.
    pub(crate) fn add_late(&self, holder: u32, callbacks: Callbacks) {
        self.add_with(holder, callbacks, false);
    }

    fn add_with(&self, holder: u32, callbacks: Callbacks, knows_state: bool) {
        let Callbacks { on_error, on_delivery, on_state } = &callbacks;
        self.hear_states.fetch_or(on_state.is_some(), Ordering::Relaxed);
        if on_error.is_some() || on_delivery.is_some() || on_state.is_some() {
            lock(&self.list).push(Listener { holder, callbacks, until: u64::MAX, knows_state });
        }
    }

    /// Reports no write from an id on to a holder; whether the holder has callbacks.
    pub(crate) fn limit(&self, holder: u32, until: u64) -> bool {
        let mut listeners = lock(&self.list);
        let mut its: Vec<_> = listeners.iter_mut().filter(|own| own.holder == holder).collect();
        its.iter_mut().for_each(|own| own.until = until);
        !its.is_empty()
    }

    /// Forgets the callbacks of a holder that left while others stay.
    pub(crate) fn remove(&self, holder: u32) {
        let mut listeners = lock(&self.list);
        let (its, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *listeners).into_iter().partition(|own| own.holder == holder);
        *listeners = others;
        drop(listeners);
        drop(its); // not under the lock: dropping them runs the host's code
    }

    /// Whether any holder may have a callback for states.
    pub(crate) fn hear_states(&self) -> bool {
        self.hear_states.load(Ordering::Relaxed)
    }

    /// Calls every callback for states. A callback that panics takes a change from no other.
    pub(crate) fn tell_states(&self, changes: &[StateChange]) {
        let own = |own: &Listener| own.callbacks.on_state.clone().filter(|_| own.knows_state);
        let to: Vec<StateCallback> = lock(&self.list).iter().filter_map(own).collect();
        for change in changes {
            to.iter().for_each(|callback| guarded(|| callback(change.clone())));
        }
    }

    /// Tells a holder how the producer came to the state that it begins with, and of each change from
    /// here on.
    pub(crate) fn begin_states(&self, holder: u32, change: &StateChange) {
        let mut to = Vec::new();
        for own in lock(&self.list).iter_mut().filter(|own| own.holder == holder) {
            own.knows_state = true;
            to.extend(own.callbacks.on_state.clone());
        }
        for callback in to.iter().filter(|_| change.from != change.to) {
            guarded(|| callback(change.clone()));
        }
    }

    /// Whether any holder has a callback for failures.
    pub(crate) fn hear_failures(&self) -> bool {
        lock(&self.list).iter().any(|own| own.callbacks.on_error.is_some())
    }

    /// The report of a batch, if any holder has a callback for its outcome.
    pub(crate) fn report(
        &self,
        batch: &Batch,
        outcome: &Outcome,
        end: Option<Arc<EndNotice>>,
    ) -> Option<Report> {
        let listeners = lock(&self.list);
        if let Some(error) = &outcome.error {
            let own = |own: &Listener| own.called(batch, |callbacks| &callbacks.on_error);
            let to: Vec<_> = listeners.iter().filter_map(own).collect();
            return (!to.is_empty()).then(|| Report::Failed {
                to,
                batch: batch.clone(),
                outcome: outcome.clone(),
                error: error.clone(),
                end,
            });
        }
        let own = |own: &Listener| own.called(batch, |callbacks| &callbacks.on_delivery);
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
