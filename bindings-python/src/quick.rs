//! Methods of one argument as CPython calls them quickest: with the argument where the caller has it.
//!
//! PyO3 has such methods from the stable ABI of Python 3.10 on; before, it reads a tuple that is made
//! for each call. So its method stays for every call that is not the usual one, and a quick one
//! stands in front of it.

use std::ffi::{CStr, CString, c_int};
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, PyClass};

/// In the stable ABI from 3.10 on; every CPython from 3.8 on has it with this number.
const METH_FASTCALL: c_int = 0x80;

const PANIC: &str = "a panic was caught at the boundary to Python";

/// What CPython calls: with the object, the arguments and how many they are, and the names of further
/// ones behind those.
pub(crate) type Method = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// The method that PyO3 made.
pub(crate) type Usual = PyOnceLock<Py<PyAny>>;

/// Puts a quick method in front of the one that PyO3 made, with its signature and text.
pub(crate) fn install<T: PyClass>(
    py: Python<'_>,
    name: &'static CStr,
    method: Method,
    usual: &Usual,
) -> PyResult<()> {
    let class = py.get_type::<T>();
    let name_text = name.to_string_lossy();
    let made = class.getattr(&*name_text)?;
    let text = |of: &str| made.getattr(of)?.extract::<String>();
    let doc = format!("{name_text}{}\n--\n\n{}", text("__text_signature__")?, text("__doc__")?);
    let definition = Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            // SAFETY: the flags say what it is.
            PyCFunction: unsafe { transmute::<Method, ffi::PyCFunction>(method) },
        },
        ml_flags: METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: CString::new(doc)?.into_raw(),
    });
    // As long as the class, which never goes.
    let definition = Box::into_raw(definition);
    // SAFETY: both stay, and the GIL is held.
    let quick = unsafe {
        let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(py, made)?
    };
    let _ = usual.set(py, made.unbind());
    class.setattr(&*name_text, quick)
}

/// Answers a call: by `quick` if it is of one argument and `quick` has an answer, else by the method
/// that PyO3 made.
///
/// # Safety
/// CPython called a [`Method`] of `T` with these.
pub(crate) unsafe fn answer<T: PyClass>(
    own: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    usual: &Usual,
    quick: impl FnOnce(&Bound<'_, T>, &Bound<'_, PyAny>) -> Option<PyResult<Py<PyAny>>>,
) -> *mut ffi::PyObject {
    // SAFETY: the GIL is held, as CPython calls.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the caller holds them; CPython has looked that the object is of the class.
    let own = unsafe { Borrowed::from_ptr(py, own).cast_unchecked::<T>() };
    let answer = if count == 1 && names.is_null() {
        // SAFETY: the caller holds it, the one there is.
        let argument = unsafe { Borrowed::from_ptr(py, *arguments) };
        let caught = catch_unwind(AssertUnwindSafe(|| quick(&own, &argument)));
        // Not by the usual method then: part of the work may be done.
        caught.unwrap_or_else(|_| Some(Err(PanicException::new_err((PANIC,)))))
    } else {
        None
    };
    match answer {
        Some(Ok(answer)) => answer.into_ptr(),
        Some(Err(error)) => {
            error.restore(py);
            std::ptr::null_mut()
        }
        // SAFETY: the promise of this function.
        None => unsafe { by_the_usual(&own, arguments, count, names, usual) },
    }
}

/// # Safety
/// The promise of [`answer`].
#[cold]
unsafe fn by_the_usual<T>(
    own: &Bound<'_, T>,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    usual: &Usual,
) -> *mut ffi::PyObject {
    let py = own.py();
    let call = || {
        // SAFETY: the caller holds so many, those with a name included.
        let argument = |n: usize| unsafe { Borrowed::from_ptr(py, *arguments.add(n)) };
        let placed = (0..count as usize).map(|n| argument(n).to_owned());
        let placed = std::iter::once(own.as_any().clone()).chain(placed).collect::<Vec<_>>();
        // SAFETY: a tuple, or nothing.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
        let named = PyDict::new(py);
        if let Some(names) = names {
            for (n, name) in names.cast_into::<PyTuple>()?.iter().enumerate() {
                named.set_item(name, argument(count as usize + n))?;
            }
        }
        let usual = usual.get(py).expect("it was set when the method was made");
        usual.call(py, PyTuple::new(py, placed)?, Some(&named))
    };
    match call() {
        Ok(answer) => answer.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}
