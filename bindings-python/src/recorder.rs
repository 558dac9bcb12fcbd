//! The recorder: a server of streams within the process, for the tests of services.

use durstream_core::Result;
use durstream_core::testing::Recorder as Core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::raised;
use crate::gil::Inside;
use crate::reader::Chunk;

/// The half of ``durstream.testing.Recorder`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct Recorder {
    core: Core,
}

fn told(py: Python<'_>, result: Result<()>) -> PyResult<()> {
    result.map_err(|error| raised(py, &error))
}

#[pymethods]
impl Recorder {
    #[new]
    fn new() -> Self {
        Recorder { core: Core::new() }
    }

    /// Its base URL, for the option ``endpoints`` or the environment variable
    /// ``DURABLE_STREAMS_URL``.
    #[getter]
    fn url(&self) -> &str {
        self.core.url()
    }

    fn _chunk(&self, py: Python<'_>, path: &str) -> PyResult<Chunk> {
        let _inside = Inside::enter(py);
        self.core.chunk(path).map(Chunk::new).map_err(|error| raised(py, &error))
    }

    fn _content<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyBytes>> {
        let content = self.core.content(path).map_err(|error| raised(py, &error))?;
        Ok(PyBytes::new(py, &content))
    }

    fn _reject(&self, py: Python<'_>, containing: &str, reason: &str) -> PyResult<()> {
        told(py, self.core.reject_as(containing, reason))
    }

    fn _fail(&self, py: Python<'_>, times: Option<u64>) -> PyResult<()> {
        told(py, self.core.fail(times))
    }

    /// Forgets what was received so far, for ``events`` and ``content`` alone: the streams and the
    /// sessions of their producers stay as they are.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        told(py, self.core.clear())
    }

    /// From now on appends wait for their answers, as with a server that hangs: their writes stay
    /// pending. Requests that wait longer than ``request_timeout_ms`` are repeated, as ever.
    fn hold(&self, py: Python<'_>) -> PyResult<()> {
        told(py, self.core.hold())
    }

    /// Answers the appends that are held, in their order, and holds no more. Raises
    /// ``InvalidArgumentError`` where it does not hold.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        told(py, self.core.release())
    }

    /// From now on another producer holds every id: producers are fenced at their next append, and
    /// so is one that restarts.
    fn fence(&self, py: Python<'_>) -> PyResult<()> {
        told(py, self.core.fence())
    }

    /// From now on everything is delivered again, as in the beginning: ends what ``hold``,
    /// ``reject``, ``fence`` and ``fail`` began, and answers what is held.
    fn deliver(&self, py: Python<'_>) -> PyResult<()> {
        told(py, self.core.deliver())
    }

    fn __repr__(&self) -> String {
        format!("Recorder({})", self.core.url())
    }
}
