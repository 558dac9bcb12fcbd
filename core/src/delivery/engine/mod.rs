//! The shared half of a producer: accepts writes under a short lock, settles them, and wakes
//! the owner task. The task (`delivery/task`) owns the session and the wire.
//!
//! Locks are taken in the order registry, writers, closes, book, and the book is a leaf. Nothing waits
//! and nothing of the host's runs under any of them.

pub(crate) mod accept;
mod room;
pub(crate) mod settle;
pub(crate) mod spans;
pub(crate) mod telling;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};

use crate::delivery::buffer::book::{Book, Due};
use crate::delivery::buffer::budget::Budget;
use crate::delivery::buffer::flushes::{FlushKind, Ticket};
#[cfg(test)]
use crate::delivery::buffer::lifecycle::Step;
use crate::delivery::buffer::lifecycle::{End, Stop};
use crate::delivery::callbacks::{Callbacks, EndNotice, Listeners};
use crate::delivery::config::{Config, Opening};
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::{CloseResult, FlushReport, Outcome};
use crate::runtime::fork::{generation, made_in};
use crate::runtime::io::Runtime;
use crate::runtime::log_line::LogLevel;
use crate::runtime::pending::{Completer, Pending, pending, pending_or_unread};
use crate::runtime::threads::lock;
use crate::stats::Stats;
use crate::transport::endpoint::Endpoint;
use crate::transport::network;
use crate::transport::request::Transport;
use tokio::sync::Notify;

/// Any thread may call it; see `delivery/task` for what the I/O thread alone may do.
pub(crate) struct Engine {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) config: Arc<Config>,
    generation: u64,
    /// Itself, for callbacks that are called later.
    own: Weak<Engine>,
    runtime: Arc<Runtime>,
    book: Mutex<Book>,
    pub(super) room: Condvar,
    pub(crate) listeners: Listeners,
    /// Reasons already logged, as bits, where there is no `on_error`.
    pub(super) logged: AtomicU64,
    pub(crate) wake: Notify,
    /// `None` until one begins.
    closes: Mutex<Option<Box<Closes>>>,
    has_ended: AtomicBool,
    /// Those that deliver what other workers left, before this one.
    adopted: OnceLock<Box<[Arc<Engine>]>>,
    /// It is watched whether calls wait for room in vain.
    watches_room: AtomicBool,
    /// What is left in its outbox is dropped, and not kept.
    pub(super) discards: AtomicBool,
    /// Tells those who wait for the end.
    ended: Notify,
    /// While the reports of the producer's end are made: each of them takes it along.
    end_notice: Mutex<Option<Arc<EndNotice>>>,
    /// How many steps of the lifecycle the test's journal holds.
    #[cfg(test)]
    noted: Mutex<usize>,
}

/// Closes of the stream: the callers that wait, and the result.
#[derive(Default)]
pub(crate) struct Closes {
    pub(crate) result: Option<CloseResult>,
    pub(crate) waiters: Vec<Completer<CloseResult>>,
    /// The number of the holder that asked for it, of several that share the producer.
    pub(crate) by: u64,
    /// Receives the outcome of a request that only ends the stream.
    pub(super) end: Option<Completer<Outcome>>,
}

