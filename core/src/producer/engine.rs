//! The shared half of a producer: accepts writes under a short lock, settles them, and wakes
//! the owner task. The task ([`super::task`]) owns the session and the wire.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::batch::{Batch, OVERHEAD};
use super::book::{Book, Due, FlushReport, ProducerState, Stop, Wants};
use super::config::Config;
use super::receipts::{Outcome, Reason, Status};
use super::task::Task;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::pending::{Completer, Pending, pending};
use crate::runtime::{self, Runtime};
use crate::stats::Stats;

/// A write that was not delivered, as `on_error` receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The write's receipt id; 0 for failures that are not about one write.
    pub id: u64,
    /// Its bytes as they would have gone out, without framing.
    pub payload: Bytes,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub error: Error,
}

/// Receives every write that was not delivered, on the library's dispatcher thread.
pub type ErrorCallback = Arc<dyn Fn(Failure) + Send + Sync>;

/// A callback and the number of the holder it belongs to.
type Holder = (u64, ErrorCallback);

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
    callbacks: Mutex<Vec<Holder>>,
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
    /// Told the outcome of a request that only ends the stream.
    end: Option<Completer<Outcome>>,
}

impl Engine {
    /// Starts a producer. `after` is one whose end the first request has to wait for.
    pub(crate) fn start(
        endpoint: Endpoint,
        config: Config,
        on_error: Option<ErrorCallback>,
        after: Option<Arc<Engine>>,
    ) -> Result<Arc<Self>> {
        let process = runtime::process();
        let engine = Self::start_on(process.runtime()?, endpoint, config, on_error, after);
        process.register(&engine);
        Ok(engine)
    }

    /// The same on a given runtime.
    pub(crate) fn start_on(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        on_error: Option<ErrorCallback>,
        after: Option<Arc<Engine>>,
    ) -> Arc<Self> {
        let (engine, task) = Self::with_task(runtime.clone(), endpoint, config, on_error, after);
        runtime.spawn(task.run());
        engine
    }

    /// An engine and its owner task, not running yet.
    pub(super) fn with_task(
        runtime: Arc<Runtime>,
        endpoint: Endpoint,
        config: Config,
        on_error: Option<ErrorCallback>,
        after: Option<Arc<Engine>>,
    ) -> (Arc<Self>, Task) {
        let engine = Arc::new(Engine::new(endpoint, config, on_error, runtime.clone()));
        let task = Task::new(engine.clone(), runtime.transport.clone(), after);
        (engine, task)
    }

