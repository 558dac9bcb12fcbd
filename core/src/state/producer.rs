//! [`StateProducer`]: the exactly-once writer of entity state.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::callbacks::Callbacks;
use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::WriteOptions;
use crate::delivery::handle::{Producer, Snapshot};
use crate::delivery::permit::{HasEngine, Permit};
use crate::error::{self, Error, ErrorKind, Issue, Result};
use crate::options::Options;
use crate::outcome::{CloseResult, FlushReport, Outcome, Receipt};
use crate::protocol::answer::check_offset;
use crate::reason::Reason;
use crate::runtime::pending::{Pending, pending};
use crate::state::collection::{CollectionRef, Takes};
use crate::state::event::{self, Control, EventOptions, Operation};
use crate::state::registry::{Entry, Opened, Registry, Schema};
use crate::state::schema::{Compiled, StreamSchema, invalid, shown};
use crate::stats::Stats;
use crate::stats::prometheus::Exposition;

/// Opens the writer of entity state for a stream, or returns another holder of the open one: there
/// is one per stream in a process.
///
/// Sends nothing itself; the stream is created or checked in the background before the first
/// batch, so a producer may start before its server does.
///
/// # Errors
/// `InvalidArgument`: an option or the schema is wrong, no server is configured, or the open
/// producer of this stream has other options or another schema.
pub fn create_durable_stream(options: Options, schema: StreamSchema) -> Result<StateProducer> {
    create_durable_stream_with(options, schema, Callbacks::default())
}

/// Opens the writer of entity state with callbacks that report the outcome of every accepted write;
/// otherwise as [`create_durable_stream`]. Each holder has its own callbacks, and all of them are
/// called; only the holder that wrote with a tag is told the tag. Validators that are functions
/// belong to their holder, too.
pub fn create_durable_stream_with(
    options: Options,
    schema: StreamSchema,
    callbacks: Callbacks,
) -> Result<StateProducer> {
    schema.check()?;
    let Opened { entry, holder, schema } = Registry::of_process().open(options, schema)?;
    entry.engine.listen(holder, callbacks);
    Ok(StateProducer { entry, holder, schema, is_released: AtomicBool::new(false) })
}

/// Publishes the state of entities to one stream, each change exactly once, in call order.
///
/// Any thread may use it. Each open is a holder; letting the last holder go drains the producer in
/// the background. The callbacks of a holder that is dropped while others stay are called no more;
/// see [`release`](StateProducer::release).
pub struct StateProducer {
    pub(super) entry: Arc<Entry>,
    /// The number of this holder.
    pub(super) holder: u32,
    schema: Arc<Schema>,
    is_released: AtomicBool,
}

