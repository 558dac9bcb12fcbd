//! The owner task: one per producer; nothing else touches its session and its requests.
//!
//! Each round takes the writes of the handles, expires those that are too old, starts the requests
//! that may start, and sleeps until an answer, a wake-up or a timer. All of it runs on the I/O
//! thread.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinError;
use tokio::time::Instant;

use crate::delivery::buffer::lifecycle::{End, Stop};
use crate::delivery::buffer::queue::Queued;
use crate::delivery::config::Opening;
use crate::delivery::decide::compare::Acked;
use crate::delivery::decide::pacing::Pacing;
use crate::delivery::decide::session::{Session, far_above, fresh_epoch};
use crate::delivery::engine::Engine;
use crate::delivery::task::slot::{Reconcile, Slot, Transition};
use crate::delivery::task::trouble::Remembered;
use crate::delivery::task::under_way::UnderWay;
use crate::delivery::task::upkeep::Upkeep;
use crate::error::{Error, ErrorKind};
use crate::outcome::Status;
use crate::reason::Reason;
use crate::runtime::chance::Chance;

mod answers;
mod expiry;
mod keeping;
mod launching;
mod opening;
mod reconciling;
mod slot;
mod telling;
mod transitions;
mod trouble;
mod under_way;
mod unidentified;
mod upkeep;

type Before = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for the end of a producer with the same identity. Of a producer with another identity, as
/// the writers of handles have, only the writes accepted so far come first.
fn behind(before: Arc<Engine>, has_own_id: bool) -> Before {
    Box::pin(async move {
        match has_own_id {
            true => before.settled().await,
            false => before.ended().await,
        }
    })
}

pub(crate) struct Task {
    engine: Arc<Engine>,
    session: Session,
    window: VecDeque<Slot>,
    requests: UnderWay,
    /// Requests carry the identity; never again once one was sent without.
    identified: bool,
    /// How many requests with batches have been sent.
    sent: u64,
    transition: Option<Box<Transition>>,
    /// Failed attempts in a row; while there are any, only the first batch is tried.
    failures: u32,
    trouble: Remembered,
    /// The end of the producer before this one, which the first request waits for.
    before: Option<Before>,
    /// What comes before the next batch.
    opening: Opening,
    /// When the stream was last created again, in Unix milliseconds; 0 for never.
    created_at: u64,
    /// The stream was created anew since; that happens once.
    recreated: bool,
    /// A batch was stored and did not move the end of the stream: this server's offsets say nothing.
    offsets_stand_still: bool,
    /// The log was told that its requests are refused.
    is_refusal_told: bool,
    /// When a batch may follow another that is under way.
    pacing: Pacing,
    reconcile: Reconcile,
    /// An end of this producer may have been stored before it was given up: closed then means
    /// closed.
    end_in_doubt: bool,
    /// The server forgot a replay half way: batches sent from here on may be stored already.
    after_replay: bool,
    /// A caller asked for a fresh session: nothing new starts before it.
    restarting: bool,
    /// An end of the stream with nothing of this producer behind it but what is in doubt, and what was
    /// acknowledged behind it since.
    base: Option<Arc<str>>,
    behind: Acked,
    /// Where the stream ended when that was last heard of.
    tail: Option<Arc<str>>,
    /// What is done for the outbox beside the requests, and when its files were checked last.
    upkeep: Upkeep,
}

/// However a task ends, by itself or with its runtime, nothing stays unsettled.
impl Drop for Task {
    fn drop(&mut self) {
        let error = self.engine.accept_no_more();
        self.give_up_all(Reason::ProducerStopped, &error);
        let restarts = self.engine.book().take_restarts();
        restarts.into_iter().for_each(|waiter| waiter.complete(Err(error.clone())));
        self.requests.abort_all();
        self.engine.set_ended();
    }
}

