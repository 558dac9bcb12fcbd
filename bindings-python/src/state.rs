//! The entity-state writer, and the schema of its stream.

use durstream_core::{
    Collection, Control, Issue, Operation, Reason, Receipt as Written, StateProducer, StreamSchema,
    Validator, WriteOptions, create_durable_stream_with,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::Callables;
use crate::callback;
use crate::errors::{invalid, raised};
use crate::event::Event;
use crate::gil::{self, Inside};
use crate::handle::Handle;
use crate::headers::Headers;
use crate::json;
use crate::options::{Pairs, read};
use crate::pending::Pending;
use crate::receipt::{Receipt, closed, report};
use crate::room::reserve;
use crate::utf8::utf8;

/// The key that a value makes, given as JSON; raises ValueError with the reason for what makes none.
#[pyfunction]
pub(crate) fn key_of_json(json: &str) -> PyResult<String> {
    durstream_core::key_of_json(json).map_err(|why| PyValueError::new_err(why.as_str()))
}

/// What an open with these would open, as JSON.
#[pyfunction]
pub(crate) fn inspect(
    py: Python<'_>,
    schema: &Schema,
    options: Pairs,
    headers: Headers,
    params: Pairs,
) -> PyResult<String> {
    let (read, _functions) = read(py, &options, headers, &params)?;
    let told = durstream_core::inspect(read, schema.schema.clone());
    told.map(|told| told.to_string()).map_err(|error| raised(py, &error))
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

/// The half of ``durstream.StateProducer`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct State {
    handle: Handle<StateProducer>,
}

impl State {
    pub(crate) fn core(&self) -> &StateProducer {
        &self.handle.core
    }

    /// The receipt of a write, with the waits of this producer.
    pub(crate) fn receipt(&self, py: Python<'_>, written: Written) -> PyResult<Receipt> {
        self.handle.receipt(py, Ok(written))
    }

    /// Writes an entity given as JSON, once there is room.
    fn upsert(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        value: &[u8],
    ) -> PyResult<Receipt> {
        let (core, collection) = (&self.handle.core, collection.to_string_lossy());
        let permit = reserve(py, core, value.len())?;
        let written = gil::writing(py, core, || match permit {
            Some(permit) => permit.upsert_json(&collection, value),
            None => core.upsert_json(&collection, value),
        });
        self.handle.receipt(py, written)
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
        called: callback::Given<'_>,
    ) -> PyResult<Self> {
        let _inside = Inside::enter(py);
        let (read, functions) = read(py, &options, headers, &params)?;
        let asked = functions.called(py)?;
        let mut own = Callables::default();
        let (callbacks, hears_all) = callback::callbacks(called, &mut own)?;
        let core = create_durable_stream_with(read, schema.schema.clone(), callbacks)
            .map_err(|error| raised(py, &error))?;
        // The core asks the functions of the first open, so each handle owns those. No other open
        // comes in between: the GIL is held.
        own.own_again(py, core.kept_or(asked).map_or(&[], Vec::as_slice));
        Ok(State { handle: Handle::new(core, own, hears_all) })
    }

    /// Writes an entity given as JSON.
    fn _upsert(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        value: &Bound<'_, PyBytes>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        self.upsert(py, collection, value.as_bytes())
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
        self.upsert(py, collection, &text).map(Some)
    }

    /// Writes that an entity is gone.
    fn _delete(
        &self,
        py: Python<'_>,
        collection: &Bound<'_, PyString>,
        key: &Bound<'_, PyString>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let (core, collection) = (&self.handle.core, collection.to_string_lossy());
        let key = utf8(key)?;
        let permit = reserve(py, core, key.len())?;
        let written = gil::writing(py, core, || match permit {
            Some(permit) => permit.delete(&collection, &key),
            None => core.delete(&collection, &key),
        });
        self.handle.receipt(py, written)
    }

    /// Writes a change of an entity given as JSON, or that the entity of the event's key is gone.
    fn _change(
        &self,
        py: Python<'_>,
        operation: &str,
        collection: &Bound<'_, PyString>,
        value: &Bound<'_, PyBytes>,
        event: Event<'_>,
    ) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let (core, collection) = (&self.handle.core, collection.to_string_lossy());
        let operation = Operation::from_name(operation).map_err(|error| raised(py, &error))?;
        let value = value.as_bytes();
        let permit = reserve(py, core, value.len() + event.size())?;
        let written = event.with(|event| {
            gil::writing(py, core, || match permit {
                Some(permit) => permit.change_json(operation, &collection, value, event),
                None => core.change_json_with(operation, &collection, value, *event),
            })
        });
        self.handle.receipt(py, written)
    }

    /// Writes a control message.
    fn _control(&self, py: Python<'_>, control: &str, offset: Option<&str>) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let core = &self.handle.core;
        let control = Control::from_name(control).map_err(|error| raised(py, &error))?;
        // It has no room of its own: the blocking call would hold the GIL.
        drop(reserve(py, core, offset.map_or(0, str::len))?);
        let write = || core.control(control, offset, WriteOptions::default());
        self.handle.receipt(py, gil::writing(py, core, write))
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
        let reason = Reason::from_name(reason).unwrap_or(Reason::InvalidValue);
        let issues = issues.into_iter().map(|(path, message)| Issue { path, message }).collect();
        let collection = collection.to_string_lossy();
        let refused = self.handle.core.refuse(&collection, reason, key.as_deref(), issues);
        self.handle.receipt(py, refused)
    }

    fn _flush(&self) -> Pending {
        self.handle.flush()
    }

    fn _detach(&self) -> Pending {
        let core = self.handle.ending();
        let flushed = core.flush();
        drop(core.release());
        Pending::new("detach", flushed, report)
    }

    fn _close(&self) -> Pending {
        Pending::new("close", self.handle.ending().close(), report)
    }

    fn _close_stream(&self) -> Pending {
        Pending::new("close", self.handle.ending().close_stream(), closed)
    }

    fn _ready(&self) -> Pending {
        self.handle.ready()
    }

    fn _restart(&self) -> Pending {
        self.handle.restart()
    }

    fn _discard_outbox(&self) -> Pending {
        self.handle.discard_outbox()
    }

    fn _last(&self) -> Option<Pending> {
        self.handle.last()
    }

    /// Takes no more writes from any holder, delivers the accepted ones and ends by itself.
    fn begin_shutdown(&self) {
        self.handle.ending().begin_shutdown();
    }

    /// Ends now, for all holders: pending writes settle as ``cancelled``, or
    /// ``delivery-unknown`` if they were under way; with an outbox as ``kept``, and they stay there.
    fn stop(&self) {
        self.handle.ending().stop();
    }

    /// The producer id as sent: with its suffix if ``shared``.
    #[getter]
    fn producer_id(&self) -> &str {
        self.handle.core.producer_id()
    }

    /// The stream's URL, without user info and query.
    #[getter]
    fn url(&self) -> &str {
        self.handle.core.url()
    }

    /// The epoch in use.
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.snapshot(py)?.epoch)
    }

    /// The next sequence number in this epoch.
    #[getter]
    fn next_seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.snapshot(py)?.next_seq)
    }

    /// Writes accepted and not settled.
    #[getter]
    fn pending_count(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.snapshot(py)?.buffered_writes)
    }

    /// Requests under way.
    #[getter]
    fn in_flight_count(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle.snapshot(py)?.in_flight)
    }

    /// The stream's offset after the last acknowledged batch.
    #[getter]
    fn last_offset(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.handle.snapshot(py)?.last_offset.map(|offset| offset.to_string()))
    }

    /// The lifecycle state: ``connecting``, ``ready``, ``backoff``, ``reconnecting``,
    /// ``stopping``, ``stopped``, ``failed`` or ``fenced``.
    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.handle.snapshot(py)?.state.as_str())
    }

    /// The most recent failure, transient ones included.
    #[getter]
    fn last_error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.handle.last_error(py)
    }

    /// Counters and gauges, in one consistent snapshot.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.handle.stats(py)
    }

    /// The text for Prometheus about this producer, or as OpenMetrics.
    #[pyo3(signature = (openmetrics = false))]
    fn stats_prometheus(&self, py: Python<'_>, openmetrics: bool) -> PyResult<String> {
        self.handle.stats_prometheus(py, openmetrics)
    }

    /// Whether both are holders of the same producer.
    fn is_same(&self, other: &State) -> bool {
        self.handle.core.is_same(&other.handle.core)
    }

    /// Writes left pending by a handle that no call has ended.
    fn _left_pending(&self) -> u64 {
        self.handle.left_pending()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.handle.core)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.handle.traverse(&visit)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let settled = self.handle.core.release();
        self.handle.keep(settled);
    }
}
