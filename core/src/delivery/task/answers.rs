//! Answers: what each one does to the window and the session.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::buffer::batch::BATCH_OVERHEAD;
use crate::delivery::buffer::lifecycle::End;
use crate::delivery::buffer::queue::SplitBudget;
use crate::delivery::config::Opening;
use crate::delivery::decide::session::{Attempt, Decision};
use crate::delivery::engine::settle::Room;
use crate::delivery::task::reconciling::pass;
use crate::delivery::task::slot::{Answered, NO_TUPLE, Slot};
use crate::delivery::task::{Task, fresh};
use crate::error::{Detail, Error, ErrorKind};
use crate::outcome::{Outcome, Status};
use crate::protocol::answer::{Answer, Response};
use crate::reason::Reason;
use crate::requests::operations::Opened;
use crate::requests::retry::Failed;
use crate::transport::request::SendError;

/// How long "there is no such stream", or a success that is not the server's, must persist before
/// it is believed: an ingress says so too during a deploy.
const PERSISTS: Duration = Duration::from_secs(5);

/// How long a stream has to grow by what its server says that it has: what a disk may take.
const GROWS: Duration = Duration::from_secs(30);

/// How many times in a row a new producer is told to wait, without being told how long, before that
/// is taken for a limit of producers: servers that only limit rates relent.
const LIMITED: u32 = 9;

impl Task {
    pub(super) fn on_response(&mut self, answered: Answered) {
        self.count_answer(&answered);
        match answered {
            Answered::Open(opened) => self.on_opened(opened),
            Answered::Look(sent, result) => self.on_look(sent, result),
            Answered::Unsynced(seq, error) => {
                let slots = self.window.iter_mut().filter(|slot| slot.seq == seq);
                slots.for_each(|slot| slot.in_flight = false);
                self.on_outbox_failed(error);
            }
            Answered::Batch { epoch, seq, result, stream_type } if epoch == self.session.epoch => {
                // A batch acknowledged through a later one is gone from the window already.
                if let Some(n) = self.window.iter().position(|slot| slot.seq == seq) {
                    self.window[n].in_flight = false;
                    self.show_in_flight(0);
                    self.note_attempts_beside(n);
                    self.on_result(n, result, stream_type);
                }
            }
            Answered::Batch { .. } => {}
        }
    }

    fn count_answer(&self, answered: &Answered) {
        let of = |error: &Error| error.status();
        let (status, started) = match answered {
            Answered::Batch { epoch, seq, result, .. } => {
                let is_own = |slot: &&Slot| *epoch == self.session.epoch && slot.seq == *seq;
                let started = self.window.iter().find(is_own).and_then(|slot| slot.started);
                (result.as_ref().ok().map(|response| response.status), started)
            }
            Answered::Open(Opened::Ready(_)) | Answered::Look(_, Ok(_)) => (Some(200), None),
            Answered::Open(Opened::Later(error, _) | Opened::Never(error))
            | Answered::Look(_, Err((error, _))) => (of(error), None),
            Answered::Unsynced(..) => return, // no request was made
        };
        self.engine.book().count_answer(status, started);
    }

    /// Settles a batch that is in the stream.
    pub(super) fn deliver(&self, slot: &Slot, outcome: Outcome) {
        self.engine.book().measure_delivery(slot.queued.enqueued.at);
        self.engine.settle(&slot.queued, outcome, Room::Released);
    }

    /// Of attempts at other servers, those that were given up may still arrive.
    fn note_attempts_beside(&mut self, n: usize) {
        let Some((_, departure)) = &self.window[n].request else { return };
        let (late, is_unclear) = departure.take_doubts();
        (0..late).for_each(|_| self.on_unanswered(n, true));
        if is_unclear && !self.is_dead(n) {
            self.window[n].queued.doubt.answered_unclearly();
        }
    }