impl Engine {
    pub(crate) fn new(
        endpoint: Endpoint,
        config: Arc<Config>,
        callbacks: Option<Callbacks>,
        runtime: Arc<Runtime>,
        own: Weak<Engine>,
    ) -> Self {
        // What is on disk takes none of the memory that the producers of a process share.
        let budget = match &config.outbox {
            Some(_) => Arc::new(Budget::new(u64::MAX)),
            None => Budget::of_process().clone(),
        };
        let listeners = Listeners::default();
        callbacks.into_iter().for_each(|callbacks| listeners.add(0, callbacks));
        let is_opened = config.opening() != Opening::Create;
        let book = Book::new(config.bounds(), is_opened, budget);
        Engine {
            endpoint: Arc::new(endpoint),
            generation: made_in(),
            own,
            runtime,
            book: Mutex::new(book),
            room: Condvar::new(),
            listeners,
            logged: AtomicU64::new(0),
            wake: Notify::new(),
            closes: Mutex::default(),
            has_ended: AtomicBool::new(false),
            adopted: OnceLock::new(),
            watches_room: AtomicBool::new(false),
            discards: AtomicBool::new(false),
            ended: Notify::new(),
            end_notice: Mutex::default(),
            #[cfg(test)]
            noted: Mutex::default(),
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
        self.generation != generation()
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        let book = lock(&self.book);
        #[cfg(test)]
        self.note_steps(book.lifecycle.trace());
        book
    }

    /// Each step is taken under the lock, so the next caller that locks sees it.
    #[cfg(test)]
    fn note_steps(&self, trace: &[Step]) {
        let mut noted = lock(&self.noted);
        trace[*noted..].iter().for_each(|step| self.runtime.chance().note(|| format!("{step:?}")));
        *noted = trace.len();
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The transport of its requests.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        network::of(&self.runtime)
    }

    /// Waits for the outcome of a write.
    pub(crate) fn wait(self: &Arc<Self>, id: u64) -> Pending<Outcome> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let mut book = self.book();
        if let Some(known) = book.outcome(id).transpose() {
            return Pending::ready(known);
        }
        let (completer, waiting) = pending();
        let wakes = book.wait(id, completer);
        drop(book);
        if wakes {
            self.wake.notify_one();
        }
        self.hindering(waiting)
    }

    /// A wait whose time may run out: its error then names the failure that the producer is in.
    pub(crate) fn hindering<T>(self: &Arc<Self>, waiting: Pending<T>) -> Pending<T> {
        let engine = Arc::downgrade(self);
        waiting
            .hindered_by(move || engine.upgrade().filter(|engine| !engine.is_foreign())?.failing())
    }

    /// The failure that the producer is in.
    pub(crate) fn failing(&self) -> Option<Error> {
        let book = self.book();
        book.last_error().filter(|_| book.gauges.attempt > 0).cloned()
    }

