//! Headers: values, and functions that give them on the dispatcher thread.

use std::sync::{Arc, Mutex};

use durstream_core::{HeaderAnswer, HeaderFn};
use pyo3::prelude::*;

use crate::callable::Called;
use crate::dispatcher;
use crate::gil::Inside;

/// A header's value, or the function that is called with an `Answer` for it.
#[derive(FromPyObject)]
pub(crate) enum Header {
    Value(String),
    Function(Py<PyAny>),
}

/// Headers by name, as `durstream._options` writes them.
pub(crate) type Headers = Vec<(String, Header)>;

/// The function as the core calls it.
pub(crate) fn asking(called: Called) -> HeaderFn {
    Arc::new(move |answer| dispatcher::with_python(|py| ask(py, &called, answer)))
}

fn ask(py: Python<'_>, called: &Called, answer: HeaderAnswer) {
    let Some(function) = called.get(py) else { return };
    let answer = Py::new(py, Answer(Mutex::new(Some(answer))));
    if let Err(error) = answer.and_then(|answer| function.call1((answer,))) {
        dispatcher::report(py, error, Some(&function));
    }
}

/// Takes the value of a header's function, once, from any thread. Dropped without one, it fails.
#[pyclass(frozen, name = "HeaderAnswer", module = "durstream._durstream")]
pub(crate) struct Answer(Mutex<Option<HeaderAnswer>>);

impl Answer {
    fn take(&self) -> Option<HeaderAnswer> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

#[pymethods]
impl Answer {
    /// The value for this request.
    fn give(&self, py: Python<'_>, value: String) {
        let _inside = Inside::enter(py);
        if let Some(answer) = self.take() {
            answer.give(value);
        }
    }

    /// Says that there is no value now, and why.
    fn fail(&self, py: Python<'_>, why: String) {
        let _inside = Inside::enter(py);
        if let Some(answer) = self.take() {
            answer.fail(why);
        }
    }
}
