//! A change on its way into the buffer: it is validated, its key is found, and its event is put together.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::delivery::engine::accept::{Checked, Full, WriteOptions};
use crate::delivery::permit::{HasEngine, Permit};
use crate::error::{self, Error, ErrorKind, Result};
use crate::protocol::json;
use crate::protocol::key::{self, Key, NoKey};
use crate::reason::Reason;
use crate::runtime::notice::Notice;
use crate::runtime::threads::lock;
use crate::state::event::{self, Control, EventOptions, Operation, Rules};
use crate::state::producer::StateProducer;
use crate::state::registry::Entry;
use crate::state::schema::{Compiled, invalid};
use crate::state::tracked::Tracked;

impl StateProducer {
    pub(super) fn try_change<'a>(
        &'a self,
        operation: Operation,
        name: &str,
        value: &[u8],
        options: &EventOptions<'_>,
        permit: Option<&mut Permit<'a, Self>>,
    ) -> Result<u64> {
        self.check_held()?;
        self.with_event(operation, name, value, options, |event| {
            self.publish(operation, event, permit)
        })
    }

    /// Has the event of a change, once it was validated.
    fn with_event<T>(
        &self,
        operation: Operation,
        name: &str,
        value: &[u8],
        options: &EventOptions<'_>,
        take: impl FnOnce(&Event<'_>) -> Result<T>,
    ) -> Result<T> {
        if self.entry.trace {
            self.warn_of_trace(options);
        }
        let collection = self.collection(name)?;
        let is_put = operation != Operation::Delete;
        let key = match is_put || !value.is_empty() {
            true => {
                let readable = json::readable(value);
                let own = key::key_of(value, &readable, &collection.primary_key);
                let key = entity_key(name, collection, own, options.key)?;
                if is_put {
                    collection.validate(name, &key, &readable)?;
                }
                key
            }
            false => given_key(name, options.key)?,
        };
        let value = is_put.then_some(value);
        take(&Event { name, collection, key: &key, value, options })
    }

    /// Adds the bytes of a change to those of a transaction: where the word of its operation is among
    /// them, and the place of its key.
    pub(super) fn gather(
        &self,
        operation: Operation,
        name: &str,
        value: &[u8],
        options: &EventOptions<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<(usize, u64)> {
        self.with_event(operation, name, value, options, |event| {
            let place = self.entry.tracked.as_ref().map_or(0, |keys| event.place(&lock(keys)));
            Ok((event.gather(operation, self, bytes)?, place))
        })
    }

    /// Accepts an event, into the room of a permit if there is one.
    fn publish<'a>(
        &'a self,
        operation: Operation,
        event: &Event<'_>,
        mut permit: Option<&mut Permit<'a, Self>>,
    ) -> Result<u64> {
        let write = event.options.write;
        let Some(tracked) = &self.entry.tracked else {
            return event.accept(operation, self, permit, Full::of(write));
        };
        let full = if permit.is_some() { Full::Refused } else { Full::of(write) };
        let (mut bytes, tag) = (Vec::new(), self.tag(write));
        let word = event.gather(operation, self, &mut bytes)?;
        self.strictly(tracked, full, (bytes.len() + tag.cost(), 1), |tracked, full| {
            let place = event.place(tracked);
            let operation = tracked.decided(operation, place);
            event::set_word(&mut bytes, word, operation);
            let id = match permit.as_deref_mut() {
                None => self.engine().accept_parts(&[&bytes], tag, full)?,
                Some(permit) => permit.accept(&[&bytes], Checked::Whole, tag)?,
            };
            tracked.note(place, operation);
            Ok(id)
        })
    }

    /// Accepts writes of so many bytes and of so many events whose operations depend on what was written
    /// before: under the lock of that. Nobody waits under it, or calls would that never wait.
    pub(super) fn strictly(
        &self,
        tracked: &Mutex<Tracked>,
        full: Full,
        (size, writes): (usize, u64),
        mut accept: impl FnMut(&mut Tracked, Full) -> Result<u64>,
    ) -> Result<u64> {
        if full != Full::Waits {
            return accept(&mut lock(tracked), full);
        }
        let mut deadline = None;
        loop {
            match accept(&mut lock(tracked), Full::Told) {
                Err(error) if error.kind() == ErrorKind::BufferFull => {}
                told => return told,
            }
            if !self.engine().wait_for_room(size, writes, &mut deadline) {
                return accept(&mut lock(tracked), Full::Refused);
            }
        }
    }

    /// Accepts a control message. Behind a reset every key is new again: readers have forgotten all.
    pub(super) fn tell(
        &self,
        control: Control,
        message: &[u8],
        write: WriteOptions,
    ) -> Result<u64> {
        let (tag, full) = (self.tag(write), Full::of(write));
        let tracked = self.entry.tracked.as_ref().filter(|_| control == Control::Reset);
        let Some(tracked) = tracked else {
            return self.engine().accept_parts(&[message], tag, full);
        };
        self.strictly(tracked, full, (message.len() + tag.cost(), 1), |tracked, full| {
            let id = self.engine().accept_parts(&[message], tag, full)?;
            tracked.forget();
            Ok(id)
        })
    }

    fn rules(&self) -> Rules {
        let Entry { timestamps, trace, tracked, .. } = &*self.entry;
        Rules { timestamps: *timestamps, strict: tracked.is_some(), trace: *trace }
    }

    /// Logs, once, that a context is none: events go without it.
    fn warn_of_trace(&self, options: &EventOptions<'_>) {
        let Some(unfit) = event::unfit_context(options, self.rules()) else { return };
        if !self.entry.warned_of_trace.swap(true, Ordering::Relaxed) {
            let epoch = self.snapshot().epoch;
            self.engine().warn(Notice::TraceContext.word(), epoch, || {
                format!(
                    "events go without a `traceparent` that is none, such as `{}`",
                    error::shown(unfit)
                )
            });
        }
    }
}

