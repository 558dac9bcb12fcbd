//! Python's text as UTF-8, not copied where it lies there as such.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// The text in UTF-8; a lone surrogate has none.
#[cfg(not(windows))]
pub(crate) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
    use pyo3::ffi::{Py_ssize_t, PyObject};
    use std::ffi::c_char;

    unsafe extern "C" {
        // In the stable ABI from 3.10 on; every CPython before has it under the same name, only
        // the list of 3.9's stable ABI does not, nor does that version's python3.dll.
        fn PyUnicode_AsUTF8AndSize(text: *mut PyObject, size: *mut Py_ssize_t) -> *const c_char;
    }

    let mut size = 0;
    // SAFETY: the thread has the GIL, as `text` shows, which is a `str`.
    let bytes = unsafe { PyUnicode_AsUTF8AndSize(text.as_ptr(), &mut size) };
    if bytes.is_null() {
        return Err(PyErr::fetch(text.py()));
    }
    // SAFETY: that many bytes, in UTF-8, which stay as long as the `str`, and it never changes.
    Ok(Cow::Borrowed(unsafe {
        std::str::from_utf8_unchecked(std::slice::from_raw_parts(bytes.cast(), size as usize))
    }))
}

/// The text in UTF-8; a lone surrogate has none.
#[cfg(windows)]
pub(crate) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
    text.to_cow()
}
