//! The shared half of a producer: accepts writes under a short lock, settles them, and wakes
//! the owner task. The task ([`super::task`]) owns the session and the wire.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use super::batch::Batch;
use super::book::{Book, Due, FlushReport, ProducerState, Stop, Wants};
use super::config::Config;
use super::receipts::{Outcome, Reason, Status};
use super::task::{Task, another};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::pending::{Completer, Pending, pending, pending_or_unread};
use crate::runtime::{self, Runtime};
use crate::stats::Stats;

mod accept;
mod tell;

pub(crate) use accept::PROCESS_FULL;
use tell::News;

pub use tell::{Callbacks, Delivery, DeliveryCallback, ErrorCallback, Failure};

/// What becomes of the room a settled batch had reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is free for other writes.
    Released,
    /// The bytes are still held.
    Kept,
}

/// How a stream was ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CloseResult {
    /// The stream's final offset, where the server said it.
    pub final_offset: Option<Arc<str>>,
}

pub(crate) struct Engine {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) config: Config,
    generation: u64,
    runtime: Arc<Runtime>,
    book: Mutex<Book>,
    room: Condvar,
    callbacks: Mutex<Vec<tell::Holder>>,
    /// Reasons already logged, as bits, where there is no `on_error`.
    logged: AtomicU64,
    pub(crate) wake: Notify,
    closes: Mutex<Closes>,
    ended: watch::Sender<bool>,
}

/// The end of the stream: asked for, and reached.
#[derive(Default)]
pub(crate) struct Closes {
    pub(crate) result: Option<CloseResult>,
    pub(crate) waiters: Vec<Completer<CloseResult>>,
    /// Who asked for it, of several that share the producer.
    pub(crate) by: u64,
    /// Told the outcome of a request that only ends the stream.
    end: Option<Completer<Outcome>>,
}