    fn on_result(
        &mut self,
        n: usize,
        result: Result<Response, SendError>,
        stream_type: Option<String>,
    ) {
        if !self.identified {
            return self.on_unidentified(n, result, stream_type);
        }
        let url = &self.engine.endpoint.shown;
        let response = match result {
            Ok(response) => response,
            Err(failure) => {
                self.trouble.forget(|known| {
                    (known.vanished_since, known.unechoed_since) = (None, None);
                    known.limited = 0;
                });
                let error = failure.error("append", url);
                if failure.sent {
                    self.on_unanswered(n, failure.late);
                }
                if failure.lasting && !self.session.has_acks() {
                    let failed = Reason::ProducerFailed;
                    return self.end(End::Failed, Some(n), failed, failed, error);
                }
                // The host cannot be reached: its gate decides which request tries, and how often.
                if failure.unreachable {
                    return self.pause_as(0, error, None);
                }
                return self.pause(error, None);
            }
        };
        let answer = Answer::read(&response, self.chance().now()).explained_by(stream_type);
        self.trace(|| format!("batch {} was answered with {}", self.window[n].seq, answer.status));
        let slot = &self.window[n];
        let end = slot.queued.batch.is_end();
        let attempt = Attempt {
            seq: slot.seq,
            maybe_stored: slot.doubt().maybe_stored() || (end && slot.doubt().is_open()),
            acked: slot.acked,
            end,
            ungrown: answer.next_offset.is_some() && answer.next_offset == slot.queued.absent_at,
            ordered: slot.queued.batch.stream_seq.is_some(),
            renewable: self.engine.endpoint.functions.is_some(),
        };
        let decision = self.session.on_answer(attempt, &answer);
        self.apply(n, decision, &answer);
    }

    fn apply(&mut self, n: usize, decision: Decision, answer: &Answer) {
        let engine = self.engine.clone();
        let error = || answer.error("append", &engine.endpoint.shown);
        self.trouble.forget(|known| {
            if !matches!(decision, Decision::Vanished(_)) {
                known.vanished_since = None;
            }
            if decision != Decision::Unechoed {
                known.unechoed_since = None;
            }
            if decision != Decision::Ungrown {
                known.ungrown_since = None;
            }
            if decision != Decision::Limited {
                known.limited = 0;
            }
        });
        match decision {
            Decision::Delivered { up_to, duplicate } => {
                self.on_delivered(up_to, duplicate, answer);
            }
            Decision::Repeat { maybe_stored } => {
                if maybe_stored && !self.is_dead(n) {
                    self.window[n].queued.doubt.answered_unclearly();
                }
                if answer.is_gateways() {
                    self.on_unanswered(n, answer.status == 504);
                }
                self.pause(error(), answer.retry_after);
            }
            Decision::AwaitPredecessor if n > 0 => {
                self.pacing.overtaken();
                self.window[n].after_predecessor = true;
            }
            // The predecessor was acknowledged meanwhile: the answer crossed its acknowledgement.
            // Only once, since the repeat is judged by what is acknowledged now.
            Decision::AwaitPredecessor if self.window[n].acked != self.session.acked() => {
                self.pacing.overtaken();
            }
            // Nothing before it is under way: what the server lacks will never come.
            Decision::AwaitPredecessor => {
                self.tell_session_lost();
                self.renew_session(n);
                self.pause(error(), None);
            }
            Decision::Claim { current } => {
                let (fresh, random) = (fresh(self.chance()), self.chance().random());
                match self.session.claim(current, fresh, random) {
                    Some(next) => {
                        self.debug(|| {
                            format!("the server has epoch {current}, which {} outbids", next.epoch)
                        });
                        self.go_on_in(next, 0)
                    }
                    None => self.on_fenced(n, current, answer),
                }
            }
            Decision::Split(reason) => self.on_refused(n, reason, error(), true),
            Decision::Refuse(reason @ Reason::SequenceConflict) => {
                let error = answer.sequence_conflict(&engine.endpoint.shown);
                self.on_refused(n, reason, error, false);
            }
            Decision::Refuse(reason) => self.on_refused(n, reason, error(), false),
            Decision::NewSession => {
                if answer.status == 409 {
                    self.tell_session_lost();
                }
                self.renew_session(n);
                match answer.status {
                    // The next session's first batch is taken, or refused for good.
                    400 | 422 => self.on_contact(),
                    // A server that always answers so must not be asked in a loop.
                    _ => self.pause(error(), None),
                }
            }
            Decision::Undecided => {
                self.window[n].queued.doubt.answered_unclearly();
                // A session that another producer writes in decides nothing about the batches
                // before.
                self.renew_session_at(n, false);
                self.pause(error(), None);
            }
            Decision::Fenced { current } => self.on_fenced(n, current, answer),
            Decision::Unechoed => self.on_unechoed(n, error()),
            Decision::Ungrown => self.on_ungrown(n),
            Decision::Limited => self.on_limited(n, error()),
            Decision::Fail(Reason::NotFound)
            | Decision::Vanished(Reason::NotFound | Reason::Gone)
                if self.may_create() =>
            {
                self.opening = Opening::Create;
            }
            Decision::Vanished(reason) => self.on_vanished(Some(n), reason, error()),
            Decision::Fail(reason) => {
                let rest = match reason {
                    Reason::StreamClosed => Reason::StreamClosed,
                    _ => Reason::ProducerFailed,
                };
                self.end(End::Failed, Some(n), reason, rest, error());
            }
            Decision::NotAProducerServer => {
                self.window[n].queued.doubt.answered_unclearly();
                let text = "the server does not echo Producer-Epoch and Producer-Seq: it does not \
                            deduplicate, so nothing is sent again";
                let error = Error::new(ErrorKind::Protocol, text)
                    .with_url(&self.engine.endpoint.shown)
                    .with_status(answer.status);
                let failed = Reason::ProducerFailed;
                self.end(End::Failed, Some(n), failed, failed, error);
            }
        }
    }

