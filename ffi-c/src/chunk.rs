//! A part of a stream, from one answer of the server.

use std::ffi::{CString, c_char};
use std::ptr;

use durstream_core::Chunk;

use crate::args::{handle, optional_out, out};
use crate::ffi_guard::{call, get};
use crate::given::{c_string, take};
use crate::problem::{durstream_code, durstream_error};

/// A part of a stream, from one answer of the server, or from several where a server's answers end
/// inside a JSON message. Never empty; its messages are whole. Immutable; any thread may read it.
pub struct durstream_chunk {
    chunk: Chunk,
    offset: CString,
}

impl durstream_chunk {
    pub(crate) fn new(chunk: Chunk) -> Self {
        durstream_chunk { offset: c_string(&chunk.offset), chunk }
    }
}

/// Frees a chunk. NULL is fine. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_free(chunk: *mut durstream_chunk) {
    // SAFETY: the caller gives back what `durstream_reader_next` gave out.
    unsafe { get((), || take(chunk).map(drop)) }
}

/// The chunk's bytes, `*length` of them (may be NULL); on a JSON stream an array of messages, or
/// one message a line. Owned by the chunk. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_data(
    chunk: *const durstream_chunk,
    length: *mut usize,
) -> *const u8 {
    // SAFETY: NULL or a live chunk; `length` is NULL or writable.
    unsafe {
        get(ptr::null(), || {
            let data = &chunk.as_ref()?.chunk.data;
            optional_out(length).set(|| data.len());
            Some(data.as_ptr())
        })
    }
}

/// The offset behind the chunk: opaque, for `durstream_stream_read`. Owned by the chunk. Any
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_offset(chunk: *const durstream_chunk) -> *const c_char {
    // SAFETY: NULL or a live chunk.
    unsafe { get(ptr::null(), || Some(chunk.as_ref()?.offset.as_ptr())) }
}

/// Whether the stream had nothing behind the chunk. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_up_to_date(chunk: *const durstream_chunk) -> bool {
    // SAFETY: NULL or a live chunk.
    unsafe { get(false, || Some(chunk.as_ref()?.chunk.up_to_date)) }
}

/// Whether the stream has ended with the chunk. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_stream_closed(chunk: *const durstream_chunk) -> bool {
    // SAFETY: NULL or a live chunk.
    unsafe { get(false, || Some(chunk.as_ref()?.chunk.stream_closed)) }
}

/// Gives the number of messages in a JSON stream's chunk, which is known since the chunk came. Any
/// thread; does not block.
///
/// Errors: `DURSTREAM_NOT_SUPPORTED` on a stream that is not JSON: its bytes have no message
/// bounds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_item_count(
    chunk: *const durstream_chunk,
    count: *mut usize,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (chunk, count) = (handle(chunk, "chunk")?, out(count, "count")?);
            let items = chunk.chunk.item_count()?;
            count.set(|| items);
            Ok(())
        })
    }
}

/// A message of a JSON stream's chunk in its own text, unchanged, `*length` bytes (may be NULL);
/// NULL from `durstream_chunk_item_count` on. It has no NUL at its end and is owned by the chunk. Any
/// order is cheap, asking in order is the cheapest. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_chunk_item(
    chunk: *const durstream_chunk,
    index: usize,
    length: *mut usize,
) -> *const u8 {
    // SAFETY: NULL or a live chunk; `length` is NULL or writable.
    unsafe {
        get(ptr::null(), || {
            let item = chunk.as_ref()?.chunk.item(index)?;
            optional_out(length).set(|| item.len());
            Some(item.as_ptr())
        })
    }
}
