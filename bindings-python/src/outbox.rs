//! The tool that looks into outboxes.

use std::io::{self, BufWriter, Write};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// As much as goes to Python in one call.
const CHUNK: usize = 64 * 1024;

/// Hands bytes on to a Python function.
struct Handing<'py>(Bound<'py, PyAny>);

impl Write for Handing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.call1((PyBytes::new(self.0.py(), bytes),))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Looks into outboxes as `durstream-outbox` does with these arguments: what it prints is given to
/// `write` in pieces, and what went wrong is returned. It keeps the GIL: a program runs it, alone.
#[pyfunction]
pub(crate) fn outbox_tool(arguments: Vec<String>, write: Bound<'_, PyAny>) -> Option<String> {
    let mut out = BufWriter::with_capacity(CHUNK, Handing(write));
    durstream_core::outbox_tool(&arguments, &mut out).err()
}