    fn on_delivered(&mut self, up_to: u64, duplicate: bool, answer: &Answer) {
        self.on_contact();
        self.note_seen();
        // A replay's acknowledgements may speak of writes of an earlier run beyond them.
        let known = answer.next_offset.clone().filter(|_| !self.session.is_replay());
        let is_ungrown =
            |slot: &Slot| slot.queued.absent_at.is_some() && slot.queued.absent_at == known;
        self.offsets_stand_still |= !duplicate && self.window.front().is_some_and(is_ungrown);
        let count = self.acknowledged(up_to);
        let mut passed = self.known_base();
        self.note_end(known, count);
        if let Some(offset) = &answer.next_offset {
            self.engine.book().gauges.last_offset = Some(offset.clone());
        }
        self.show_in_flight(count); // before any caller receives their outcomes
        for n in 1..=count {
            let Some(slot) = self.window.pop_front() else { break };
            pass(&mut passed, &slot.queued.batch);
            if let Some(started) = slot.started {
                self.pacing.answered(started.elapsed());
            }
            if slot.doubt().is_late() {
                self.session.note_late(slot.seq);
            }
            if slot.expired {
                self.leave(&slot);
                continue;
            }
            if let Some(splits) = &slot.queued.splits {
                splits.refill();
            }
            // A server that forgot may have taken it again: every unanswered attempt beyond what its
            // answer explains may have been stored as well.
            let explained = u32::from(duplicate);
            let again = self.session.may_begin_anew_at(slot.seq) && slot.doubt().exceeds(explained);
            if again && slot.seq > 0 {
                // Behind late ones that came again: those behind this one may, too.
                self.session.note_late(slot.seq);
            }
            let outcome = Outcome {
                duplicate,
                maybe_duplicate: slot.doubt().is_from_before() || again || self.after_replay,
                attempts: slot.queued.attempts,
                // Where the stream ends now: behind the earlier batches, too.
                offset: answer.next_offset.clone(),
                ..Outcome::delivered()
            };
            // What is known now counts all of these as acknowledged.
            self.record_base(if n == count { self.known_base() } else { passed.clone() });
            self.deliver(&slot, outcome);
        }
    }

