//! [`StateProducer`]: the exactly-once writer of entity state.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::delivery::callbacks::Callbacks;
use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::{Checked, WriteOptions};
use crate::delivery::handle::{Producer, Snapshot};
use crate::delivery::permit::{HasEngine, Permit};
use crate::error::{self, Error, ErrorKind, Issue, Result};
use crate::options::Options;
use crate::outcome::{CloseResult, FlushReport, Outcome, Receipt};
use crate::protocol::json::{self, Key};
use crate::reason::Reason;
use crate::runtime::pending::{Pending, pending};
use crate::state::registry::{Entry, Opened, Registry, Schema};
use crate::state::schema::{Compiled, StreamSchema, shown};
use crate::stats::Stats;

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
    entry.engine.listeners.add(holder, callbacks);
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
    holder: u32,
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
    pub fn upsert(&self, collection: &str, value: &impl Serialize) -> Result<Receipt> {
        match serde_json::to_vec(value) {
            Ok(text) => self.upsert_json(collection, &text),
            Err(error) => self.refuse(
                collection,
                Reason::SerializationFailed,
                None,
                vec![Issue { path: String::new(), message: error.to_string() }],
            ),
        }
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

    /// Publishes JSON text as [`upsert_json`](Self::upsert_json) does, with a tag or waiting for
    /// room, as `options` say.
    pub fn upsert_json_with(
        &self,
        collection: &str,
        value: &[u8],
        options: WriteOptions,
    ) -> Result<Receipt> {
        self.write(self.try_upsert(collection, value, self.accepting(options)))
    }

    /// Publishes that an entity is gone. Returns at once, with a rejected receipt where `upsert`
    /// gives one.
    pub fn delete(&self, collection: &str, key: &str) -> Result<Receipt> {
        self.delete_with(collection, key, WriteOptions::default())
    }

    /// Publishes that an entity is gone, and waits up to `max_block_ms` for room in a full buffer.
    /// Blocks the thread.
    pub fn blocking_delete(&self, collection: &str, key: &str) -> Result<Receipt> {
        self.delete_with(collection, key, WriteOptions::BLOCKING)
    }

    /// Publishes that an entity is gone, with a tag or waiting for room, as `options` say.
    pub fn delete_with(
        &self,
        collection: &str,
        key: &str,
        options: WriteOptions,
    ) -> Result<Receipt> {
        self.write(self.try_delete(collection, key, self.accepting(options)))
    }

    /// Turns away a value that a validator outside the core refused: receipt, error and accounting
    /// are those of a JSON Schema's refusal. An unknown collection comes first, whatever the `reason`;
    /// `InvalidKey` without a key and without issues says that the primary key is missing.
    pub fn refuse(
        &self,
        collection: &str,
        reason: Reason,
        key: Option<&str>,
        issues: Vec<Issue>,
    ) -> Result<Receipt> {
        let known = self.check_held().and_then(|()| self.collection(collection));
        let error = match known {
            Err(error) => error,
            Ok(known) if (reason, key, issues.len()) == (Reason::InvalidKey, None, 0) => {
                missing_key(collection, known)
            }
            Ok(_) => {
                let text = match issues.first() {
                    Some(issue) => format!("the value was refused: {}", shown(issue)),
                    None => "the value was refused".to_owned(),
                };
                Error::validation(reason, collection, key, issues, text)
            }
        };
        self.write(Err(error))
    }

    fn write(&self, id: Result<u64>) -> Result<Receipt> {
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

    /// Accepts an event as `options` say.
    fn accepting(&self, options: WriteOptions) -> impl FnOnce(&[&[u8]]) -> Result<u64> {
        move |parts| self.engine().accept_with(parts, self.holder, options)
    }

    fn try_upsert(
        &self,
        name: &str,
        value: &[u8],
        accept: impl FnOnce(&[&[u8]]) -> Result<u64>,
    ) -> Result<u64> {
        self.check_held()?;
        let collection = self.collection(name)?;
        let refuse = |reason, text: String| invalid(name, reason, text);
        let readable = json::readable(value);
        let is_changed = matches!(readable, Cow::Owned(_));
        let key = match json::key_of(&readable, &collection.primary_key) {
            Ok(Key::Text(key)) if is_changed && key.contains('\u{fffd}') => {
                let text = "the primary key holds half of a surrogate pair".to_owned();
                return Err(refuse(Reason::InvalidKey, text));
            }
            Ok(Key::Text(key)) => key,
            Ok(Key::Missing) => return Err(missing_key(name, collection)),
            Ok(Key::NotAnObject) => {
                let text = "the value is not an object".to_owned();
                return Err(refuse(Reason::InvalidValue, text));
            }
            Err(text) => {
                let text = format!("the value {text}");
                return Err(refuse(Reason::InvalidValue, text));
            }
        };
        collection.validate(name, &key, &readable)?;
        let quoted = json::quote(&key);
        let parts: [&[u8]; 5] = [
            collection.prefix.as_bytes(),
            quoted.as_bytes(),
            b",\"value\":",
            value.trim_ascii(),
            b",\"headers\":{\"operation\":\"upsert\"}}",
        ];
        accept(&parts)
    }

    fn try_delete(
        &self,
        name: &str,
        key: &str,
        accept: impl FnOnce(&[&[u8]]) -> Result<u64>,
    ) -> Result<u64> {
        self.check_held()?;
        let collection = self.collection(name)?;
        if key.is_empty() {
            return Err(invalid(name, Reason::InvalidKey, "the key is empty".to_owned()));
        }
        let quoted = json::quote(key);
        let parts: [&[u8]; 3] = [
            collection.prefix.as_bytes(),
            quoted.as_bytes(),
            b",\"headers\":{\"operation\":\"delete\"}}",
        ];
        accept(&parts)
    }

    fn collection(&self, name: &str) -> Result<&Compiled> {
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
    fn check_held(&self) -> Result<()> {
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
            return Pending::ready(Err(let_go().with_url(&self.engine().endpoint.shown)));
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

    /// The producer's state.
    pub fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    /// Counters and gauges, in one consistent snapshot.
    pub fn stats(&self) -> Stats {
        self.engine().stats()
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
    pub fn upsert_json(mut self, collection: &str, value: &[u8]) -> Result<Receipt> {
        let state = self.producer;
        state.write(state.try_upsert(collection, value, |parts| {
            self.accept(parts, Checked::Whole, state.holder)
        }))
    }

    /// Publishes that an entity is gone as [`delete`](StateProducer::delete) does, into the room that
    /// was reserved.
    pub fn delete(mut self, collection: &str, key: &str) -> Result<Receipt> {
        let state = self.producer;
        state.write(
            state.try_delete(collection, key, |parts| {
                self.accept(parts, Checked::Whole, state.holder)
            }),
        )
    }
}

impl HasEngine for StateProducer {
    fn engine(&self) -> &Arc<Engine> {
        &self.entry.engine
    }

    /// An event holds its value and once more its key, which is a part of it.
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

/// The error of an entity that is refused for one thing.
fn invalid(collection: &str, reason: Reason, text: String) -> Error {
    let issue = Issue { path: String::new(), message: text.clone() };
    Error::validation(reason, collection, None, vec![issue], text)
}

fn missing_key(name: &str, collection: &Compiled) -> Error {
    let text = format!("the primary key `{}` is missing", error::shown(&collection.primary_key));
    invalid(name, Reason::InvalidKey, text)
}

/// The error of a released handle.
fn let_go() -> Error {
    Error::new(ErrorKind::ProducerClosed, "this handle on the producer was let go")
}
