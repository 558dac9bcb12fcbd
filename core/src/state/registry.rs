//! One state producer per stream in a process (docs/adr/registry.md).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::schema::{Compiled, StreamSchema};
use super::{CONTENT_TYPE, check_scope};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::options::{Options, Scope};
use crate::producer::ErrorCallback;
use crate::producer::config::Config;
use crate::producer::engine::Engine;
use crate::runtime::lock;
use crate::stream::wire;

/// An open state producer, shared by its holders.
pub(crate) struct Entry {
    key: String,
    options: Options,
    pub(super) schema: Schema,
    pub(super) strict: bool,
    pub(super) engine: Arc<Engine>,
    holders: AtomicUsize,
}

impl Entry {
    /// Lets one holder go; true for the last one.
    pub(super) fn let_go(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// A schema's collections, ready to validate.
pub(crate) struct Schema {
    source: StreamSchema,
    collections: HashMap<String, Compiled>,
}

impl Schema {
    fn compile(source: StreamSchema) -> Result<Self> {
        let compiled = source.compile()?;
        Ok(Schema { source, collections: compiled })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Compiled> {
        self.collections.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.source.names()
    }
}

/// The open producers by stream URL, and those still draining.
#[derive(Default)]
pub(crate) struct Registry {
    slots: Mutex<HashMap<String, Slot>>,
}

#[derive(Default)]
struct Slot {
    open: Option<Arc<Entry>>,
    /// The last producer that left: the next one's first request waits for its end, so that a
    /// process never fences itself.
    before: Option<Arc<Engine>>,
}

impl Registry {
    /// The producer of a stream: the open one, or a new one.
    pub(super) fn open(
        &self,
        options: Options,
        schema: StreamSchema,
        on_error: Option<ErrorCallback>,
    ) -> Result<Arc<Entry>> {
        let producer_id = check_scope(&options)?;
        let endpoint = Endpoint::resolve(&options)?;
        let key = endpoint.url.to_string();
        let mut slots = lock(&self.slots);
        let slot = slots.entry(key.clone()).or_default();
        if let Some(entry) = slot.open.clone().filter(|entry| entry.is_open()) {
            entry.check_same(&options, &schema)?;
            entry.holders.fetch_add(1, Ordering::AcqRel);
            return Ok(entry);
        }
        let retired = slot.open.take().map(|entry| entry.engine.clone());
        let before = retired.or_else(|| slot.before.clone());
        let mut config = Config::new(Scope::State, &options, &producer_id, CONTENT_TYPE)?;
        config.create = Some(wire::create_headers(&options, CONTENT_TYPE)?);
        let schema = Schema::compile(schema)?;
        let engine = Engine::start(endpoint, config, on_error, before)?;
        let entry = Arc::new(Entry {
            key,
            strict: options.strict.unwrap_or(false),
            options,
            schema,
            engine,
            holders: AtomicUsize::new(1),
        });
        slot.open = Some(entry.clone());
        Ok(entry)
    }

    /// Takes a producer out: it drains, and the next open gets a new one.
    pub(super) fn retire(&self, entry: &Arc<Entry>) {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| {
            slot.open.is_some() || slot.before.as_ref().is_some_and(|engine| !engine.has_ended())
        });
        if let Some(slot) = slots.get_mut(&entry.key)
            && slot.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, entry))
        {
            slot.before = slot.open.take().map(|entry| entry.engine.clone());
        }
    }
}

impl Entry {
    /// Whether it still takes writes: one that failed or was stopped makes room for another.
    fn is_open(&self) -> bool {
        self.engine.takes_writes()
    }

    fn check_same(&self, options: &Options, schema: &StreamSchema) -> Result<()> {
        if self.options != *options {
            return Err(Error::option(
                "options",
                format!(
                    "the producer of {} is open with other options",
                    self.engine.endpoint.shown
                ),
            ));
        }
        if self.schema.source != *schema {
            return Err(Error::option(
                "schema",
                format!(
                    "the producer of {} is open with another schema",
                    self.engine.endpoint.shown
                ),
            ));
        }
        Ok(())
    }
}
