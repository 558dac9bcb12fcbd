//! [`IdempotentProducer`]: the exactly-once writer of bytes or JSON.

use std::sync::Arc;

use serde::Serialize;

pub(crate) mod backoff;
pub(crate) mod batch;
mod book;
pub(crate) mod budget;
pub(crate) mod config;
mod ending;
pub(crate) mod engine;
pub(crate) mod look;
mod pacing;
mod queue;
mod receipts;
pub(crate) mod session;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use batch::OVERHEAD as WRITE_OVERHEAD;
pub use book::{FlushReport, ProducerState};
pub(crate) use ending::{Last, close};
pub use engine::{Callbacks, CloseResult, Delivery, DeliveryCallback, ErrorCallback, Failure};
pub use receipts::{Outcome, Reason, Status};

use crate::error::{Error, Issue, Result};
use crate::options::{Options, Scope};
use crate::pending::{Pending, pending};
use crate::protocol::json;
use crate::runtime::process;
use crate::stats::Stats;
use crate::stream::DurableStream;
use config::{Config, retries};
use ending::{close_by, is_closed};
use engine::Engine;

/// The longest `Stream-Seq`, as long as the longest producer id.
const MAX_STREAM_SEQ: usize = 256;

/// What a write returned: a number, or the reason it was turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    id: u64,
    refused: Option<Outcome>,
}

impl Receipt {
    pub(crate) fn accepted(id: u64) -> Self {
        Receipt { id, refused: None }
    }

    pub(crate) fn refused(error: Error) -> Self {
        let reason = error.reason().and_then(Reason::from_name).unwrap_or(Reason::ProducerFailed);
        Receipt { id: 0, refused: Some(Outcome::failed(Status::Rejected, reason, error)) }
    }

    /// The number of the write, from 1 in call order; 0 if it was not accepted.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the write was accepted; its outcome is then told by the producer's `wait`.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// The outcome of a write that was not accepted.
    pub fn refusal(&self) -> Option<&Outcome> {
        self.refused.as_ref()
    }
}

/// How a write is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// A number of the caller's that comes back in the [`Callbacks`], where the receipt may not be
    /// known yet; 0 is none. It counts 16 bytes against the buffer.
    pub tag: u64,
    /// Waits up to `max_block_ms` for room in a full buffer, which blocks the thread.
    pub block: bool,
}

impl WriteOptions {
    pub(crate) const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };
}

/// Where a producer stands, for a person or a dashboard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The lifecycle state.
    pub state: ProducerState,
    /// Failed attempts in a row; 0 when all is well.
    pub attempt: u32,
    /// Writes accepted and not settled.
    pub buffered_writes: u64,
    /// Bytes they reserve, overhead included.
    pub buffered_bytes: u64,
    /// The most recent failure, transient ones included.
    pub last_error: Option<Error>,
    /// The epoch in use (PROTOCOL.md 5.2.1).
    pub epoch: u64,
    /// The next sequence number in this epoch.
    pub next_seq: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// The stream's offset after the last acknowledged batch.
    pub last_offset: Option<Arc<str>>,
}

impl Snapshot {
    /// What a forked child sees of its parent's producer: its locks are not to be touched.
    fn foreign() -> Self {
        Snapshot {
            state: ProducerState::Stopped,
            attempt: 0,
            buffered_writes: 0,
            buffered_bytes: 0,
            last_error: None,
            epoch: 0,
            next_seq: 0,
            in_flight: 0,
            last_offset: None,
        }
    }
}

pub(crate) fn snapshot(engine: &Engine) -> Snapshot {
    if engine.is_foreign() {
        return Snapshot::foreign();
    }
    let book = engine.book();
    Snapshot {
        state: book.state,
        attempt: book.gauges.attempt,
        buffered_writes: book.stats.pending,
        buffered_bytes: book.reserved.bytes(),
        last_error: book.last_error.clone(),
        epoch: book.gauges.epoch,
        next_seq: book.gauges.next_seq,
        in_flight: book.gauges.in_flight,
        last_offset: book.gauges.last_offset.clone(),
    }
}

