//! What a change says beside its entity, as it comes from Python.

use durstream_core::{EventOptions, Timestamp, WriteOptions};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// ``(txid, timestamp, headers, key, old_value)``: texts, of which the timestamp may be ``now``, pairs,
/// and JSON.
#[derive(FromPyObject)]
pub(crate) struct Event<'py> {
    #[pyo3(item(0))]
    txid: Option<String>,
    #[pyo3(item(1))]
    timestamp: Option<String>,
    #[pyo3(item(2))]
    headers: Vec<(String, String)>,
    #[pyo3(item(3))]
    key: Option<String>,
    #[pyo3(item(4))]
    old_value: Option<Bound<'py, PyBytes>>,
}

impl Event<'_> {
    /// About the bytes that it adds to its entity's.
    pub(crate) fn size(&self) -> usize {
        let pairs = self.headers.iter().map(|(name, value)| name.len() + value.len() + 6);
        let texts = [&self.txid, &self.timestamp, &self.key].into_iter().flatten();
        let old = self.old_value.as_ref().map_or(0, |old| old.as_bytes().len());
        pairs.chain(texts.map(String::len)).sum::<usize>() + old
    }

    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&EventOptions<'_>) -> T) -> T {
        let pairs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<(&str, &str)> = pairs.collect();
        use_it(&EventOptions {
            txid: self.txid.as_deref(),
            timestamp: self.timestamp.as_deref().map(Timestamp::from),
            headers: &headers,
            key: self.key.as_deref(),
            old_value: self.old_value.as_ref().map(|old| old.as_bytes()),
            write: WriteOptions::default(),
            // Among the headers, where the option `trace` is set.
            traceparent: None,
            tracestate: None,
        })
    }
}
