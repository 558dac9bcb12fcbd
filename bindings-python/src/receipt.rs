//! The receipt of a write: its number, its outcome where that is known, and ways to wait for it.
//! And the small results of other calls.

use std::sync::Mutex;
use std::time::Duration;

use durstream_core::{ErrorKind, FlushReport, Outcome, Receipts};
use pyo3::prelude::*;

use crate::callable::Callables;
use crate::errors::{exception, raised};
use crate::gil::Inside;
use crate::imported;
use crate::pending::Pending;

/// The outcome as `durstream.Outcome`.
pub(crate) fn outcome<'py>(py: Python<'py>, outcome: &Outcome) -> PyResult<Bound<'py, PyAny>> {
    let error = outcome.error.as_ref().map(|error| exception(py, error)).transpose()?;
    imported::OUTCOME.get(py)?.call1((
        outcome.status.as_str(),
        outcome.reason.map(|reason| reason.as_str()),
        outcome.duplicate,
        outcome.maybe_duplicate,
        outcome.attempts,
        outcome.offset.as_deref(),
        error,
    ))
}

/// The report of a flush, as `durstream.FlushReport`.
pub(crate) fn report(py: Python<'_>, report: FlushReport) -> PyResult<Py<PyAny>> {
    let class = imported::FLUSH_REPORT.get(py)?;
    let FlushReport { delivered, duplicates, uncertain, refused, .. } = report;
    Ok(class.call1((delivered, duplicates, uncertain, refused))?.unbind())
}

/// The result of ending a stream, as `durstream.CloseResult`.
pub(crate) fn closed(py: Python<'_>, closed: durstream_core::CloseResult) -> PyResult<Py<PyAny>> {
    let class = imported::CLOSE_RESULT.get(py)?;
    Ok(class.call1((closed.final_offset.as_deref(),))?.unbind())
}

/// A stream's metadata, as `durstream.Metadata`.
pub(crate) fn metadata(py: Python<'_>, found: durstream_core::Metadata) -> PyResult<Py<PyAny>> {
    let class = imported::METADATA.get(py)?;
    let found = class.call1((
        found.exists,
        found.content_type.as_deref(),
        found.offset.as_deref(),
        found.stream_closed,
        found.ttl_seconds,
        found.expires_at.as_deref(),
    ))?;
    Ok(found.unbind())
}

pub(crate) fn pending_outcome(
    pending: durstream_core::Pending<Outcome>,
    called: Callables,
) -> Pending {
    Pending::calling(
        "the write",
        pending,
        called,
        |py, settled| Ok(outcome(py, &settled)?.unbind()),
    )
}

/// The receipt of one write: ``wait`` for its outcome, or ``await`` it.
#[pyclass(frozen, module = "durstream")]
pub(crate) struct Receipt {
    receipts: Receipts,
    written: durstream_core::Receipt,
    /// The wait that `outcome` polls, so that asking often costs one wait.
    looked: Mutex<Looked>,
}

enum Looked {
    Not,
    Waiting(durstream_core::Pending<Outcome>),
    Settled(Outcome),
}

impl Receipt {
    pub(crate) fn new(receipts: Receipts, written: durstream_core::Receipt) -> Self {
        Receipt { receipts, written, looked: Mutex::new(Looked::Not) }
    }

    fn pending(&self) -> durstream_core::Pending<Outcome> {
        self.receipts.wait(self.written.id())
    }

    /// The outcome of an accepted write, if it is settled.
    fn look(&self) -> Option<durstream_core::Result<Outcome>> {
        let mut looked = self.looked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut pending = match std::mem::replace(&mut *looked, Looked::Not) {
            Looked::Not => self.pending(),
            Looked::Waiting(pending) => pending,
            Looked::Settled(settled) => {
                *looked = Looked::Settled(settled.clone());
                return Some(Ok(settled));
            }
        };
        let result = pending.wait_for(Duration::ZERO);
        match &result {
            None => *looked = Looked::Waiting(pending),
            Some(Ok(settled)) => *looked = Looked::Settled(settled.clone()),
            Some(Err(_)) => {}
        }
        result
    }
}

#[pymethods]
impl Receipt {
    /// The number of the write, from 1 in call order; 0 if it was not accepted.
    #[getter]
    fn id(&self) -> u64 {
        self.written.id()
    }

    /// Whether the write was accepted. If not, ``outcome`` says why.
    #[getter(accepted)]
    fn is_accepted(&self) -> bool {
        self.written.is_accepted()
    }

    /// The outcome if the write is settled or was not accepted, else None.
    #[getter(outcome)]
    fn known_outcome<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let _inside = Inside::enter(py);
        if let Some(refusal) = self.written.refusal() {
            return outcome(py, refusal).map(Some);
        }
        match self.look() {
            None => Ok(None),
            Some(Ok(settled)) => outcome(py, &settled).map(Some),
            // Inside a callback nothing waits, not even for no time.
            Some(Err(error)) if error.kind() == ErrorKind::NotSupported => Ok(None),
            Some(Err(error)) => Err(raised(py, &error)),
        }
    }

    /// Blocks until the outcome is there, at most ``timeout`` seconds. Ctrl-C interrupts it.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let _inside = Inside::enter(py);
        match self.written.refusal() {
            Some(refusal) => Ok(outcome(py, refusal)?.unbind()),
            None => pending_outcome(self.pending(), Callables::default()).wait_within(py, timeout),
        }
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = Inside::enter(py);
        let awaited = imported::SETTLED.get(py)?;
        let coroutine = match self.written.refusal() {
            Some(refusal) => awaited.call1((py.None(), outcome(py, refusal)?))?,
            None => {
                let pending = pending_outcome(self.pending(), Callables::default());
                awaited.call1((pending, py.None()))?
            }
        };
        coroutine.call_method0("__await__")
    }

    fn __repr__(&self) -> String {
        match self.written.refusal().and_then(|refusal| refusal.error.as_ref()) {
            Some(error) => format!("Receipt(refused: {error})"),
            None => format!("Receipt({})", self.written.id()),
        }
    }
}
