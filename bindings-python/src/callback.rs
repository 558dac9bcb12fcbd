//! `on_error`: a Python callable called on the dispatcher thread.

use std::sync::Arc;

use durstream_core::{Callbacks, Failure};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::callable::{Callables, Called};
use crate::dispatcher;
use crate::errors::{exception, invalid};
use crate::imported;
use crate::receipt::outcome;

/// The core's callback for a Python `on_error`.
pub(crate) fn on_error(
    callable: Option<Bound<'_, PyAny>>,
    callables: &mut Callables,
) -> PyResult<Callbacks> {
    let Some(callable) = callable else { return Ok(Callbacks::default()) };
    if !callable.is_callable() {
        let text = "`on_error` takes a callable".to_owned();
        return Err(invalid(callable.py(), "on_error", text));
    }
    let called = callables.add(callable.py(), callable.unbind())?;
    let call = move |failure| dispatcher::with_python(|py| call(py, &called, failure));
    Ok(Callbacks { on_error: Some(Arc::new(call)), ..Callbacks::default() })
}

fn call(py: Python<'_>, called: &Called, failure: Failure) {
    let Some(callable) = called.get(py) else { return };
    let called = error_of(py, &failure).and_then(|error| callable.call1((error,)));
    if let Err(error) = called {
        dispatcher::report(py, error, Some(&callable));
    }
}

/// The exception, with the undelivered write as its `failure`.
fn error_of<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyAny>> {
    let error = exception(py, &failure.error)?;
    let payload = PyBytes::new(py, &failure.payload);
    let class = imported::FAILURE.get(py)?;
    error
        .setattr("failure", class.call1((failure.id, payload, outcome(py, &failure.outcome)?))?)?;
    Ok(error)
}
