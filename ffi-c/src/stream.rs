//! A stream by its URL.

use std::ffi::{CString, c_char};
use std::ptr;

use durstream_core::DurableStream;

use crate::args::{bytes, handle, let_go, limit, optional_bytes, optional_text, out, text};
use crate::either::{ended, settled};
use crate::ffi_guard::{call, get};
use crate::given::{c_string, give, take};
use crate::metadata::durstream_metadata;
use crate::options::durstream_options;
use crate::outcome::durstream_outcome;
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::reader::durstream_reader;

/// A stream by its URL.
pub struct durstream_stream {
    pub(crate) stream: DurableStream,
    url: CString,
}

impl durstream_stream {
    fn new(stream: DurableStream) -> Self {
        durstream_stream { url: c_string(stream.url()), stream }
    }
}

/// Creates a stream with `length` bytes as its first content (NULL and 0 for none), and gives a
/// handle on it, for `durstream_stream_free`. A stream that exists with the same configuration is
/// fine. With the option `closed` the stream is ended from the start, with `fork_from` it begins
/// with another stream's content. Any thread; blocks, up to `max_retries` attempts of
/// `request_timeout_ms`.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`, `_STREAM_EXISTS`, `_UNAUTHORIZED`, `_TRANSPORT`, ...
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_create(
    options: *const durstream_options,
    body: *const u8,
    length: usize,
    stream: *mut *mut durstream_stream,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (options, body) = (handle(options, "options")?, bytes(body, length, "body")?);
            let stream = out(stream, "stream")?;
            let made = DurableStream::create(options.for_stream()?, body.to_vec()).wait()?;
            stream.set(|| give(durstream_stream::new(made)));
            Ok(())
        })
    }
}

/// Gives a handle on a stream that exists or will exist, for `durstream_stream_free`. Sends
/// nothing. The option `content_type` has to be the stream's own; without it the server is asked
/// for it, once, before something is appended. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_connect(
    options: *const durstream_options,
    stream: *mut *mut durstream_stream,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (options, stream) = (handle(options, "options")?, out(stream, "stream")?);
            let made = DurableStream::connect(options.for_stream()?)?;
            stream.set(|| give(durstream_stream::new(made)));
            Ok(())
        })
    }
}

/// Lets a stream's handle go; its appends are delivered in the background. NULL is fine. Producers
/// and readers opened on it go on. Any thread, as its last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_free(stream: *mut durstream_stream) {
    // SAFETY: the caller gives back what create or connect gave out.
    unsafe { get((), || let_go(take(stream), |stream| stream.stream.is_inherited())) }
}

/// The stream's URL, without user info and query. Owned by the handle. Any thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_url(stream: *const durstream_stream) -> *const c_char {
    // SAFETY: NULL or a live stream.
    unsafe { get(ptr::null(), || Some(stream.as_ref()?.url.as_ptr())) }
}

/// Asks whether the stream exists, what it is and where it ends. `metadata` receives the answer,
/// for `durstream_metadata_free`, also if there is no stream: see `durstream_metadata_exists`.
/// Transient failures are repeated up to `max_retries` times. Any thread; blocks, at most
/// `timeout_ms`.
///
/// Errors: `DURSTREAM_STREAM_GONE` where the URL is blocked, `_UNAUTHORIZED`, `_PROTOCOL` where
/// something in between answers, `_TRANSPORT`, ...; `DURSTREAM_TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_head(
    stream: *const durstream_stream,
    timeout_ms: i64,
    metadata: *mut *mut durstream_metadata,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (stream, metadata) = (handle(stream, "stream")?, out(metadata, "metadata")?);
            let found = stream.stream.head().wait_or_timeout(limit(timeout_ms), "head")?;
            metadata.set(|| give(durstream_metadata::new(found)));
            Ok(())
        })
    }
}

/// Appends one message (one JSON value on a JSON stream, bytes on any other) and waits until it is
/// delivered. `outcome` (may be NULL) receives its outcome, for `durstream_outcome_free`. Any
/// thread; blocks until the outcome, at most `timeout_ms`. The message is repeated through failures
/// and still appended once, unless the option `idempotent` is off. For more than a few messages use
/// a producer.
///
/// Errors: `DURSTREAM_VALIDATION` for an empty message or broken JSON; `DURSTREAM_TIMEOUT`, and
/// the message may still be delivered; else why it was not: `durstream_error_definite` says
/// whether it is certainly not in the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_append(
    stream: *const durstream_stream,
    message: *const u8,
    length: usize,
    timeout_ms: i64,
    outcome: *mut *mut durstream_outcome,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (stream, message) = (handle(stream, "stream")?, bytes(message, length, "message")?);
            settled(stream.stream.append(message), timeout_ms, "append", outcome)
        })
    }
}