/// The outcome if it is `delivered`, else its error.
pub(crate) fn or_error(outcome: Pending<Outcome>) -> Pending<Outcome> {
    let (completer, result) = pending();
    outcome.on_complete(move |outcome| {
        completer.complete(outcome.and_then(|outcome| match outcome.error.clone() {
            Some(error) => Err(error),
            None => Ok(outcome),
        }));
    });
    result
}

/// Writes messages to a stream, each exactly once, in the order of the calls.
///
/// Messages gather while requests are under way and go out in batches under
/// `(Producer-Id, Producer-Epoch, Producer-Seq)` (PROTOCOL.md 5.2.1), repeated through failures
/// under the same tuple. Any thread may use it. Dropping it delivers what was accepted in the
/// background; use [`detach`](IdempotentProducer::detach) to know the end of it.
pub struct IdempotentProducer {
    engine: Arc<Engine>,
}

impl IdempotentProducer {
    /// Opens a producer on a stream. Sends nothing before the first write.
    ///
    /// The id stays the same over restarts: a new producer takes over from an older one of the
    /// same id, whatever that one had written stays, and nothing is written twice.
    ///
    /// # Errors
    /// `InvalidArgument`: the id or an option is wrong.
    pub fn open(stream: &DurableStream, producer_id: &str, options: Options) -> Result<Self> {
        Self::open_with(stream, producer_id, options, Callbacks::default())
    }

    /// The same, with callbacks that are told what becomes of every write.
    pub fn open_with(
        stream: &DurableStream,
        producer_id: &str,
        options: Options,
        callbacks: Callbacks,
    ) -> Result<Self> {
        let mut config = Self::config(stream, producer_id, &options)?;
        config.opened_at = stream.take_tail();
        let endpoint = stream.endpoint().with_own(&options)?;
        let live = process().writers_of(&endpoint.stream, &config.producer_id);
        let before = Engine::ending(&live, &endpoint);
        Ok(IdempotentProducer { engine: Engine::start(endpoint, config, Some(callbacks), before)? })
    }

    /// The writer of a handle, all of whose writes are waited for. It comes behind what another
    /// has accepted.
    pub(crate) fn open_awaited(
        stream: &DurableStream,
        producer_id: &str,
        behind: Option<&Self>,
    ) -> Result<Self> {
        let mut config = Self::config(stream, producer_id, &Options::new())?;
        (config.awaited, config.opened_at) = (true, stream.take_tail());
        let endpoint = stream.endpoint().clone();
        let before = behind.map(|other| other.engine.clone());
        Ok(IdempotentProducer { engine: Engine::start(endpoint, config, None, before)? })
    }

    fn config(stream: &DurableStream, producer_id: &str, options: &Options) -> Result<Config> {
        let options = options.clone().or_limits_of(stream.limits());
        let mut config =
            Config::new(Scope::Producer, &options, producer_id, stream.content_type())?;
        config.retries.max_retries = retries(stream.limits()).max_retries; // for `close`
        Ok(config)
    }

    /// Refuses a plain append that no server would take, with its `Stream-Seq` if it has one.
    pub(crate) fn check_append(&self, message: &[u8], seq: Option<&str>) -> Result<()> {
        check_seq(seq)?;
        self.check(message)?;
        self.engine.check_size(&[message], seq.map_or(0, str::len)).map(drop)
    }

    /// Refuses a last message that no server would take, and a handle that came through `fork`.
    pub(crate) fn check_close(&self, message: Option<&[u8]>) -> Result<()> {
        match message {
            Some(message) => self.check_append(message, None),
            None => self.engine.check_fork(),
        }
    }

    /// Appends a message whose outcome is waited for, with a `Stream-Seq` if there is one.
    pub(crate) fn append_awaited(
        &self,
        message: &[u8],
        seq: Option<&str>,
    ) -> Result<Pending<Outcome>> {
        self.check_append(message, seq)?;
        if let Some(end) = self.engine.closes().result.clone() {
            return Err(is_closed(&self.engine, end));
        }
        self.engine.accept_awaited(message, seq)
    }

