//! Appending the messages of a source: the core's half.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::{Callables, Called};
use crate::dispatcher;
use crate::errors::raised;
use crate::gil::Inside;
use crate::payload;
use crate::pending::Pending;
use crate::receipt::report;
use crate::stream::Stream;

/// The messages of one source on their way.
#[pyclass(frozen, module = "durstream._durstream")]
pub(crate) struct AppendSink {
    core: durstream_core::AppendSink,
    json: bool,
    /// The stream's functions, held while anything is under way.
    asked: Callables,
    default: Option<Called>,
}

#[pymethods]
impl AppendSink {
    #[new]
    fn new(py: Python<'_>, stream: &Stream, seq: Option<&str>) -> PyResult<Self> {
        let core = durstream_core::AppendSink::new(&stream.core, seq);
        let core = core.map_err(|error| raised(py, &error))?;
        let default = stream.default.as_ref().map(|default| default.clone_ref(py));
        Ok(AppendSink { core, json: stream.takes_values(), asked: stream.asked(py), default })
    }

    /// Whether it takes a message now: ``"ready"``, ``"full"`` or ``"failed"``.
    fn state(&self, py: Python<'_>) -> &'static str {
        let _inside = Inside::enter(py);
        self.core.state().as_str()
    }

    /// Appends a message; false if there is no room for it yet.
    fn start_send(&self, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let _inside = Inside::enter(message.py());
        match payload::message(message, self.json, self.default.as_ref())? {
            Ok(bytes) => return Ok(self.core.start_send(&bytes)),
            Err(why) => self.core.refuse(&why),
        }
        Ok(true)
    }

    fn ready(&self) -> Pending {
        Pending::new("append_stream", self.core.ready(), |py, ()| Ok(py.None()))
    }

    /// Waits until a message was not delivered, or none is under way.
    fn stopped(&self) -> Pending {
        Pending::new("append_stream", self.core.stopped(), |py, ()| Ok(py.None()))
    }

    fn close(&self) -> Pending {
        Pending::new("append_stream", self.core.close(), report)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.asked.traverse(&visit)
    }
}

impl Drop for AppendSink {
    fn drop(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if !asked.is_empty() {
            self.core.close().on_dispatcher(|_| dispatcher::with_python(|_| drop(asked)));
        }
    }
}
