//! The exactly-once writer of bytes or JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durstream_core::{IdempotentProducer, Outcome, Snapshot, Stats};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::{Callables, Called};
use crate::callback;
use crate::dispatcher;
use crate::errors::raised;
use crate::fork::Origin;
use crate::gil::Inside;
use crate::headers::Headers;
use crate::options::{Pairs, read};
use crate::payload::{self, Bytes, Payload, Unserialisable};
use crate::pending::Pending;
use crate::receipt::{Receipt, closed, report};
use crate::room::{Room, Writer};
use crate::stream::Stream;

impl Writer for IdempotentProducer {
    fn wait(&self, id: u64) -> durstream_core::Pending<Outcome> {
        IdempotentProducer::wait(self, id)
    }

    fn stats(&self) -> Stats {
        IdempotentProducer::stats(self)
    }

    fn finds_room(&self, size: usize) -> bool {
        IdempotentProducer::finds_room(self, size)
    }

    fn ready(&self) -> durstream_core::Pending<()> {
        IdempotentProducer::ready(self)
    }
}

/// The half of ``durstream.IdempotentProducer`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct Producer {
    /// Shared with the receipts, which outlive this handle.
    core: Arc<IdempotentProducer>,
    json: bool,
    room: Room,
    origin: Origin,
    /// Its `on_error`, its `default`, its headers' functions and its stream's.
    callables: Callables,
    /// Its own, or its stream's.
    default: Option<Called>,
    /// Whether a call has said how this producer ends.
    let_go: AtomicBool,
}

impl Producer {
    /// Accepts a message, or says why not.
    fn accept(&self, payload: Payload<'_>) -> durstream_core::Result<Receipt> {
        let accepted = match payload {
            Ok(Bytes::Written(json)) => self.core.append_serialised(&json),
            Ok(bytes) => self.core.append(&*bytes),
            Err(text) => self.core.append_json(&Unserialisable(text)),
        };
        accepted.map(|receipt| Receipt::of(self.core.clone(), &receipt))
    }

    fn accept_with_room(&self, py: Python<'_>, payload: Payload<'_>) -> PyResult<Receipt> {
        if let (Ok(bytes), false) = (&payload, self.origin.is_foreign()) {
            self.room.wait(py, &*self.core, bytes.len(), bytes.len())?;
        }
        self.accept(payload).map_err(|error| raised(py, &error))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.origin.check().map_err(|error| raised(py, &error))?;
        Ok(self.core.snapshot())
    }
}