    /// Accepts one message: one JSON value on a JSON stream, bytes on any other. Returns at
    /// once; the outcome comes with [`wait`](Self::wait), `flush` or the [`Callbacks`].
    ///
    /// # Errors
    /// `Validation` (empty, or no JSON), `TooLarge`, `BufferFull`, `ProducerClosed`,
    /// `StaleEpoch` once fenced, or what the producer failed with.
    pub fn append(&self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        self.append_with(message, WriteOptions::default())
    }

    /// The same, waiting up to `max_block_ms` for room in a full buffer. Blocks the thread.
    pub fn blocking_append(&self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        self.append_with(message, WriteOptions::BLOCKING)
    }

    /// The same, with a tag or waiting, as `options` say.
    pub fn append_with(&self, message: impl AsRef<[u8]>, options: WriteOptions) -> Result<Receipt> {
        let message = message.as_ref();
        self.check(message)?;
        self.engine.accept_with(&[message], 0, options).map(Receipt::accepted)
    }

    /// The same as [`append`](Self::append); what would be an error is a rejected receipt.
    pub fn try_append(&self, message: impl AsRef<[u8]>) -> Receipt {
        self.append(message).unwrap_or_else(Receipt::refused)
    }

    /// Serialises a value as JSON and accepts it.
    pub fn append_json(&self, value: &impl Serialize) -> Result<Receipt> {
        self.engine.check_fork()?;
        let text = serde_json::to_vec(value).map_err(|error| {
            self.engine.count_invalid();
            unserialisable(&error.to_string()).with_url(&self.engine.endpoint.shown)
        })?;
        self.append_serialised(&text)
    }

    /// Accepts one JSON value as a serialiser has just written it, which is not checked again. For
    /// the bindings, which have serialisers of their own.
    #[doc(hidden)]
    pub fn append_serialised(&self, text: &[u8]) -> Result<Receipt> {
        debug_assert!(json::check(text).is_ok(), "a serialiser writes JSON");
        self.engine.accept_with(&[text], 0, WriteOptions::default()).map(Receipt::accepted)
    }

    #[cfg(all(test, unix))]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether it came through `fork`: its locks are not to be touched.
    pub(crate) fn is_foreign(&self) -> bool {
        self.engine.is_foreign()
    }

    /// Whether it takes writes: it has not failed, and nobody ended it.
    pub(crate) fn takes_writes(&self) -> bool {
        self.engine.takes_writes()
    }

    /// Whether there is nothing to wait for before a write of so many bytes; if there is, `ready`
    /// waits for it. For the bindings that wait for room themselves.
    #[doc(hidden)]
    pub fn finds_room(&self, size: usize) -> bool {
        self.engine.finds_room(size)
    }

    /// Whether a handle, by its number, may write with it: no other ends the stream through it.
    pub(crate) fn is_open_to(&self, handle: u64) -> bool {
        let closes = self.engine.closes();
        closes.by == handle || (closes.result.is_none() && !self.engine.book().closing)
    }

    /// Whether the server has acknowledged anything of it: then it is not one too many.
    pub(crate) fn is_known(&self) -> bool {
        self.engine.book().stats.delivered > 0
    }

    /// Whether it was told to take no more writes, as the library's end tells everybody.
    pub(crate) fn is_stopping(&self) -> bool {
        self.engine.book().stop != book::Stop::No
    }

