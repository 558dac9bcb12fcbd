//! `on_error`: a Python callable called on the dispatcher thread.

use std::sync::{Arc, Mutex, MutexGuard};

use durstream_core::{ErrorCallback, Failure};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use pyo3::{PyTraverseError, PyVisit};

use crate::dispatcher;
use crate::errors::{exception, invalid};
use crate::receipt::outcome;

static FAILURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The callable, shared with the core, and shown to the garbage collector by the handle: it
/// mostly refers to the handle itself.
#[derive(Clone)]
pub(crate) struct Callback(Arc<Mutex<Option<Py<PyAny>>>>);

impl Callback {
    pub(crate) fn new(callable: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        if let Some(callable) = &callable
            && !callable.is_callable()
        {
            let text = "`on_error` takes a callable".to_owned();
            return Err(invalid(callable.py(), "on_error", text));
        }
        Ok(Callback(Arc::new(Mutex::new(callable.map(Bound::unbind)))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What the core calls; none without a callable.
    pub(crate) fn for_core(&self) -> Option<ErrorCallback> {
        self.lock().as_ref()?;
        let slot = self.clone();
        Some(Arc::new(move |failure| {
            dispatcher::with_python(|py| slot.call(py, failure));
        }))
    }

    fn call(&self, py: Python<'_>, failure: Failure) {
        let Some(callable) = self.lock().as_ref().map(|callable| callable.clone_ref(py)) else {
            return;
        };
        let called = error_of(py, &failure).and_then(|error| callable.call1(py, (error,)));
        if let Err(error) = called {
            dispatcher::report(py, error, Some(callable.bind(py)));
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock() {
            Ok(slot) => slot.as_ref().map_or(Ok(()), |callable| visit.call(callable)),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        let callable = self.lock().take();
        drop(callable);
    }
}

/// The exception with what was not written as its `failure`.
fn error_of<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyAny>> {
    let error = exception(py, &failure.error)?;
    let payload = PyBytes::new(py, &failure.payload);
    let class = FAILURE.import(py, "durstream._types", "Failure")?;
    error
        .setattr("failure", class.call1((failure.id, payload, outcome(py, &failure.outcome)?))?)?;
    Ok(error)
}
