//! [`Transaction`]: changes that reach the stream together, or not at all.

use std::mem;
use std::sync::Arc;
use std::thread::ThreadId;

use serde::Serialize;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::engine::accept::{Checked, Full};
use crate::delivery::permit::HasEngine;
use crate::error::{self, Detail, Error, ErrorKind, Issue, Result};
use crate::outcome::Receipt;
use crate::reason::Reason;
use crate::runtime::threads::lock;
use crate::state::collection::{CollectionRef, Takes};
use crate::state::event::{self, EventOptions, Operation};
use crate::state::producer::{StateProducer, unwritten};
use crate::state::registry::Entry;

/// Changes that are gathered and become one group: they travel in one request, nothing else of this
/// producer stands between them in the stream, and all of them are stored or none is.
///
/// It belongs to the thread that began it. Dropped without [`commit`](Self::commit), it is rolled back:
/// nothing is sent.
#[must_use = "dropped, it is rolled back"]
pub struct Transaction<'a> {
    producer: &'a StateProducer,
    changes: Changes,
}

impl<'a> Transaction<'a> {
    /// Begins one; see [`StateProducer::transaction`].
    pub(super) fn begin(producer: &'a StateProducer, txid: Option<&str>) -> Result<Self> {
        Ok(Transaction { producer, changes: Changes::begin(producer, txid)? })
    }

    /// The transaction's id, which each of its changes has as its `txid`.
    pub fn txid(&self) -> &str {
        self.changes.txid()
    }

    /// Adds the publication of an entity's whole new state. A refused change makes the commit fail.
    ///
    /// # Errors
    /// `InvalidArgument` (`transaction`): another thread began it. `Forked`.
    pub fn upsert<C, T>(&mut self, collection: &C, value: &T) -> Result<()>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Upsert, collection, value, &EventOptions::default())
    }

    /// Adds the publication of an entity that is new; otherwise as [`upsert`](Self::upsert).
    pub fn insert<C, T>(&mut self, collection: &C, value: &T) -> Result<()>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Insert, collection, value, &EventOptions::default())
    }

    /// Adds the whole new state of an entity that is there; otherwise as [`upsert`](Self::upsert).
    pub fn update<C, T>(&mut self, collection: &C, value: &T) -> Result<()>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        self.change(Operation::Update, collection, value, &EventOptions::default())
    }

    /// Adds a change as [`StateProducer::change`] takes it; otherwise as [`upsert`](Self::upsert). A `txid`
    /// in the options has to be the transaction's own.
    pub fn change<C, T>(
        &mut self,
        operation: Operation,
        collection: &C,
        value: &T,
        options: &EventOptions<'_>,
    ) -> Result<()>
    where
        C: Takes<T> + ?Sized,
        T: Serialize + ?Sized,
    {
        let name = match self.producer.name_of(collection) {
            Ok(name) => name,
            Err(error) => return self.changes.note(self.producer, error),
        };
        match serde_json::to_vec(value) {
            Ok(text) => self.change_json(operation, name, &text, options),
            Err(error) => {
                let reason = Reason::SerializationFailed;
                self.changes.refuse(self.producer, name, reason, None, unwritten(&error))
            }
        }
    }

    /// Adds that an entity is gone; otherwise as [`upsert`](Self::upsert).
    pub fn delete<C>(&mut self, collection: &C, key: &str) -> Result<()>
    where
        C: CollectionRef + ?Sized,
    {
        let options = EventOptions { key: Some(key), ..EventOptions::default() };
        match self.producer.name_of(collection) {
            Ok(name) => self.change_json(Operation::Delete, name, b"", &options),
            Err(error) => self.changes.note(self.producer, error),
        }
    }

    /// Adds a change as [`StateProducer::change_json_with`] takes it; otherwise as
    /// [`upsert`](Self::upsert). A `txid` in the options has to be the transaction's own.
    pub fn change_json(
        &mut self,
        operation: Operation,
        collection: &str,
        value: &[u8],
        options: &EventOptions<'_>,
    ) -> Result<()> {
        self.changes.change(self.producer, operation, collection, value, options)
    }

    /// Sends the changes as one group. The receipt is that of the last one, and its outcome that of all;
    /// the others have the ids before it, without a gap. None where there are no changes.
    ///
    /// A rejected receipt says of all changes that were refused; so it does of a group that is larger
    /// than `max_write_bytes`, `max_batch_items` or the buffer (`too-large`). Nothing is sent then.
    ///
    /// # Errors
    /// Those of [`upsert`](Self::upsert); with `strict`, every refusal.
    pub fn commit(mut self) -> Result<Option<Receipt>> {
        self.changes.commit(self.producer, Full::Refused)
    }

    /// Sends the changes as [`commit`](Self::commit) does, and waits up to `max_block_ms` for room in a
    /// full buffer. Blocks the thread.
    pub fn blocking_commit(mut self) -> Result<Option<Receipt>> {
        self.changes.commit(self.producer, Full::Waits)
    }

    /// Forgets the changes: nothing is sent.
    pub fn rollback(self) {}
}

