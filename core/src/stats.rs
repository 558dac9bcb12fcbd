//! Counters and gauges of one producer, in one consistent snapshot.

/// The counters of a producer. At every instant `accepted = delivered + rejected + cancelled +
/// unknown + pending`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Writes accepted.
    pub accepted: u64,
    /// Writes in the stream.
    pub delivered: u64,
    /// Of these, the writes that the server said it had already.
    pub duplicates: u64,
    /// Of the delivered writes, those that may be in the stream twice.
    pub uncertain: u64,
    /// Accepted writes the server refused.
    pub rejected: u64,
    /// Accepted writes that were given up and are certainly not in the stream.
    pub cancelled: u64,
    /// Accepted writes that stay in doubt: nothing said whether they are stored.
    pub unknown: u64,
    /// Accepted writes not settled yet.
    pub pending: u64,
    /// Calls turned away before accepting: invalid values.
    pub refused_invalid: u64,
    /// Calls turned away before accepting: buffer full, too large, producer closed.
    pub refused: u64,
    /// Bytes reserved by pending writes, overhead included.
    pub buffered_bytes: u64,
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Requests that repeated a batch.
    pub retries: u64,
    /// Sessions begun, the first included.
    pub sessions: u64,
}

impl Stats {
    /// Every counter with its name, for bindings that show them by name.
    pub fn entries(&self) -> [(&'static str, u64); 14] {
        [
            ("accepted", self.accepted),
            ("delivered", self.delivered),
            ("duplicates", self.duplicates),
            ("uncertain", self.uncertain),
            ("rejected", self.rejected),
            ("cancelled", self.cancelled),
            ("unknown", self.unknown),
            ("pending", self.pending),
            ("refused_invalid", self.refused_invalid),
            ("refused", self.refused),
            ("buffered_bytes", self.buffered_bytes),
            ("requests", self.requests),
            ("retries", self.retries),
            ("sessions", self.sessions),
        ]
    }
}
