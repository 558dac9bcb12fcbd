//! The owner task: one per producer, the only one that touches its session and its wire.
//!
//! Each turn takes what the handles left, expires what is too old, starts the requests that may
//! start, and sleeps until an answer, a wake-up or a timer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::Batch;
use super::book::{ProducerState, Stop, Wants};
use super::engine::Engine;
use super::queue::Queued;
use super::receipts::{Outcome, Reason, Status};
use super::session::{Attempt, Decision, Session, fresh_epoch};
use crate::error::{Detail, Error, ErrorKind};
use crate::protocol::answer::Answer;
use crate::protocol::headers::*;
use crate::stream::wire::{self, Opened};
use crate::transport::{Request, Response, SendError, Transport};

/// How long "there is no such stream" must persist before it is believed: a deploy's ingress
/// says so too.
const VANISHED: Duration = Duration::from_secs(5);
/// Parts of a delivery timeout after which a gathering batch is sealed, so that the writes of
/// one batch expire within that of each other.
const AGE_GRAIN: u32 = 16;

/// The sequence number of a slot that has none any more.
const NO_TUPLE: u64 = u64::MAX;

/// A batch bound to a tuple.
struct Slot {
    seq: u64,
    queued: Queued,
    flying: bool,
    /// Waits until it is the first of the window.
    after_predecessor: bool,
    maybe_stored: bool,
    attempts: u32,
    /// Its writes have expired; the bytes still hold the sequence together.
    expired: bool,
}

impl Slot {
    /// Whether its writes may be in the stream, under this tuple or an earlier one.
    fn unsure(&self) -> bool {
        self.maybe_stored || self.queued.maybe_duplicate
    }
}

/// What is done once no request is under way any more.
enum Turn {
    /// Go on under another session. With `settle_first`, what was sent before the batch this is
    /// about and may be stored is repeated under the old one, whose memory decides it.
    Session { next: Session, settle_first: bool },
    /// End: the first slot's reason, and everybody else's.
    End { state: ProducerState, first: Reason, rest: Reason, error: Error },
}

enum Landed {
    Batch { epoch: u64, seq: u64, result: Result<Response, SendError> },
    Open(Opened),
}

pub(crate) struct Task {
    engine: Arc<Engine>,
    transport: Arc<dyn Transport>,
    session: Session,
    window: VecDeque<Slot>,
    flights: JoinSet<Landed>,
    turn: Option<Turn>,
    /// Failed attempts in a row; while there are any, only the first batch is tried.
    failures: u32,
    paused_until: Option<Instant>,
    /// The stream has to be created or checked before the first batch.
    unopened: bool,
    vanished_since: Option<Instant>,
    /// Requests left for taking a refused batch apart, once that has begun.
    splits_left: Option<u32>,
}