    /// How many batches of the window an acknowledgement of `up_to` covers: all before it, also one
    /// whose repeat was refused, which then was stored.
    fn acknowledged(&self, up_to: u64) -> usize {
        let last = self.window.iter().rposition(|slot| slot.seq <= up_to);
        let stands = |slot: &Slot| slot.seq != NO_TUPLE || slot.doubt().maybe_stored();
        let count = self.window.iter().take_while(|slot| stands(slot)).count();
        last.map_or(0, |last| count.min(last + 1))
    }

    /// Whether slot `n` can never be stored under its tuple.
    pub(super) fn is_dead(&self, n: usize) -> bool {
        self.trouble.refused.is_some_and(|refused| self.window[n].seq > refused)
    }

    /// The server answered: an outage is over. One that turns away soon after has much to catch up
    /// with, so that not all is forgotten.
    pub(super) fn on_contact(&mut self) {
        self.failures = 0;
        self.trouble.forget(|known| {
            (known.growth, known.failing_since) = (known.growth / 2, None);
            // A pause the server asked for stays one, whatever else it answers meanwhile.
            known.asked_until = known.asked_until.filter(|until| *until > Instant::now());
            known.paused_until = known.asked_until;
        });
        self.engine.step(|book| book.lifecycle.contact());
        self.tell_going_on();
    }

    /// A transient failure: nothing new starts until the pause is over. It grows with those before
    /// it, but for the time in which nobody was there to be spared.
    pub(super) fn pause(&mut self, error: Error, retry_after: Option<Duration>) {
        self.pause_as(self.trouble.growth, error, retry_after);
        let grows = self.engine.config.retries.backoff.grows(self.trouble.growth);
        self.trouble.note().growth += u32::from(grows);
    }

    pub(super) fn pause_as(&mut self, growth: u32, error: Error, retry_after: Option<Duration>) {
        let retries = &self.engine.config.retries;
        let now = Instant::now();
        let random = self.chance().fraction();
        let trouble = self.trouble.note();
        let lasts = now - *trouble.failing_since.get_or_insert(now);
        let failed = Failed { attempt: growth, lasts, error: &error, asked: retry_after };
        let until = now + retries.pause(&failed, random);
        if retry_after.is_some_and(|asked| !asked.min(retries.retry_after_max).is_zero()) {
            trouble.asked_until = trouble.asked_until.max(Some(until));
        }
        trouble.failed_at = Some(now);
        trouble.paused_until = trouble.paused_until.max(Some(until));
        self.failures += 1;
        self.tell_refused(&error);
        self.debug(|| {
            format!(
                "an attempt failed, the next one comes in {} ms: {error}",
                (until - now).as_millis()
            )
        });
        self.engine.step(|book| {
            book.lifecycle.contact_lost(&error);
            book.note_error(error);
        });
    }

    fn on_fenced(&mut self, n: usize, current: u64, answer: &Answer) {
        let text = format!(
            "another producer took over the id `{}` (epoch {current}, this one's was {}); give each \
             worker an id of its own, or set `shared`; `restart` takes the id back",
            self.engine.config.producer_id, self.session.epoch
        );
        let error = Error::new(ErrorKind::StaleEpoch, text)
            .with_url(&self.engine.endpoint.shown)
            .with_status(answer.status)
            .with_detail(Detail::StaleEpoch { current_epoch: current });
        self.end(End::Fenced, Some(n), Reason::Fenced, Reason::Fenced, error);
    }

    pub(super) fn on_vanished(&mut self, n: Option<usize>, reason: Reason, error: Error) {
        let since = *self.trouble.note().vanished_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PERSISTS {
            return self.pause(error, None);
        }
        self.end(End::Failed, n, reason, Reason::Gone, error);
    }