/// Appends one message with a `Stream-Seq`, 1 to 256 visible ASCII characters, and waits as
/// `durstream_stream_append` does. The server takes the message only if `seq` sorts after that of
/// the last message that had one, compared byte by byte. The message travels in a request of its
/// own. `outcome` (may be NULL) receives its outcome, for `durstream_outcome_free`. Any thread;
/// blocks until the outcome, at most `timeout_ms`.
///
/// Errors: those of `durstream_stream_append`; `DURSTREAM_SEQUENCE_CONFLICT` if `seq` does not sort
/// after the last one, `DURSTREAM_INVALID_ARGUMENT` if it is no `Stream-Seq`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_append_seq(
    stream: *const durstream_stream,
    message: *const u8,
    length: usize,
    seq: *const c_char,
    timeout_ms: i64,
    outcome: *mut *mut durstream_outcome,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (stream, message) = (handle(stream, "stream")?, bytes(message, length, "message")?);
            let appended = stream.stream.append_with_seq(message, text(seq, "seq")?);
            settled(appended, timeout_ms, "append", outcome)
        })
    }
}

/// Gives a reader of the stream from `offset` on, for `durstream_reader_free`. The offset is one
/// that a chunk, a reader or metadata gave, or NULL for the start. Sends nothing. Any thread; does
/// not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` (`offset`): it is empty, has control characters or
/// is longer than 4096 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_read(
    stream: *const durstream_stream,
    offset: *const c_char,
    reader: *mut *mut durstream_reader,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || read(stream, offset, c"off".as_ptr(), reader)) }
}

/// Gives a reader of the stream as `durstream_stream_read` does; `live` says whether to follow the
/// stream beyond its present end. Only `"off"`, which does not, is supported for now. `reader`
/// receives it, for `durstream_reader_free`. Any thread; does not block.
///
/// Errors: those of `durstream_stream_read`; `DURSTREAM_NOT_SUPPORTED` for `"auto"`, `"long-poll"`
/// and `"sse"`, `DURSTREAM_INVALID_ARGUMENT` (`live`) for any other text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_read_live(
    stream: *const durstream_stream,
    offset: *const c_char,
    live: *const c_char,
    reader: *mut *mut durstream_reader,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || read(stream, offset, live, reader)) }
}

/// Gives a reader.
///
/// # Safety
/// The pointers are those of `durstream_stream_read_live`.
unsafe fn read(
    stream: *const durstream_stream,
    offset: *const c_char,
    live: *const c_char,
    reader: *mut *mut durstream_reader,
) -> Result<(), Problem> {
    // SAFETY: the caller's promise.
    unsafe {
        let (stream, reader) = (handle(stream, "stream")?, out(reader, "reader")?);
        let (offset, live) = (optional_text(offset, "offset")?, text(live, "live")?);
        let made = stream.stream.read_live(offset, live)?;
        reader.set(|| give(durstream_reader::new(made)));
    }
    Ok(())
}

/// Ends the stream for everybody: nothing can be appended any more. A last message (NULL for none)
/// goes in the same request. `final_offset` (may be NULL) receives the end, for
/// `durstream_string_free`, or NULL if the server did not say it. Any thread; blocks, at most
/// `timeout_ms`.
///
/// Errors: why the stream was not ended; `DURSTREAM_TIMEOUT`, and the close goes on: call again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_close(
    stream: *const durstream_stream,
    message: *const u8,
    length: usize,
    timeout_ms: i64,
    final_offset: *mut *mut c_char,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let stream = handle(stream, "stream")?;
            let message = optional_bytes(message, length, "message")?;
            ended(stream.stream.close(message), timeout_ms, final_offset)
        })
    }
}

/// Deletes the stream with everything in it. Transient failures are repeated up to `max_retries`
/// times. Any thread; blocks, at most `timeout_ms`. The handle is still to be freed.
///
/// Errors: `DURSTREAM_STREAM_NOT_FOUND` if there is no stream, `_NOT_SUPPORTED`, `_UNAUTHORIZED`,
/// `_TRANSPORT`, ...; `DURSTREAM_TIMEOUT`, and the deletion goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_delete(
    stream: *const durstream_stream,
    timeout_ms: i64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let stream = handle(stream, "stream")?;
            Ok(stream.stream.delete().wait_or_timeout(limit(timeout_ms), "delete")?)
        })
    }
}
