//! Counters and measures, as dicts and as text.

use durstream_core::{AttributeValue, Exposition, MetricKind, Reason, Signal, Stats};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Everything that a producer counts and measures, by name.
pub(crate) fn entries<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let entries = PyDict::new(py);
    for (name, value) in stats.entries() {
        entries.set_item(name, value)?;
    }
    for (name, found) in stats.distributions() {
        let distribution = PyDict::new(py);
        for (name, value) in found.entries() {
            distribution.set_item(name, value)?;
        }
        entries.set_item(name, distribution)?;
    }
    let undelivered = PyDict::new(py);
    for reason in Reason::ALL {
        let count = stats.undelivered(*reason);
        if count > 0 {
            undelivered.set_item(reason.as_str(), count)?;
        }
    }
    entries.set_item("undelivered", undelivered)?;
    Ok(entries)
}

pub(crate) fn exposition(openmetrics: bool) -> Exposition {
    if openmetrics { Exposition::OpenMetrics } else { Exposition::Prometheus }
}

/// The text for Prometheus about all producers of this process.
#[pyfunction]
pub(crate) fn stats_prometheus(openmetrics: bool) -> String {
    durstream_core::stats_prometheus(exposition(openmetrics))
}

/// Every instrument for OpenTelemetry, as (name, kind, unit, meaning) of each.
#[pyfunction]
pub(crate) fn instruments() -> Vec<(String, &'static str, String, String)> {
    let of = |own: Signal| (own.name, kind_of(own.kind), own.unit, own.meaning);
    durstream_core::opentelemetry_signals().into_iter().map(of).collect()
}

fn kind_of(kind: MetricKind) -> &'static str {
    if kind == MetricKind::Counter { "counter" } else { "gauge" }
}

/// What each instrument observes of the producers of this process, by its name: lists of a value and
/// its attributes.
#[pyfunction]
pub(crate) fn observations(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let all = PyDict::new(py);
    for (signal, observed) in durstream_core::observations() {
        let values = PyList::empty(py);
        for one in observed {
            let own = attributes(py, &one.attributes)?;
            match signal.is_whole {
                true => values.append((one.value as u64, own))?,
                false => values.append((one.value, own))?,
            }
        }
        all.set_item(signal.name, values)?;
    }
    Ok(all)
}

/// Attributes as OpenTelemetry has them.
pub(crate) fn attributes<'py>(
    py: Python<'py>,
    of: &[(&'static str, AttributeValue)],
) -> PyResult<Bound<'py, PyDict>> {
    let attributes = PyDict::new(py);
    for (name, value) in of {
        match value {
            AttributeValue::Text(text) => attributes.set_item(name, text)?,
            AttributeValue::Whole(number) => attributes.set_item(name, number)?,
            AttributeValue::Number(number) => attributes.set_item(name, number)?,
            _ => {}
        }
    }
    Ok(attributes)
}
