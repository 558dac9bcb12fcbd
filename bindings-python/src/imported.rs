//! The names that the Rust half takes from Python, looked up when the package is first used.
//!
//! Looked up at its first use, a name would be looked up in the middle of anything: an import lets go
//! of the GIL, and a child forked meanwhile would wait for the end of it for ever.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A name of a Python module.
pub(crate) struct Imported {
    module: &'static str,
    name: &'static str,
    found: PyOnceLock<Py<PyAny>>,
}

impl Imported {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Imported { module, name, found: PyOnceLock::new() }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        self.found.import(py, self.module, self.name)
    }
}

macro_rules! imported {
    ($($constant:ident = $module:literal $name:literal;)*) => {
        $(pub(crate) static $constant: Imported = Imported::new($module, $name);)*

        /// Looks everything up, before anything is opened.
        #[pyfunction]
        pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
            crate::gil::note_interpreter(py);
            $($constant.get(py)?;)*
            Ok(())
        }
    };
}

imported! {
    ENCODE = "durstream._json" "encode";
    ERROR_FROM_JSON = "durstream._errors" "from_json";
    DELIVERY = "durstream._errors" "Delivery";
    FAILURE = "durstream._errors" "Failure";
    INVALID = "durstream._errors" "invalid";
    OUTCOME = "durstream._errors" "Outcome";
    STATE_CHANGE = "durstream._errors" "StateChange";
    LOG = "durstream._log" "log";
    CLOSE_RESULT = "durstream._types" "CloseResult";
    FLUSH_REPORT = "durstream._types" "FlushReport";
    METADATA = "durstream._types" "Metadata";
    IN_EVENT_LOOP = "durstream._wait" "in_event_loop";
    SETTLED = "durstream._wait" "settled";
    JSON_LOADS = "json" "loads";
    THREAD_IDENT = "threading" "get_ident";
}
