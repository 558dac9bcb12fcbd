//! Python values as JSON without calling Python: byte for byte what `_json.py` writes, for the
//! usual values. Everything else is left to it, refusals and their texts included.
//!
//! Nothing of the user's runs meanwhile, and the GIL is held, so no container changes while it is
//! walked: containers are taken by their exact types, and of text and numbers what they hold is
//! read and never a method called, as Python's encoder does it. Only a failure makes an object
//! that the garbage collector counts; after one the walk ends at once.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::utf8::utf8;

/// Deeper values, cycles among them, are left to Python.
const MAX_DEPTH: usize = 100;
/// Room for a usual value without growing.
const USUAL_BYTES: usize = 512;
/// From the first up to the second Python writes floats without an exponent, as `serde_json` does.
const PLAIN_FLOATS: (f64, f64) = (1e-4, 1e16);

/// A value as JSON; none if it has anything unusual.
pub(crate) fn text(value: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(USUAL_BYTES);
    write(value, &mut text, MAX_DEPTH)?;
    Some(text)
}

fn write(value: &Bound<'_, PyAny>, text: &mut Vec<u8>, depth: usize) -> Option<()> {
    if let Ok(string) = value.cast_exact::<PyString>() {
        write_string(string, text)
    } else if value.is_none() {
        text.extend_from_slice(b"null");
        Some(())
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        text.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
        Some(())
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        write_object(dict, text, depth.checked_sub(1)?)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        write_array(list.iter(), text, depth.checked_sub(1)?)
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        write_array(tuple.iter(), text, depth.checked_sub(1)?)
    } else if let Ok(string) = value.cast::<PyString>() {
        write_string(string, text)
    } else {
        write_number(value, text)
    }
}

fn write_object(dict: &Bound<'_, PyDict>, text: &mut Vec<u8>, depth: usize) -> Option<()> {
    let mut before = b'{';
    for (key, value) in dict {
        text.push(before);
        before = b',';
        write_key(&key, text)?;
        text.push(b':');
        write(&value, text, depth)?;
    }
    text.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
    Some(())
}

/// Text as it is; numbers, truths and null as text.
fn write_key(key: &Bound<'_, PyAny>, text: &mut Vec<u8>) -> Option<()> {
    if let Ok(string) = key.cast::<PyString>() {
        return write_string(string, text);
    }
    text.push(b'"');
    match (key.is_none(), key.cast_exact::<PyBool>()) {
        (true, _) => text.extend_from_slice(b"null"),
        (_, Ok(truth)) => text.extend_from_slice(if truth.is_true() { b"true" } else { b"false" }),
        _ => write_number(key, text)?,
    }
    text.push(b'"');
    Some(())
}

fn write_array<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    text: &mut Vec<u8>,
    depth: usize,
) -> Option<()> {
    let mut before = b'[';
    for item in items {
        text.push(before);
        before = b',';
        write(&item, text, depth)?;
    }
    text.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
    Some(())
}

fn write_string(string: &Bound<'_, PyString>, text: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(text, &*utf8(string).ok()?).ok()
}

/// Writes a number; any other value is left to Python.
fn write_number(value: &Bound<'_, PyAny>, text: &mut Vec<u8>) -> Option<()> {
    if let Ok(int) = value.cast::<PyInt>() {
        return serde_json::to_writer(text, &int.extract::<i64>().ok()?).ok();
    }
    let float = value.cast::<PyFloat>().ok()?;
    let (number, size) = (float.value(), float.value().abs());
    if size == 0.0 || (PLAIN_FLOATS.0..PLAIN_FLOATS.1).contains(&size) {
        return serde_json::to_writer(text, &number).ok();
    }
    if !number.is_finite() {
        return None;
    }
    // Its own, whose digits no subclass changes.
    let shown = float.cast_exact::<PyFloat>().ok()?.repr().ok()?;
    text.extend_from_slice(utf8(&shown).ok()?.as_bytes());
    Some(())
}