    /// Whether it was told to end now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.engine.book().stop == book::Stop::Now
    }

    /// Whether it failed because the server takes no further producers.
    pub(crate) fn is_one_too_many(&self) -> bool {
        if self.engine.is_foreign() {
            return false;
        }
        let book = self.engine.book();
        let reason = book.terminal.as_ref().and_then(Error::reason);
        reason == Some(Reason::ProducerLimit.as_str())
    }

    pub(crate) fn check(&self, message: &[u8]) -> Result<()> {
        self.engine.check_fork()?;
        let wrong = if message.is_empty() {
            Some("the message is empty".to_owned())
        } else if self.engine.config.json {
            let wrong = json::check(message).err();
            wrong.map(|e| format!("the message is not one JSON value: {e}"))
        } else {
            None
        };
        let Some(text) = wrong else { return Ok(()) };
        self.engine.count_invalid();
        Err(invalid("invalid-value", text).with_url(&self.engine.endpoint.shown))
    }

    /// Waits for the outcome of an accepted write.
    ///
    /// # Errors
    /// `InvalidArgument` for an id this producer never gave out.
    pub fn wait(&self, id: u64) -> Pending<Outcome> {
        self.engine.wait(id)
    }

    /// Waits until everything accepted before this call is settled, not for later writes.
    ///
    /// # Errors
    /// `Delivery` with counts and first cause, if any call since the last flush ended
    /// undelivered. Giving up the wait cancels nothing and consumes nothing.
    pub fn flush(&self) -> Pending<FlushReport> {
        self.engine.flush()
    }

    /// Waits until writes are taken at once: there is room in the buffer for the one that last
    /// found none, or for any other.
    ///
    /// # Errors
    /// What the producer ended with, if it did.
    pub fn ready(&self) -> Pending<()> {
        self.engine.ready()
    }

    /// Begins a fresh session, which may claim the id, once everything accepted so far is
    /// settled: the way back after another producer took over (`StaleEpoch`).
    ///
    /// # Errors
    /// `ProducerClosed`, or what the producer failed with.
    pub fn restart(&self) -> Pending<()> {
        self.engine.restart()
    }

    /// Flushes, then ends the *stream* for everybody, a last message in the same request
    /// (PROTOCOL.md 5.2.1). A stream that somebody else ended is `StreamClosed`.
    ///
    /// If the flush fails, the stream is not ended, and close may be called again. Repeats
    /// return the first result.
    pub fn close(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        let checked = message.map_or(Ok(()), |message| self.check(message));
        if let Err(error) = checked.and_then(|()| self.engine.check_fork()) {
            return Pending::ready(Err(error));
        }
        close(&self.engine, Last::of(message))
    }

    /// The same for a handle, by its number: without a message the request carries no identity.
    pub(crate) fn close_plainly(&self, message: Option<&[u8]>, by: u64) -> Pending<CloseResult> {
        let checked = message.map_or(Ok(()), |message| self.check(message));
        if let Err(error) = checked.and_then(|()| self.engine.check_fork()) {
            return Pending::ready(Err(error));
        }
        let last = message.map_or(Last::Anybodys, |message| Last::Message(message.to_vec()));
        close_by(by, &self.engine, last)
    }

    /// Flushes and lets go without ending the stream. Reports as `flush` does.
    pub fn detach(&self) -> Pending<FlushReport> {
        let report = self.engine.flush();
        self.engine.begin_stop();
        report
    }

    /// Takes no more writes, delivers the accepted ones and ends by itself.
    pub fn begin_shutdown(&self) {
        self.engine.begin_stop();
    }

    /// Ends now: pending writes settle as `cancelled`, or `delivery-unknown` where they were
    /// under way.
    pub fn stop(&self) {
        self.engine.stop_now();
    }

    /// Where the producer stands.
    pub fn snapshot(&self) -> Snapshot {
        snapshot(&self.engine)
    }

    /// Counters and gauges, in one consistent snapshot.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The id as it goes on the wire: with its suffix if `shared`.
    pub fn producer_id(&self) -> &str {
        &self.engine.config.producer_id
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> &str {
        &self.engine.endpoint.shown
    }
}

impl Drop for IdempotentProducer {
    fn drop(&mut self) {
        self.engine.begin_stop();
    }
}

impl std::fmt::Debug for IdempotentProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdempotentProducer({} on {})", self.producer_id(), self.url())
    }
}

/// Refuses a `Stream-Seq` that is none.
pub(crate) fn check_seq(seq: Option<&str>) -> Result<()> {
    let is_one = |seq: &str| {
        (1..=MAX_STREAM_SEQ).contains(&seq.len()) && seq.bytes().all(|b| b.is_ascii_graphic())
    };
    if seq.is_none_or(is_one) {
        return Ok(());
    }
    let text = format!("`seq` takes 1 to {MAX_STREAM_SEQ} visible ASCII characters");
    Err(Error::option("seq", text))
}

/// The error of a value that could not be serialised.
pub(crate) fn unserialisable(why: &str) -> Error {
    invalid("serialization-failed", why.to_owned())
}

fn invalid(reason: &'static str, text: String) -> Error {
    let issue = Issue { path: String::new(), message: text.clone() };
    Error::validation(reason, "", None, vec![issue], text)
}
