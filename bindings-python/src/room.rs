//! Waiting for room in a full buffer without holding the GIL, and so that Ctrl-C interrupts it.

use std::time::{Duration, Instant};

use durstream_core::{Permit, Producer};
use pyo3::prelude::*;

use crate::gil;
use crate::imported;
use crate::pending::SIGNAL_INTERVAL;

/// Reserves room for a write of so many bytes, and waits up to `max_block_ms` for it. Without room
/// the core refuses the write. In a thread with a running event loop nothing waits.
pub(crate) fn reserve<'a, P: Producer>(
    py: Python<'_>,
    core: &'a P,
    size: usize,
) -> PyResult<Option<Permit<'a, P>>> {
    until_room(py, core, || Ok(core.try_reserve(size)))
}

/// Tries again and again, as room comes, up to `max_block_ms`; None if that was not enough. In a thread
/// with a running event loop nothing waits.
pub(crate) fn until_room<P: Producer, T>(
    py: Python<'_>,
    core: &P,
    mut attempt: impl FnMut() -> PyResult<Option<T>>,
) -> PyResult<Option<T>> {
    let first = attempt()?;
    if first.is_some() || in_event_loop(py)? {
        return Ok(first);
    }
    let until = Instant::now() + core.max_block();
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(SIGNAL_INTERVAL);
        let mut ready = core.ready();
        // It fails inside a callback of the library's, which must not wait, and at the end.
        let is_over = matches!(gil::detach(py, || ready.wait_for(left)), Some(Err(_)));
        let again = attempt()?;
        if again.is_some() || is_over || left == Duration::ZERO {
            return Ok(again);
        }
        py.check_signals()?;
    }
}

fn in_event_loop(py: Python<'_>) -> PyResult<bool> {
    imported::IN_EVENT_LOOP.get(py)?.call0()?.extract()
}
