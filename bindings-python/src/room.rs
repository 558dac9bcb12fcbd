//! Waiting for room in a full buffer without holding the GIL, and so that Ctrl-C interrupts it.

use std::time::{Duration, Instant};

use durstream_core::{Outcome, Stats};
use pyo3::prelude::*;

use crate::gil;
use crate::imported;
use crate::options::{Pairs, number};
use crate::pending::SIGNAL_INTERVAL;

/// At least what the core adds to a write: its overhead, and the event around a value.
const MARGIN: usize = 1024;

/// The part of either core producer that its Python handle needs.
pub(crate) trait Writer: Send + Sync {
    fn wait(&self, id: u64) -> durstream_core::Pending<Outcome>;
    fn stats(&self) -> Stats;
    /// Whether the caller need not wait before a write of so many bytes; if it has to, `ready`
    /// does.
    fn finds_room(&self, size: usize) -> bool;
    fn ready(&self) -> durstream_core::Pending<()>;
}

/// The wait of one producer for room in a full buffer.
pub(crate) struct Room {
    largest: u64,
    patience: Duration,
}

impl Room {
    pub(crate) fn of(options: &Pairs) -> Self {
        let bytes = number(options, "max_buffer_bytes");
        Room {
            largest: number(options, "max_write_bytes").min(bytes),
            patience: Duration::from_millis(number(options, "max_block_ms")),
        }
    }

    /// Waits up to `max_block_ms` for room for a write of `size` bytes that may become `most`; the
    /// core then takes it, or says why not. In a thread with a running event loop nothing waits.
    ///
    /// A write tried in vain counts as undelivered, so the room is checked first. The caller holds
    /// the GIL from the last check to the write, so no other Python thread takes the room between.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        writer: &dyn Writer,
        size: usize,
        most: usize,
    ) -> PyResult<()> {
        let most = most.saturating_add(MARGIN);
        if size as u64 > self.largest || writer.finds_room(most) || in_event_loop(py)? {
            return Ok(());
        }
        let until = Instant::now() + self.patience;
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(SIGNAL_INTERVAL);
            let mut ready = writer.ready();
            // It fails inside a callback of the library's, which must not wait, and at the end.
            let is_over = matches!(gil::detach(py, || ready.wait_for(left)), Some(Err(_)));
            if is_over || left.is_zero() || writer.finds_room(most) {
                return Ok(());
            }
            py.check_signals()?;
        }
    }
}

fn in_event_loop(py: Python<'_>) -> PyResult<bool> {
    imported::IN_EVENT_LOOP.get(py)?.call0()?.extract()
}
