//! Texts and objects that C is given, and those it gives back.

use std::ffi::{CString, c_char};
use std::ptr;

/// A C string of a foreign text, in which a NUL is replaced.
pub(crate) fn c_string(text: &str) -> CString {
    let clean = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() };
    CString::new(clean).unwrap_or_default()
}

/// The pointer of a text that may not be there.
pub(crate) fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// A text that becomes the caller's, for `durstream_string_free`.
pub(crate) fn given(text: Option<&str>) -> *mut c_char {
    text.map_or(ptr::null_mut(), |text| c_string(text).into_raw())
}

/// Gives an object to the caller.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes an object back.
///
/// # Safety
/// `pointer` is NULL or came from [`give`], and is used no more.
pub(crate) unsafe fn take<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}
