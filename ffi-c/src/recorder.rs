//! The recorder: a server of streams within the process, for the tests of services. Its header is
//! `include/durstream_test.h`.

use std::ffi::{CString, c_char};
use std::ptr;

use durstream_core::testing::Recorder;
use durstream_core::{Reason, Result};

use crate::args::{handle, out, text};
use crate::chunk::durstream_chunk;
use crate::ffi_guard::{call, get};
use crate::given::{c_string, give, take};
use crate::problem::{Problem, durstream_code, durstream_error};

/// A server of streams within the process, without a socket. Whatever is opened below its URL is the real
/// thing, and does what it does with any server. Streams are created as on a server, never expire, and
/// cannot be forked.
pub struct durstream_test_recorder {
    recorder: Recorder,
    url: CString,
}

/// Makes a recorder without streams, which delivers everything; for `durstream_test_recorder_free`.
/// Recorders know nothing of each other. Starts nothing. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_new() -> *mut durstream_test_recorder {
    get(ptr::null_mut(), || {
        let recorder = Recorder::new();
        Some(give(durstream_test_recorder { url: c_string(recorder.url()), recorder }))
    })
}

/// Frees a recorder. Nothing is opened at its URL any more; what is open goes on, with everything
/// delivered. NULL is fine. Any thread, as its last use; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_free(recorder: *mut durstream_test_recorder) {
    // SAFETY: the caller gives back what `durstream_test_recorder_new` gave out.
    unsafe { get((), || take(recorder).map(drop)) }
}

/// Its base URL, for the option `endpoints` or the environment variable `DURABLE_STREAMS_URL`; the
/// option `url` takes this and a stream's path. NULL for NULL. Owned by the recorder. Any thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_url(
    recorder: *const durstream_test_recorder,
) -> *const c_char {
    // SAFETY: NULL or a live recorder.
    unsafe { get(ptr::null(), || Some(recorder.as_ref()?.url.as_ptr())) }
}

/// Gives everything that a stream, by its path, received since `durstream_test_recorder_clear`: on a
/// JSON stream the messages, on others the bytes. Where there is no stream it has no messages. What was
/// accepted is there once it is delivered: flush before. The events of a transaction stand together and
/// have one `txid`. The chunk is the caller's, for `durstream_chunk_free`. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: `path` is no path of a stream; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_events(
    recorder: *const durstream_test_recorder,
    path: *const c_char,
    chunk: *mut *mut durstream_chunk,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let (recorder, path) = (handle(recorder, "recorder")?, text(path, "path")?);
            let chunk = out(chunk, "chunk")?;
            let events = recorder.recorder.chunk(path)?;
            chunk.set(|| give(durstream_chunk::new(events)));
            Ok(())
        })
    }
}

/// Forgets what was received so far, for `durstream_test_recorder_events` alone: the streams and the
/// sessions of their producers stay as they are. Any thread; does not block.
///
/// Errors: `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_clear(
    recorder: *const durstream_test_recorder,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || told(recorder, Recorder::clear)) }
}

/// From now on appends wait for their answers, as with a server that hangs: their writes stay pending.
/// Requests that wait longer than `request_timeout_ms` are repeated, as ever. Any thread; does not
/// block.
///
/// Errors: `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_hold(
    recorder: *const durstream_test_recorder,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || told(recorder, Recorder::hold)) }
}

/// Answers the appends that are held, in their order, and holds no more. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: it does not hold; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_release(
    recorder: *const durstream_test_recorder,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || told(recorder, Recorder::release)) }
}

/// From now on appends that contain a text are refused, and their writes are rejected for this reason:
/// `DURSTREAM_REASON_REFUSED`, `_TOO_LARGE` or `_UNAUTHORIZED`. The empty text is in every append. As
/// with any server, a producer parts a refused batch until the writes that contain the text are alone.
/// Credentials are the whole producer's: it fails if no write was acknowledged so far, else it waits
/// until they are accepted. The text is copied. Any thread; does not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT`: no server refuses a write for that reason; `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_reject(
    recorder: *const durstream_test_recorder,
    containing: *const c_char,
    reason: i32,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || {
            let recorder = handle(recorder, "recorder")?;
            let containing = text(containing, "containing")?;
            let known = Reason::ALL.iter().find(|known| **known as i32 == reason);
            let reason = known.ok_or_else(|| {
                Problem::argument("reason", format!("`reason` is no durstream_reason: {reason}"))
            })?;
            Ok(recorder.recorder.reject(containing, *reason)?)
        })
    }
}

/// From now on another producer holds every id: producers are fenced at their next append, and so is
/// one that restarts. Any thread; does not block.
///
/// Errors: `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_fence(
    recorder: *const durstream_test_recorder,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || told(recorder, Recorder::fence)) }
}

/// The next `times` requests of any kind find nobody, as when no server listens; they are repeated. With
/// 0 all of them do. Any thread; does not block.
///
/// Errors: `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_fail(
    recorder: *const durstream_test_recorder,
    times: u64,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe {
        call(error, || told(recorder, |own| own.fail(Some(times).filter(|times| *times > 0))))
    }
}

/// From now on everything is delivered again, as in the beginning: ends what `hold`, `reject`, `fence`
/// and `fail` began, and answers what is held. Any thread; does not block.
///
/// Errors: `DURSTREAM_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_test_recorder_deliver(
    recorder: *const durstream_test_recorder,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: the pointers are as the header asks.
    unsafe { call(error, || told(recorder, Recorder::deliver)) }
}

/// Tells a recorder something.
///
/// # Safety
/// `recorder` is NULL or live.
unsafe fn told(
    recorder: *const durstream_test_recorder,
    tell: impl FnOnce(&Recorder) -> Result<()>,
) -> std::result::Result<(), Problem> {
    // SAFETY: the caller's promise.
    Ok(tell(unsafe { &handle(recorder, "recorder")?.recorder })?)
}