impl Engine {
    /// Starts a producer. `after` is one whose end the first request has to wait for.
    pub(crate) fn start(
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Result<Arc<Self>> {
        let process = runtime::process();
        let engine = Self::start_on(process.runtime()?, endpoint, config, callbacks, after);
        process.register(&engine);
        Ok(engine)
    }

    /// The last one of these, which write to one stream under one id, that is about to end: whoever
    /// comes next waits for it, so that a process never fences itself.
    pub(crate) fn ending(live: &[Arc<Self>], endpoint: &Endpoint) -> Option<Arc<Self>> {
        let is_one = |engine: &&Arc<Engine>| {
            !*engine.ended.borrow()
                && engine.book().stop != Stop::No
                && engine.comes_before(endpoint)
        };
        live.iter().rfind(is_one).cloned()
    }

    /// Whether who comes next waits for it: not with other credentials than its own that the server
    /// refuses.
    pub(crate) fn comes_before(&self, endpoint: &Endpoint) -> bool {
        let same = self.endpoint.headers == endpoint.headers && self.endpoint.url == endpoint.url;
        same || !self.book().is_refused()
    }

    /// The same on a given runtime.
    pub(crate) fn start_on(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> Arc<Self> {
        let (engine, task) = Self::with_task(runtime.clone(), endpoint, config, callbacks, after);
        runtime.spawn(task.run());
        engine
    }

    /// An engine and its owner task, not running yet.
    pub(super) fn with_task(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        after: Option<Arc<Engine>>,
    ) -> (Arc<Self>, Task) {
        let engine = Arc::new(Engine::new(endpoint, config, callbacks, runtime.clone()));
        let task = Task::new(engine.clone(), runtime.transport.clone(), after);
        (engine, task)
    }

    fn new(
        endpoint: Endpoint,
        config: Config,
        callbacks: Option<Callbacks>,
        runtime: Arc<Runtime>,
    ) -> Self {
        let share = config.max_batch_bytes as u64;
        let budget = runtime::process().budget.clone();
        let book = Book::new(config.json, config.create.is_none(), share, budget);
        Engine {
            endpoint: Arc::new(endpoint),
            generation: runtime::made_in(),
            runtime,
            book: Mutex::new(book),
            room: Condvar::new(),
            callbacks: Mutex::new(callbacks.into_iter().map(|own| (0, own)).collect()),
            logged: AtomicU64::new(0),
            wake: Notify::new(),
            closes: Mutex::default(),
            ended: watch::channel(false).0,
            config,
        }
    }

    /// Refuses to go on in a forked child: the parent's locks and threads are not its own.
    pub(crate) fn check_fork(&self) -> Result<()> {
        if self.is_foreign() {
            return Err(Error::forked("this producer"));
        }
        Ok(())
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != runtime::generation()
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        runtime::lock(&self.book)
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Settles a batch and tells everyone who waits for it.
    pub(crate) fn settle(self: &Arc<Self>, batch: &Batch, outcome: Outcome, room: Room) {
        if batch.is_end() {
            let end = self.closes().end.take();
            end.into_iter().for_each(|completer| completer.complete(Ok(outcome.clone())));
            return;
        }
        let failed = outcome.error.clone().filter(|_| !outcome.is_delivered());
        let news = self.news(batch, &outcome, failed.as_ref());
        let released = room == Room::Released;
        let held = news.as_ref().map_or(0, News::cost);
        let due = {
            let mut book = self.book();
            // Reserved until the host has seen it, and before the rest is free for others.
            book.reserve_anyway(held);
            book.settle(batch, outcome.clone(), released)
        };
        if failed.is_none() {
            due.complete(); // first: this is what an idle producer's caller waits for
            self.announce();
            return news.into_iter().for_each(|news| self.tell(news, held));
        }
        self.announce();
        match (news, failed) {
            (Some(news), _) => self.tell(news, held),
            (None, Some(error)) if !self.config.awaited => {
                self.log_once(&outcome, &error, batch.writes);
            }
            _ => {}
        }
        due.complete();
    }

    /// Waits for the outcome of a write.
    pub(crate) fn wait(&self, id: u64) -> Pending<Outcome> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let mut book = self.book();
        if id == 0 || id >= book.next_id {
            let text = format!("there is no write with receipt id {id}");
            return Pending::ready(Err(Error::option("id", text)));
        }
        if let Some(outcome) = book.ledger.outcome(id) {
            return Pending::ready(Ok(outcome));
        }
        let (completer, waiting) = pending();
        book.ledger.wait(id, completer);
        if book.is_awaited() {
            if self.config.is_replay {
                book.seal(); // who waits for it wants it sent
            }
            if book.wants == Wants::FullBatch {
                drop(book);
                self.wake.notify_one();
            }
        }
        waiting
    }

    /// Begins a fresh session, which may claim, once everything accepted so far is settled; also
    /// after another producer took over.
    pub(crate) fn restart(self: &Arc<Self>) -> Pending<()> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let engine = self.clone();
        self.runtime.run(async move {
            engine.settled().await;
            if engine.book().state == ProducerState::Fenced {
                engine.ended().await;
                return engine.revive();
            }
            let (completer, begun) = pending();
            {
                let mut book = engine.book();
                if let Some(error) = &book.terminal {
                    return Err(error.clone());
                }
                if book.stop != Stop::No || book.closing {
                    return Err(Error::closed());
                }
                book.restarts.push(completer);
            }
            engine.wake.notify_one();
            begun.await
        })
    }

    /// Starts over after the end of a fenced producer; one of several who ask does it for all.
    fn revive(self: &Arc<Self>) -> Result<()> {
        let session;
        {
            let mut book = self.book();
            if book.stop != Stop::No || book.closing {
                return Err(Error::closed());
            }
            if book.state != ProducerState::Fenced {
                return Ok(());
            }
            let acked = book.stats.delivered > 0;
            session = another(&self.config, book.gauges.epoch, acked, book.gauges.echoed)?;
            book.reopen();
            let _ = self.ended.send_replace(false);
        }
        let task = Task::resumed(self.clone(), self.runtime.transport.clone(), session);
        self.runtime.spawn(task.run());
        Ok(())
    }

    pub(crate) fn flush(self: &Arc<Self>) -> Pending<FlushReport> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let engine = Arc::downgrade(self);
        let mut book = self.book();
        let since = book.reported();
        let only = Arc::new(AtomicBool::new(true));
        let alone = only.clone();
        let (completer, waiting) = pending_or_unread(move |report: Result<FlushReport>| {
            let engine = engine.upgrade().filter(|engine| !engine.is_foreign());
            if let Some(engine) = engine.filter(|_| alone.load(Ordering::Relaxed)) {
                engine.book().take_back(since, &report);
            }
        });
        let due: Due = book.flush(completer, only);
        drop(book);
        due.complete();
        self.wake.notify_one();
        waiting
    }

