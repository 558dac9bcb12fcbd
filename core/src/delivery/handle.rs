//! The snapshot that every producer shows of itself.

use std::sync::Arc;

use crate::delivery::buffer::lifecycle::Lifecycle;
use crate::delivery::engine::Engine;
use crate::error::Error;

/// The state of a producer, for a person or a dashboard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The lifecycle state.
    pub state: Lifecycle,
    /// Failed attempts in a row; 0 when all is well.
    pub attempt: u32,
    /// Writes accepted and not settled.
    pub buffered_writes: u64,
    /// Bytes that these writes reserve, overhead included.
    pub buffered_bytes: u64,
    /// The most recent failure, transient ones included.
    pub last_error: Option<Error>,
    /// The epoch in use (PROTOCOL.md 5.2.1).
    pub epoch: u64,
    /// The next sequence number in this epoch.
    pub next_seq: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// The stream's offset after the last acknowledged batch.
    pub last_offset: Option<Arc<str>>,
}

impl Snapshot {
    /// The snapshot that a forked child gets of its parent's producer, whose locks it must not
    /// touch.
    fn foreign() -> Self {
        Snapshot {
            state: Lifecycle::Stopped,
            attempt: 0,
            buffered_writes: 0,
            buffered_bytes: 0,
            last_error: None,
            epoch: 0,
            next_seq: 0,
            in_flight: 0,
            last_offset: None,
        }
    }
}

impl Engine {
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.is_foreign() {
            return Snapshot::foreign();
        }
        let book = self.book();
        Snapshot {
            state: book.lifecycle.state(),
            attempt: book.gauges.attempt,
            buffered_writes: book.pending(),
            buffered_bytes: book.buffered_bytes(),
            last_error: book.last_error().cloned(),
            epoch: book.gauges.epoch,
            next_seq: book.gauges.next_seq,
            in_flight: book.gauges.in_flight,
            last_offset: book.gauges.last_offset.clone(),
        }
    }

    /// The id as sent: with its suffix if `shared`.
    pub(crate) fn producer_id(&self) -> &str {
        &self.config.producer_id
    }

    /// The stream's URL, without user info and query.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.shown
    }
}
