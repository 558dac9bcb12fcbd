//! Waiting for room in a full buffer without holding the GIL, and so that Ctrl-C interrupts it.

use std::time::{Duration, Instant};

use durstream_core::{Outcome, Stats};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::gil;
use crate::options::{Pairs, number};
use crate::pending::SIGNAL_INTERVAL;

/// At least what the core adds to a write: its overhead, and the event around a value.
const MARGIN: usize = 1024;
/// The pause where a buffer stays full although nothing is left to wait for: what a callback
/// holds is given back without a sign.
const PAUSE: Duration = Duration::from_millis(2);

static IN_EVENT_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What a handle of Python's needs of a core producer, whichever it is.
pub(crate) trait Writer: Send + Sync {
    fn wait(&self, id: u64) -> durstream_core::Pending<Outcome>;
    fn stats(&self) -> Stats;
    /// Whether a write of so many bytes finds room; if not, what gathers goes out to make some.
    fn finds_room(&self, size: usize) -> bool;
}

/// What one producer waits for when its buffer is full.
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
    /// A write tried in vain counts as undelivered, so the room is looked for first. Whoever
    /// calls holds the GIL from the last look to the write, so nobody takes the room between.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        writer: &dyn Writer,
        size: usize,
        most: usize,
    ) -> PyResult<()> {
        if size as u64 > self.largest || is_there(writer, most) || in_event_loop(py)? {
            return Ok(());
        }
        let until = Instant::now() + self.patience;
        loop {
            let stats = writer.stats();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || is_there(writer, most) {
                return Ok(());
            }
            let left = left.min(SIGNAL_INTERVAL);
            if stats.pending == 0 {
                gil::detach(py, || std::thread::sleep(PAUSE.min(left)));
            } else {
                // Writes settle mostly in order: the oldest pending one frees room first.
                let mut oldest = writer.wait(stats.accepted - stats.pending + 1);
                let settled = gil::detach(py, || oldest.wait_for(left));
                match settled {
                    // A callback of the library's must not wait for it.
                    Some(Err(_)) => return Ok(()),
                    Some(Ok(_)) if !is_there(writer, most) => {
                        gil::detach(py, || std::thread::sleep(PAUSE.min(left)));
                    }
                    _ => {}
                }
            }
            py.check_signals()?;
        }
    }
}

/// Whether a write surely fits; an empty buffer is for the core to judge.
fn is_there(writer: &dyn Writer, size: usize) -> bool {
    writer.finds_room(size.saturating_add(MARGIN)) || {
        let stats = writer.stats();
        stats.pending == 0 && stats.buffered_bytes == 0
    }
}

fn in_event_loop(py: Python<'_>) -> PyResult<bool> {
    IN_EVENT_LOOP.import(py, "durstream._wait", "in_event_loop")?.call0()?.extract()
}