impl StateProducer {
    /// Publishes an entity's whole new state. Returns at once.
    ///
    /// A write that cannot be accepted gets a rejected receipt (unknown collection
    /// `invalid-entity`, missing primary key `invalid-key`, refused by the schema `invalid-value`,
    /// a full buffer, ...): nothing is sent.
    ///
    /// # Errors
    /// `Forked`; with `strict`, every refusal.
    pub fn upsert<C, T>(&self, collection: &C, value: &T) -> Result<Receipt>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Upsert, collection, value, EventOptions::default())
    }

    /// Publishes an entity that is new; otherwise as [`upsert`](Self::upsert). Whether it is new is the
    /// caller's word.
    pub fn insert<C, T>(&self, collection: &C, value: &T) -> Result<Receipt>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Insert, collection, value, EventOptions::default())
    }

    /// Publishes the whole new state of an entity that is there; otherwise as
    /// [`upsert`](Self::upsert). Whether it is there is the caller's word.
    pub fn update<C, T>(&self, collection: &C, value: &T) -> Result<Receipt>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Update, collection, value, EventOptions::default())
    }

    /// Publishes a change of an entity with what `options` say, as
    /// [`change_json_with`](Self::change_json_with) does. To delete, the value is an entity, which is taken
    /// by its primary key.
    ///
    /// # Errors
    /// `Forked`; with `strict`, every refusal.
    pub fn change<'a, C, T>(
        &self,
        operation: Operation,
        collection: &C,
        value: &T,
        options: impl Into<EventOptions<'a>>,
    ) -> Result<Receipt>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        let name = match self.name_of(collection) {
            Ok(name) => name,
            Err(error) => return self.write(self.check_held().and(Err(error))),
        };
        match serde_json::to_vec(value) {
            Ok(text) => self.change_json_with(operation, name, &text, options),
            Err(error) => self.refuse(name, Reason::SerializationFailed, None, unwritten(&error)),
        }
    }

    /// Publishes entities' whole new states in order, each as [`upsert`](Self::upsert) does; their
    /// receipts. With `strict`, the entities behind a refused one are not written.
    ///
    /// # Errors
    /// `Forked`; with `strict`, the first refusal.
    pub fn upsert_many<C, T>(
        &self,
        collection: &C,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Receipt>>
    where
        C: Takes<T> + ?Sized,
        T: Serialize,
    {
        values.into_iter().map(|value| self.upsert(collection, &value)).collect()
    }

    /// Publishes an entity's whole new state as [`upsert`](Self::upsert) does, from JSON text,
    /// which reaches the stream unchanged.
    pub fn upsert_json(&self, collection: &str, value: &[u8]) -> Result<Receipt> {
        self.upsert_json_with(collection, value, WriteOptions::default())
    }

    /// Publishes JSON text as [`upsert_json`](Self::upsert_json) does, and waits up to
    /// `max_block_ms` for room in a full buffer. Blocks the thread.
    pub fn blocking_upsert_json(&self, collection: &str, value: &[u8]) -> Result<Receipt> {
        self.upsert_json_with(collection, value, WriteOptions::BLOCKING)
    }

    /// Publishes JSON text as [`upsert_json`](Self::upsert_json) does, with headers, with a tag, or
    /// waiting for room, as `options` say.
    pub fn upsert_json_with<'a>(
        &self,
        collection: &str,
        value: &[u8],
        options: impl Into<EventOptions<'a>>,
    ) -> Result<Receipt> {
        self.change_json_with(Operation::Upsert, collection, value, options)
    }

    /// Publishes a change of an entity, whose whole new state is given as JSON text, which reaches
    /// the stream unchanged. To delete, the text is an entity, which is taken by its primary key and
    /// which no schema looks at, or nothing where `options` have the key.
    ///
    /// `options` say what else the event says; a header that it cannot have, an empty `txid` or a
    /// timestamp that is none are refused (`invalid-headers`).
    ///
    /// # Errors
    /// `Forked`; with `strict`, every refusal.
    pub fn change_json_with<'a>(
        &self,
        operation: Operation,
        collection: &str,
        value: &[u8],
        options: impl Into<EventOptions<'a>>,
    ) -> Result<Receipt> {
        self.write(self.try_change(operation, collection, value, &options.into(), None))
    }

    /// Publishes that an entity is gone. Returns at once, with a rejected receipt where `upsert`
    /// gives one.
    pub fn delete<C>(&self, collection: &C, key: &str) -> Result<Receipt>
    where
        C: CollectionRef + ?Sized,
    {
        self.delete_with(collection, key, WriteOptions::default())
    }

    /// Publishes that an entity is gone, and waits up to `max_block_ms` for room in a full buffer.
    /// Blocks the thread.
    pub fn blocking_delete<C>(&self, collection: &C, key: &str) -> Result<Receipt>
    where
        C: CollectionRef + ?Sized,
    {
        self.delete_with(collection, key, WriteOptions::BLOCKING)
    }

    /// Publishes that an entity is gone, with headers, with a tag, or waiting for room, as `options`
    /// say.
    pub fn delete_with<'a, C>(
        &self,
        collection: &C,
        key: &str,
        options: impl Into<EventOptions<'a>>,
    ) -> Result<Receipt>
    where
        C: CollectionRef + ?Sized,
    {
        let options = EventOptions { key: Some(key), ..options.into() };
        match self.name_of(collection) {
            Ok(name) => self.change_json_with(Operation::Delete, name, b"", options),
            Err(error) => self.write(self.check_held().and(Err(error))),
        }
    }

    /// Publishes a message about the stream (STATE-PROTOCOL.md 4.2), in order with the changes.
    /// `offset` is the place in the stream that it speaks of.
    ///
    /// # Errors
    /// `InvalidArgument` (`offset`): it cannot be one. `Forked`; with `strict`, every refusal.
    pub fn control(
        &self,
        control: Control,
        offset: Option<&str>,
        options: WriteOptions,
    ) -> Result<Receipt> {
        check_offset(offset)?;
        let message = event::control(control, offset);
        let accepted =
            self.check_held().and_then(|()| self.tell(control, message.as_bytes(), options));
        self.write(accepted)
    }

    /// Turns away a value that a validator outside the core refused: receipt, error and accounting
    /// are those of a JSON Schema's refusal. An unknown collection comes first, whatever the `reason`.
    /// With `InvalidKey` the first issue says all: why the value has no key.
    pub fn refuse(
        &self,
        collection: &str,
        reason: Reason,
        key: Option<&str>,
        issues: Vec<Issue>,
    ) -> Result<Receipt> {
        let held = self.check_held();
        self.write(held.and_then(|()| Err(self.refusal(collection, reason, key, issues))))
    }

    /// The error of what a binding refused.
    pub(super) fn refusal(
        &self,
        collection: &str,
        reason: Reason,
        key: Option<&str>,
        issues: Vec<Issue>,
    ) -> Error {
        if let Err(error) = self.collection(collection) {
            return error;
        }
        let text = match issues.first() {
            Some(issue) if matches!(reason, Reason::InvalidHeaders | Reason::InvalidKey) => {
                issue.message.clone()
            }
            Some(issue) => format!("the value was refused: {}", shown(issue)),
            None => "the value was refused".to_owned(),
        };
        Error::validation(reason, collection, key, issues, text)
    }

    pub(super) fn tag(&self, options: WriteOptions) -> Tag {
        Tag { number: options.tag, holder: self.holder }
    }

    pub(super) fn write(&self, id: Result<u64>) -> Result<Receipt> {
        let error = match id {
            Ok(id) => return Ok(Receipt::accepted(id)),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Forked {
            return Err(error);
        }
        if error.kind() == ErrorKind::Validation {
            self.engine().count_invalid();
        }
        let error = error.with_url(&self.engine().endpoint.shown);
        if self.entry.strict && !self.engine().is_end_untold() {
            return Err(error);
        }
        let receipt = Receipt::refused(error);
        receipt.refusal().into_iter().for_each(|outcome| self.engine().log_refusal(outcome));
        Ok(receipt)
    }

    pub(super) fn collection(&self, name: &str) -> Result<&Compiled> {
        self.schema.get(name).ok_or_else(|| {
            let known: Vec<_> = self.schema.names().map(error::shown).collect();
            let text = format!(
                "there is no collection `{}`; the schema has {}",
                error::shown(name),
                known.join(", ")
            );
            Error::validation(Reason::InvalidEntity, name, None, Vec::new(), text)
        })
    }

    /// The name of a collection, unless it is another one than that of the schema.
    pub(super) fn name_of<'c, C>(&self, collection: &'c C) -> Result<&'c str>
    where
        C: CollectionRef + ?Sized,
    {
        let name = collection.name();
        let (Some(shape), Some(own)) = (collection.shape(), self.schema.get(name)) else {
            return Ok(name);
        };
        if shape == (own.prefix.as_str(), own.primary_key.as_str()) {
            return Ok(name);
        }
        let text = format!("the collection `{}` is of another schema", error::shown(name));
        Err(invalid(name, Reason::InvalidEntity, text))
    }

    /// Waits for the outcome of an accepted write.
    pub fn wait(&self, id: u64) -> Pending<Outcome> {
        self.engine().wait(id)
    }

    /// Waits until everything accepted before this call is settled.
    ///
    /// # Errors
    /// `Delivery`, as [`IdempotentProducer::flush`](crate::producer::IdempotentProducer::flush).
    pub fn flush(&self) -> Pending<FlushReport> {
        self.engine().flush()
    }

    /// Lets this holder go, once; the last one lets the producer go, which then drains.
    ///
    /// Its callbacks still report the writes accepted until now, by any holder, and no later ones.
    /// From here on this handle's writes are refused (`producer-stopping`), and it ends nothing
    /// that others hold: its `close` only flushes. Waits and snapshots still work, so a receipt may
    /// keep the handle without holding anything open.
    ///
    /// The result is there when all writes accepted until now are settled; it may be dropped, and
    /// takes nothing from the report of a flush.
    pub fn release(&self) -> Pending<()> {
        if let Err(error) = self.engine().check_fork() {
            return Pending::ready(Err(error));
        }
        match self.is_released.swap(true, Ordering::Relaxed) {
            false => Registry::of_process().release(&self.entry, self.holder),
            true => self.engine().when_all_settled(),
        }
    }

    fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Relaxed)
    }

    /// Refuses the writes of a forked child, and of a handle that was let go.
    pub(super) fn check_held(&self) -> Result<()> {
        self.engine().check_fork()?;
        match self.is_released() {
            true => Err(self.engine().turn_away(let_go(), Reason::ProducerStopping)),
            false => Ok(()),
        }
    }

    /// Whether this handle may end the producer: a released handle leaves that to the others.
    fn may_end(&self) -> bool {
        let is_anothers = || self.is_released() && self.entry.is_held();
        !self.engine().is_foreign() && !is_anothers()
    }

    /// Flushes, leaves the registry and stops the producer, for all holders. The stream itself goes
    /// on: it outlives a deploy.
    pub fn close(&self) -> Pending<FlushReport> {
        let report = self.engine().flush();
        self.begin_shutdown();
        report
    }

    /// Flushes, then ends the *stream* for everybody, and closes the producer.
    pub fn close_stream(&self) -> Pending<CloseResult> {
        if let Err(error) = self.engine().check_fork() {
            return Pending::ready(Err(error));
        }
        if !self.may_end() {
            return self.refused(let_go());
        }
        let (completer, result) = pending();
        let entry = self.entry.clone();
        close(self.engine(), CloseWith::AsProducer).on_complete(move |closed| {
            if closed.is_ok() {
                Registry::of_process().retire(&entry);
            }
            completer.complete(closed);
        });
        self.engine().hindering(result)
    }

    /// Takes no more writes from any holder, delivers the accepted ones and ends by itself:
    /// what an abort signal does.
    pub fn begin_shutdown(&self) {
        if self.may_end() {
            Registry::of_process().retire(&self.entry);
            self.engine().begin_stop();
        }
    }

    /// Ends now: pending writes settle as `cancelled` or `delivery-unknown`.
    pub fn stop(&self) {
        if self.may_end() {
            Registry::of_process().retire(&self.entry);
            self.engine().stop_now();
        }
    }

    /// Waits until the stream was created or found and the buffer has room for the write that last
    /// found none, or for any other.
    ///
    /// # Errors
    /// The error that the producer ended with, if it has.
    pub fn ready(&self) -> Pending<()> {
        self.engine().ready()
    }

    /// A value kept with the producer: that of the first holder that asked. For a binding whose
    /// callables, such as the first holder's header functions, need an owner while they are called.
    #[doc(hidden)]
    pub fn kept_or<T: Any + Send + Sync>(&self, own: T) -> Option<&T> {
        self.entry.kept.get_or_init(|| Box::new(own)).downcast_ref()
    }

    /// Ends now and drops what its outbox holds: how many writes that were; see
    /// [`Producer::discard_outbox`].
    pub fn discard_outbox(&self) -> Pending<u64> {
        if !self.engine().is_foreign() && self.engine().config.outbox.is_some() {
            if !self.may_end() {
                return self.refused(let_go());
            }
            Registry::of_process().retire(&self.entry);
        }
        self.engine().discard_outbox()
    }

    /// Begins a fresh session for all holders, which may claim the id, once everything accepted so far
    /// is settled; what is in the outbox of a fenced producer is delivered then. It is the way back
    /// after another producer took over (`StaleEpoch`). With strict operations the keys that it wrote
    /// before count as written.
    ///
    /// # Errors
    /// `ProducerClosed`, also where another producer of the stream was opened since, or by a handle that
    /// was let go; or the error that the producer failed with.
    pub fn restart(&self) -> Pending<()> {
        if let Err(error) = self.engine().check_fork() {
            return Pending::ready(Err(error));
        }
        match self.may_end() {
            true => Registry::of_process().restart(&self.entry),
            false => self.refused(let_go()),
        }
    }

    fn refused<T: Send + 'static>(&self, error: Error) -> Pending<T> {
        Pending::ready(Err(error.with_url(&self.engine().endpoint.shown)))
    }

    /// The producer's state.
    pub fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    /// Counters and gauges, in one consistent snapshot.
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// The text for Prometheus about this producer; [`stats_prometheus`] is about all of the process.
    ///
    /// [`stats_prometheus`]: crate::stats_prometheus
    pub fn stats_prometheus(&self, format: Exposition) -> String {
        self.engine().prometheus(format)
    }

    /// The producer id as sent: with its suffix if `shared`.
    pub fn producer_id(&self) -> &str {
        self.engine().producer_id()
    }

    /// The stream's URL, without user info and query.
    pub fn url(&self) -> &str {
        self.engine().url()
    }

    /// Whether both are holders of the same producer.
    pub fn is_same(&self, other: &StateProducer) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry)
    }
}

