//! The whole process: its start, its end, and its children.

use std::time::Duration;

use durstream_core::ErrorKind;
use pyo3::prelude::*;

use crate::errors::raised;
use crate::gil::{self, Inside};
use crate::limit::limit_or_longest;
use crate::pending::Pending;
use crate::{dispatcher, log};

/// Prepares the process for its first open: sends the core's warnings to `logging`.
#[pyfunction]
pub(crate) fn start() {
    log::install();
    durstream_core::set_exit_timeout(Duration::ZERO); // `_process.py` has an end of its own
}

/// Stops everything within a limit in seconds.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let _inside = Inside::enter(py);
    let limit = limit_or_longest(py, timeout)?;
    let stopped = gil::detach(py, || durstream_core::shutdown(limit));
    stopped.map_err(|error| raised(py, &error))
}

/// The last step before the interpreter finalises: no callback reaches Python after it.
#[pyfunction]
pub(crate) fn end(py: Python<'_>) {
    dispatcher::end(py);
}

/// Waits until every write of this process is settled.
#[pyfunction]
pub(crate) fn flush_all(py: Python<'_>, timeout: f64) -> PyResult<Pending> {
    let limit = limit_or_longest(py, timeout)?;
    Ok(Pending::new("flush_all", durstream_core::flush_all(limit), |py, ()| Ok(py.None())))
}

/// Writes of this process accepted and not settled.
#[pyfunction]
pub(crate) fn pending_count() -> u64 {
    durstream_core::pending_count()
}

/// Bounds the bytes that all producers of this process together buffer.
#[pyfunction]
pub(crate) fn set_buffer_budget(bytes: u64) {
    durstream_core::set_buffer_budget(bytes);
}

/// Called in the child after a fork.
#[pyfunction]
pub(crate) fn in_forked_child() {
    dispatcher::forked();
    gil::forked();
}

/// Every kind of error as (class, code).
#[pyfunction]
pub(crate) fn error_classes() -> Vec<(&'static str, &'static str)> {
    ErrorKind::ALL.iter().map(|kind| (kind.class_name(), kind.code())).collect()
}
