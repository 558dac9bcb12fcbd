//! The exactly-once writer of bytes or JSON.

use durstream_core::{Error, IdempotentProducer, Permit};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::callable::{Callables, Called};
use crate::callback;
use crate::errors::raised;
use crate::gil::{self, Inside};
use crate::handle::Handle;
use crate::headers::Headers;
use crate::options::{Pairs, is_kept, read};
use crate::payload::{self, Bytes, Payload};
use crate::pending::Pending;
use crate::quick::{self, Usual};
use crate::receipt::{Receipt, closed, report};
use crate::room::{reserve, until_room};
use crate::stream::Stream;

/// The half of ``durstream.IdempotentProducer`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct Producer {
    handle: Handle<IdempotentProducer>,
    json: bool,
    /// Its own, or its stream's.
    default: Option<Called>,
}

impl Producer {
    /// Accepts a message, or says why not.
    fn accept(
        &self,
        py: Python<'_>,
        payload: Payload<'_>,
        permit: Option<Permit<'_, IdempotentProducer>>,
    ) -> Result<durstream_core::Receipt, Error> {
        let core = &self.handle.core;
        let payload = match payload {
            Ok(bytes) => bytes,
            Err(text) => return Err(core.refuse(&text)),
        };
        let (bytes, is_written) = payload.shared();
        gil::writing(py, core, || match (is_written, permit) {
            (true, Some(permit)) => permit.submit_serialised(bytes),
            (true, None) => core.append_serialised(bytes),
            (false, Some(permit)) => permit.submit(bytes),
            (false, None) => core.append(bytes),
        })
    }

    /// Accepts a message if there is room for it now.
    fn offer(
        &self,
        py: Python<'_>,
        bytes: &Bytes<'_>,
    ) -> Option<Result<durstream_core::Receipt, Error>> {
        let core = &self.handle.core;
        let (bytes, is_written) = bytes.shared();
        gil::writing(py, core, || match is_written {
            true => core.offer_serialised(bytes),
            false => core.offer(bytes),
        })
    }

    /// Accepts a message of the usual kinds at once; none if it is for [`append`](Self::append).
    fn append_now(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
    ) -> Option<PyResult<Py<PyAny>>> {
        let _inside = Inside::enter(py);
        let bytes = payload::usual(message, self.json)?;
        let receipt = match self.offer(py, &bytes)? {
            Ok(written) => {
                self.handle.receipt(py, Ok(written)).and_then(|receipt| Py::new(py, receipt))
            }
            Err(error) => Python::attach(|py| Err(raised(py, &error))),
        };
        Some(receipt.map(Py::into_any))
    }

    fn accept_with_room(&self, py: Python<'_>, payload: Payload<'_>) -> PyResult<Receipt> {
        let permit = match &payload {
            Ok(bytes) => match self.offer(py, bytes) {
                Some(written) => return self.handle.receipt(py, written),
                None => reserve(py, &self.handle.core, bytes.len())?,
            },
            Err(_) => None,
        };
        self.handle.receipt(py, self.accept(py, payload, permit))
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
        called: (callback::Given<'_>, Option<Py<PyAny>>),
    ) -> PyResult<Self> {
        let (given, default) = called;
        let _inside = Inside::enter(py);
        let (read, mut callables) = read(py, &options, headers, &params)?;
        callables.share(py, &stream.functions);
        let default = match default {
            Some(default) => Some(callables.add(py, default)?),
            None => stream.default.as_ref().map(|default| default.clone_ref(py)),
        };
        let (callbacks, hears_all) = callback::callbacks(given, &mut callables)?;
        // An outbox may be large, and one before it may take a moment to let it go.
        let open = || IdempotentProducer::open_with(&stream.core, producer_id, read, callbacks);
        let core = match is_kept(&options) {
            true => gil::detach(py, open),
            false => open(),
        };
        let core = core.map_err(|error| raised(py, &error))?;
        let handle = Handle::new(core, callables, hears_all);
        Ok(Producer { handle, json: stream.takes_values(), default })
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
    fn try_append(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<Receipt> {
        let _inside = Inside::enter(py);
        let payload = payload::message(message, self.json, self.default.as_ref())?;
        let accepted = self.accept(py, payload, None);
        self.handle.receipt(py, Ok(accepted.unwrap_or_else(durstream_core::Receipt::refused)))
    }

    /// Accepts messages as one group, once there is room; None where there are none.
    fn _append_group(
        &self,
        py: Python<'_>,
        messages: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<Option<Receipt>> {
        let _inside = Inside::enter(py);
        let mut group = Vec::with_capacity(messages.len());
        for message in &messages {
            match payload::message(message, self.json, self.default.as_ref())? {
                Ok(bytes) => group.push(bytes),
                Err(why) => return Err(raised(py, &self.handle.core.refuse(&why))),
            }
        }
        let texts: Vec<&[u8]> = group.iter().map(|bytes| &**bytes).collect();
        let core = &self.handle.core;
        let accepted =
            until_room(py, core, || Ok(gil::writing(py, core, || core.offer_group(&texts))))?;
        let accepted = match accepted {
            Some(accepted) => accepted,
            None => gil::writing(py, core, || core.append_group(&texts)),
        };
        let accepted = accepted.map_err(|error| raised(py, &error))?;
        accepted.map(|written| self.handle.receipt(py, Ok(written))).transpose()
    }

    fn _flush(&self) -> Pending {
        self.handle.flush()
    }

    fn _detach(&self) -> Pending {
        Pending::new("detach", self.handle.ending().detach(), report)
    }

    fn _close(&self, py: Python<'_>, message: Option<Bound<'_, PyAny>>) -> PyResult<Pending> {
        let _inside = Inside::enter(py);
        let given = match &message {
            None => None,
            Some(message) => {
                let payload = payload::message(message, self.json, self.default.as_ref())?;
                let refuse = |text: String| raised(py, &self.handle.core.refuse(&text));
                Some(payload.map_err(refuse)?)
            }
        };
        let mut called = Callables::default();
        called.share(py, &self.handle.callables);
        let closing = self.handle.ending().close(given.as_deref());
        Ok(Pending::calling("close", closing, called, closed))
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

    /// Ends now: pending writes settle as ``cancelled``, or as ``delivery-unknown`` if they were
    /// under way; with an outbox as ``kept``, and they stay there.
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

impl Drop for Producer {
    fn drop(&mut self) {
        self.handle.core.begin_shutdown();
        let flushed = self.handle.core.flush();
        self.handle.keep(flushed);
    }
}

static APPEND: Usual = Usual::new();

/// Puts the quick methods of a producer in front of those above.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    quick::install::<Producer>(py, c"append", append, &APPEND)
}

unsafe extern "C" fn append(
    own: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let quick = |own: &Bound<'_, Producer>, message: &Bound<'_, PyAny>| {
        own.get().append_now(own.py(), message)
    };
    // SAFETY: CPython calls it, as the method of a producer.
    unsafe { quick::answer(own, arguments, count, names, &APPEND, quick) }
}
