//! A stream's metadata, and where it ends.

use std::ffi::{CString, c_char};
use std::ptr;

use durstream_core::Metadata;

use crate::args::optional_out;
use crate::ffi_guard::get;
use crate::given::{c_string, pointer, take};

/// A stream's metadata, and where it ends. Immutable; any thread may read it.
pub struct durstream_metadata {
    metadata: Metadata,
    content_type: Option<CString>,
    offset: Option<CString>,
    expires_at: Option<CString>,
}

impl durstream_metadata {
    pub(crate) fn new(metadata: Metadata) -> Self {
        durstream_metadata {
            content_type: metadata.content_type.as_deref().map(c_string),
            offset: metadata.offset.as_deref().map(c_string),
            expires_at: metadata.expires_at.as_deref().map(c_string),
            metadata,
        }
    }
}

/// Frees metadata. NULL is fine. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_free(metadata: *mut durstream_metadata) {
    // SAFETY: the caller gives back what `durstream_stream_head` gave out.
    unsafe { get((), || take(metadata).map(drop)) }
}

/// Whether the stream exists. If not, nothing else is known. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_exists(metadata: *const durstream_metadata) -> bool {
    // SAFETY: NULL or live metadata.
    unsafe { get(false, || Some(metadata.as_ref()?.metadata.exists)) }
}

/// The stream's content type, or NULL if the server does not say it. Owned by the metadata. Any
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_content_type(
    metadata: *const durstream_metadata,
) -> *const c_char {
    // SAFETY: NULL or live metadata.
    unsafe { get(ptr::null(), || Some(pointer(metadata.as_ref()?.content_type.as_ref()))) }
}

/// The offset of the stream's tail: the next message will begin there. Opaque, for
/// `durstream_stream_read`. NULL if there is no stream. Owned by the metadata. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_offset(
    metadata: *const durstream_metadata,
) -> *const c_char {
    // SAFETY: NULL or live metadata.
    unsafe { get(ptr::null(), || Some(pointer(metadata.as_ref()?.offset.as_ref()))) }
}

/// Whether the stream has ended. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_stream_closed(
    metadata: *const durstream_metadata,
) -> bool {
    // SAFETY: NULL or live metadata.
    unsafe { get(false, || Some(metadata.as_ref()?.metadata.stream_closed)) }
}

/// Whether the stream has a lifetime since its last read or write; if so, `seconds` (may be NULL)
/// receives it. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_ttl_seconds(
    metadata: *const durstream_metadata,
    seconds: *mut u64,
) -> bool {
    // SAFETY: NULL or live metadata; `seconds` is NULL or writable.
    unsafe {
        get(false, || {
            let found = metadata.as_ref()?.metadata.ttl_seconds?;
            optional_out(seconds).set(|| found);
            Some(true)
        })
    }
}

/// When the stream expires (RFC 3339), or NULL if that is not fixed. Owned by the metadata. Any
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_metadata_expires_at(
    metadata: *const durstream_metadata,
) -> *const c_char {
    // SAFETY: NULL or live metadata.
    unsafe { get(ptr::null(), || Some(pointer(metadata.as_ref()?.expires_at.as_ref()))) }
}
