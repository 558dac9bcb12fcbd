//! Counters and measures, as dicts and as text.

use durstream_core::{Exposition, METRICS, MetricKind, Reason, Stats};
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

/// Every producer of this process as (stream, producer id, state, what it counts and measures).
#[pyfunction]
pub(crate) fn all_stats(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let all = PyList::empty(py);
    for one in durstream_core::all_stats() {
        all.append((&*one.stream, one.producer_id, one.state, entries(py, &one.stats)?))?;
    }
    Ok(all)
}

type Instrument =
    (String, &'static str, &'static str, String, String, Option<[&'static str; 2]>, u64);

/// The table of metrics, as (instrument, kind, name, unit, meaning, attribute, divisor) of each.
#[pyfunction]
pub(crate) fn instruments() -> Vec<Instrument> {
    let of = |metric: &durstream_core::Metric| {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            _ => "distribution",
        };
        let instrument = metric.opentelemetry();
        let attribute = instrument.attribute.map(|(name, value)| [name, value]);
        let meaning = metric.meaning.trim().replace('`', "");
        (
            instrument.name,
            kind,
            metric.name,
            instrument.unit,
            meaning,
            attribute,
            instrument.divisor,
        )
    };
    METRICS.iter().map(of).collect()
}
