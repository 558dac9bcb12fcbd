//! Reading the content of a stream, a chunk at a time.

use std::ffi::c_char;
use std::ptr;

use durstream_core::StreamReader;

use crate::args::{handle, let_go, limit, out};
use crate::chunk::durstream_chunk;
use crate::ffi_guard::{call, get};
use crate::given::{give, given, take};
use crate::problem::{durstream_code, durstream_error};

/// Reads a stream from an offset to its present end, a chunk at a time.
pub struct durstream_reader {
    reader: StreamReader,
}

impl durstream_reader {
    pub(crate) fn new(reader: StreamReader) -> Self {
        durstream_reader { reader }
    }
}

/// Lets a reader go. NULL is fine. Any thread, as its last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reader_free(reader: *mut durstream_reader) {
    // SAFETY: the caller gives back what `durstream_stream_read` gave out.
    unsafe { get((), || let_go(take(reader), |reader| reader.reader.is_inherited())) }
}

/// Reads the next chunk. `chunk` receives it, for `durstream_chunk_free`; or NULL, with
/// `DURSTREAM_OK`, at the present end. A later call asks the server again, unless the stream is
/// closed. Transient failures are repeated up to `max_retries` times. A call that runs out of time
/// loses nothing: the next call gives its chunk. Any thread, concurrent calls take turns; blocks,
/// at most `timeout_ms`.
///
/// Errors: `DURSTREAM_STREAM_NOT_FOUND`; `_STREAM_GONE` with the reason `gone` if the stream was
/// deleted, or `offset-gone` if the server no longer keeps what was at the offset;
/// `_INVALID_ARGUMENT` (`offset`) if the server does not know the offset; `_PROTOCOL` for an answer
/// that is broken or no JSON; `_TOO_LARGE` for an answer, or a message that several bring, beyond
/// `max_read_bytes`; `_TRANSPORT`, ...; `DURSTREAM_TIMEOUT`; `DURSTREAM_FORKED`. The reader keeps its place: the call may be repeated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reader_next(
    reader: *const durstream_reader,
    timeout_ms: i64,
    chunk: *mut *mut durstream_chunk,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (reader, chunk) = (handle(reader, "reader")?, out(chunk, "chunk")?);
            let next = reader.reader.next_chunk().wait_or_timeout(limit(timeout_ms), "read")?;
            chunk.set(|| next.map_or(ptr::null_mut(), |next| give(durstream_chunk::new(next))));
            Ok(())
        })
    }
}

/// The offset for a later read, for `durstream_string_free`; NULL before anything was read from the
/// start. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reader_offset(reader: *const durstream_reader) -> *mut c_char {
    // SAFETY: NULL or a live reader.
    unsafe { get(ptr::null_mut(), || Some(given(reader.as_ref()?.reader.offset().as_deref()))) }
}

/// Whether the reader has reached the present end. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reader_up_to_date(reader: *const durstream_reader) -> bool {
    // SAFETY: NULL or a live reader.
    unsafe { get(false, || Some(reader.as_ref()?.reader.up_to_date())) }
}

/// Whether the stream has ended and the reader has reached its end. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_reader_stream_closed(reader: *const durstream_reader) -> bool {
    // SAFETY: NULL or a live reader.
    unsafe { get(false, || Some(reader.as_ref()?.reader.stream_closed())) }
}