/// The changes of a transaction that keeps its producer in a way of its own. For the bindings.
#[doc(hidden)]
pub struct Changes {
    txid: String,
    thread: ThreadId,
    /// The events one behind the other.
    bytes: Vec<u8>,
    events: Vec<Event>,
    refused: Vec<Error>,
    /// None once it has ended.
    open: Option<Open>,
}

/// An event among the bytes.
struct Event {
    end: usize,
    operation: Operation,
    /// Where its operation's word is, which strict operations may replace.
    word: usize,
    /// Its key among those that are remembered.
    place: u64,
    tag: u64,
}

impl Changes {
    /// Begins a transaction.
    pub fn begin(producer: &StateProducer, txid: Option<&str>) -> Result<Self> {
        producer.engine().check_fork()?;
        let txid = match txid {
            None => producer.engine().runtime().chance().uuid().to_string(),
            Some("") => return Err(Error::option("txid", "`txid` is empty")),
            Some(txid) => txid.to_owned(),
        };
        let thread = std::thread::current().id();
        let open = Some(Open::on(producer, thread)?);
        let (bytes, events, refused) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Changes { txid, thread, bytes, events, refused, open })
    }

    /// The transaction's id.
    pub fn txid(&self) -> &str {
        &self.txid
    }

    /// Adds a change.
    pub fn change(
        &mut self,
        producer: &StateProducer,
        operation: Operation,
        collection: &str,
        value: &[u8],
        options: &EventOptions<'_>,
    ) -> Result<()> {
        self.check(producer)?;
        let tag = options.write.tag;
        let Changes { txid, bytes, events, refused, .. } = self;
        if options.txid.is_some_and(|told| told != txid) {
            let text = "a change of a transaction has the transaction's `txid`".to_owned();
            let issue = Issue { path: String::new(), message: text };
            return self.refuse(producer, collection, Reason::InvalidHeaders, None, vec![issue]);
        }
        let options = EventOptions { txid: Some(txid), ..*options };
        match producer.gather(operation, collection, value, &options, bytes) {
            Ok((word, place)) => {
                events.push(Event { end: bytes.len(), operation, word, place, tag });
            }
            Err(error) if error.kind() == ErrorKind::Validation => refused.push(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adds a change that a binding refused; otherwise as [`StateProducer::refuse`].
    pub fn refuse(
        &mut self,
        producer: &StateProducer,
        collection: &str,
        reason: Reason,
        key: Option<&str>,
        issues: Vec<Issue>,
    ) -> Result<()> {
        self.note(producer, producer.refusal(collection, reason, key, issues))
    }

    /// Notes the error of a change that was refused.
    fn note(&mut self, producer: &StateProducer, error: Error) -> Result<()> {
        self.check(producer)?;
        self.refused.push(error);
        Ok(())
    }

    /// Sends the changes as one group, which ends the transaction; but where there is no room, it may be
    /// committed again.
    pub fn commit(&mut self, producer: &StateProducer, full: Full) -> Result<Option<Receipt>> {
        self.check(producer)?;
        let refused = mem::take(&mut self.refused);
        let accepted = match all_refused(refused) {
            Some(error) => Err(error),
            None if self.events.is_empty() => {
                self.open = None;
                return Ok(None);
            }
            None => producer.accept_changes(&mut self.bytes, &self.events, full),
        };
        let is_full = |error: &Error| error.kind() == ErrorKind::BufferFull;
        match accepted {
            Err(error) if full == Full::Told && is_full(&error) => Err(error),
            Err(error) if is_full(&error) => producer.write(Err(error)).map(Some),
            told => {
                self.open = None;
                (self.bytes, self.events) = Default::default();
                producer.write(told).map(Some)
            }
        }
    }

    /// Forgets the changes, on any thread.
    pub fn rollback(&mut self) {
        self.open = None;
        (self.bytes, self.events, self.refused) = Default::default();
    }

    /// Whether it was committed or rolled back.
    pub fn has_ended(&self) -> bool {
        self.open.is_none()
    }

    fn check(&self, producer: &StateProducer) -> Result<()> {
        producer.engine().check_fork()?;
        let text = match std::thread::current().id() == self.thread {
            true if self.open.is_some() => return Ok(()),
            true => "the transaction has ended",
            false => "a transaction is used by the thread that began it alone",
        };
        Err(Error::option("transaction", text))
    }
}

/// The error of changes that were refused: all of them, in the words of the first.
fn all_refused(mut refused: Vec<Error>) -> Option<Error> {
    if refused.len() < 2 {
        return refused.pop();
    }
    let issues = refused.iter().map(|error| {
        let place = match error.detail() {
            Some(Detail::Validation { collection, key: Some(key), .. }) => {
                format!("{} `{}`: ", error::shown(collection), error::shown(key))
            }
            Some(Detail::Validation { collection, .. }) => {
                format!("{}: ", error::shown(collection))
            }
            _ => String::new(),
        };
        Issue { path: String::new(), message: format!("{place}{}", error.message()) }
    });
    let issues: Vec<Issue> = issues.collect();
    let (count, first) = (issues.len(), &issues[0].message);
    let text = format!("{count} changes of the transaction were refused: {first}");
    let reason = refused[0].reason().unwrap_or(Reason::InvalidValue);
    Some(Error::validation(reason, "", None, issues, text))
}

impl StateProducer {
    /// Begins a transaction: its changes reach the stream together, or not at all. `txid` is its id, a
    /// new UUID unless given; a reader that made the changes before waits for it.
    ///
    /// # Errors
    /// `InvalidArgument`: `txid` is empty, or a transaction of this producer is open on this thread
    /// (`transaction`). `Forked`.
    pub fn transaction(&self, txid: Option<&str>) -> Result<Transaction<'_>> {
        Transaction::begin(self, txid)
    }

    fn accept_changes(&self, bytes: &mut [u8], events: &[Event], full: Full) -> Result<u64> {
        self.check_held()?;
        let Some(tracked) = &self.entry.tracked else {
            return self.accept_events(bytes, events, full);
        };
        let tags = events.iter().map(|event| self.tag_of(event).cost());
        let size = bytes.len() + tags.sum::<usize>();
        self.strictly(tracked, full, (size, events.len() as u64), |tracked, full| {
            let mut before = Vec::new();
            for own in events {
                let operation = tracked.decided(own.operation, own.place);
                event::set_word(bytes, own.word, operation);
                before.push((own.place, tracked.note(own.place, operation)));
            }
            self.accept_events(bytes, events, full).inspect_err(|_| {
                for (place, was_known) in before.into_iter().rev() {
                    tracked.set(place, was_known);
                }
            })
        })
    }

    fn accept_events(&self, bytes: &[u8], events: &[Event], full: Full) -> Result<u64> {
        let mut start = 0;
        let writes = events.iter().map(|event| {
            let write = &bytes[mem::replace(&mut start, event.end)..event.end];
            (write, self.tag_of(event))
        });
        let writes: Vec<(&[u8], Tag)> = writes.collect();
        let first = self.engine().accept_group(&writes, Checked::Whole, full)?;
        Ok(first + writes.len() as u64 - 1)
    }

    fn tag_of(&self, event: &Event) -> Tag {
        Tag { number: event.tag, holder: self.holder }
    }
}

/// A transaction that is open: one of a producer on a thread.
struct Open {
    entry: Arc<Entry>,
    thread: ThreadId,
}

impl Open {
    fn on(producer: &StateProducer, thread: ThreadId) -> Result<Self> {
        let entry = producer.entry.clone();
        let mut open = lock(&entry.transactions);
        if open.contains(&thread) {
            let text = "a transaction of this producer is open on this thread: end it first";
            return Err(Error::option("transaction", text));
        }
        open.push(thread);
        drop(open);
        Ok(Open { entry, thread })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.entry.engine.is_foreign() {
            lock(&self.entry.transactions).retain(|thread| *thread != self.thread);
        }
    }
}
