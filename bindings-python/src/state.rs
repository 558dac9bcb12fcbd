//! The entity-state writer, and the schema of its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durstream_core::{
    Collection, Issue, Outcome, Reason, Snapshot, StateProducer, Stats, StreamSchema, Validator,
    create_durable_stream_with,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::Callables;
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

/// The key that an entity has whose primary key is this JSON; None if it makes none.
#[pyfunction]
pub(crate) fn key_of_json(json: &str) -> Option<String> {
    durstream_core::key_of_json(json).filter(|key| !key.is_empty())
}

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

impl Writer for StateProducer {
    fn wait(&self, id: u64) -> durstream_core::Pending<Outcome> {
        StateProducer::wait(self, id)
    }

    fn stats(&self) -> Stats {
        StateProducer::stats(self)
    }

    fn finds_room(&self, size: usize) -> bool {
        StateProducer::finds_room(self, size)
    }

    fn ready(&self) -> durstream_core::Pending<()> {
        StateProducer::ready(self)
    }
}

/// The half of ``durstream.StateProducer`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct State {
    /// Shared with the receipts, which outlive this handle: it lets go explicitly.
    core: Arc<StateProducer>,
    room: Room,
    origin: Origin,
    /// Its `on_error`, and the header functions of the producer's first open.
    callables: Callables,
    /// Whether a call has said how this handle ends.
    let_go: AtomicBool,
}

impl State {
    fn receipt(
        &self,
        py: Python<'_>,
        written: durstream_core::Result<durstream_core::Receipt>,
    ) -> PyResult<Receipt> {
        let receipt = written.map_err(|error| raised(py, &error))?;
        let error = receipt.refusal().and_then(|outcome| outcome.error.clone());
        Ok(match error {
            Some(error) => Receipt::refused(self.core.clone(), error),
            None => Receipt::accepted(self.core.clone(), receipt.id()),
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
            // An event holds its value and once more its key.
            self.room.wait(py, &*self.core, size, size.saturating_mul(2))?;
        }
        self.receipt(py, write(&self.core))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.origin.check().map_err(|error| raised(py, &error))?;
        Ok(self.core.snapshot())
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
        let (read, functions) = read(py, &options, headers, &params)?;
        let asked = functions.called(py)?;
        let mut own = Callables::default();
        let callbacks = callback::on_error(on_error, &mut own)?;
        let core = create_durable_stream_with(read, schema.schema.clone(), callbacks)
            .map_err(|error| raised(py, &error))?;
        // The core asks the functions of the first open, so each handle owns those. No other open
        // comes in between: the GIL is held.
        own.own_again(py, core.kept_or(asked).map_or(&[], Vec::as_slice));
        Ok(State {
            core: Arc::new(core),
            room: Room::of(&options),
            origin: Origin::here(),
            callables: own,
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

    /// Serialises and writes an entity; None if that is for Python's encoder.
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
                let refused = self.core.refuse(&collection, Reason::InvalidKey, None, vec![issue]);
                return self.receipt(py, refused);
            }
        };
        self.write(py, key.len(), |core| core.delete(&collection, &key))
    }

    /// Refuses and counts a value that the Python half refused, with issues as (path, message).
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
        let refused = self.core.refuse(&collection, reason, key.as_deref(), issues);
        self.receipt(py, refused)
    }

    fn _flush(&self) -> Pending {
        Pending::new("flush", self.core.flush(), report)
    }

    fn _detach(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        let flushed = self.core.flush();
        drop(self.core.release());
        Pending::new("detach", flushed, report)
    }

    fn _close(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        Pending::new("close", self.core.close(), report)
    }

    fn _close_stream(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        Pending::new("close", self.core.close_stream(), closed)
    }

    fn _ready(&self) -> Pending {
        Pending::new("wait_ready", self.core.ready(), |py, ()| Ok(py.None()))
    }

    /// The wait for the last write accepted so far; takes nothing from the report of a flush.
    fn _last(&self) -> Option<Pending> {
        last(self.origin, &*self.core)
    }

    /// Takes no more writes from any holder, delivers the accepted ones and ends by itself.
    fn begin_shutdown(&self) {
        self.let_go.store(true, Ordering::Relaxed);
        self.core.begin_shutdown();
    }

    /// Ends now, for all holders: pending writes settle as ``cancelled``, or
    /// ``delivery-unknown`` if they were under way.
    fn stop(&self) {
        self.let_go.store(true, Ordering::Relaxed);
        self.core.stop();
    }

    /// The producer id as sent: with its suffix if ``shared``.
    #[getter]
    fn producer_id(&self) -> &str {
        self.core.producer_id()
    }

    /// The stream's URL, without user info and query.
    #[getter]
    fn url(&self) -> &str {
        self.core.url()
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

    /// The lifecycle state: ``connecting``, ``ready``, ``backoff``, ``reconnecting``,
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
        entries(py, &self.core.stats())
    }

    /// Whether both are holders of the same producer.
    fn is_same(&self, other: &State) -> bool {
        self.core.is_same(&other.core)
    }

    /// Writes left pending by a handle that no call has ended.
    fn _left_pending(&self) -> u64 {
        let said = self.let_go.load(Ordering::Relaxed) || self.origin.is_foreign();
        if said { 0 } else { self.core.snapshot().buffered_writes }
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.core)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        traverse(self.origin, &*self.core, &self.callables, &visit)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Receipts may hold on to the core's handle; holding the producer ends with this one.
        let settled = self.core.release();
        if calls(self.origin, &*self.core) {
            keep(std::mem::take(&mut self.callables), settled);
        }
    }
}