    pub(crate) fn flush(self: &Arc<Self>) -> Pending<FlushReport> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let (waiting, due) = self.flush_in(&mut self.book());
        due.complete();
        self.wake.notify_one();
        waiting
    }

    /// A flush that begins under a lock that is held. The caller then completes what is due, and
    /// wakes the task.
    fn flush_in(self: &Arc<Self>, book: &mut Book) -> (Pending<FlushReport>, Due) {
        let engine = Arc::downgrade(self);
        let ticket = Arc::<Ticket>::default();
        let own = ticket.clone();
        let (completer, waiting) = pending_or_unread(move |_: Result<FlushReport>| {
            if let Some(engine) = engine.upgrade().filter(|engine| !engine.is_foreign()) {
                engine.book().take_back(&own);
            }
        });
        let due = book.flush(FlushKind::Report(ticket), self.behind_adopted(completer));
        (self.hindering(waiting), due)
    }

    /// Takes over those that deliver what workers left that died.
    pub(crate) fn adopt(&self, orphans: Box<[Arc<Engine>]>) {
        let epoch = self.book().gauges.epoch;
        for orphan in &orphans {
            let count = orphan.stats().pending;
            self.log(LogLevel::Info, epoch, || {
                format!("delivers {count} writes of {}, which has died", orphan.producer_id())
            });
        }
        let _ = self.adopted.set(orphans);
    }

    /// Those that are not done yet.
    fn adopted(&self) -> impl Iterator<Item = &Arc<Engine>> {
        self.adopted.get().into_iter().flatten().filter(|orphan| !orphan.has_ended())
    }

    /// What completes once everything that other workers left is settled, too.
    fn behind_adopted<T: Send + 'static>(&self, completer: Completer<T>) -> Completer<T> {
        let orphans: Vec<_> = self.adopted().cloned().collect();
        if orphans.is_empty() {
            return completer;
        }
        let (own, settled) = pending();
        self.runtime().spawn(async move {
            for orphan in orphans {
                orphan.settled().await;
            }
            completer.complete(settled.await);
        });
        own
    }

    /// Begins the end of the stream: no new writes until it succeeded or failed. The flush before
    /// it begins in the same moment, so that what is turned away from now on does not fail it.
    pub(crate) fn begin_close(self: &Arc<Self>, book: &mut Book) -> (Pending<FlushReport>, Due) {
        book.lifecycle.begin_close();
        if !self.config.awaited {
            return self.flush_in(book);
        }
        // Whoever waits for every write has heard of those that failed.
        let (completer, waiting) = pending();
        (waiting, book.flush(FlushKind::Rest, completer))
    }

    /// Takes no new writes, delivers the accepted ones, then ends by itself.
    pub(crate) fn begin_stop(&self) {
        self.ask(Stop::Drain);
    }

    /// Ends now: pending writes settle as cancelled or unknown.
    pub(crate) fn stop_now(&self) {
        self.ask(Stop::Now);
    }

    fn ask(&self, stop: Stop) {
        if self.is_foreign() {
            return;
        }
        self.adopted().for_each(|orphan| orphan.ask(stop));
        self.mark(stop);
        if self.has_ended() {
            drop(self.book().close_store()); // that of a fenced producer, which nobody starts over
        }
        self.announce();
        self.wake.notify_one();
    }

    /// Ends now, and drops what is in the outbox: how many writes that were.
    pub(crate) fn discard_outbox(self: &Arc<Self>) -> Pending<u64> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        if self.config.outbox.is_none() {
            let text = "there is no outbox: the producer was opened without `outbox_dir`";
            return Pending::ready(Err(Error::option("outbox_dir", text)));
        }
        // One that was fenced has ended, and waits with its outbox for what is decided.
        if self.has_ended() {
            let Some(mut store) = self.book().close_store() else {
                let text = "the producer has ended and its outbox is closed; open it again to drop \
                            what is left";
                return Pending::ready(Err(Error::new(ErrorKind::ProducerClosed, text)));
            };
            return Pending::ready(store.discard());
        }
        let adopted: Vec<_> = self.adopted().map(|orphan| orphan.discard_outbox()).collect();
        let before = self.stats();
        self.discards.store(true, Ordering::Release);
        self.stop_now();
        let engine = self.clone();
        self.runtime().run(async move {
            engine.ended().await;
            let after = engine.stats();
            let dropped = |stats: &Stats| stats.cancelled + stats.unknown;
            // It may have been fenced meanwhile, and have kept what it held.
            let store = engine.book().close_store();
            let mut left = store.map_or(Ok(0), |mut store| store.discard())?;
            for orphan in adopted {
                left += orphan.await?;
            }
            Ok(dropped(&after) - dropped(&before) + left)
        })
    }

    /// Takes no new writes, as [`begin_stop`](Self::begin_stop), but wakes nobody: the caller does
    /// that later.
    pub(crate) fn mark_stopping(&self) {
        self.mark(Stop::Drain);
    }

    fn mark(&self, stop: Stop) {
        self.step(|book| book.lifecycle.ask(stop));
    }

    /// The end of the task: nothing is settled or sent after it.
    pub(crate) fn set_ended(&self) {
        let outbox = self.step(|book| {
            book.lifecycle.task_over();
            book.gauges.in_flight = 0;
            // A fenced producer may start over; any other leaves its outbox to the next one, unless
            // somebody waits who drops what it kept.
            let may_restart =
                book.lifecycle.end() == Some(End::Fenced) && book.lifecycle.stop() == Stop::No;
            let is_awaited = may_restart || self.discards.load(Ordering::Acquire);
            if is_awaited { None } else { book.close_store() }
        });
        drop(outbox); // its files are closed without the lock
        self.announce();
        self.has_ended.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Takes no more writes from here on; returns the error that later calls get.
    pub(crate) fn accept_no_more(&self) -> Error {
        self.step(|book| {
            book.lifecycle.end_with(End::Stopped, Error::closed());
            book.lifecycle.error().cloned().unwrap_or_else(Error::closed)
        })
    }

    /// Whether writes are taken, now or once a close that is under way has failed.
    pub(crate) fn takes_writes(&self) -> bool {
        self.book().lifecycle.check_alive().is_ok()
    }

    /// Whether its task has ended and no other has started.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Takes no more writes, for a reason that no call asked for. What `reports` settles tells of
    /// it; once the callbacks have been called, calls raise.
    pub(crate) fn fail_with(self: &Arc<Self>, end: End, error: Error, reports: impl FnOnce()) {
        let engine = Arc::downgrade(self);
        *lock(&self.end_notice) = Some(EndNotice::new(move || {
            if let Some(engine) = engine.upgrade().filter(|engine| !engine.is_foreign()) {
                engine.book().lifecycle.end_told();
            }
        }));
        self.step(|book| book.fail(end, error));
        reports();
        let told = lock(&self.end_notice).take();
        drop(told); // not under the lock: it may be the last
    }

    pub(super) fn end_notice(&self) -> Option<Arc<EndNotice>> {
        lock(&self.end_notice).clone()
    }

    /// Whether the producer has ended by itself, and its callbacks do not know yet.
    pub(crate) fn is_end_untold(&self) -> bool {
        !self.is_foreign() && self.listeners.hear_failures() && {
            let book = self.book();
            book.lifecycle.is_end_untold()
        }
    }

    /// Another task is about to start.
    pub(crate) fn set_running(&self) {
        self.has_ended.store(false, Ordering::Release);
    }

    pub(crate) async fn ended(&self) {
        loop {
            // It counts from here on: an end after the look at the flag is not missed.
            let told = self.ended.notified();
            if self.has_ended() {
                return;
            }
            told.await;
        }
    }

    /// Waits until everything accepted so far is settled; consumes no flush report.
    pub(crate) async fn settled(&self) {
        let (completer, waiting) = pending();
        let due = self.book().flush(FlushKind::Watch, completer);
        due.complete();
        self.wake.notify_one();
        let _ = waiting.await;
    }

    /// A wait for everything accepted so far, and the id of the next write. It has no effect on
    /// what is sent, nor on the report of a flush.
    fn look_on(&self) -> (Pending<FlushReport>, u64) {
        let (completer, waiting) = pending();
        let (due, next) = {
            let mut book = self.book();
            (book.flush(FlushKind::Look, completer), book.next_id())
        };
        due.complete();
        (waiting, next)
    }

    /// Waits until everything accepted so far is settled, well or not, with no effect on flushes.
    pub(crate) fn when_all_settled(&self) -> Pending<()> {
        let (completer, waiting) = pending();
        self.look_on().0.on_complete(move |_| completer.complete(Ok(())));
        waiting
    }

    /// Reports to a holder everything accepted until now and nothing later. After the last of these
    /// reports its callbacks are forgotten, and the result is there.
    pub(crate) fn release_listener(self: &Arc<Self>, holder: u32) -> Pending<()> {
        let (settled, until) = self.look_on();
        let is_told = self.listeners.limit(holder, until);
        let (engine, (completer, released)) = (Arc::downgrade(self), pending());
        let forget = move |_: Result<FlushReport>| {
            if let Some(engine) = engine.upgrade() {
                engine.listeners.remove(holder);
            }
            completer.complete(Ok(())); // whatever the outcomes were
        };
        if is_told {
            settled.on_dispatcher(forget); // behind the reports that wait there
        } else {
            settled.on_complete(forget);
        }
        released
    }

    pub(crate) fn stats(&self) -> Stats {
        if self.is_foreign() { Stats::default() } else { self.book().stats() }
    }

    /// Waits until a close that is under way has ended, one way or the other.
    pub(crate) async fn closed(&self) {
        let (completer, waiting) = pending();
        {
            let mut closes = self.closes();
            if !self.book().lifecycle.is_closing() {
                return;
            }
            closes.get_or_insert_default().waiters.push(completer);
        }
        let _ = waiting.await;
    }

    pub(crate) fn closes(&self) -> MutexGuard<'_, Option<Box<Closes>>> {
        lock(&self.closes)
    }
}
