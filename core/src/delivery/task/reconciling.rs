//! Reconciling: what the stream shows about batches in doubt (docs/adr/reconciling.md).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::buffer::batch::Batch;
use crate::delivery::decide::compare::{Acked, Verdict, verdict};
use crate::delivery::task::Task;
use crate::delivery::task::slot::{Answered, Reconcile, Slot, Transition};
use crate::error::Error;
use crate::outbox::Base;
use crate::outcome::Outcome;
use crate::reason::Reason;
use crate::requests::tail::{Look, look};

/// How long a server may take to show what it took: readers see only what is durable.
const SHOWS: Duration = Duration::from_secs(1);

/// From how much on the base moves, in bytes, and in times of what is under way: rarely enough that a
/// round trip for it costs little.
const FAR: u64 = 8 << 20;
const FAR_TIMES: u64 = 16;

/// How many looks in a row without a usable answer decide that nothing can be learned.
const FAILED_LOOKS: u32 = 3;

/// A look passes over one more batch. A process may die between the records of two that one answer
/// acknowledges, and each of them says from where the next life reads.
pub(super) fn pass(base: &mut Option<Base>, batch: &Batch) {
    if let Some(Base { messages, bytes, .. }) = base {
        let mut acked = Acked { messages: *messages, bytes: *bytes };
        acked.add(batch);
        (*messages, *bytes) = (acked.messages, acked.bytes);
    }
}

fn undecided(why: &str) -> String {
    format!("asked the stream itself, which decides nothing: {why}")
}

impl Task {
    /// An attempt at slot `n` ended without a word of the server: it may have stored the batch,
    /// crashed, and forgotten. Reconciled before the batch is repeated.
    pub(super) fn on_unanswered(&mut self, n: usize, late: bool) {
        if self.is_dead(n) {
            return;
        }
        self.window[n].queued.doubt.unanswered(late);
        self.trouble.note().unanswered_at = Some(Instant::now());
        self.reconcile = self.if_possible();
    }

    /// Whether a transition waits for reconciling, since only the stream can tell.
    pub(super) fn wants_reconciling(&mut self) -> bool {
        if self.reconcile == Reconcile::NotNeeded {
            self.reconcile = self.if_possible();
        }
        self.must_reconcile()
    }

    /// Whether nothing goes on before reconciling. It is not needed any more once the batches in
    /// doubt are settled.
    pub(super) fn must_reconcile(&mut self) -> bool {
        let is_open = |slot: &Slot| {
            slot.doubt().maybe_stored() && !slot.expired && !slot.queued.batch.is_end()
        };
        let open = self.window.iter().any(is_open);
        if self.reconcile == Reconcile::Wanted && (!open || self.base.is_none()) {
            self.reconcile = Reconcile::NotNeeded;
        }
        self.reconcile == Reconcile::Wanted
    }

    pub(super) fn if_possible(&self) -> Reconcile {
        // Where several servers answer for one stream, the server that answers the look may be
        // behind the one that took the batch; such servers remember their producers.
        let possible = self.base.is_some() && self.engine.endpoint.route.is_sole();
        if possible { Reconcile::Wanted } else { Reconcile::NotNeeded }
    }

    pub(super) fn send_look(&mut self) {
        let Some(base) = self.base.clone() else { return };
        let (runtime, endpoint) = (self.engine.runtime().clone(), self.engine.endpoint.clone());
        let timeout = self.engine.config.request_timeout;
        self.engine.book().count_reconciliation();
        let (json, sent, known) = (self.is_json(), self.sent, self.behind.bytes);
        self.requests.spawn(async move {
            Answered::Look(sent, look(&runtime, endpoint, base, known, json, timeout).await)
        });
    }

    /// The stream ends there, and nothing of this producer is behind it.
    pub(super) fn set_base(&mut self, base: Option<Arc<str>>) {
        (self.tail, self.behind) = (base.clone(), Acked::default());
        self.base = base;
    }

    /// The first batches of the window are acknowledged, by an answer that says where the stream ends. That
    /// may be behind batches that are still under way: some servers look when the answer leaves.
    pub(super) fn note_end(&mut self, end: Option<Arc<str>>, acknowledged: usize) {
        if end.is_none() || acknowledged == self.window.len() {
            return self.set_base(end);
        }
        self.tail = end;
        if self.base.is_some() {
            let batches = self.window.iter().take(acknowledged);
            batches.for_each(|slot| self.behind.add(&slot.queued.batch));
        }
    }

    /// From where a look reads, for the outbox, where there is one.
    pub(super) fn known_base(&self) -> Option<Base> {
        self.engine.config.outbox.as_ref()?;
        let Acked { messages, bytes } = self.behind;
        Some(Base { offset: self.base.clone()?, messages, bytes })
    }

    /// Has the outbox know that with the batch that is settled next.
    pub(super) fn record_base(&self, base: Option<Base>) {
        if let Some(store) = self.engine.book().store() {
            store.record_base(base);
        }
    }

    /// Goes on from the place that an earlier life recorded.
    pub(super) fn resume_base(&mut self, base: Option<Base>) {
        self.set_base(base.as_ref().map(|base| base.offset.clone()));
        let behind = |Base { messages, bytes, .. }| Acked { messages, bytes };
        self.behind = base.map(behind).unwrap_or_default();
        if !self.behind.is_nothing() {
            self.tail = None; // it was behind that
        }
    }

