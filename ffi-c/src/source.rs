//! Appending the messages that a callback gives, one at a time.

use std::ffi::{c_char, c_void};

use crate::args::{bytes, handle, text};
use crate::ffi_guard::{call, get};
use crate::problem::{Problem, durstream_code, durstream_error};
use crate::stats::{SizedOut, durstream_flush_report};
use crate::stream::durstream_stream;

/// Takes the next message of a `durstream_source_callback`, until that returns.
pub struct durstream_source {
    next: Option<Result<Vec<u8>, String>>,
}

/// Gives the next message: it calls `durstream_source_give` once, `durstream_source_fail`, or
/// neither at the end. Runs on the thread that called `durstream_stream_append_stream`, under no
/// lock, and may wait for anything. No exception may leave it.
pub type durstream_source_callback =
    Option<unsafe extern "C" fn(source: *mut durstream_source, user_data: *mut c_void)>;

/// Appends every message that `callback` gives, in order, and waits until all are delivered: many
/// travel together, unlike those of a loop of `durstream_stream_append`. The callback is called for
/// the next message only while there is room, so a slow server slows it down, and memory stays
/// bounded. On a stream that is not JSON, empty messages are skipped. The callback is called no
/// more once it fails or a message is not delivered. `report` may be NULL. Any thread, which blocks
/// for as long as the callback has messages.
///
/// Errors: `DURSTREAM_DELIVERY`, with `durstream_error_delivered`, `_undelivered` and the first
/// cause. If the callback failed, that is `DURSTREAM_INVALID_ARGUMENT` (`source`), and its earlier
/// messages are delivered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_stream_append_stream(
    stream: *const durstream_stream,
    callback: durstream_source_callback,
    user_data: *mut c_void,
    report: *mut durstream_flush_report,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let stream = handle(stream, "stream")?;
            let report = SizedOut::optional(report, "report")?;
            let callback = callback.ok_or_else(|| Problem::null("callback"))?;
            let source = std::iter::from_fn(|| {
                let mut source = durstream_source { next: None };
                callback(&raw mut source, user_data);
                source.next
            });
            let found = stream.stream.blocking_append_stream(source)?;
            SizedOut::set_optional(report, found);
            Ok(())
        })
    }
}

/// Gives the next message; the bytes are copied. A second message in the same call is a failure, as
/// by `durstream_source_fail`. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_source_give(
    source: *mut durstream_source,
    message: *const u8,
    length: usize,
) {
    // SAFETY: NULL or what the callback received; the bytes are as the header asks.
    unsafe {
        get((), || {
            let source = source.as_mut()?;
            source.next = Some(match (bytes(message, length, "message"), &source.next) {
                (Ok(message), None) => Ok(message.to_vec()),
                (Ok(_), Some(_)) => Err("it gave two messages in one call".to_owned()),
                (Err(problem), _) => Err(problem.text()),
            });
            Some(())
        })
    }
}

/// Says that the source has failed and has no next message; `why` is copied, for people. The
/// callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_source_fail(source: *mut durstream_source, why: *const c_char) {
    // SAFETY: NULL or what the callback received; the text is as the header asks.
    unsafe {
        get((), || {
            let why = text(why, "why").unwrap_or("without a reason");
            source.as_mut()?.next = Some(Err(why.to_owned()));
            Some(())
        })
    }
}
