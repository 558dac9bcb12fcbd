//! Settled batches on their way to a Python callable that makes spans of them.

use std::time::{SystemTime, UNIX_EPOCH};

use durstream_core::{FinishedBatch, TraceContext};
use pyo3::prelude::*;

use crate::{dispatcher, stats};

/// Has a callable receive each settled batch of a producer with the option `trace`, on the dispatcher
/// thread: its name, when it began and ended in nanoseconds since 1970, attributes, the contexts of its
/// writes, and why it was not delivered. The last callable counts.
#[pyfunction]
pub(crate) fn set_batch_observer(observer: Py<PyAny>) {
    durstream_core::set_batch_observer(move |batch| {
        dispatcher::with_python(|py| {
            if let Err(error) = tell(py, &observer, &batch) {
                dispatcher::report(py, error, Some(observer.bind(py)));
            }
        });
    });
}

fn tell(py: Python<'_>, observer: &Py<PyAny>, batch: &FinishedBatch) -> PyResult<()> {
    let context = |own: &TraceContext| (own.traceparent.clone(), own.tracestate.clone());
    let links: Vec<_> = batch.links.iter().map(context).collect();
    let (began, ended) = (nanoseconds(batch.started), nanoseconds(batch.ended));
    let attributes = stats::attributes(py, &batch.attributes)?;
    observer.call1(py, (&*batch.name, began, ended, attributes, links, batch.error.as_deref()))?;
    Ok(())
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