    /// Whether so much is acknowledged behind the base that it had better move: once nothing is under way.
    pub(super) fn is_base_far(&self) -> bool {
        let Acked { bytes, .. } = self.behind;
        let under_way = self.window.iter().map(|slot| slot.queued.batch.body.len() as u64);
        !self.window.is_empty() && bytes > FAR && bytes > FAR_TIMES * under_way.sum::<u64>()
    }

    /// Below which sequence number the server still tells what it stored under the present session.
    fn known_below(&self) -> u64 {
        match self.transition.as_deref() {
            None => u64::MAX,
            Some(Transition::NewSession { settle_below, .. }) => *settle_below,
            // A late request finds the stream closed, or a newer epoch.
            Some(Transition::Terminate {
                reason: Reason::StreamClosed | Reason::Fenced, ..
            }) => 0,
            Some(Transition::Terminate { .. }) => u64::MAX,
        }
    }

    /// When the stream is asked once more, which showed so many batches: what is absent now and sent under
    /// another tuple is there twice if it only was not durable yet.
    fn looks_again_at(&self, stored: usize) -> Option<Instant> {
        let is_over = self.known_below() == 0;
        let lacks = self.window.iter().skip(stored).any(|slot| slot.doubt().maybe_stored());
        let shown = self.trouble.unanswered_at? + SHOWS;
        Some(shown).filter(|at| is_over && lacks && *at > Instant::now())
    }

    /// How many batches the stream was found to hold, or why that does not tell.
    fn stored(&self, look: &Look) -> Result<usize, &'static str> {
        let batches = self.window.iter().map(|slot| &slot.queued.batch);
        let stored = match verdict(&look.found, self.is_json(), self.behind, batches) {
            Verdict::Stored(1..) if self.engine.config.shared => {
                return Err("what it holds may be of others that share the id");
            }
            Verdict::Stored(stored) => stored,
            Verdict::Undecided => return Err("it holds something else"),
        };
        if self.window.iter().take(stored).any(|slot| !slot.doubt().maybe_stored()) {
            return Err("another producer wrote the very same");
        }
        Ok(stored)
    }

    /// No further look is needed.
    fn has_looked(&mut self) {
        self.reconcile = Reconcile::Done;
        self.trouble.forget(|known| known.failed_looks = 0);
    }

    pub(super) fn on_look(&mut self, sent: u64, result: Result<Look, (Error, Option<Duration>)>) {
        if sent != self.sent {
            return; // a batch sent since may have been stored since
        }
        if self.if_possible() == Reconcile::NotNeeded {
            // The server redirected the look, perhaps in circles, perhaps to one that is behind.
            self.has_looked();
            return self.debug(|| undecided("the server redirected the request"));
        }
        let look = match result {
            Ok(look) => look,
            Err((error, retry_after)) => {
                // A server that answers everything but this must not hold the writes for ever; a
                // server that nobody reaches holds them by itself.
                let counts = error.status().is_some() || !error.definite();
                self.trouble.note().failed_looks += u32::from(counts);
                if self.trouble.failed_looks >= FAILED_LOOKS {
                    self.has_looked();
                    self.debug(|| undecided("it cannot be read"));
                }
                return self.pause(error, retry_after);
            }
        };
        self.has_looked();
        let stored = match self.stored(&look) {
            Ok(stored) => stored,
            Err(why) => return self.debug(|| undecided(why)),
        };
        if let Some(at) = self.looks_again_at(stored) {
            self.reconcile = Reconcile::Wanted;
            self.trouble.note().paused_until = Some(at);
            return self.debug(|| undecided("it may not show yet what it took"));
        }
        self.debug(|| {
            let batches = self.window.len();
            format!("asked the stream itself: {stored} of {batches} batches are in it")
        });
        let mut passed = self.known_base();
        self.set_base(look.tail.clone());
        let mut ended = false;
        for n in 1..=stored {
            let Some(slot) = self.window.pop_front() else { break };
            pass(&mut passed, &slot.queued.batch);
            self.session.found(slot.seq);
            ended |= slot.queued.closes;
            if slot.doubt().is_late() {
                self.session.note_late(slot.seq);
            }
            if slot.expired {
                self.leave(&slot);
                continue;
            }
            // A server that forgets may take what is on its way again.
            let again = self.session.may_begin_anew_at(slot.seq) && slot.doubt().may_come_again();
            let outcome = Outcome {
                maybe_duplicate: slot.doubt().is_from_before() || again,
                attempts: slot.queued.attempts,
                offset: look.tail.clone(),
                ..Outcome::delivered()
            };
            self.record_base(if n == stored { self.known_base() } else { passed.clone() });
            self.deliver(&slot, outcome);
        }
        // The batches behind are absent, or only late. Under the same tuple the server tells the
        // one from the other, as long as it knows the session; under another the batch is sent
        // anew.
        let known_below = self.known_below();
        for slot in &mut self.window {
            slot.queued.doubt.not_found(slot.seq < known_below);
            if slot.queued.absent_at.is_some() {
                slot.queued.absent_at = look.tail.clone();
            }
        }
        if stored > 0 {
            self.note_seen();
            self.on_contact();
            if ended {
                self.transition = None; // the end was this producer's
            }
        }
    }
}
