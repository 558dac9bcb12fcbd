//! `on_error`, `on_delivery` and `on_state`: Python callables called on the dispatcher thread.

use std::sync::Arc;

use durstream_core::{Callbacks, Delivery, Failure, StateChange};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::callable::{Callables, Called};
use crate::dispatcher;
use crate::errors::{exception, invalid};
use crate::imported;
use crate::receipt::outcome;

/// The callables `on_error`, `on_delivery` and `on_state`.
pub(crate) type Given<'py> =
    (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// The core's callbacks for Python callables, and whether every write is reported to one.
pub(crate) fn callbacks(
    given: Given<'_>,
    callables: &mut Callables,
) -> PyResult<(Callbacks, bool)> {
    let (on_error, on_delivery, on_state) = given;
    let mut callbacks = Callbacks::default();
    if let Some(called) = owned("on_error", on_error, callables)? {
        callbacks.on_error = Some(Arc::new(move |failure: Failure| {
            tell(&called, |py| error_of(py, &failure));
        }));
    }
    if let Some(called) = owned("on_delivery", on_delivery, callables)? {
        callbacks.on_delivery = Some(Arc::new(move |delivery: Delivery| {
            tell(&called, |py| delivery_of(py, &delivery));
        }));
    }
    if let Some(called) = owned("on_state", on_state, callables)? {
        callbacks.on_state = Some(Arc::new(move |change: StateChange| {
            tell(&called, |py| change_of(py, &change));
        }));
    }
    let hears_all = callbacks.on_delivery.is_some();
    Ok((callbacks, hears_all))
}

/// A callable that its handle owns from here on.
fn owned(
    name: &str,
    callable: Option<Bound<'_, PyAny>>,
    callables: &mut Callables,
) -> PyResult<Option<Called>> {
    let Some(callable) = callable else { return Ok(None) };
    if !callable.is_callable() {
        return Err(invalid(callable.py(), name, format!("`{name}` takes a callable")));
    }
    callables.add(callable.py(), callable.unbind()).map(Some)
}

/// Calls a callable with what it is told, unless its handle is gone.
fn tell(called: &Called, what: impl FnOnce(Python<'_>) -> PyResult<Bound<'_, PyAny>>) {
    dispatcher::with_python(|py| {
        let Some(callable) = called.get(py) else { return };
        if let Err(error) = what(py).and_then(|what| callable.call1((what,))) {
            dispatcher::report(py, error, Some(&callable));
        }
    });
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

fn delivery_of<'py>(py: Python<'py>, delivery: &Delivery) -> PyResult<Bound<'py, PyAny>> {
    let outcome = outcome(py, &delivery.outcome)?;
    imported::DELIVERY.get(py)?.call1((delivery.first_id, delivery.count, outcome))
}

fn change_of<'py>(py: Python<'py>, change: &StateChange) -> PyResult<Bound<'py, PyAny>> {
    let error = change.error.as_ref().map(|error| exception(py, error)).transpose()?;
    imported::STATE_CHANGE.get(py)?.call1((change.from.as_str(), change.to.as_str(), error))
}