#[pymethods]
impl Producer {
    #[new]
    fn new(
        py: Python<'_>,
        stream: &Stream,
        producer_id: &str,
        options: Pairs,
        headers: Headers,
        params: Pairs,
        called: (Option<Bound<'_, PyAny>>, Option<Py<PyAny>>),
    ) -> PyResult<Self> {
        let (on_error, default) = called;
        let _inside = Inside::enter(py);
        let (read, mut callables) = read(py, &options, headers, &params)?;
        callables.share(py, &stream.functions);
        let default = match default {
            Some(default) => Some(callables.add(py, default)?),
            None => stream.default.as_ref().map(|default| default.clone_ref(py)),
        };
        let callbacks = callback::on_error(on_error, &mut callables)?;
        let core = IdempotentProducer::open_with(&stream.core, producer_id, read, callbacks);
        Ok(Producer {
            core: Arc::new(core.map_err(|error| raised(py, &error))?),
            json: stream.takes_values(),
            room: Room::of(&options),
            origin: Origin::here(),
            callables,
            default,
            let_go: AtomicBool::new(false),
        })
    }

    /// Accepts one message and returns its receipt. Text and bytes are taken as they are: on a
    /// JSON stream as one JSON value. Any other value is written as JSON there.
    ///
    /// Waits up to ``max_block_ms`` for room in a full buffer; in a thread with a running event
    /// loop it raises ``BufferFullError`` at once.
    fn append(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        self.accept_with_room(py, payload::message(message, self.json, self.default.as_ref())?)
    }

    /// Writes a value as JSON, text too, and accepts it.
    fn append_json(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        self.accept_with_room(py, payload::encoded(value, self.default.as_ref())?)
    }

    /// Accepts one message as ``append`` does, without waiting; an error is in the receipt.
    fn try_append(&self, message: &Bound<'_, PyAny>) -> PyResult<Receipt> {
        let _inside = Inside::enter(message.py());
        let accepted = self.accept(payload::message(message, self.json, self.default.as_ref())?);
        Ok(accepted.unwrap_or_else(|error| Receipt::refused(self.core.clone(), error)))
    }

    fn _flush(&self) -> Pending {
        Pending::new("flush", self.core.flush(), report)
    }

    fn _detach(&self) -> Pending {
        self.let_go.store(true, Ordering::Relaxed);
        Pending::new("detach", self.core.detach(), report)
    }

    fn _close(&self, py: Python<'_>, message: Option<Bound<'_, PyAny>>) -> PyResult<Pending> {
        let _inside = Inside::enter(py);
        let message = match &message {
            None => None,
            Some(message) => match payload::message(message, self.json, self.default.as_ref())? {
                Ok(bytes) => Some(bytes),
                Err(text) => {
                    // The core refuses and counts it, as `append` does.
                    let refused = self.core.append_json(&Unserialisable(text));
                    refused.map_err(|error| raised(py, &error))?;
                    None
                }
            },
        };
        self.let_go.store(true, Ordering::Relaxed);
        let message = message.as_deref();
        let mut called = Callables::default();
        called.share(py, &self.callables);
        Ok(Pending::calling("close", self.core.close(message), called, closed))
    }

    fn _ready(&self) -> Pending {
        Pending::new("wait_ready", self.core.ready(), |py, ()| Ok(py.None()))
    }

    fn _restart(&self) -> Pending {
        Pending::new("restart", self.core.restart(), |py, ()| Ok(py.None()))
    }

    /// The wait for the last write accepted so far; takes nothing from the report of a flush.
    fn _last(&self) -> Option<Pending> {
        last(self.origin, &*self.core)
    }

    /// Ends now: pending writes settle as ``cancelled``, or as ``delivery-unknown`` if they were
    /// under way.
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

impl Drop for Producer {
    fn drop(&mut self) {
        // Receipts may hold on to the core's handle; accepting ends with this one.
        self.core.begin_shutdown();
        if calls(self.origin, &*self.core) {
            keep(std::mem::take(&mut self.callables), self.core.flush());
        }
    }
}

/// Whether callables may be called when the handle is gone: for what is pending, or failed.
pub(crate) fn calls(origin: Origin, writer: &dyn Writer) -> bool {
    let due = |stats: Stats| stats.accepted > stats.delivered;
    !origin.is_foreign() && due(writer.stats())
}

/// Shows the garbage collector a producer's callables. Not while writes need them: those came
/// with the GIL held, so that within one collection this only goes from not shown to shown.
pub(crate) fn traverse(
    origin: Origin,
    writer: &dyn Writer,
    callables: &Callables,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    if !callables.is_empty() && !origin.is_foreign() && writer.stats().pending > 0 {
        return Ok(());
    }
    callables.traverse(visit)
}

/// Keeps the callables of a dropped producer until its writes are settled and reported.
pub(crate) fn keep<T: Send + 'static>(callables: Callables, settled: durstream_core::Pending<T>) {
    if !callables.is_empty() {
        settled.on_dispatcher(move |_| dispatcher::with_python(|_| drop(callables)));
    }
}

pub(crate) fn last(origin: Origin, writer: &dyn Writer) -> Option<Pending> {
    if origin.is_foreign() {
        return None;
    }
    let last = writer.stats().accepted;
    (last > 0).then(|| crate::receipt::pending_outcome(writer.wait(last), Callables::default()))
}

pub(crate) fn last_error<'py>(
    py: Python<'py>,
    snapshot: &Snapshot,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    snapshot.last_error.as_ref().map(|error| crate::errors::exception(py, error)).transpose()
}

pub(crate) fn entries<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let entries = PyDict::new(py);
    for (name, value) in stats.entries() {
        entries.set_item(name, value)?;
    }
    Ok(entries)
}
