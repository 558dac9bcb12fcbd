//! What the Python handles of both producers have in common.

use std::sync::atomic::{AtomicBool, Ordering};

use durstream_core::{
    Error, Pending as CorePending, Producer, Receipt as Written, Snapshot, Stats,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::callable::Callables;
use crate::dispatcher;
use crate::errors::{exception, raised};
use crate::pending::Pending;
use crate::receipt::{Receipt, pending_outcome, report};
use crate::stats::{entries, exposition};

/// A producer of the core, as Python holds it.
pub(crate) struct Handle<P> {
    pub(crate) core: P,
    /// Its callbacks, its `default`, and the functions of its headers.
    pub(crate) callables: Callables,
    /// Whether every write is reported to a callable, those that were delivered, too.
    hears_all: bool,
    /// Whether a call has said how it ends.
    let_go: AtomicBool,
}

impl<P: Producer> Handle<P> {
    pub(crate) fn new(core: P, callables: Callables, hears_all: bool) -> Self {
        Handle { core, callables, hears_all, let_go: AtomicBool::new(false) }
    }

    /// The producer, for a call that says how it ends.
    pub(crate) fn ending(&self) -> &P {
        self.let_go.store(true, Ordering::Relaxed);
        &self.core
    }

    /// The producer, for a call that a forked child cannot make.
    pub(crate) fn own(&self, py: Python<'_>) -> PyResult<&P> {
        match self.core.is_inherited() {
            true => Err(raised(py, &Error::forked("this producer"))),
            false => Ok(&self.core),
        }
    }

    pub(crate) fn receipt(
        &self,
        py: Python<'_>,
        written: Result<Written, Error>,
    ) -> PyResult<Receipt> {
        let written = written.map_err(|error| raised(py, &error))?;
        Ok(Receipt::new(self.core.receipts(), written))
    }

    pub(crate) fn flush(&self) -> Pending {
        Pending::new("flush", self.core.flush(), report)
    }

    pub(crate) fn ready(&self) -> Pending {
        Pending::new("wait_ready", self.core.ready(), |py, ()| Ok(py.None()))
    }

    pub(crate) fn restart(&self) -> Pending {
        Pending::new("restart", self.core.restart(), |py, ()| Ok(py.None()))
    }

    pub(crate) fn discard_outbox(&self) -> Pending {
        Pending::new("discard_outbox", self.ending().discard_outbox(), |py, count| {
            Ok(count.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// The wait for the last write accepted so far; takes nothing from the report of a flush.
    pub(crate) fn last(&self) -> Option<Pending> {
        let last = self.core.stats().accepted;
        (last > 0).then(|| pending_outcome(self.core.wait(last), Callables::default()))
    }

    pub(crate) fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.own(py).map(Producer::snapshot)
    }

    pub(crate) fn last_error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.snapshot(py)?.last_error.as_ref().map(|error| exception(py, error)).transpose()
    }

    pub(crate) fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        entries(py, &self.own(py)?.stats())
    }

    pub(crate) fn stats_prometheus(&self, py: Python<'_>, openmetrics: bool) -> PyResult<String> {
        Ok(self.own(py)?.stats_prometheus(exposition(openmetrics)))
    }

    /// Writes left pending by a handle that no call has ended.
    pub(crate) fn left_pending(&self) -> u64 {
        match self.let_go.load(Ordering::Relaxed) {
            true => 0,
            false => self.core.snapshot().buffered_writes,
        }
    }

    /// Shows the garbage collector the callables. Not while writes need them: those came with the
    /// GIL held, so that within one collection this only goes from not shown to shown.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.callables.is_empty() && self.core.stats().pending > 0 {
            return Ok(());
        }
        self.callables.traverse(visit)
    }

    /// Keeps the callables of a handle that is gone until its writes are settled and reported, if
    /// any are to be: of those that were delivered, only where they are reported.
    pub(crate) fn keep<T: Send + 'static>(&mut self, settled: CorePending<T>) {
        let Stats { accepted, delivered, .. } = self.core.stats();
        let told = if self.hears_all { 0 } else { delivered };
        if accepted > told && !self.callables.is_empty() {
            let callables = std::mem::take(&mut self.callables);
            settled.on_dispatcher(move |_| dispatcher::with_python(|_| drop(callables)));
        }
    }
}
