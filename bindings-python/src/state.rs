//! The entity-state writer, and the schema of its stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use durstream_core::{
    Collection, Error, ErrorKind, Issue, Outcome, Reason, Snapshot, StateProducer, Stats,
    StreamSchema, Validator, create_durable_stream_with,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::{Callables, Called};
use crate::callback;
use crate::errors::{invalid, raised};
use crate::fork::Origin;
use crate::gil::Inside;
use crate::headers::Headers;
use crate::json;
use crate::options::{Pairs, read};
use crate::payload;
use crate::pending::Pending;
use crate::producer::{calls, entries, keep, last, last_error, traverse};
use crate::receipt::{Receipt, closed, report};
use crate::room::{Room, Writer};

/// The collections of a stream, as the core sees them.
#[pyclass(module = "durstream._durstream")]
pub(crate) struct Schema {
    schema: StreamSchema,
}

#[pymethods]
impl Schema {
    #[new]
    fn new() -> Self {
        Schema { schema: StreamSchema::new() }
    }

    /// Adds a collection with a JSON Schema as text, or one that Python validates.
    fn add(
        &mut self,
        py: Python<'_>,
        name: &str,
        entity_type: &str,
        primary_key: &str,
        json_schema: Option<&str>,
    ) -> PyResult<()> {
        let validator = match json_schema.map(serde_json::from_str) {
            None => Validator::External,
            Some(Ok(schema)) => Validator::JsonSchema(schema),
            Some(Err(error)) => {
                let name: String = name.chars().take(60).collect();
                let text = format!("collection `{name}` has no valid JSON Schema: {error}");
                return Err(invalid(py, "schema", text));
            }
        };
        let collection = Collection::new(entity_type, primary_key, validator);
        self.schema.add(name, collection).map_err(|error| raised(py, &error))
    }
}

/// One open producer of the core, for all handles Python has on it and for their receipts.
struct Shared {
    core: StateProducer,
    /// The first open's, which are the ones that are called. Every handle owns them.
    called: Vec<Called>,
}

impl Writer for Shared {
    fn wait(&self, id: u64) -> durstream_core::Pending<Outcome> {
        self.core.wait(id)
    }

    fn stats(&self) -> Stats {
        self.core.stats()
    }

    fn finds_room(&self, size: usize) -> bool {
        self.core.finds_room(size)
    }

    fn ready(&self) -> durstream_core::Pending<()> {
        self.core.ready()
    }
}

/// An open producer and how many handles have not let go of it. The core counts its own handles
/// and only lets go of dropped ones; a receipt of Python's must not keep a stream open.
struct Holders {
    shared: Weak<Shared>,
    count: usize,
}

static HOLDERS: Mutex<Vec<Holders>> = Mutex::new(Vec::new());

fn holders() -> MutexGuard<'static, Vec<Holders>> {
    HOLDERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Shared {
    /// One more handle on what was opened.
    fn hold(opened: StateProducer, called: Vec<Called>, holders: &mut Vec<Holders>) -> Arc<Shared> {
        holders.retain(|entry| entry.count > 0 && entry.shared.strong_count() > 0);
        for entry in holders.iter_mut() {
            if let Some(shared) = entry.shared.upgrade()
                && shared.core.is_same(&opened)
            {
                entry.count += 1;
                return shared;
            }
        }
        let shared = Arc::new(Shared { core: opened, called });
        holders.push(Holders { shared: Arc::downgrade(&shared), count: 1 });
        shared
    }

    /// Whether a handle has not let go.
    fn is_held(&self) -> bool {
        let is_this = |entry: &Holders| std::ptr::eq(entry.shared.as_ptr(), self);
        holders().iter().any(|entry| is_this(entry) && entry.count > 0)
    }

    /// One handle less; without any the producer drains and ends.
    fn let_go(&self) {
        let mut holders = holders();
        let is_this = |entry: &&mut Holders| std::ptr::eq(entry.shared.as_ptr(), self);
        if let Some(entry) = holders.iter_mut().find(is_this) {
            entry.count = entry.count.saturating_sub(1);
            if entry.count == 0 {
                self.core.begin_shutdown();
            }
        }
    }
}

