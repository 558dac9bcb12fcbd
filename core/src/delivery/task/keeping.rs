//! Keeping: what the task does with an outbox. It takes up what an earlier life left, reads ahead, and
//! records each tuple before the first request under it.

use std::pin::Pin;

use tokio::time::Instant;

use crate::delivery::buffer::book::Book;
use crate::delivery::buffer::kept::{Again, Aside};
use crate::delivery::buffer::lifecycle::End;
use crate::delivery::buffer::queue::Queued;
use crate::delivery::decide::session::Session;
use crate::delivery::engine::accept::not_json;
use crate::delivery::task::slot::{Slot, Transition};
use crate::delivery::task::upkeep::died;
use crate::delivery::task::{Task, another};
use crate::error::{Error, ErrorKind, Result};
use crate::outbox::{Sent, SentFlags, SyncMode};
use crate::outcome::Status;
use crate::reason::Reason;

pub(super) type Syncing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Task {
    /// Goes on in the session of the life before, if that left writes.
    pub(super) fn resume(&mut self) {
        let resumed = self.engine.book().take_resume();
        let (resume, again) = match resumed {
            Ok(Some(resumed)) => resumed,
            Ok(None) => return,
            Err(error) => return self.on_outbox_failed(error),
        };
        let SentFlags { ever_acked: acked, echoed, .. } = resume.flags;
        let first = again.first().map_or(resume.next_seq, |own| own.seq);
        self.session = Session::resumed(resume.epoch, first, resume.next_seq, resume.flags);
        self.resume_base(resume.base);
        let slot = |own: Again| {
            let sends = 1 + u32::from(own.is_repeated);
            Slot { sends, ..Slot::new(own.seq, own.queued) }
        };
        self.window = again.into_iter().map(slot).collect();
        // Of a stream whose type is not known, the look could not be compared.
        let is_typed = self.engine.config.content_type.is_json().is_some();
        if !self.window.is_empty() && is_typed {
            self.reconcile = self.if_possible();
        }
        if resume.is_over {
            match another(&self.engine, resume.epoch, acked, echoed) {
                Ok(next) => {
                    self.go_on_in(next, u64::MAX);
                }
                Err(error) => {
                    let failed = Reason::ProducerFailed;
                    self.end(End::Failed, None, failed, failed, error);
                }
            }
        }
        self.debug(|| {
            let batches = self.window.len();
            format!("goes on with epoch {}: {batches} batches were under way", self.session.epoch)
        });
    }

    /// Has room made ready for writers, deletes files that are no longer needed, and sees whether the
    /// others are still there.
    pub(super) fn look_after_outbox(&mut self) {
        if self.engine.config.outbox.is_none() {
            return;
        }
        // Beside the chores, which wait for the disk; nobody waits for it, and it changes nothing.
        let ahead = self.engine.book().store().and_then(|store| store.ahead());
        if let Some(ahead) = ahead {
            drop(tokio::task::spawn_blocking(move || ahead.run()));
        }
        if self.upkeep.is_under_way() {
            return;
        }
        let checks = self.upkeep.checks_at(Instant::now());
        let (chores, is_instant, checked) = {
            let mut book = self.engine.book();
            let Some(store) = book.store() else { return };
            let checked = if checks { store.check() } else { Ok(()) };
            (store.chores(), store.syncer().is_instant(), checked)
        };
        if let Err(error) = checked {
            return self.on_outbox_failed(error);
        }
        match chores {
            Some(chores) if is_instant => self.on_chores(chores.run()),
            Some(chores) => {
                self.upkeep.begin(tokio::task::spawn_blocking(move || chores.run()));
            }
            None => {}
        }
    }

    /// A disk that fails ends the producer.
    pub(super) fn on_chores(&mut self, done: Result<()>) {
        if let Err(error) = done {
            self.on_outbox_failed(error);
        }
    }

    /// Whether writes of the outbox are to be read: none, once the producer ends.
    pub(super) fn wants_reading(&self, book: &Book) -> bool {
        book.wants_reading()
            && !matches!(self.transition.as_deref(), Some(Transition::Terminate { .. }))
    }

    /// Reads writes of the outbox into memory.
    pub(super) fn read_ahead(&mut self) {
        let engine = self.engine.clone();
        if !self.wants_reading(&engine.book()) {
            return;
        }
        let is_json = engine.config.content_type.is_json() == Some(true);
        let mut aside = Vec::new();
        let read = engine.book().read_ahead(is_json, engine.config.resend_uncertain, &mut aside);
        if let Err(error) = read {
            self.on_outbox_failed(error);
        }
        for own in aside {
            match own {
                Aside::Unfit(queued, why) => {
                    let error = not_json(&why).with_url(&engine.endpoint.shown);
                    let (status, reason) = (Status::Rejected, Reason::InvalidValue);
                    engine.give_up(&queued, false, status, reason, error);
                }
                Aside::InDoubt(queued) => {
                    let error = self.lost_session();
                    let (status, reason) = (Status::DeliveryUnknown, Reason::RetryExhausted);
                    engine.give_up(&queued, true, status, reason, error);
                }
            }
        }
    }

    /// The error of a write in doubt that nothing decides.
    pub(super) fn lost_session(&self) -> Error {
        let text =
            "the server lost the session, and nothing else tells whether this write was stored";
        Error::new(ErrorKind::Protocol, text).with_url(&self.engine.endpoint.shown)
    }

    /// Records the tuple that a batch is about to be sent under; whether it may be sent.
    pub(super) fn may_send(&mut self, queued: &Queued) -> bool {
        let recorded = {
            let mut book = self.engine.book();
            if !book.is_kept() {
                return true;
            }
            let seq = self.session.next_seq;
            book.record_sent(self.sent(queued, seq, false))
        };
        self.is_recorded(recorded)
    }

    /// Records that a batch goes out under its tuple once more, when that is so for the first time;
    /// whether it may.
    pub(super) fn may_repeat(&mut self, n: usize) -> bool {
        let recorded = {
            let mut book = self.engine.book();
            let Slot { seq, queued, sends, .. } = &self.window[n];
            if *sends != 1 || queued.batch.writes == 0 || !book.is_kept() {
                return true;
            }
            book.record_sent(self.sent(queued, *seq, true))
        };
        self.is_recorded(recorded)
    }

    fn sent(&self, queued: &Queued, seq: u64, repeated: bool) -> Sent {
        let batch = &queued.batch;
        Sent {
            epoch: self.session.epoch,
            seq,
            first: batch.first_id,
            count: batch.writes,
            flags: SentFlags {
                json: batch.is_framed(),
                closes: queued.closes,
                in_doubt_before: queued.doubt.is_from_before(),
                ever_acked: self.session.has_acks(),
                echoed: self.session.was_echoed(),
                all_are_late: self.session.are_all_late(),
                is_over: false,
                repeated,
            },
        }
    }

    fn is_recorded(&mut self, recorded: Result<()>) -> bool {
        match recorded {
            Ok(()) => true,
            Err(error) => {
                self.on_outbox_failed(error);
                false
            }
        }
    }

    /// Makes the record of a batch durable before it is sent, where that is asked for and there is a new
    /// one.
    pub(super) fn syncing(&self, n: usize) -> Option<Syncing> {
        let outbox = self.engine.config.outbox.as_ref()?;
        // Its tuple is recorded before it is sent first, and that it is repeated before the next time.
        let is_recorded = self.window[n].sends <= 2 || self.window[n].request.is_none();
        if outbox.sync == SyncMode::Process || !is_recorded {
            return None;
        }
        let batch = &self.window[n].queued.batch;
        let mut book = self.engine.book();
        // What the next batches hold is written while this one is under way.
        let goes_on = book.has_sealed();
        let store = book.store()?;
        let (syncer, end) = (store.syncer(), store.position(batch.first_id + batch.writes));
        Some(Box::pin(async move {
            if syncer.is_instant() {
                return syncer.sync_batch(end).and_then(|()| match goes_on {
                    true => syncer.sync_ahead(end),
                    false => Ok(()),
                });
            }
            let own = syncer.clone();
            tokio::task::spawn_blocking(move || own.sync_batch(end)).await.map_err(died)??;
            if goes_on {
                // A failure is kept, and meets whoever comes next.
                drop(tokio::task::spawn_blocking(move || syncer.sync_ahead(end)));
            }
            Ok(())
        }))
    }

    /// The outbox cannot be read or written: nothing more is sent, and what it holds stays there.
    pub(super) fn on_outbox_failed(&mut self, error: Error) {
        if matches!(self.transition.as_deref(), Some(Transition::Terminate { .. })) {
            return;
        }
        let error = error.with_url(&self.engine.endpoint.shown);
        let failed = Reason::ProducerFailed;
        self.end(End::Failed, None, failed, failed, error);
        self.engine.wake.notify_one(); // nothing else may happen to the task
    }
}