    /// Waits for what is under way, and reports only that.
    pub(crate) fn flush_the_rest(&self) -> Pending<FlushReport> {
        let (completer, waiting) = pending();
        self.book().flush_the_rest(completer).complete();
        self.wake.notify_one();
        waiting
    }

    /// No new writes; what was accepted is delivered, then the producer ends by itself.
    pub(crate) fn begin_stop(&self) {
        self.ask(Stop::Drain);
    }

    /// Ends now: what is pending settles as cancelled or unknown.
    pub(crate) fn stop_now(&self) {
        self.ask(Stop::Now);
    }

    fn ask(&self, stop: Stop) {
        if self.is_foreign() {
            return;
        }
        self.mark(stop);
        self.announce();
        self.wake.notify_one();
    }

    /// The same as [`begin_stop`](Self::begin_stop), and nobody is told yet: that is still to follow.
    pub(crate) fn mark_stopping(&self) {
        self.mark(Stop::Drain);
    }

    fn mark(&self, stop: Stop) {
        let mut book = self.book();
        if stop > book.stop {
            book.stop = stop;
        }
        book.set_state(ProducerState::Stopping);
    }

    /// The end of the task: nothing is settled or sent after it.
    pub(crate) fn set_ended(&self) {
        {
            let mut book = self.book();
            book.set_state(ProducerState::Stopped);
            book.gauges.in_flight = 0;
        }
        self.announce();
        let _ = self.ended.send_replace(true);
    }

    /// Takes no more writes from here on; why.
    pub(crate) fn close_books(&self) -> Error {
        let mut book = self.book();
        book.terminal.get_or_insert_with(Error::closed).clone()
    }

    /// Whether writes are taken, now or after a close that is under way failed.
    pub(crate) fn takes_writes(&self) -> bool {
        let book = self.book();
        book.terminal.is_none() && book.stop == Stop::No
    }

    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Waits until everything accepted so far is settled; consumes no flush report.
    pub(crate) async fn settled(&self) {
        let (completer, waiting) = pending();
        let due = self.book().watch(completer);
        due.complete();
        self.wake.notify_one();
        let _ = waiting.await;
    }

    pub(crate) fn pending_count(&self) -> u64 {
        if self.is_foreign() { 0 } else { self.book().stats.pending }
    }

    pub(crate) fn stats(&self) -> Stats {
        if self.is_foreign() { Stats::default() } else { self.book().stats() }
    }

    /// Waits until a close that is under way has ended, one way or the other.
    pub(crate) async fn closed(&self) {
        let (completer, waiting) = pending();
        {
            let mut closes = self.closes();
            if !self.book().closing {
                return;
            }
            closes.waiters.push(completer);
        }
        let _ = waiting.await;
    }

    pub(crate) fn closes(&self) -> MutexGuard<'_, Closes> {
        runtime::lock(&self.closes)
    }

    /// The truth about a failure where `unsure`: not that it is not in the stream.
    pub(crate) fn doubt(unsure: bool, status: Status, error: Error) -> (Status, Error) {
        match unsure {
            true => (Status::DeliveryUnknown, error.with_definite(false)),
            false => (status, error.with_definite(true)),
        }
    }

    /// Fails everything in `batch` with an outcome that tells the truth about `unsure`.
    pub(crate) fn give_up(
        self: &Arc<Self>,
        batch: &Batch,
        unsure: bool,
        status: Status,
        reason: Reason,
        error: Error,
    ) {
        let reason = if unsure { reason.in_doubt() } else { reason };
        let (status, error) = Self::doubt(unsure, status, error);
        self.settle(batch, Outcome::failed(status, reason, error), Room::Released);
    }

    /// Gives room back to writers.
    pub(crate) fn release(&self, cost: u64) {
        self.book().release(cost);
        self.announce();
    }
}
