//! A message on its way in: text and bytes as they are, any other value as JSON.

use std::borrow::Cow;
use std::ops::Deref;

use pyo3::exceptions::{PyOverflowError, PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use crate::callable::Called;
use crate::imported;
use crate::json;
use crate::utf8::utf8;

/// The bytes of a message.
pub(crate) enum Bytes<'a> {
    Given(Cow<'a, [u8]>),
    Python(Bound<'a, PyBytes>),
    /// JSON that this module wrote, and needs no check.
    Written(Vec<u8>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Given(bytes) => bytes,
            Bytes::Python(bytes) => bytes.as_bytes(),
            Bytes::Written(bytes) => bytes,
        }
    }
}

impl Bytes<'_> {
    /// For a thread that lets go of the GIL meanwhile; and whether this module wrote them.
    pub(crate) fn shared(&self) -> (&[u8], bool) {
        (self, matches!(self, Bytes::Written(_)))
    }
}

/// The bytes of a message, or why it has none.
pub(crate) type Payload<'a> = Result<Bytes<'a>, String>;

/// A message as `append` takes it: text and bytes as they are, other values as JSON, by `encoded`.
pub(crate) fn message<'a>(
    value: &'a Bound<'_, PyAny>,
    json: bool,
    default: Option<&Called>,
) -> PyResult<Payload<'a>> {
    if let Some(serialised) = serialised(value)? {
        return Ok(serialised);
    }
    if json {
        return encoded(value, default);
    }
    let given = value.get_type().name()?;
    Ok(Err(format!("this stream holds no JSON: it takes str or bytes, not {given}")))
}

/// The bytes of a message that is text, bytes or a plain value; none if it needs a closer look.
pub(crate) fn usual<'a>(value: &'a Bound<'_, PyAny>, json: bool) -> Option<Bytes<'a>> {
    if let Ok(text) = value.cast::<PyString>() {
        return utf8(text).ok().map(|text| Bytes::Given(bytes_of(text)));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(Bytes::Given(bytes.as_bytes().into()));
    }
    if json { json::text(value).map(Bytes::Written) } else { None }
}

/// The bytes of a value that is text or bytes already.
fn serialised<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Option<Payload<'a>>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Some(Ok(Bytes::Given(bytes.as_bytes().into()))));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Some(text_of(text).map(|text| Bytes::Given(bytes_of(text)))));
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        // Copied: the stable ABI of Python 3.9 has no buffers.
        let py = value.py();
        return match py.get_type::<PyBytes>().call1((value,)) {
            Ok(copied) => Ok(Some(Ok(Bytes::Python(copied.cast_into()?)))),
            Err(error) if is_refusal(py, &error) => Ok(Some(Err(error.value(py).to_string()))),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

/// Text in UTF-8, or why it has none.
pub(crate) fn text_of<'a>(text: &'a Bound<'_, PyString>) -> Result<Cow<'a, str>, String> {
    utf8(text).map_err(|error| error.value(text.py()).to_string())
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A value as JSON, text included. `default` is asked about values of unknown types.
pub(crate) fn encoded<'a>(
    value: &'a Bound<'_, PyAny>,
    default: Option<&Called>,
) -> PyResult<Payload<'a>> {
    if let Some(text) = json::text(value) {
        return Ok(Ok(Bytes::Written(text)));
    }
    let py = value.py();
    let encode = imported::ENCODE.get(py)?;
    match encode.call1((value, default.and_then(|default| default.get(py)))) {
        Ok(bytes) => Ok(Ok(Bytes::Python(bytes.cast_into()?))),
        Err(error) if is_refusal(py, &error) => Ok(Err(error.value(py).to_string())),
        Err(error) => Err(error),
    }
}

/// Whether the exception says that JSON cannot hold the value.
fn is_refusal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyRecursionError>(py)
        || error.is_instance_of::<PyOverflowError>(py)
}
