//! Time limits, in seconds as Python gives them.

use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::invalid;

/// The longest limit in seconds; a longer one is none.
const LONGEST: f64 = 1e9;

/// A limit that may be none, as `None` and infinity are.
pub(crate) fn limit(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds >= LONGEST => Ok(None),
        Some(seconds) => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| {
            invalid(py, "timeout", format!("`timeout` takes seconds from 0 on, not {seconds}"))
        }),
    }
}

/// A limit where the core wants one.
pub(crate) fn limit_or_longest(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Ok(limit(py, Some(seconds))?.unwrap_or(Duration::from_secs(LONGEST as u64)))
}
