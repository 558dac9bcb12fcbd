//! [`IdempotentProducer`]: the exactly-once writer of bytes or JSON.

use std::sync::Arc;

use serde::Serialize;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::callbacks::Callbacks;
use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::{Checked, Full, WriteOptions, unserialisable};
use crate::delivery::handle::{Producer, Snapshot};
use crate::delivery::open::writers_of;
use crate::delivery::permit::{HasEngine, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::outcome::{CloseResult, FlushReport, Outcome, Receipt};
use crate::protocol::json;
use crate::runtime::pending::Pending;
use crate::stats::Stats;
use crate::stats::prometheus::Exposition;
use crate::stream::handle::DurableStream;

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
    /// The id stays the same over restarts: a new producer takes over from an older one of the same
    /// id. Everything the older one wrote stays, and nothing is written twice.
    ///
    /// # Errors
    /// `InvalidArgument`: the id or an option is wrong.
    pub fn open(stream: &DurableStream, producer_id: &str, options: Options) -> Result<Self> {
        Self::open_with(stream, producer_id, options, Callbacks::default())
    }

    /// Opens a producer with callbacks that report the outcome of every write; otherwise as
    /// [`open`](Self::open).
    pub fn open_with(
        stream: &DurableStream,
        producer_id: &str,
        options: Options,
        callbacks: Callbacks,
    ) -> Result<Self> {
        let target = stream.target();
        let mut config = target.producer_config(producer_id, &options)?;
        config.opened_at = target.take_tail();
        let endpoint = target.endpoint().with_own(&options)?;
        let live = writers_of(&endpoint.stream, &config.producer_id);
        let before = Engine::ending(&live, &endpoint);
        Ok(IdempotentProducer { engine: Engine::start(endpoint, config, Some(callbacks), before)? })
    }

    /// Accepts one message: one JSON value on a JSON stream, bytes on any other. Returns at
    /// once; the outcome comes with [`wait`](Self::wait), `flush` or the [`Callbacks`].
    ///
    /// Once another producer took over, or this one has failed, the receipt is a rejected one until
    /// `on_error` was told of that; from then on, and without `on_error`, it is an error.
    ///
    /// # Errors
    /// `Validation` (empty, or no JSON), `TooLarge`, `BufferFull`, `ProducerClosed`, `StaleEpoch`
    /// once fenced, or the error that the producer failed with.
    pub fn append(&self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        self.append_with(message, WriteOptions::default())
    }

    /// Accepts one message as [`append`](Self::append) does, and waits up to `max_block_ms` for
    /// room in a full buffer. Blocks the thread.
    pub fn blocking_append(&self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        self.append_with(message, WriteOptions::BLOCKING)
    }

    /// Accepts one message as [`append`](Self::append) does, with a tag or waiting for room, as
    /// `options` say.
    pub fn append_with(&self, message: impl AsRef<[u8]>, options: WriteOptions) -> Result<Receipt> {
        let message = message.as_ref();
        let checked = self.engine.check_message(message)?;
        self.receipt(self.engine.accept_message(message, checked, options))
    }

    /// Accepts messages as one group: they travel in one request, nothing else of this producer stands
    /// between them, and all of them are stored or none is. The receipt is that of the last one, and its
    /// outcome that of all; the others have the ids before it, without a gap. None where there are no
    /// messages.
    ///
    /// # Errors
    /// Those of [`append`](Self::append), for the first message that is refused; `TooLarge` also for a
    /// group that is larger than `max_write_bytes`, `max_batch_items` or the buffer. Nothing is accepted
    /// then.
    pub fn append_group<T: AsRef<[u8]>>(&self, messages: &[T]) -> Result<Option<Receipt>> {
        self.append_group_with(messages, WriteOptions::default())
    }

    /// Accepts messages as one group as [`append_group`](Self::append_group) does, each with the tag, or
    /// waiting for room, as `options` say.
    pub fn append_group_with<T: AsRef<[u8]>>(
        &self,
        messages: &[T],
        options: WriteOptions,
    ) -> Result<Option<Receipt>> {
        self.group(messages, options.tag, Full::of(options))
    }

    /// Accepts messages as one group as [`append_group`](Self::append_group) does if there is room for
    /// them now; else nothing happens, and [`ready`](Self::ready) waits for room.
    pub fn offer_group<T: AsRef<[u8]>>(&self, messages: &[T]) -> Option<Result<Option<Receipt>>> {
        match self.group(messages, 0, Full::Told) {
            Err(error) if error.kind() == ErrorKind::BufferFull => None,
            told => Some(told),
        }
    }

    fn group<T: AsRef<[u8]>>(
        &self,
        messages: &[T],
        tag: u64,
        full: Full,
    ) -> Result<Option<Receipt>> {
        self.engine.check_fork()?;
        let mut checked = Checked::Whole;
        for message in messages {
            checked = self.engine.check_message(message.as_ref())?;
        }
        if messages.is_empty() {
            return Ok(None);
        }
        let tag = Tag { number: tag, holder: 0 };
        let writes: Vec<_> = messages.iter().map(|message| (message.as_ref(), tag)).collect();
        let last = |first| first + writes.len() as u64 - 1;
        match self.engine.accept_group(&writes, checked, full) {
            Err(error) if full == Full::Told => Err(error),
            accepted => self.receipt(accepted.map(last)).map(Some),
        }
    }

    fn receipt(&self, accepted: Result<u64>) -> Result<Receipt> {
        match accepted {
            Ok(id) => Ok(Receipt::accepted(id)),
            Err(error) if self.engine.is_end_untold() => Ok(Receipt::refused(error)),
            Err(error) => Err(error),
        }
    }

    /// Accepts one message as [`append`](Self::append) does if there is room for it now; else nothing
    /// happens, and [`ready`](Self::ready) waits for room. It is what a permit and its write are, in
    /// one step.
    pub fn offer(&self, message: impl AsRef<[u8]>) -> Option<Result<Receipt>> {
        let message = message.as_ref();
        let accepted = match self.engine.check_message(message) {
            Ok(checked) => self.engine.accept_if_room(message, checked)?,
            Err(error) => return Some(Err(error)),
        };
        Some(self.receipt(accepted))
    }

    /// Accepts one message as [`append`](Self::append) does; an error becomes a rejected receipt.
    pub fn try_append(&self, message: impl AsRef<[u8]>) -> Receipt {
        self.append(message).unwrap_or_else(Receipt::refused)
    }

    /// Serialises a value as JSON and accepts it.
    pub fn append_json(&self, value: &impl Serialize) -> Result<Receipt> {
        self.engine.check_fork()?;
        let text = serde_json::to_vec(value).map_err(|error| self.refuse(&error.to_string()))?;
        self.append_serialised(&text)
    }

    /// Turns away a value that a serialiser outside the core could not write: error and accounting
    /// are those of [`append_json`](Self::append_json). In a forked child the error is `Forked`.
    pub fn refuse(&self, why: &str) -> Error {
        if let Err(forked) = self.engine.check_fork() {
            return forked;
        }
        self.engine.count_invalid();
        unserialisable(why).with_url(&self.engine.endpoint.shown)
    }

    /// Accepts one JSON value from a serialiser of a binding; the text is not checked again.
    #[doc(hidden)]
    pub fn append_serialised(&self, text: &[u8]) -> Result<Receipt> {
        debug_assert!(json::check_syntax(text).is_ok(), "a serialiser writes JSON");
        self.receipt(self.engine.accept_with(&[text], 0, WriteOptions::default()))
    }

    /// Accepts one JSON value from a serialiser of a binding as [`offer`](Self::offer) does; the text is
    /// not checked again.
    #[doc(hidden)]
    pub fn offer_serialised(&self, text: &[u8]) -> Option<Result<Receipt>> {
        debug_assert!(json::check_syntax(text).is_ok(), "a serialiser writes JSON");
        let accepted = self.engine.accept_if_room(text, Checked::Whole)?;
        Some(self.receipt(accepted))
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

    /// Waits until writes are taken at once: the buffer has room for the write that last found
    /// none, or for any other.
    ///
    /// # Errors
    /// The error that the producer ended with, if it has.
    pub fn ready(&self) -> Pending<()> {
        self.engine.ready()
    }

    /// Begins a fresh session, which may claim the id, once everything accepted so far is settled.
    /// It is the way back after another producer took over (`StaleEpoch`).
    ///
    /// # Errors
    /// `ProducerClosed`, or the error that the producer failed with.
    pub fn restart(&self) -> Pending<()> {
        self.engine.restart()
    }

    /// Flushes, then ends the *stream* for everybody, a last message in the same request
    /// (PROTOCOL.md 5.2.1). If another producer ended it, the result is `StreamClosed`.
    ///
    /// If the flush fails, the stream is not ended, and close may be called again. Repeats
    /// return the first result.
    pub fn close(&self, message: Option<&[u8]>) -> Pending<CloseResult> {
        let checked =
            message.map_or(Ok(()), |message| self.engine.check_message(message).map(drop));
        if let Err(error) = checked.and_then(|()| self.engine.check_fork()) {
            return Pending::ready(Err(error));
        }
        close(&self.engine, CloseWith::of(message))
    }

    /// Flushes and stops the producer without ending the stream. Reports as `flush` does.
    pub fn detach(&self) -> Pending<FlushReport> {
        let report = self.engine.flush();
        self.engine.begin_stop();
        report
    }

    /// Takes no more writes, delivers the accepted ones and ends by itself.
    pub fn begin_shutdown(&self) {
        self.engine.begin_stop();
    }

    /// Ends now: pending writes settle as `cancelled`, or as `delivery-unknown` if they were under
    /// way.
    pub fn stop(&self) {
        self.engine.stop_now();
    }

    /// Ends now and drops what its outbox holds: how many writes that were; see
    /// [`Producer::discard_outbox`].
    pub fn discard_outbox(&self) -> Pending<u64> {
        self.engine.discard_outbox()
    }

    /// The producer's state.
    pub fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// Counters and gauges, in one consistent snapshot.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The text for Prometheus about this producer; [`stats_prometheus`] is about all of the process.
    ///
    /// [`stats_prometheus`]: crate::stats_prometheus
    pub fn stats_prometheus(&self, format: Exposition) -> String {
        self.engine.prometheus(format)
    }

    /// The producer id as sent: with its suffix if `shared`.
    pub fn producer_id(&self) -> &str {
        self.engine.producer_id()
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> &str {
        self.engine.url()
    }
}

impl Permit<'_, IdempotentProducer> {
    /// Accepts one message as [`append`](IdempotentProducer::append) does, into the room that was
    /// reserved.
    pub fn submit(self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        let message = message.as_ref();
        let checked = self.producer.engine.check_message(message)?;
        self.put(message, checked)
    }

    /// Accepts one JSON value from a serialiser of a binding; the text is not checked again.
    #[doc(hidden)]
    pub fn submit_serialised(self, text: &[u8]) -> Result<Receipt> {
        debug_assert!(json::check_syntax(text).is_ok(), "a serialiser writes JSON");
        self.put(text, Checked::Whole)
    }

    fn put(mut self, message: &[u8], checked: Checked) -> Result<Receipt> {
        let accepted = self.accept(&[message], checked, Tag::default());
        self.producer.receipt(accepted)
    }
}

impl HasEngine for IdempotentProducer {
    fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

impl Producer for IdempotentProducer {
    fn begin_shutdown(&self) {
        self.begin_shutdown();
    }

    fn stop(&self) {
        self.stop();
    }

    fn discard_outbox(&self) -> Pending<u64> {
        self.discard_outbox()
    }

    fn restart(&self) -> Pending<()> {
        self.restart()
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