impl Task {
    pub(crate) fn new(engine: Arc<Engine>, before: Option<Arc<Engine>>) -> Self {
        let config = &engine.config;
        let epoch = config.epoch.unwrap_or_else(|| fresh(engine.runtime().chance()));
        let session = Session::first(epoch, config.auto_claim, config.is_replay);
        {
            let mut book = engine.book();
            book.count_session();
            book.gauges.epoch = epoch;
        }
        let mut task = Task {
            session,
            window: VecDeque::new(),
            requests: UnderWay::default(),
            identified: config.identified,
            sent: 0,
            transition: None,
            failures: 0,
            trouble: Remembered::default(),
            before: before.map(|before| behind(before, config.awaited)),
            opening: config.opening(),
            created_at: 0,
            recreated: false,
            offsets_stand_still: false,
            is_refusal_told: false,
            pacing: Pacing::new(config.max_in_flight, config.delivery_timeout),
            reconcile: Reconcile::NotNeeded,
            end_in_doubt: false,
            after_replay: false,
            restarting: false,
            base: config.opened_at.clone(),
            behind: Acked::default(),
            tail: config.opened_at.clone(),
            upkeep: Upkeep::default(),
            engine,
        };
        task.resume();
        task
    }

    /// The task of a producer that had ended and starts over.
    pub(crate) fn resumed(engine: Arc<Engine>, session: Session) -> Self {
        let mut task = Task::new(engine, None);
        task.session = session;
        task.set_base(None); // other producers have written since
        task
    }