    fn new(
        endpoint: Endpoint,
        config: Config,
        on_error: Option<ErrorCallback>,
        runtime: Arc<Runtime>,
    ) -> Self {
        let share = config.max_batch_bytes as u64;
        let budget = runtime::process().budget.clone();
        let book = Book::new(config.json, config.create.is_none(), share, budget);
        Engine {
            endpoint: Arc::new(endpoint),
            generation: runtime::generation(),
            runtime,
            book: Mutex::new(book),
            room: Condvar::new(),
            callbacks: Mutex::new(on_error.into_iter().map(|callback| (0, callback)).collect()),
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
            return Err(Error::new(
                ErrorKind::Forked,
                "this producer was opened before fork; open another one in the child",
            ));
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

    /// Accepts one write, given in parts, or says why not.
    pub(crate) fn accept(&self, parts: &[&[u8]]) -> Result<u64> {
        let size = self.check_size(parts)?;
        let mut book = self.book();
        self.check_open(&mut book)?;
        self.reserve(&mut book, size)?;
        Ok(self.push(book, parts, size))
    }

    /// Accepts one write whose outcome the caller waits for; with a `Stream-Seq` it travels alone.
    pub(crate) fn accept_awaited(
        &self,
        message: &[u8],
        seq: Option<&str>,
    ) -> Result<Pending<Outcome>> {
        let size = self.check_size(&[message])?;
        let (completer, waiting) = pending();
        let mut book = self.book();
        self.check_open(&mut book)?;
        self.reserve(&mut book, size + seq.map_or(0, str::len))?;
        if seq.is_some() {
            book.seal();
        }
        // Waited for before the lock is let go: what settles sooner is remembered by status only.
        let id = book.next_id;
        book.ledger.wait(id, completer);
        match seq {
            None => drop(self.push(book, &[message], size)),
            Some(seq) => {
                self.put(&mut book, &[message], size);
                book.seal();
                if let Some(batch) = book.queue.last() {
                    batch.stream_seq = Some(seq.into());
                }
                drop(book);
                self.wake.notify_one();
            }
        }
        Ok(waiting)
    }

    /// The same as [`accept`](Self::accept), waiting up to `max_block_ms` for room.
    pub(crate) fn accept_blocking(&self, parts: &[&[u8]]) -> Result<u64> {
        let size = self.check_size(parts)?;
        let deadline = std::time::Instant::now() + self.config.max_block;
        let mut book = self.book();
        loop {
            self.check_open(&mut book)?;
            if self.try_reserve(&mut book, size).is_ok() {
                return Ok(self.push(book, parts, size));
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || runtime::on_own_thread() {
                break;
            }
            book = match self.room.wait_timeout(book, left) {
                Ok((book, _)) => book,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        self.reserve(&mut book, size)?;
        Ok(self.push(book, parts, size))
    }

    fn check_size(&self, parts: &[&[u8]]) -> Result<usize> {
        self.check_fork()?;
        let size = parts.iter().map(|part| part.len()).sum();
        let largest = self.config.max_write_bytes.min(
            (self.config.max_buffer_bytes - OVERHEAD.min(self.config.max_buffer_bytes)) as usize,
        );
        if size > largest {
            let text = format!("a write of {size} bytes is larger than the {largest} allowed");
            let error = Error::new(ErrorKind::TooLarge, text);
            let mut book = self.book();
            let error = self.refuse(&mut book, error, Reason::TooLarge);
            book.count_failure(1, &error);
            return Err(error);
        }
        Ok(size)
    }

    fn check_open(&self, book: &mut Book) -> Result<()> {
        let stopping = book.stop != Stop::No || book.closing;
        let (error, reason) = match (&book.terminal, book.state) {
            (Some(error), ProducerState::Stopped) => (error.clone(), Reason::ProducerStopped),
            (Some(error), _) => (error.clone(), Reason::ProducerFailed),
            (None, _) if stopping => (Error::closed(), Reason::ProducerStopping),
            (None, _) => return Ok(()),
        };
        let error = self.refuse(book, error, reason);
        // A call that comes during a close knows from its error; the close must not fail of it.
        if !book.closing {
            book.count_failure(1, &error);
        }
        Err(error)
    }

    /// Whether this producer's own bounds have room.
    fn fits(&self, book: &Book, cost: u64) -> Result<(), Reason> {
        let config = &self.config;
        if config.max_buffer_items > 0 && book.stats.pending >= config.max_buffer_items {
            return Err(Reason::BufferCountExceeded);
        }
        if book.reserved.bytes() + cost > config.max_buffer_bytes {
            return Err(Reason::BufferBytesExceeded);
        }
        Ok(())
    }

    fn try_reserve(&self, book: &mut Book, size: usize) -> Result<(), Reason> {
        let cost = size as u64 + OVERHEAD;
        self.fits(book, cost)?;
        if book.reserve(cost) { Ok(()) } else { Err(Reason::BufferBytesExceeded) }
    }

    fn reserve(&self, book: &mut Book, size: usize) -> Result<()> {
        let Err(reason) = self.try_reserve(book, size) else { return Ok(()) };
        book.wanted = size;
        let text = match reason {
            Reason::BufferCountExceeded => {
                format!("the buffer is full: {} writes are pending", book.stats.pending)
            }
            _ if self.fits(book, size as u64 + OVERHEAD).is_ok() => {
                "the buffers of this process are full, other producers' included".to_owned()
            }
            _ => format!("the buffer is full: {} bytes are pending", book.reserved.bytes()),
        };
        let error = self.refuse(book, Error::new(ErrorKind::BufferFull, text), reason);
        book.count_failure(1, &error);
        Err(error)
    }

    fn refuse(&self, book: &mut Book, error: Error, reason: Reason) -> Error {
        book.stats.refused += 1;
        error.with_reason(reason.as_str()).with_url(&self.endpoint.shown)
    }

    /// Accepts the stream's last message, to be sent alone and with the end of the stream.
    pub(crate) fn accept_last(&self, message: &[u8]) -> Result<u64> {
        self.check_size(&[message])?;
        let mut book = self.book();
        if let Some(error) = &book.terminal {
            return Err(error.clone());
        }
        book.seal();
        book.reserve_anyway(message.len() as u64 + OVERHEAD);
        let id = self.put(&mut book, &[message], message.len());
        book.seal();
        book.queue.close_with_last();
        drop(book);
        self.wake.notify_one();
        Ok(id)
    }

    /// Sends the end of the stream alone, under a tuple as every write.
    pub(crate) fn end(&self) -> Result<Pending<Outcome>> {
        let (completer, ended) = pending();
        let mut closes = self.closes();
        let mut book = self.book();
        if let Some(error) = &book.terminal {
            return Err(error.clone());
        }
        closes.end = Some(completer);
        book.seal();
        let end = Batch::end(self.config.json, book.next_id);
        book.queue.push_back(end);
        book.queue.close_with_last();
        drop((book, closes));
        self.wake.notify_one();
        Ok(ended)
    }

    /// Counts a call that was turned away for its value: a skip, which flush does not report.
    pub(crate) fn count_invalid(&self) {
        if !self.is_foreign() {
            self.book().stats.refused_invalid += 1;
        }
    }

    fn push(&self, mut book: MutexGuard<'_, Book>, parts: &[&[u8]], size: usize) -> u64 {
        let id = self.put(&mut book, parts, size);
        let full = book.open.bytes() >= self.config.max_batch_bytes
            || book.open.items() >= self.config.max_batch_items;
        if full {
            book.seal();
        }
        let worth = match book.wants {
            Wants::Nothing => false,
            Wants::Data => true,
            Wants::FullBatch => !book.queue.is_empty(),
        };
        if worth {
            book.wants = Wants::Nothing;
        }
        drop(book);
        if worth {
            self.wake.notify_one();
        }
        id
    }

    /// Copies a write into the open batch, whose predecessor is sealed if it does not fit.
    fn put(&self, book: &mut Book, parts: &[&[u8]], size: usize) -> u64 {
        if book.open.bytes() + size + 2 > self.config.max_batch_bytes {
            book.seal();
        }
        if book.open.is_empty() {
            book.queue.open_since = Some(Instant::now());
        }
        if size >= book.wanted {
            book.wanted = 0;
        }
        let id = book.next_id;
        book.next_id += 1;
        book.open.push(id, parts);
        book.stats.accepted += 1;
        book.stats.pending += 1;
        id
    }

    /// Settles a batch and tells everyone who waits for it.
    pub(crate) fn settle(self: &Arc<Self>, batch: &Batch, outcome: Outcome, room: Room) {
        if batch.is_end() {
            let end = self.closes().end.take();
            end.into_iter().for_each(|completer| completer.complete(Ok(outcome.clone())));
            return;
        }
        let failed = outcome.error.clone().filter(|_| !outcome.is_delivered());
        let callbacks = match &failed {
            Some(_) => runtime::lock(&self.callbacks).clone(),
            None => Vec::new(),
        };
        let release = room == Room::Released && callbacks.is_empty();
        let due = self.book().settle(batch, outcome.clone(), release);
        self.announce();
        if let Some(error) = failed {
            if callbacks.is_empty() {
                if !self.config.awaited {
                    self.log_once(&outcome, &error, batch.writes);
                }
            } else {
                self.report(callbacks, batch, outcome, error, room);
            }
        }
        due.complete();
    }

    fn report(
        self: &Arc<Self>,
        callbacks: Vec<Holder>,
        batch: &Batch,
        outcome: Outcome,
        error: Error,
        room: Room,
    ) {
        let (engine, batch) = (self.clone(), batch.clone());
        self.runtime.dispatch(move || {
            for (id, payload) in batch.payloads() {
                for (_, callback) in &callbacks {
                    let (outcome, error) = (outcome.clone(), error.clone());
                    let failure = Failure { id, payload: payload.clone(), outcome, error };
                    // One that panics takes the others' reports from nobody.
                    runtime::guarded(|| callback(failure));
                }
            }
            // The bytes stayed reserved until the host has seen them.
            if room == Room::Released {
                engine.release(batch.cost());
            }
        });
    }

    /// Adds a holder's callback; every failure is told to all of them.
    pub(crate) fn add_callback(&self, holder: u64, callback: ErrorCallback) {
        runtime::lock(&self.callbacks).push((holder, callback));
    }

    /// Forgets the callback of a holder that left while others stay.
    pub(crate) fn remove_callback(&self, holder: u64) {
        runtime::lock(&self.callbacks).retain(|(known, _)| *known != holder);
    }

    /// Says the first failure of each reason, where there is no callback to say it to.
    fn log_once(&self, outcome: &Outcome, error: &Error, writes: u64) {
        let bit = 1u64 << outcome.reason.map_or(0, |reason| reason as u32).min(63);
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let (status, id) = (outcome.status.as_str(), &self.config.producer_id);
            let writes = if writes == 1 { "a write was" } else { &format!("{writes} writes were") };
            crate::log::warn(&format!("producer {id}: {writes} {status}: {error}"));
        }
    }

    /// The same for a write that was turned away with a receipt, which is easily overlooked.
    pub(crate) fn log_refusal(&self, outcome: &Outcome) {
        if let (Some(error), true) = (&outcome.error, runtime::lock(&self.callbacks).is_empty()) {
            self.log_once(outcome, error, 1);
        }
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
        waiting
    }

    /// Waits until a write that found no room, or any other, would be taken.
    pub(crate) fn ready(&self) -> Pending<()> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let (completer, waiting) = pending();
        {
            let mut book = self.book();
            book.ready.retain(|waiter| !waiter.is_abandoned());
            book.ready.push(completer);
        }
        self.announce();
        waiting
    }

    /// Tells who waits for room that there may be some, or never will be.
    pub(crate) fn announce(&self) {
        self.announce_own();
        let process = runtime::process();
        if process.budget.was_starving() {
            process.live_engines().iter().for_each(|engine| engine.announce_own());
        }
    }

    fn announce_own(&self) {
        // Whoever found no room under the lock sleeps by the time it can be taken.
        drop(self.book());
        self.room.notify_all();
        let (waiters, result) = {
            let mut book = self.book();
            if book.ready.is_empty() {
                return;
            }
            let result = match &book.terminal {
                Some(error) => Err(error.clone()),
                None if book.stop != Stop::No => Err(Error::closed()),
                None if book.opened && self.has_room(&book) => Ok(()),
                None => return,
            };
            (std::mem::take(&mut book.ready), result)
        };
        waiters.into_iter().for_each(|waiter| waiter.complete(result.clone()));
    }

    fn has_room(&self, book: &Book) -> bool {
        let cost = book.wanted as u64 + OVERHEAD;
        self.fits(book, cost).is_ok() && book.could_reserve(cost)
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
        {
            let mut book = self.book();
            if book.stop != Stop::No || book.closing {
                return Err(Error::closed());
            }
            if book.state != ProducerState::Fenced {
                return Ok(());
            }
            book.reopen();
            let _ = self.ended.send_replace(false);
        }
        let task = Task::resumed(self.clone(), self.runtime.transport.clone());
        self.runtime.spawn(task.run());
        Ok(())
    }

    pub(crate) fn flush(&self) -> Pending<FlushReport> {
        if let Err(error) = self.check_fork() {
            return Pending::ready(Err(error));
        }
        let (completer, waiting) = pending();
        let due: Due = self.book().flush(completer);
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
        let mut book = self.book();
        if stop > book.stop {
            book.stop = stop;
        }
        book.set_state(ProducerState::Stopping);
        drop(book);
        self.announce();
        self.wake.notify_one();
    }

    /// The end of the task: nothing is settled or sent after it.
    pub(crate) fn set_ended(&self) {
        self.book().set_state(ProducerState::Stopped);
        self.announce();
        let _ = self.ended.send_replace(true);
    }

    /// Takes no more writes from here on; why.
    pub(crate) fn close_books(&self) -> Error {
        let mut book = self.book();
        book.terminal.get_or_insert_with(Error::closed).clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
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
        let (status, error) = Self::doubt(unsure, status, error);
        self.settle(batch, Outcome::failed(status, reason, error), Room::Released);
    }

    /// Gives room back to writers.
    pub(crate) fn release(&self, cost: u64) {
        self.book().release(cost);
        self.announce();
    }
}
