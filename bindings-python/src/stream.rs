//! A stream by its URL.

use durstream_core::DurableStream;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::{Callables, Called};
use crate::errors::raised;
use crate::gil::Inside;
use crate::headers::Headers;
use crate::options::{Pairs, read};
use crate::payload::{self, Bytes, Payload};
use crate::pending::Pending;
use crate::receipt::{closed, metadata, pending_outcome};

/// A stream by its URL, as the core sees it.
#[pyclass(frozen, module = "durstream._durstream")]
pub(crate) struct Stream {
    pub(crate) core: DurableStream,
    /// The functions of its headers, for everything that uses the stream, and its `default`.
    pub(crate) functions: Callables,
    /// Gives what to write for a value of a type that JSON does not know.
    pub(crate) default: Option<Called>,
}

#[pymethods]
impl Stream {
    #[staticmethod]
    fn connect(
        py: Python<'_>,
        options: Pairs,
        headers: Headers,
        params: Pairs,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let _inside = Inside::enter(py);
        let (options, mut functions) = read(py, &options, headers, &params)?;
        let default = default.map(|default| functions.add(py, default)).transpose()?;
        let core = DurableStream::connect(options).map_err(|error| raised(py, &error))?;
        Ok(Stream { core, functions, default })
    }

    #[staticmethod]
    fn create(
        py: Python<'_>,
        options: Pairs,
        headers: Headers,
        params: Pairs,
        body: Option<Bound<'_, PyAny>>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Pending> {
        let _inside = Inside::enter(py);
        let (options, mut functions) = read(py, &options, headers, &params)?;
        let default = default.map(|default| functions.add(py, default)).transpose()?;
        let stream = DurableStream::connect(options.clone()).map_err(|error| raised(py, &error))?;
        let body = match body {
            None => Vec::new(),
            Some(body) => {
                let body = payload::message(&body, stream.is_json(), default.as_ref())?;
                bytes(&stream, py, body)?.to_vec()
            }
        };
        let created = DurableStream::create(options, body);
        Ok(Pending::new("create", created, move |py, core| {
            let mut own = Callables::default();
            own.share(py, &functions);
            let default = default.as_ref().map(|default| default.clone_ref(py));
            Ok(Py::new(py, Stream { core, functions: own, default })?.into_any())
        }))
    }

    #[getter]
    fn url(&self) -> &str {
        self.core.url()
    }

    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.core.content_type()
    }

    fn head(&self, py: Python<'_>) -> Pending {
        Pending::calling("head", self.core.head(), self.asked(py), metadata)
    }

    /// Appends a message, with a `Stream-Seq` where there is one.
    fn append(&self, message: &Bound<'_, PyAny>, seq: Option<&str>) -> PyResult<Pending> {
        let py = message.py();
        let _inside = Inside::enter(py);
        self.append_payload(
            py,
            payload::message(message, self.takes_values(), self.default.as_ref())?,
            seq,
        )
    }

    /// Appends a value as JSON, text included, with a `Stream-Seq` if there is one.
    fn append_json(&self, value: &Bound<'_, PyAny>, seq: Option<&str>) -> PyResult<Pending> {
        let py = value.py();
        let _inside = Inside::enter(py);
        self.append_payload(py, payload::encoded(value, self.default.as_ref())?, seq)
    }

    fn close(&self, py: Python<'_>, message: Option<Bound<'_, PyAny>>) -> PyResult<Pending> {
        let _inside = Inside::enter(py);
        let message = match &message {
            Some(message) => {
                Some(payload::message(message, self.takes_values(), self.default.as_ref())?)
            }
            None => None,
        };
        let message = message.map(|given| bytes(&self.core, py, given)).transpose()?;
        let message = message.as_deref();
        Ok(Pending::calling("close", self.core.close(message), self.asked(py), closed))
    }

    fn delete(&self, py: Python<'_>) -> Pending {
        let deleted = self.core.delete();
        Pending::calling("delete", deleted, self.asked(py), |py, ()| Ok(py.None()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.functions.traverse(&visit)
    }
}

impl Stream {
    /// Whether values may be appended, as JSON.
    pub(crate) fn takes_values(&self) -> bool {
        self.core.takes_values()
    }

    fn append_payload(
        &self,
        py: Python<'_>,
        message: Payload<'_>,
        seq: Option<&str>,
    ) -> PyResult<Pending> {
        let message = bytes(&self.core, py, message)?;
        let appended = match seq {
            None => self.core.append(&*message),
            Some(seq) => self.core.append_with_seq(&*message, seq),
        };
        Ok(pending_outcome(appended, self.asked(py)))
    }

    /// The header functions of a request, held for as long as it takes.
    pub(crate) fn asked(&self, py: Python<'_>) -> Callables {
        let mut asked = Callables::default();
        asked.share(py, &self.functions);
        asked
    }
}

/// The bytes of a message, or the error for a value that has none.
fn bytes<'a>(stream: &DurableStream, py: Python<'_>, given: Payload<'a>) -> PyResult<Bytes<'a>> {
    given.map_err(|why| raised(py, &stream.unserialisable(&why)))
}