    #[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the task twice")]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move { self.work().await }
    }

    async fn work(&mut self) {
        self.debug(|| format!("begins with epoch {}", self.session.epoch));
        loop {
            self.look_after_outbox();
            self.read_ahead();
            self.expire(Instant::now());
            self.take_transition();
            self.restart();
            if self.is_done() {
                break;
            }
            self.launch();
            self.show();
            let timer = self.next_timer();
            if self.is_idle(timer) {
                self.rest();
                self.engine.wake.notified().await;
            } else {
                // Idle producers do not hold what this takes.
                Box::pin(self.wait(timer)).await;
            }
        }
        // The next one opens the outbox that this one lets go.
        self.upkeep.end().await;
        // The next producer waits for this one alone: it must not end before its predecessor.
        if let Some(before) = self.before.take() {
            before.await;
        }
    }

    /// Whether only a wake-up gives it something to do.
    fn is_idle(&self, timer: Option<Instant>) -> bool {
        timer.is_none()
            && self.requests.is_empty()
            && self.before.is_none()
            && !self.upkeep.is_under_way()
    }

    /// Gives back what only a producer with something to do needs: there may be thousands.
    fn rest(&mut self) {
        self.requests.rest();
        self.window.shrink_to_fit();
        self.engine.book().rest();
    }

    /// Waits for an answer, a wake-up or the timer.
    async fn wait(&mut self, timer: Option<Instant>) {
        let sleep = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let predecessor = async {
            match &mut self.before {
                Some(before) => before.await,
                None => std::future::pending().await,
            }
        };
        let answered = tokio::select! {
            biased;
            Some(answered) = self.requests.next() => Some(answered),
            () = predecessor => {
                self.before = None;
                None
            }
            () = self.engine.wake.notified() => None,
            () = sleep => None,
            done = self.upkeep.done() => {
                self.on_chores(done);
                None
            }
        };
        self.notice_oversleep(timer);
        match answered {
            Some(Ok((_, answered))) => self.on_response(answered),
            Some(Err(lost)) => self.on_lost_request(&lost),
            None => {}
        }
    }

    /// The task of a request was aborted or panicked: its batch may have been stored. A fault of
    /// the library that makes one request panic makes the next one panic too: it is repeated like
    /// any other failure.
    fn on_lost_request(&mut self, lost: &JoinError) {
        let panicked =
            Error::new(ErrorKind::Internal, "the library panicked while it handled a request")
                .with_url(&self.engine.endpoint.shown)
                .with_definite(false);
        let carried =
            |slot: &Slot| slot.request.as_ref().is_some_and(|(own, _)| own.id() == lost.id());
        if let Some(n) = self.window.iter().position(carried) {
            self.window[n].in_flight = false;
            match self.identified {
                true => self.on_unanswered(n, true),
                false => self.fail_one(n, panicked.clone()),
            }
        }
        if lost.is_panic() {
            self.pause(panicked, None);
        }
    }

    /// Begins the fresh session a caller asked for, once no request is under way.
    fn restart(&mut self) {
        let engine = self.engine.clone();
        let mut book = engine.book();
        self.restarting = book.has_restarts();
        if !self.restarting || !self.window.is_empty() || self.transition.is_some() {
            return;
        }
        let waiters = book.take_restarts();
        let (acked, echoed) = (self.session.has_acks(), self.session.was_echoed());
        let next = another(&engine, self.session.epoch, acked, echoed);
        if next.is_ok() {
            book.count_session();
        }
        drop(book);
        let begun = next.map(|session| self.session = session);
        self.debug(|| match &begun {
            Ok(()) => format!("goes on with epoch {}, as it was asked to", self.session.epoch),
            Err(error) => format!("cannot go on in another session: {error}"),
        });
        self.restarting = false;
        self.show();
        waiters.into_iter().for_each(|waiter| waiter.complete(begun.clone()));
    }

    /// Whether the task ends here: stopped at once, drained, or failed with nothing left.
    fn is_done(&mut self) -> bool {
        let engine = self.engine.clone();
        let book = engine.book();
        let lifecycle = &book.lifecycle;
        let over = match (lifecycle.end(), lifecycle.error()) {
            (Some(End::Fenced), Some(error)) => Some((Reason::Fenced, error.clone())),
            (_, Some(error)) => Some((Reason::ProducerFailed, error.clone())),
            _ if lifecycle.stop() == Stop::Now => Some((Reason::ProducerStopped, Error::closed())),
            _ => None,
        };
        let is_drained = book.is_drained() && self.window.is_empty();
        drop(book);
        if let Some((reason, error)) = &over {
            self.give_up_all(*reason, error);
        }
        over.is_some() || is_drained
    }

    fn give_up_all(&mut self, reason: Reason, error: &Error) {
        for slot in std::mem::take(&mut self.window) {
            if slot.expired {
                self.leave(&slot);
                continue;
            }
            let in_doubt = !slot.withdraw() || slot.doubt().is_open();
            self.end_in_doubt |= in_doubt && slot.queued.closes;
            self.cancel(&slot.queued, in_doubt, reason, error);
        }
        loop {
            let Some(queued) = self.engine.book().pop_any() else { break };
            self.cancel(&queued, queued.doubt.is_open(), reason, error);
        }
        self.engine.leave_unread(reason, error);
    }

    /// Whether messages are JSON values, once there are batches under way.
    fn is_json(&self) -> bool {
        self.engine.config.content_type.is_json() == Some(true)
    }

    fn chance(&self) -> &Chance {
        self.engine.runtime().chance()
    }

    fn cancel(&self, queued: &Queued, in_doubt: bool, reason: Reason, error: &Error) {
        self.engine.leave(queued, in_doubt, Status::Cancelled, reason, error.clone());
    }
}

/// A producer's session after it started over: it may claim again.
pub(super) fn another(
    engine: &Engine,
    last: u64,
    acked: bool,
    echoed: bool,
) -> Result<Session, Error> {
    let config = &engine.config;
    let next = Session::above(last).ok_or_else(no_more_epochs)?;
    let epoch = match config.epoch {
        Some(_) => next,
        // Behind the last one that is known there may be some that a crash of the machine forgot, and
        // the clock may be wrong since.
        None => fresh(engine.runtime().chance()).max(far_above(last)),
    };
    Ok(Session::again(epoch, config.auto_claim, acked, echoed))
}

fn no_more_epochs() -> Error {
    Error::new(ErrorKind::StaleEpoch, "the producer has used the last epoch that there is")
}

fn fresh(chance: &Chance) -> u64 {
    let (now, random) = (chance.unix_ms(), chance.random());
    chance.rise(|last| fresh_epoch(last, now, random))
}