    /// Something in between answered for the server, which may have stored the batch.
    fn on_unechoed(&mut self, n: usize, error: Error) {
        self.on_unanswered(n, false);
        let since = *self.trouble.note().unechoed_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PERSISTS {
            return self.pause(error, None);
        }
        let text = format!(
            "for {} s answers have come without the server's Producer-Epoch and Producer-Seq: \
             something in between gives them; the last one: {}",
            PERSISTS.as_secs(),
            error.message()
        );
        let status = error.status().unwrap_or_default();
        let error = Error::new(ErrorKind::Protocol, text)
            .with_url(&self.engine.endpoint.shown)
            .with_status(status);
        let failed = Reason::ProducerFailed;
        self.end(End::Failed, Some(n), failed, failed, error);
    }

    /// The answer may be early: some servers know a repeat before the batch that it repeats is durable,
    /// and lose that batch if they crash now. Or late: a crash took the batch, and left the number.
    fn on_ungrown(&mut self, n: usize) {
        let text = "the server says that it has the batch, and its stream has not grown";
        let error = Error::new(ErrorKind::Protocol, text)
            .with_url(&self.engine.endpoint.shown)
            .with_status(204);
        if !self.is_dead(n) {
            self.window[n].queued.doubt.stored_unseen();
        }
        let since = *self.trouble.note().ungrown_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= GROWS {
            self.trouble.forget(|known| known.ungrown_since = None);
            // It may grow by this batch after all.
            self.on_unanswered(n, true);
            self.renew_session_at(n, false);
        }
        self.pause(error, None);
    }

    fn on_limited(&mut self, n: usize, error: Error) {
        self.trouble.note().limited += 1;
        if self.trouble.limited < LIMITED {
            return self.pause(error, None);
        }
        let text =
            format!("{}: the server takes no further producers on this stream", error.message());
        let error = Error::new(ErrorKind::NotSupported, text)
            .with_reason(Reason::ProducerLimit)
            .with_url(&self.engine.endpoint.shown)
            .with_status(429);
        if self.engine.config.awaited {
            return self.go_on_unidentified(n, error);
        }
        let (reason, rest) = (Reason::ProducerLimit, Reason::ProducerFailed);
        self.end(End::Failed, Some(n), reason, rest, error);
    }

    /// The server refuses these bytes for good: the bad group is rejected, its neighbours and every
    /// batch behind go out under a new session.
    fn on_refused(&mut self, n: usize, reason: Reason, error: Error, split: bool) {
        self.on_contact();
        let seq = self.window[n].seq;
        self.renew_session(n);
        let slot = &self.window[n];
        if slot.doubt().maybe_stored() {
            return; // no refusal makes it certain that an earlier attempt was not stored
        }
        // Neither this batch nor those behind it can be stored, now or ever, under this session.
        let trouble = self.trouble.note();
        trouble.refused = Some(trouble.refused.unwrap_or(seq).min(seq));
        self.window.iter_mut().skip(n).for_each(|slot| slot.queued.doubt.ruled_out());
        let slot = &mut self.window[n];
        let groups = slot.queued.batch.group_count();
        let budget = slot.queued.splits.get_or_insert_with(|| Arc::new(SplitBudget::new(groups)));
        let more = budget.spend();
        if let Some([first, second]) = slot.queued.split().filter(|_| split && more) {
            slot.queued = first;
            let behind = Slot { expired: slot.expired, ..Slot::new(NO_TUPLE, second) };
            self.reserve_for_a_part();
            self.window.insert(n + 1, behind);
            return;
        }
        let slot = self.window.remove(n).expect("the slot is there");
        if slot.expired {
            return self.leave(&slot);
        }
        let in_doubt = slot.doubt().is_from_before();
        self.engine.give_up(&slot.queued, in_doubt, Status::Rejected, reason, error);
    }

    /// Reserves room for the overhead of one more batch: one was split in two.
    pub(super) fn reserve_for_a_part(&self) {
        self.engine.book().reserve_anyway(BATCH_OVERHEAD);
    }
}
