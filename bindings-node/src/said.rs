//! What a change says beside its entity, and what is wrong with one, as they come from JavaScript.

use durstream_core::{EventOptions, Issue, Timestamp};

use crate::crossing::{Payload, bytes};

/// What a change says.
pub struct Said<'a> {
    /// Its transaction.
    pub txid: Option<String>,
    /// A time, or `now`.
    pub timestamp: Option<String>,
    /// Names and values in turn.
    pub headers: Vec<String>,
    /// The key, where the value does not hold it.
    pub key: Option<String>,
    /// The entity's state before, as JSON.
    pub old_value: Option<Payload<'a>>,
}

impl Said<'_> {
    /// As the core takes it.
    pub fn with<T>(&self, use_it: impl FnOnce(EventOptions<'_>) -> T) -> T {
        let pairs = self.headers.chunks_exact(2);
        let headers: Vec<(&str, &str)> =
            pairs.map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        use_it(EventOptions {
            txid: self.txid.as_deref(),
            timestamp: self.timestamp.as_deref().map(Timestamp::from),
            headers: &headers,
            key: self.key.as_deref(),
            old_value: self.old_value.as_ref().map(bytes),
            ..EventOptions::default()
        })
    }
}

/// Issues, of paths and messages in turn.
pub fn issues_of(flat: &[String]) -> Vec<Issue> {
    let pairs = flat.chunks_exact(2);
    pairs.map(|pair| Issue { path: pair[0].clone(), message: pair[1].clone() }).collect()
}