impl Task {
    pub(crate) fn new(engine: Arc<Engine>, transport: Arc<dyn Transport>) -> Self {
        let config = &engine.config;
        let replay = config.epoch.is_some() && !config.auto_claim;
        let epoch = config.epoch.unwrap_or_else(fresh);
        let session = Session::first(epoch, config.auto_claim, replay);
        {
            let mut book = engine.book();
            book.stats.sessions = 1;
            book.gauges.epoch = epoch;
        }
        Task {
            transport,
            session,
            window: VecDeque::new(),
            flights: JoinSet::new(),
            turn: None,
            failures: 0,
            paused_until: None,
            unopened: config.create.is_some(),
            vanished_since: None,
            splits_left: None,
            engine,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            if self.is_done() {
                break;
            }
            self.expire(Instant::now());
            self.take_turn();
            self.launch();
            self.show();
            let timer = self.next_timer();
            let sleep = async {
                match timer {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let engine = self.engine.clone();
            tokio::select! {
                biased;
                Some(landed) = self.flights.join_next(), if !self.flights.is_empty() => {
                    if let Ok(landed) = landed {
                        self.land(landed);
                    }
                }
                () = engine.wake.notified() => {}
                () = sleep => {}
            }
        }
        self.flights.abort_all();
        self.engine.set_ended();
    }

    /// Whether the task ends here: stopped at once, drained, or failed with nothing left.
    fn is_done(&mut self) -> bool {
        let engine = self.engine.clone();
        let mut book = engine.book();
        if book.terminal.is_some() || book.stop == Stop::Now {
            let (reason, error) = match (&book.terminal, book.state) {
                (Some(error), ProducerState::Fenced) => (Reason::Fenced, error.clone()),
                (Some(error), _) => (Reason::ProducerFailed, error.clone()),
                (None, _) => (Reason::ProducerStopped, Error::closed()),
            };
            drop(book);
            self.give_up_all(reason, &error);
            return true;
        }
        let drained = book.open.is_empty() && book.queue.is_empty() && self.window.is_empty();
        if book.stop == Stop::Drain && drained && !book.closing {
            book.set_state(ProducerState::Stopped);
            return true;
        }
        false
    }

    fn give_up_all(&mut self, reason: Reason, error: &Error) {
        for slot in std::mem::take(&mut self.window) {
            if !slot.expired {
                let unsure = slot.unsure() || slot.flying;
                self.cancel(&slot.queued.batch, unsure, reason, error);
            }
        }
        loop {
            let mut book = self.engine.book();
            book.seal();
            let Some(queued) = book.queue.pop() else { break };
            drop(book);
            self.cancel(&queued.batch, queued.maybe_duplicate, reason, error);
        }
    }

    fn cancel(&self, batch: &Batch, unsure: bool, reason: Reason, error: &Error) {
        self.engine.give_up(batch, unsure, Status::Cancelled, reason, error.clone());
    }

    // --- time -----------------------------------------------------------------------------

    /// Settles what is older than `delivery_timeout_ms`.
    fn expire(&mut self, now: Instant) {
        let Some(limit) = self.engine.config.delivery_timeout else { return };
        let engine = self.engine.clone();
        loop {
            let mut book = engine.book();
            if book.queue.open_since.is_some_and(|since| now >= since + limit / AGE_GRAIN)
                && !self.can_take()
            {
                book.seal();
            }
            if book.queue.oldest().is_none_or(|born| now < born + limit) {
                break;
            }
            book.seal();
            let queued = book.queue.pop().expect("something is old");
            let error = expiry(&engine, book.last_error.clone(), limit);
            drop(book);
            self.cancel(&queued.batch, queued.maybe_duplicate, Reason::Expired, &error);
        }
        self.expire_sent(now, limit);
        if !self.window.is_empty() && self.window.iter().all(|slot| slot.expired) {
            // Nobody asks for these any more; what follows goes out under a new session.
            self.window.clear();
            self.flights.abort_all();
            let next = self.session.next();
            self.turn.get_or_insert(Turn::Session { next, settle_first: false });
        }
    }

    /// A batch that may be stored keeps its place and is repeated, since those behind it depend
    /// on it; one that certainly is not leaves, and what is behind goes into a new session.
    fn expire_sent(&mut self, now: Instant, limit: Duration) {
        let mut n = 0;
        while n < self.window.len() {
            let slot = &mut self.window[n];
            if slot.expired || now < slot.queued.born + limit {
                n += 1;
                continue;
            }
            let error = expiry(&self.engine, self.engine.book().last_error.clone(), limit);
            let unsure = slot.unsure() || slot.flying;
            let batch = &slot.queued.batch;
            self.engine.give_up(batch, unsure, Status::Cancelled, Reason::Expired, error);
            slot.expired = true;
            if slot.maybe_stored || slot.flying {
                n += 1;
            } else {
                self.turn_session(n);
                self.window.remove(n);
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let config = &self.engine.config;
        let book = self.engine.book();
        let mut timers = [self.paused_until, None, None, None];
        if let Some(limit) = config.delivery_timeout {
            let slots = self.window.iter().filter(|slot| !slot.expired);
            timers[1] = slots.map(|slot| slot.queued.born + limit).min();
            timers[2] = book.queue.oldest().map(|born| born + limit);
            if let (Some(since), false) = (book.queue.open_since, self.can_take()) {
                timers[2] = timers[2].min(Some(since + limit / AGE_GRAIN));
            }
        }
        if !config.linger.is_zero() && self.can_take() {
            timers[3] = book.queue.open_since.map(|since| since + config.linger);
        }
        timers.into_iter().flatten().min()
    }

    // --- sending --------------------------------------------------------------------------

    /// Whether another batch may be taken from the queue now.
    fn can_take(&self) -> bool {
        let alone = !self.session.may_pipeline() || self.failures > 0;
        let limit = if alone { 1 } else { self.engine.config.max_in_flight };
        !self.unopened
            && self.turn.is_none()
            && self.paused_until.is_none()
            && self.window.len() < limit
            && self.window.iter().all(|slot| slot.flying)
    }

    fn launch(&mut self) {
        if self.paused_until.is_some_and(|until| Instant::now() >= until) {
            self.paused_until = None;
        }
        if self.paused_until.is_some() {
            return;
        }
        if self.turn.is_some() {
            if self.unsettled() && !self.window[0].flying {
                self.fly(0);
            }
            return;
        }
        if self.unopened {
            if self.flights.is_empty() {
                self.fly_open();
            }
            return;
        }
        let alone = self.failures > 0 || !self.session.may_pipeline();
        for n in 0..self.window.len() {
            let slot = &self.window[n];
            let waits = n > 0 && (alone || slot.after_predecessor);
            if !slot.flying && !waits {
                self.fly(n);
            }
        }
        while self.can_take() {
            let Some(queued) = self.take() else { break };
            let seq = self.session.take_seq();
            self.window.push_back(Slot {
                seq,
                queued,
                flying: false,
                after_predecessor: false,
                maybe_stored: false,
                attempts: 0,
                expired: false,
            });
            self.fly(self.window.len() - 1);
        }
    }

    /// The next batch to send, unless an idle producer still lingers for more.
    fn take(&self) -> Option<Queued> {
        let linger = self.engine.config.linger;
        let mut book = self.engine.book();
        if let Some(queued) = book.queue.pop() {
            return Some(queued);
        }
        let since = book.queue.open_since?;
        let hurry = book.stop != Stop::No || book.closing || book.flush_waits();
        if !hurry && self.window.is_empty() && Instant::now() < since + linger {
            return None;
        }
        book.seal();
        book.queue.pop()
    }

    fn fly(&mut self, n: usize) {
        let slot = &mut self.window[n];
        slot.flying = true;
        slot.after_predecessor = false;
        slot.attempts += 1;
        {
            let mut book = self.engine.book();
            book.stats.requests += 1;
            book.stats.retries += u64::from(slot.attempts > 1);
        }
        let request = self.request(&self.window[n]);
        let (epoch, seq) = (self.session.epoch, self.window[n].seq);
        let sending = self.transport.send(request);
        self.flights.spawn(async move {
            let result = sending.await;
            Landed::Batch { epoch, seq, result }
        });
    }

    fn request(&self, slot: &Slot) -> Request {
        let config = &self.engine.config;
        let value = |text: &str| HeaderValue::from_str(text).expect("checked at construction");
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, value(&config.content_type));
        headers.insert(PRODUCER_ID, value(&config.producer_id));
        headers.insert(PRODUCER_EPOCH, self.session.epoch.into());
        headers.insert(PRODUCER_SEQ, slot.seq.into());
        if slot.queued.closes {
            headers.insert(STREAM_CLOSED, HeaderValue::from_static("true"));
        }
        Request {
            method: Method::POST,
            endpoint: self.engine.endpoint.clone(),
            headers,
            body: slot.queued.batch.body.clone(),
            timeout: config.request_timeout,
        }
    }

    fn fly_open(&mut self) {
        let Some(headers) = self.engine.config.create.clone() else { return };
        let (transport, endpoint) = (self.transport.clone(), self.engine.endpoint.clone());
        let timeout = self.engine.config.request_timeout;
        self.engine.book().stats.requests += 1;
        self.flights.spawn(async move {
            let request =
                Request { method: Method::PUT, endpoint, headers, body: Bytes::new(), timeout };
            Landed::Open(wire::ensure(&*transport, request).await)
        });
    }

    // --- answers --------------------------------------------------------------------------

    fn land(&mut self, landed: Landed) {
        match landed {
            Landed::Open(opened) => self.on_opened(opened),
            Landed::Batch { epoch, seq, result } if epoch == self.session.epoch => {
                // A batch acknowledged through a later one is gone from the window already.
                if let Some(n) = self.window.iter().position(|slot| slot.seq == seq) {
                    self.window[n].flying = false;
                    self.on_result(n, result);
                }
            }
            Landed::Batch { .. } => {}
        }
    }

    fn on_opened(&mut self, opened: Opened) {
        match opened {
            Opened::Ready => {
                self.unopened = false;
                self.on_contact();
            }
            Opened::Later(error, retry_after) => self.pause(error, retry_after),
            Opened::Never(error) => {
                let reason = match error.kind() {
                    ErrorKind::StreamClosed => Reason::StreamClosed,
                    ErrorKind::Unauthorized => Reason::Unauthorized,
                    ErrorKind::StreamNotFound => Reason::NotFound,
                    ErrorKind::StreamGone => Reason::Gone,
                    _ => Reason::Conflict,
                };
                self.end(ProducerState::Failed, reason, Reason::ProducerFailed, error);
            }
        }
    }

    fn on_result(&mut self, n: usize, result: Result<Response, SendError>) {
        let url = &self.engine.endpoint.shown;
        let response = match result {
            Ok(response) => response,
            Err(failure) => {
                self.window[n].maybe_stored |= failure.sent;
                let error = failure.error("append", url);
                return self.pause(error, None);
            }
        };
        let answer = Answer::read(&response, SystemTime::now());
        let slot = &self.window[n];
        let attempt = Attempt { seq: slot.seq, maybe_stored: slot.maybe_stored };
        let decision = self.session.on_answer(attempt, &answer);
        let error = answer.error("append", url);
        self.apply(n, decision, &answer, error);
    }

    fn apply(&mut self, n: usize, decision: Decision, answer: &Answer, error: Error) {
        match decision {
            Decision::Delivered { up_to, duplicate } => {
                self.on_delivered(up_to, duplicate, answer);
            }
            Decision::Repeat { maybe_stored } => {
                self.window[n].maybe_stored |= maybe_stored;
                self.pause(error, answer.retry_after);
            }
            Decision::AwaitPredecessor => self.window[n].after_predecessor = true,
            Decision::Claim { current } => {
                let next = self.session.claim(current, fresh(), rand::random());
                self.turn = Some(Turn::Session { next, settle_first: false });
            }
            Decision::Split(reason) => self.on_refused(n, reason, error, true),
            Decision::Refuse(reason) => self.on_refused(n, reason, error, false),
            Decision::NewSession => self.renew(n, error),
            Decision::Undecided => {
                self.window[n].maybe_stored = true;
                self.renew(0, error);
            }
            Decision::Fenced { current } => {
                let text = format!(
                    "another producer took over the id `{}` (epoch {current}, ours was {}); give \
                     each worker an id of its own, or set `shared`",
                    self.engine.config.producer_id, self.session.epoch
                );
                let error = Error::new(ErrorKind::StaleEpoch, text)
                    .with_url(&self.engine.endpoint.shown)
                    .with_status(answer.status)
                    .with_detail(Detail::StaleEpoch { current_epoch: current });
                self.end(ProducerState::Fenced, Reason::Fenced, Reason::Fenced, error);
            }
            Decision::Vanished(reason) => self.on_vanished(reason, error),
            Decision::Fail(reason) => {
                let rest = match reason {
                    Reason::StreamClosed => Reason::StreamClosed,
                    _ => Reason::ProducerFailed,
                };
                self.end(ProducerState::Failed, reason, rest, error);
            }
            Decision::NotAProducerServer => {
                self.window[n].maybe_stored = true;
                let text = "the server does not echo Producer-Epoch and Producer-Seq: it does not \
                            deduplicate, so nothing is sent again";
                let error = Error::new(ErrorKind::Protocol, text)
                    .with_url(&self.engine.endpoint.shown)
                    .with_status(answer.status);
                let failed = Reason::ProducerFailed;
                self.end(ProducerState::Failed, failed, failed, error);
            }
        }
    }

    fn on_delivered(&mut self, up_to: u64, duplicate: bool, answer: &Answer) {
        self.on_contact();
        self.splits_left = None;
        self.vanished_since = None;
        if let Some(offset) = &answer.next_offset {
            self.engine.book().gauges.last_offset = Some(offset.clone());
        }
        while self.window.front().is_some_and(|slot| slot.seq <= up_to) {
            let slot = self.window.pop_front().expect("just seen");
            if slot.expired {
                continue;
            }
            let outcome = Outcome {
                duplicate,
                maybe_duplicate: slot.queued.maybe_duplicate,
                attempts: slot.attempts,
                offset: answer.next_offset.clone(),
                ..Outcome::delivered()
            };
            self.engine.settle(&slot.queued.batch, outcome);
        }
    }

    /// The server answered: an outage is over.
    fn on_contact(&mut self) {
        self.failures = 0;
        self.paused_until = None;
        self.engine.book().set_state(ProducerState::Ready);
    }

    /// A transient failure: nothing new starts until the pause is over.
    fn pause(&mut self, error: Error, retry_after: Option<Duration>) {
        let retries = &self.engine.config.retries;
        let pause = retries.backoff.delay(self.failures, rand::random());
        let asked = retry_after.unwrap_or_default().min(retries.retry_after_max);
        let until = Instant::now() + pause.max(asked);
        self.failures += 1;
        self.paused_until = self.paused_until.max(Some(until));
        let mut book = self.engine.book();
        let next = match book.state {
            ProducerState::Connecting | ProducerState::Backoff => ProducerState::Backoff,
            _ => ProducerState::Reconnecting,
        };
        book.set_state(next);
        book.last_error = Some(error);
    }

    /// Goes on in another session, after a pause: a server that answers so every time must not
    /// be asked in a loop.
    fn renew(&mut self, n: usize, error: Error) {
        self.turn_session(n);
        self.pause(error, None);
    }

    /// Decides to go on in another session, for what came back about slot `n`.
    fn turn_session(&mut self, n: usize) {
        self.window[n].seq = NO_TUPLE;
        if !matches!(self.turn, Some(Turn::End { .. })) {
            self.turn = Some(Turn::Session { next: self.session.next(), settle_first: n > 0 });
        }
    }

    fn on_vanished(&mut self, reason: Reason, error: Error) {
        let since = *self.vanished_since.get_or_insert_with(Instant::now);
        if since.elapsed() < VANISHED {
            return self.pause(error, None);
        }
        self.end(ProducerState::Failed, reason, Reason::Gone, error);
    }

    /// The server refuses these bytes for good: the bad group is rejected, its neighbours and
    /// everything behind go out under a new session.
    fn on_refused(&mut self, n: usize, reason: Reason, error: Error, split: bool) {
        self.on_contact();
        self.turn_session(n);
        let slot = &self.window[n];
        if slot.maybe_stored {
            return; // no refusal makes it certain that an earlier attempt was not stored
        }
        let groups = slot.queued.batch.group_count();
        let budget = || 2 * (groups.max(2).ilog2() + 1) + 8;
        let left = self.splits_left.get_or_insert_with(budget);
        *left = left.saturating_sub(1);
        let parts = slot.queued.batch.split().filter(|_| split && *left > 0);
        if let Some((first, second)) = parts {
            let slot = &mut self.window[n];
            let behind = Slot {
                seq: NO_TUPLE,
                queued: Queued { batch: second, closes: slot.queued.closes, ..slot.queued },
                flying: false,
                after_predecessor: false,
                maybe_stored: false,
                attempts: 0,
                expired: slot.expired,
            };
            slot.queued.batch = first;
            slot.queued.closes = false;
            self.window.insert(n + 1, behind);
            return;
        }
        let slot = self.window.remove(n).expect("the slot is there");
        if !slot.expired {
            let (batch, unsure) = (&slot.queued.batch, slot.queued.maybe_duplicate);
            self.engine.give_up(batch, unsure, Status::Rejected, reason, error);
        }
    }

    // --- turns ----------------------------------------------------------------------------

    fn end(&mut self, state: ProducerState, first: Reason, rest: Reason, error: Error) {
        self.turn = Some(Turn::End { state, first, rest, error });
    }

    /// Does what was decided once every request under way has told its fate.
    fn take_turn(&mut self) {
        if self.turn.is_none() || self.window.iter().any(|slot| slot.flying) || self.unsettled() {
            return;
        }
        match self.turn.take() {
            Some(Turn::Session { next, .. }) => self.begin(next),
            Some(Turn::End { state, first, rest, error }) => {
                self.finish(state, first, rest, error);
            }
            None => {}
        }
    }

    /// Whether the turn has to wait for the first batch to be settled under the old session.
    fn unsettled(&self) -> bool {
        matches!(self.turn, Some(Turn::Session { settle_first: true, .. }))
            && self.window.front().is_some_and(|slot| slot.maybe_stored && slot.seq != NO_TUPLE)
    }

    fn begin(&mut self, session: Session) {
        self.session = session;
        let resend = self.engine.config.resend_uncertain;
        let mut again = Vec::new();
        for mut slot in std::mem::take(&mut self.window) {
            if slot.expired {
                continue;
            }
            if slot.maybe_stored && !resend {
                let text = "the server lost the session, and only it could tell whether this \
                            was stored";
                let error =
                    Error::new(ErrorKind::Protocol, text).with_url(&self.engine.endpoint.shown);
                let (unknown, reason) = (Status::DeliveryUnknown, Reason::RetryExhausted);
                self.engine.give_up(&slot.queued.batch, true, unknown, reason, error);
                continue;
            }
            slot.queued.maybe_duplicate |= slot.maybe_stored;
            again.push(slot.queued);
        }
        let mut book = self.engine.book();
        book.queue.put_back(again.into_iter());
        book.stats.sessions += 1;
    }

    fn finish(&mut self, state: ProducerState, first: Reason, rest: Reason, error: Error) {
        {
            let mut book = self.engine.book();
            book.set_state(state);
            book.terminal = Some(error.clone());
            book.last_error = Some(error.clone());
            book.closing = false;
        }
        if !self.window.is_empty() || state == ProducerState::Failed {
            self.finish_first(first, error.clone());
        }
        self.give_up_all(rest, &error);
    }

    /// The batch the answer was about is refused; what is behind it only shares its fate.
    fn finish_first(&mut self, reason: Reason, error: Error) {
        let (batch, unsure) = match self.window.pop_front() {
            Some(slot) if slot.expired => return,
            Some(slot) => (slot.queued.batch.clone(), slot.unsure()),
            None => {
                let mut book = self.engine.book();
                book.seal();
                match book.queue.pop() {
                    Some(queued) => (queued.batch, queued.maybe_duplicate),
                    None => return,
                }
            }
        };
        let status = match reason {
            Reason::Unauthorized | Reason::NotFound | Reason::Conflict => Status::Rejected,
            _ => Status::Cancelled,
        };
        self.engine.give_up(&batch, unsure, status, reason, error);
    }

    /// Shows the gauges, and says what is worth a wake-up.
    fn show(&self) {
        let mut book = self.engine.book();
        book.gauges.epoch = self.session.epoch;
        book.gauges.next_seq = self.session.next_seq;
        book.gauges.in_flight = self.window.iter().filter(|slot| slot.flying).count();
        book.gauges.attempt = self.failures;
        book.wants = match (self.can_take(), book.open.is_empty() && book.queue.is_empty()) {
            (false, _) => Wants::Nothing,
            (true, true) => Wants::Data,
            (true, false) => Wants::FullBatch, // it lingers
        };
    }
}

fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fresh_epoch(now.as_millis() as u64, rand::random())
}

/// Why a write expired: the failure that kept it from being delivered, if there was one.
fn expiry(engine: &Engine, cause: Option<Error>, limit: Duration) -> Error {
    let text = format!("not delivered within {} ms", limit.as_millis());
    match cause {
        Some(cause) => {
            let text = format!("{text}: {}", cause.message());
            let error = Error::new(cause.kind(), text).with_url(&engine.endpoint.shown);
            cause.status().map_or(error.clone(), |status| error.with_status(status))
        }
        None => Error::new(ErrorKind::Timeout, text).with_url(&engine.endpoint.shown),
    }
}
