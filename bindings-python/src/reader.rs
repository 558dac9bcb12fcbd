//! Reading a stream, and its chunks.

use durstream_core::{Error, StreamReader};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::Callables;
use crate::errors::raised;
use crate::gil::Inside;
use crate::imported;
use crate::pending::Pending;
use crate::stream::Stream;

/// The half of ``durstream.StreamReader`` that is the core's.
#[pyclass(subclass, frozen, module = "durstream._durstream")]
pub(crate) struct Reader {
    core: StreamReader,
    /// The functions of its stream.
    functions: Callables,
}

impl Reader {
    /// Looks at the reader; one of the parent's process is refused.
    fn look<T>(&self, py: Python<'_>, look: impl FnOnce(&StreamReader) -> T) -> PyResult<T> {
        match self.core.is_inherited() {
            true => Err(raised(py, &Error::forked("this reader"))),
            false => Ok(look(&self.core)),
        }
    }
}

#[pymethods]
impl Reader {
    #[new]
    fn new(py: Python<'_>, stream: &Stream, offset: Option<&str>, live: &str) -> PyResult<Self> {
        let _inside = Inside::enter(py);
        let core = stream.core.read_live(offset, live).map_err(|error| raised(py, &error))?;
        let functions = stream.asked(py);
        Ok(Reader { core, functions })
    }

    /// The next chunk, or None at the present end of the stream; a later call asks the server
    /// again. Blocks for at most ``timeout`` seconds; Ctrl-C interrupts it. A chunk that comes
    /// after the wait was given up is the next call's.
    #[pyo3(signature = (timeout=None))]
    fn next_chunk(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let _inside = Inside::enter(py);
        self._next(py)?.wait_within(py, timeout)
    }

    fn __iter__(reader: PyRef<'_, Self>) -> PyRef<'_, Self> {
        reader
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let chunk = self.next_chunk(py, None)?;
        Ok((!chunk.is_none(py)).then_some(chunk))
    }

    fn _next(&self, py: Python<'_>) -> PyResult<Pending> {
        let next = self.look(py, StreamReader::next_chunk)?;
        Ok(Pending::new("the read", next, |py, chunk| match chunk {
            Some(core) => Ok(Py::new(py, Chunk::new(core))?.into_any()),
            None => Ok(py.None()),
        }))
    }

    /// The offset for a later read, opaque; None before anything was read from the start.
    #[getter]
    fn offset(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.look(py, |reader| reader.offset().map(|offset| offset.to_string()))
    }

    /// Whether the reader has reached the present end.
    #[getter(up_to_date)]
    fn is_up_to_date(&self, py: Python<'_>) -> PyResult<bool> {
        self.look(py, StreamReader::up_to_date)
    }

    /// Whether the stream has ended and the reader has reached its end.
    #[getter(stream_closed)]
    fn is_stream_closed(&self, py: Python<'_>) -> PyResult<bool> {
        self.look(py, StreamReader::stream_closed)
    }

    fn __repr__(&self) -> String {
        match self.core.is_inherited() {
            true => "StreamReader(of the parent process)".to_owned(),
            false => format!("{:?}", self.core),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.functions.traverse(&visit)
    }
}

/// A part of a stream, from one answer of the server. Never empty.
#[pyclass(frozen, module = "durstream")]
pub(crate) struct Chunk {
    core: durstream_core::Chunk,
    /// The bytes as a Python object, once Python asked.
    data: PyOnceLock<Py<PyBytes>>,
}

impl Chunk {
    pub(crate) fn new(core: durstream_core::Chunk) -> Self {
        Chunk { core, data: PyOnceLock::new() }
    }
}

#[pymethods]
impl Chunk {
    /// The bytes; on a JSON stream an array of messages, or one message a line.
    #[getter]
    fn data<'py>(&'py self, py: Python<'py>) -> &'py Bound<'py, PyBytes> {
        let made = || PyBytes::new(py, &self.core.data).unbind();
        self.data.get_or_init(py, made).bind(py)
    }

    /// The offset behind it: opaque, to be kept and given to a later ``read``.
    #[getter]
    fn offset(&self) -> &str {
        &self.core.offset
    }

    /// Whether the stream had nothing behind it.
    #[getter(up_to_date)]
    fn is_up_to_date(&self) -> bool {
        self.core.up_to_date
    }

    /// Whether the stream ends with it.
    #[getter(stream_closed)]
    fn is_stream_closed(&self) -> bool {
        self.core.stream_closed
    }

    /// The messages of a JSON stream as Python values. Whole numbers are exact, however large.
    ///
    /// Raises ``NotSupportedError`` on a stream that is not JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = Inside::enter(py);
        let array = self.core.json_array().map_err(|error| raised(py, &error))?;
        let text = PyString::new(py, &array);
        drop(array); // Python has its own while the values are made
        imported::JSON_LOADS.get(py)?.call1((text,))
    }

    /// The bytes as text.
    ///
    /// Raises ``UnicodeDecodeError`` if they are no UTF-8: the end of a chunk may fall within a
    /// character if that of a writer's message did.
    fn text<'py>(&'py self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.data(py).call_method1("decode", ("utf-8",))
    }

    fn __repr__(&self) -> String {
        format!("Chunk({} bytes to {:?})", self.core.data.len(), self.core.offset)
    }
}
