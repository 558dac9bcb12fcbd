//! Going on without an identity, because `idempotent` is off or the server takes no further
//! producers: one request at a time in the order of the calls, repeated only while nothing can have
//! been stored. Writes that wait behind a request go out together.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::buffer::queue::SplitBudget;
use crate::delivery::decide::unidentified::{Verdict, verdict};
use crate::delivery::task::Task;
use crate::error::Error;
use crate::outcome::{Outcome, Status};
use crate::protocol::answer::{Answer, Response};
use crate::transport::request::SendError;

impl Task {
    /// The server takes no further producers. A batch that may be stored under the identity is not
    /// sent without one, nor is a part of it that waits: that could double it.
    pub(super) fn go_on_unidentified(&mut self, n: usize, error: Error) {
        self.identified = false;
        if self.window[n].doubt().is_open() {
            self.fail_one(n, error.clone().with_definite(false));
        }
        let waiting = self.engine.book().take_in_doubt();
        for queued in waiting {
            let (status, reason) = (Status::Rejected, error.refusal());
            self.engine.give_up(&queued, true, status, reason, error.clone());
        }
    }

    /// Handles the answer to an attempt without an identity, or its failure.
    pub(super) fn on_unidentified(
        &mut self,
        n: usize,
        result: Result<Response, SendError>,
        stream_type: Option<String>,
    ) {
        let url = self.engine.endpoint.shown.clone();
        let response = match result {
            Ok(response) => response,
            Err(failure) => {
                let error = failure.error("append", &url);
                match failure.lasting {
                    true => return self.fail_one(n, error),
                    false => return self.repeat_unless(failure.sent, n, error, None),
                }
            }
        };
        let answer = Answer::read(&response, self.chance().now()).explained_by(stream_type);
        let batch = &self.window[n].queued.batch;
        let is_out_of_order = batch.stream_seq.is_some() && answer.is_misfit();
        let error = || match is_out_of_order {
            true => answer.sequence_conflict(&url),
            false => answer.error("append", &url),
        };
        match verdict(&answer, batch.is_end()) {
            Verdict::Delivered => self.deliver_one(n, &answer),
            Verdict::Repeat => self.repeat_unless(false, n, error(), answer.retry_after),
            Verdict::Unclear => self.repeat_unless(true, n, error(), answer.retry_after),
            Verdict::Split if self.split_one(n) => {}
            Verdict::Split | Verdict::Refused => self.fail_one(n, error().with_definite(true)),
        }
    }

    fn deliver_one(&mut self, n: usize, answer: &Answer) {
        self.on_contact();
        self.note_seen();
        let Some(slot) = self.window.remove(n) else { return };
        slot.queued.splits.iter().for_each(|splits| splits.refill());
        let (attempts, offset) = (slot.queued.attempts, answer.next_offset.clone());
        let outcome = Outcome { attempts, offset, ..Outcome::delivered() };
        self.deliver(&slot, outcome);
    }

    /// Repeats the batch after a pause, unless it may be stored or was repeated often enough. A pause
    /// that the server asked for holds back the batches behind it as well.
    fn repeat_unless(
        &mut self,
        maybe_stored: bool,
        n: usize,
        error: Error,
        retry_after: Option<Duration>,
    ) {
        let repeats = self.window[n].repeats;
        let is_given_up =
            maybe_stored || u64::from(repeats) >= self.engine.config.retries.max_retries;
        if !is_given_up || retry_after.is_some() {
            self.pause_as(repeats, error.clone(), retry_after);
        }
        match is_given_up {
            true => self.fail_one(n, error.with_definite(!maybe_stored)),
            false => self.window[n].repeats += 1,
        }
    }

    /// Splits a refused batch, so that one bad message takes no other with it; whether there is
    /// more than one message, and a further request is worth it.
    fn split_one(&mut self, n: usize) -> bool {
        let queued = &mut self.window[n].queued;
        let groups = queued.batch.group_count();
        let budget = queued.splits.get_or_insert_with(|| Arc::new(SplitBudget::new(groups)));
        if !budget.spend() {
            return false;
        }
        let Some(parts) = queued.split() else { return false };
        self.window.remove(n);
        self.reserve_for_a_part();
        self.engine.book().put_back(parts.into_iter());
        true
    }

    /// Settles one batch with its error; the batches behind it go on.
    pub(super) fn fail_one(&mut self, n: usize, error: Error) {
        let Some(slot) = self.window.remove(n) else { return };
        let (in_doubt, reason) = (!error.definite(), error.refusal());
        self.engine.give_up(&slot.queued, in_doubt, Status::Rejected, reason, error);
    }
}