impl Permit<'_, StateProducer> {
    /// Publishes an entity's whole new state as [`upsert_json`](StateProducer::upsert_json) does, into
    /// the room that was reserved.
    pub fn upsert_json(self, collection: &str, value: &[u8]) -> Result<Receipt> {
        self.change_json(Operation::Upsert, collection, value, &EventOptions::default())
    }

    /// Publishes a change as [`change_json_with`](StateProducer::change_json_with) does, into the room
    /// that was reserved.
    pub fn change_json(
        mut self,
        operation: Operation,
        collection: &str,
        value: &[u8],
        options: &EventOptions<'_>,
    ) -> Result<Receipt> {
        let state = self.producer;
        state.write(state.try_change(operation, collection, value, options, Some(&mut self)))
    }

    /// Publishes that an entity is gone as [`delete`](StateProducer::delete) does, into the room that
    /// was reserved.
    pub fn delete(self, collection: &str, key: &str) -> Result<Receipt> {
        let options = EventOptions { key: Some(key), ..EventOptions::default() };
        self.change_json(Operation::Delete, collection, b"", &options)
    }
}

impl HasEngine for StateProducer {
    fn engine(&self) -> &Arc<Engine> {
        &self.entry.engine
    }

    /// An event holds its value and once more its key, which is a part of it. What its headers need
    /// beyond that is taken when the event is made.
    fn permit(&self, size: usize) -> Option<Permit<'_, Self>> {
        if self.is_released() {
            return Some(Permit::of_nothing(self));
        }
        let most = size.saturating_mul(2).saturating_add(self.schema.around_an_event());
        Permit::of(self, size, most)
    }
}

impl Producer for StateProducer {
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

impl Drop for StateProducer {
    fn drop(&mut self) {
        if !self.engine().is_foreign() && !self.is_released() {
            Registry::of_process().let_go(&self.entry, self.holder);
        }
    }
}

impl std::fmt::Debug for StateProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateProducer({} on {})", self.producer_id(), self.url())
    }
}

/// What is wrong with a value that serde does not write.
pub(super) fn unwritten(error: &serde_json::Error) -> Vec<Issue> {
    vec![Issue { path: String::new(), message: error.to_string() }]
}

/// The error of a released handle.
fn let_go() -> Error {
    Error::new(ErrorKind::ProducerClosed, "this handle on the producer was let go")
}