/// The half of ``durstream.StateProducer`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct State {
    shared: Arc<Shared>,
    room: Room,
    strict: bool,
    origin: Origin,
    callables: Callables,
    /// Whether this handle let go, which it does once.
    gone: AtomicBool,
    /// Whether somebody said how this handle ends.
    let_go: AtomicBool,
}

impl State {
    fn let_go(&self) {
        self.let_go.store(true, Ordering::Relaxed);
        if !self.gone.swap(true, Ordering::Relaxed) {
            self.shared.let_go();
        }
    }

    /// What this handle may not do any more, if so.
    fn closed(&self) -> Option<Error> {
        let gone = self.gone.load(Ordering::Relaxed);
        gone.then(|| Error::new(ErrorKind::ProducerClosed, "this producer was detached"))
    }

    fn receipt(
        &self,
        py: Python<'_>,
        written: durstream_core::Result<durstream_core::Receipt>,
    ) -> PyResult<Receipt> {
        let receipt = written.map_err(|error| raised(py, &error))?;
        let error = receipt.refusal().and_then(|outcome| outcome.error.clone());
        Ok(match error {
            Some(error) => Receipt::refused(self.shared.clone(), error),
            None => Receipt::accepted(self.shared.clone(), receipt.id()),
        })
    }

    /// Writes through the core, once there is room.
    fn write(
        &self,
        py: Python<'_>,
        size: usize,
        write: impl FnOnce(&StateProducer) -> durstream_core::Result<durstream_core::Receipt>,
    ) -> PyResult<Receipt> {
        if !self.origin.is_foreign() {
            if let Some(error) = self.closed() {
                return match self.strict {
                    true => Err(raised(py, &error)),
                    false => Ok(Receipt::refused(self.shared.clone(), error)),
                };
            }
            // An event holds its value and once more its key.
            self.room.wait(py, &*self.shared, size, size.saturating_mul(2))?;
        }
        self.receipt(py, write(&self.shared.core))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.origin.check().map_err(|error| raised(py, &error))?;
        Ok(self.shared.core.snapshot())
    }
}

#[pymethods]
impl State {
    #[new]
    fn new(
        py: Python<'_>,
        schema: &Schema,
        options: Pairs,
        headers: Headers,
        params: Pairs,
        on_error: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let _inside = Inside::enter(py);
        let (read, mut own) = read(py, &options, headers, &params)?;
        let callbacks = callback::on_error(on_error, &mut own)?;
        let called = own.called(py)?;
        // Nothing of Python's may run under the lock, not even for an error.
        let opened = {
            let mut holders = holders();
            let schema = schema.schema.clone();
            create_durable_stream_with(read, schema, callbacks)
                .map(|opened| Shared::hold(opened, called, &mut holders))
        };
        let shared = opened.map_err(|error| raised(py, &error))?;
        Ok(State {
            callables: Callables::still_owned(py, &shared.called),
            shared,
            room: Room::of(&options),
            strict: options.iter().any(|(name, value)| name == "strict" && value == "true"),
            origin: Origin::here(),
            gone: AtomicBool::new(false),
            let_go: AtomicBool::new(false),
        })
    }

    /// Writes an entity given as JSON.
    fn _upsert(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        value: &Bound<'_, PyBytes>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let (collection, value) = (collection.to_string_lossy(), value.as_bytes());
        self.write(py, value.len(), |core| core.upsert_json(&collection, value))
    }

