//! Arguments from C: handles, texts, bytes, time limits, places for results.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use crate::problem::Problem;

/// A handle.
///
/// # Safety
/// `pointer` is NULL or a live handle.
pub(crate) unsafe fn handle<'a, T>(
    pointer: *const T,
    name: &'static str,
) -> Result<&'a T, Problem> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| Problem::null(name))
}

/// A NUL-terminated text.
///
/// # Safety
/// `pointer` is NULL or leads to a NUL-terminated string.
pub(crate) unsafe fn text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<&'a str, Problem> {
    if pointer.is_null() {
        return Err(Problem::null(name));
    }
    // SAFETY: not NULL, and then the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|error| Problem::argument(name, format!("`{name}` is not UTF-8: {error}")))
}

/// A text that may be left out.
///
/// # Safety
/// The promises of [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<Option<&'a str>, Problem> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name) }.map(Some)
}

/// Bytes; NULL without a length is none.
///
/// # Safety
/// `pointer` is NULL or leads to `length` readable bytes.
pub(crate) unsafe fn bytes<'a>(
    pointer: *const u8,
    length: usize,
    name: &'static str,
) -> Result<&'a [u8], Problem> {
    if isize::try_from(length).is_err() {
        let text = format!("`{name}` cannot be {length} bytes long");
        return Err(Problem::argument(name, text));
    }
    match (pointer.is_null(), length) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(Problem::argument(name, format!("`{name}` is NULL, but has a length"))),
        // SAFETY: not NULL, not too long, and then the caller's promise.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, length) }),
    }
}

/// A list of so many entries; NULL without entries is none.
///
/// # Safety
/// `pointer` is NULL or leads to `count` readable entries.
pub(crate) unsafe fn list<'a, T>(
    pointer: *const T,
    count: usize,
    name: &'static str,
) -> Result<&'a [T], Problem> {
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(Problem::argument(name, format!("`{name}` cannot have {count} entries")));
    }
    match (pointer.is_null(), count) {
        (true, 0) => Ok(&[]),
        (true, _) => {
            Err(Problem::argument(name, format!("`{name}` is NULL, but has {count} entries")))
        }
        // SAFETY: not NULL, not too long, and then the caller's promise.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, count) }),
    }
}

/// A message that may be left out, by NULL.
///
/// # Safety
/// The promises of [`bytes`].
pub(crate) unsafe fn optional_bytes<'a>(
    pointer: *const u8,
    length: usize,
    name: &'static str,
) -> Result<Option<&'a [u8]>, Problem> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes(pointer, length, name) }?;
    Ok((!pointer.is_null()).then_some(bytes))
}

/// Where a result goes: written once, on success only.
pub(crate) struct Out<T>(*mut T);

/// A place for a result.
pub(crate) fn out<T>(pointer: *mut T, name: &'static str) -> Result<Out<T>, Problem> {
    if pointer.is_null() { Err(Problem::null(name)) } else { Ok(Out(pointer)) }
}

/// A place for a result that the caller may leave out.
pub(crate) fn optional_out<T>(pointer: *mut T) -> Out<T> {
    Out(pointer)
}

impl<T> Out<T> {
    /// Hands the result over.
    ///
    /// # Safety
    /// The pointer is NULL or may be written to.
    pub(crate) unsafe fn set(self, value: impl FnOnce() -> T) {
        if !self.0.is_null() {
            // SAFETY: not NULL, and then the caller's promise.
            unsafe { self.0.write(value()) };
        }
    }
}

/// A text that may not be empty.
///
/// # Safety
/// The promises of [`text`].
pub(crate) unsafe fn name<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<&'a str, Problem> {
    // SAFETY: the caller's promise.
    match unsafe { text(pointer, name) }? {
        "" => Err(Problem::argument(name, format!("`{name}` is empty"))),
        text => Ok(text),
    }
}

/// A time limit in milliseconds; below 0 there is none.
pub(crate) fn limit(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// Drops a handle that C gave back, but not one that came through `fork`: its callbacks and their
/// data are the parent's.
pub(crate) fn let_go<T>(
    handle: Option<Box<T>>,
    is_inherited: impl FnOnce(&T) -> bool,
) -> Option<()> {
    let handle = handle?;
    if is_inherited(&handle) {
        std::mem::forget(handle);
    }
    Some(())
}
