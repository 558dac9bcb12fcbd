//! Appending what a source yields: the half that is the core's.

use durstream_core::Next;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::Callables;
use crate::dispatcher;
use crate::errors::raised;
use crate::gil::Inside;
use crate::payload;
use crate::pending::Pending;
use crate::receipt::report;
use crate::stream::Stream;

/// The messages of one source on their way.
#[pyclass(frozen, module = "durstream._durstream")]
pub(crate) struct Feed {
    core: durstream_core::Feed,
    json: bool,
    /// What the stream's requests ask, as long as anything is under way.
    asked: Callables,
}

#[pymethods]
impl Feed {
    #[new]
    fn new(py: Python<'_>, stream: &Stream, seq: Option<&str>) -> PyResult<Self> {
        let core = durstream_core::Feed::new(&stream.core, seq);
        let core = core.map_err(|error| raised(py, &error))?;
        Ok(Feed { core, json: stream.is_json(), asked: stream.asked(py) })
    }

    /// What to do with the source next: ``"more"``, ``"wait"`` or ``"stop"``.
    fn next(&self, py: Python<'_>) -> &'static str {
        let _inside = Inside::enter(py);
        match self.core.next() {
            Next::More => "more",
            Next::Wait => "wait",
            Next::Stop => "stop",
        }
    }

    /// Appends a message; false if there is no room for it yet.
    fn offer(&self, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let _inside = Inside::enter(message.py());
        match payload::message(message, self.json)? {
            Ok(bytes) => return Ok(self.core.offer(&bytes)),
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

    fn end(&self) -> Pending {
        Pending::new("append_stream", self.core.end(), report)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.asked.traverse(&visit)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if !asked.is_empty() {
            self.core.end().on_dispatcher(|_| dispatcher::with_python(|_| drop(asked)));
        }
    }
}