    /// Serialises and writes an entity; none if that is for Python's encoder.
    fn _upsert_value(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Receipt>> {
        let _inside = Inside::enter(py);
        let Some(text) = json::text(value) else { return Ok(None) };
        let collection = collection.to_string_lossy();
        self.write(py, text.len(), |core| core.upsert_json(&collection, &text)).map(Some)
    }

    /// Writes that an entity is gone.
    fn _delete(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        key: &Bound<'_, PyString>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let collection = collection.to_string_lossy();
        let key = match payload::text_of(key) {
            Ok(key) => key,
            Err(text) => {
                let issue = Issue { path: String::new(), message: text };
                let refused =
                    self.shared.core.refuse(&collection, Reason::InvalidKey, None, vec![issue]);
                return self.receipt(py, refused);
            }
        };
        self.write(py, key.len(), |core| core.delete(&collection, &key))
    }

    /// Books a value that was refused before it came here, with issues as (path, message).
    fn _refuse(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        reason: &str,
        key: Option<String>,
        issues: Vec<(String, String)>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        self.origin.check().map_err(|error| raised(py, &error))?;
        let reason = Reason::from_name(reason).unwrap_or(Reason::InvalidValue);
        let issues = issues.into_iter().map(|(path, message)| Issue { path, message }).collect();
        let collection = collection.to_string_lossy();
        let refused = self.shared.core.refuse(&collection, reason, key.as_deref(), issues);
        self.receipt(py, refused)
    }

    fn _flush(&self) -> Pending {
        Pending::new("flush", self.shared.core.flush(), report)
    }

    fn _detach(&self) -> Pending {
        let flushed = self.shared.core.flush();
        self.let_go();
        Pending::new("detach", flushed, report)
    }

    fn _close(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        Pending::new("close", self.shared.core.close(), report)
    }

    fn _close_stream(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        Pending::new("close", self.shared.core.close_stream(), closed)
    }

    fn _ready(&self) -> Pending {
        Pending::new("wait_ready", self.shared.core.ready(), |py, ()| Ok(py.None()))
    }

    /// The wait for the last write accepted so far; takes nothing from what a flush reports.
    fn _last(&self) -> Option<Pending> {
        last(self.origin, &*self.shared)
    }

    /// Takes no more writes from any holder, delivers the accepted ones and ends by itself.
    fn begin_shutdown(&self) {
        self.let_go.store(true, Ordering::Relaxed);
        self.shared.core.begin_shutdown();
    }

    /// Ends now, for all holders: pending writes settle as ``cancelled``, or
    /// ``delivery-unknown`` where they were under way.
    fn stop(&self) {
        self.let_go.store(true, Ordering::Relaxed);
        self.shared.core.stop();
    }

    /// The id as it goes on the wire: with its suffix if ``shared``.
    #[getter]
    fn producer_id(&self) -> &str {
        self.shared.core.producer_id()
    }

    /// The stream's URL, without user info and query.
    #[getter]
    fn url(&self) -> &str {
        self.shared.core.url()
    }

    /// The epoch in use.
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.snapshot(py)?.epoch)
    }

    /// The next sequence number in this epoch.
    #[getter]
    fn next_seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.snapshot(py)?.next_seq)
    }

    /// Writes accepted and not settled.
    #[getter]
    fn pending_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.snapshot(py)?.buffered_writes)
    }

    /// Requests under way.
    #[getter]
    fn in_flight_count(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.snapshot(py)?.in_flight)
    }

    /// The stream's offset after the last acknowledged batch.
    #[getter]
    fn last_offset(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.snapshot(py)?.last_offset.map(|offset| offset.to_string()))
    }

    /// Where the producer stands: ``connecting``, ``ready``, ``backoff``, ``reconnecting``,
    /// ``stopping``, ``stopped``, ``failed`` or ``fenced``.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.snapshot(py)?.state.as_str())
    }

    /// The most recent failure, transient ones included.
    #[getter]
    fn last_error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        last_error(py, &self.snapshot(py)?)
    }

    /// Counters and gauges, in one consistent snapshot.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.origin.check().map_err(|error| raised(py, &error))?;
        entries(py, &self.shared.core.stats())
    }

    /// Whether both are holders of the same producer.
    fn is_same(&self, other: &State) -> bool {
        self.shared.core.is_same(&other.shared.core)
    }

    /// Writes left pending by a handle nobody said the end of.
    fn _left_pending(&self) -> u64 {
        let said = self.let_go.load(Ordering::Relaxed) || self.origin.is_foreign();
        if said { 0 } else { self.shared.core.snapshot().buffered_writes }
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.shared.core)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        traverse(self.origin, &*self.shared, &self.callables, &visit)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.let_go();
        // A flush takes its report from the other handles, which own the same.
        if !self.shared.is_held() && calls(self.origin, &*self.shared) {
            keep(std::mem::take(&mut self.callables), self.shared.core.flush());
        }
    }
}
