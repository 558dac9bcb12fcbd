//! Transitions: steps that wait until no request is under way.

use crate::delivery::buffer::lifecycle::End;
use crate::delivery::decide::session::Session;
use crate::delivery::task::slot::{NO_TUPLE, Slot, Transition};
use crate::delivery::task::{Task, no_more_epochs};
use crate::error::Error;
use crate::outcome::Status;
use crate::reason::Reason;

impl Task {
    /// Decides to go on in another session, after an answer about slot `n`.
    pub(super) fn renew_session(&mut self, n: usize) {
        self.renew_session_at(n, n > 0);
    }

    /// Decides to go on in another session, after an answer about slot `n`; `settle_first` if the
    /// old session can still be trusted about the batches before `n`.
    pub(super) fn renew_session_at(&mut self, n: usize, settle_first: bool) {
        let seq = std::mem::replace(&mut self.window[n].seq, NO_TUPLE);
        self.drain_then_renew(if settle_first { seq } else { 0 });
    }

    /// A batch left a replay unsent: the next batch must not take its sequence number, under which
    /// the server may know a batch of an earlier run. Batches that were sent are decided under the
    /// old session.
    pub(super) fn leave_replay(&mut self) {
        if self.session.is_replay() && self.transition.is_none() {
            self.drain_then_renew(NO_TUPLE);
        }
    }

    /// Decides to go on in another session, once the batches below are settled under this one. Where that
    /// is decided already, the session stays: the epoch above this one may be used, in a life that a
    /// crash of the machine forgot.
    pub(super) fn drain_then_renew(&mut self, below: u64) {
        match self.transition.as_deref_mut() {
            Some(Transition::Terminate { .. }) => return,
            Some(Transition::NewSession { settle_below, .. }) => {
                *settle_below = below.min(*settle_below);
                return;
            }
            None => {}
        }
        match self.session.next() {
            Some(next) => self.go_on_in(next, below),
            None => {
                let failed = Reason::ProducerFailed;
                self.end(End::Failed, None, failed, failed, no_more_epochs());
            }
        }
    }

    /// Goes on in this session once nothing is under way.
    pub(super) fn go_on_in(&mut self, next: Session, settle_below: u64) {
        self.transition = Some(Box::new(Transition::NewSession { next, settle_below }));
    }

    /// Decides to end, after an answer about slot `n` if there was one.
    pub(super) fn end(
        &mut self,
        state: End,
        n: Option<usize>,
        reason: Reason,
        rest: Reason,
        error: Error,
    ) {
        let about = n.map(|n| self.window[n].queued.batch.first_id);
        let end = Transition::Terminate { state, about, reason, rest, error };
        self.transition = Some(Box::new(end));
    }

    /// Takes the transition once no request is under way and nothing is left to settle first.
    pub(super) fn take_transition(&mut self) {
        if self.transition.is_none()
            || self.window.iter().any(|slot| slot.in_flight)
            || self.unsettled()
        {
            return;
        }
        if self.wants_reconciling() {
            return;
        }
        match self.transition.take().map(|own| *own) {
            Some(Transition::NewSession { next, .. }) => self.begin(next),
            Some(Transition::Terminate { state, about, reason, rest, error }) => {
                let engine = self.engine.clone();
                engine.fail_with(state, error.clone(), || {
                    self.finish(state, about, error.clone(), reason);
                    self.give_up_all(rest, &error);
                });
            }
            None => {}
        }
    }

    /// Whether the transition has to wait for the first batch to be settled under the old session.
    pub(super) fn unsettled(&self) -> bool {
        let Some(Transition::NewSession { settle_below, .. }) = self.transition.as_deref() else {
            return false;
        };
        self.window
            .front()
            .is_some_and(|slot| slot.doubt().maybe_stored() && slot.seq < *settle_below)
    }

    fn begin(&mut self, session: Session) {
        self.after_replay |= self.session.is_replay();
        self.session = session.behind(&self.session);
        self.trouble.forget(|known| known.refused = None);
        let resend = self.engine.config.resend_uncertain;
        let mut again = Vec::new();
        for mut slot in std::mem::take(&mut self.window) {
            if slot.expired {
                self.leave(&slot);
                continue;
            }
            if slot.doubt().maybe_stored() && !resend && !slot.queued.batch.is_end() {
                let error = self.lost_session();
                let (unknown, reason) = (Status::DeliveryUnknown, Reason::RetryExhausted);
                self.engine.give_up(&slot.queued, true, unknown, reason, error);
                continue;
            }
            slot.queued.doubt.new_tuple();
            again.push(slot.queued);
        }
        self.debug(|| {
            let (epoch, batches) = (self.session.epoch, again.len());
            format!("goes on with epoch {epoch}; {batches} batches are sent under it again")
        });
        let mut book = self.engine.book();
        if book.is_kept() {
            again.iter().for_each(|queued| book.record_unsent(queued));
        }
        book.put_back(again.into_iter());
        book.count_session();
    }

    fn finish(&mut self, state: End, about: Option<u64>, error: Error, reason: Reason) {
        if !self.window.is_empty() || state == End::Failed {
            self.finish_one(about, reason, error);
        }
    }

    /// Settles the batch that the answer was about; the others only share its fate.
    fn finish_one(&mut self, about: Option<u64>, reason: Reason, error: Error) {
        let is_it = |slot: &Slot| about.is_none_or(|id| slot.queued.batch.first_id == id);
        let found = self.window.iter().position(is_it);
        let queued = match found.and_then(|n| self.window.remove(n)) {
            Some(slot) if slot.expired => return self.leave(&slot),
            Some(slot) => slot.queued,
            None if about.is_some() => return, // it is settled
            None => match self.engine.book().pop_any() {
                Some(queued) => queued,
                None => return,
            },
        };
        let status = match reason {
            Reason::Unauthorized | Reason::NotFound | Reason::Conflict | Reason::ProducerLimit => {
                Status::Rejected
            }
            _ => Status::Cancelled,
        };
        self.engine.leave(&queued, queued.doubt.is_open(), status, reason, error);
    }
}