/// A change on its way into the buffer.
struct Event<'a> {
    name: &'a str,
    collection: &'a Compiled,
    key: &'a str,
    value: Option<&'a [u8]>,
    options: &'a EventOptions<'a>,
}

impl Event<'_> {
    /// Has the event in the parts that make it up.
    fn in_parts<T>(
        &self,
        operation: Operation,
        state: &StateProducer,
        take: impl FnOnce(&[&[u8]]) -> Result<T>,
    ) -> Result<T> {
        let now = || state.engine().runtime().chance().now();
        let end = event::end(operation, self.options, state.rules(), now).map_err(|why| {
            invalid(self.name, Reason::InvalidHeaders, format!("the event {why}"))
        })?;
        let quoted = json::quote(self.key);
        let value: [&[u8]; 2] = match self.value {
            Some(value) => [b",\"value\":", value.trim_ascii()],
            None => [b"", b""],
        };
        let (prefix, end) = (self.collection.prefix.as_bytes(), end.as_bytes());
        let Some(old) = self.options.old_value else {
            return take(&[prefix, quoted.as_bytes(), value[0], value[1], end]);
        };
        json::check(old).map_err(|why| {
            invalid(self.name, Reason::InvalidValue, format!("the old value {why}"))
        })?;
        let old: [&[u8]; 2] = [b",\"old_value\":", old.trim_ascii()];
        take(&[prefix, quoted.as_bytes(), value[0], value[1], old[0], old[1], end])
    }

    fn accept(
        &self,
        operation: Operation,
        state: &StateProducer,
        permit: Option<&mut Permit<'_, StateProducer>>,
        full: Full,
    ) -> Result<u64> {
        let tag = state.tag(self.options.write);
        self.in_parts(operation, state, |parts| match permit {
            None => state.engine().accept_parts(parts, tag, full),
            Some(permit) => permit.accept(parts, Checked::Whole, tag),
        })
    }

    /// Adds its bytes to others: where the word of its operation is among them.
    fn gather(
        &self,
        operation: Operation,
        state: &StateProducer,
        bytes: &mut Vec<u8>,
    ) -> Result<usize> {
        self.in_parts(operation, state, |parts| {
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            let end = parts.last().map_or(0, |end| end.len());
            Ok(bytes.len() - end + event::WORD_AT)
        })
    }

    /// The place of its key among those that are remembered.
    fn place(&self, tracked: &Tracked) -> u64 {
        tracked.place(&self.collection.prefix, self.key)
    }
}

/// The key of an entity: the one that it holds, or the one that is told.
fn entity_key(
    name: &str,
    collection: &Compiled,
    own: std::result::Result<Key, String>,
    told: Option<&str>,
) -> Result<String> {
    match (own, told) {
        (Ok(Key::Text(key)), Some(told)) if told != key => {
            let (told, key) = (error::shown(told), error::shown(&key));
            let text = format!("the key `{told}` is not the entity's own, `{key}`");
            Err(invalid(name, Reason::InvalidKey, text))
        }
        (Ok(Key::Text(key)), _) => Ok(key),
        (Ok(Key::None(NoKey::Missing | NoKey::Null)), Some(_)) => given_key(name, told),
        (Ok(Key::None(why)), _) => Err(no_key(name, collection, why)),
        (Ok(Key::NotAnObject), _) => {
            let text = "the value is not an object".to_owned();
            Err(invalid(name, Reason::InvalidValue, text))
        }
        (Err(text), _) => Err(invalid(name, Reason::InvalidValue, format!("the value {text}"))),
    }
}

fn given_key(name: &str, told: Option<&str>) -> Result<String> {
    let why = match told {
        None => NoKey::Missing,
        Some("") => NoKey::Empty,
        Some(key) => return Ok(key.to_owned()),
    };
    Err(invalid(name, Reason::InvalidKey, format!("the key {}", why.as_str())))
}

fn no_key(name: &str, collection: &Compiled, why: NoKey) -> Error {
    let field = error::shown(&collection.primary_key);
    invalid(name, Reason::InvalidKey, format!("the primary key `{field}` {}", why.as_str()))
}
