//! The core's errors as the exceptions of `durstream._errors`, which are Python classes: the
//! stable ABI of Python 3.9 cannot subclass exceptions.

use durstream_core::Error;
use pyo3::prelude::*;

use crate::imported;

/// The exception of an error, to hand over.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let build = imported::ERROR_FROM_JSON.get(py)?;
    build.call1((error.to_json().to_string(),))
}

/// The exception of an error, to raise.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|failure| failure, PyErr::from_value)
}

/// An argument that never reached the core, as `InvalidArgumentError`.
pub(crate) fn invalid(py: Python<'_>, argument: &str, text: String) -> PyErr {
    let build = imported::INVALID.get(py);
    let built = build.and_then(|build| build.call1((argument, text)));
    built.map_or_else(|failure| failure, PyErr::from_value)
}
