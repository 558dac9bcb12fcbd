//! The library's log, as the host's function receives it.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use durstream_core::{LogLevel, LogLine};

use crate::ffi_guard::{call, get};
use crate::given::{c_string, pointer};
use crate::problem::{Problem, durstream_code, durstream_error};

/// How much a line of the log matters. The numbers are fixed; a later version may add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum durstream_log_level {
    /// A producer ended by itself, and it has no error callback.
    DURSTREAM_LOG_ERROR = 1,
    /// Something needs attention.
    DURSTREAM_LOG_WARNING = 2,
    /// Something is well again.
    DURSTREAM_LOG_INFO = 3,
    /// A step of a producer: its lifecycle, its sessions, what it asked the stream itself.
    DURSTREAM_LOG_DEBUG = 4,
    /// A request with its answer.
    DURSTREAM_LOG_TRACE = 5,
}

impl durstream_log_level {
    fn of(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => durstream_log_level::DURSTREAM_LOG_ERROR,
            LogLevel::Info => durstream_log_level::DURSTREAM_LOG_INFO,
            LogLevel::Debug => durstream_log_level::DURSTREAM_LOG_DEBUG,
            LogLevel::Trace => durstream_log_level::DURSTREAM_LOG_TRACE,
            _ => durstream_log_level::DURSTREAM_LOG_WARNING,
        }
    }
}

/// A line of the log with its fields. Owned by the library until the callback returns.
pub struct durstream_log_line {
    level: durstream_log_level,
    target: CString,
    text: CString,
    stream: Option<CString>,
    producer_id: Option<CString>,
    epoch: u64,
    attempt: u32,
}

impl durstream_log_line {
    fn new(line: &LogLine) -> Self {
        durstream_log_line {
            level: durstream_log_level::of(line.level()),
            target: c_string(line.target()),
            text: c_string(line.text()),
            stream: line.stream().map(c_string),
            producer_id: line.producer_id().map(c_string),
            epoch: line.epoch().unwrap_or(0),
            attempt: line.attempt().unwrap_or(0),
        }
    }
}

/// Receives a line of the log. `text` ends with the call. Runs on a thread of the library's own,
/// one line at a time; what waits fails there with `would-deadlock`. While it blocks, further lines
/// are dropped and counted.
pub type durstream_log_callback = Option<
    unsafe extern "C" fn(level: durstream_log_level, text: *const c_char, user_data: *mut c_void),
>;

/// Receives a line of the log with its fields, on the terms of `durstream_log_callback`.
pub type durstream_log_line_callback =
    Option<unsafe extern "C" fn(line: *const durstream_log_line, user_data: *mut c_void)>;

/// A host's log.
struct Log<F> {
    callback: F,
    user_data: *mut c_void,
}

// SAFETY: the header says that the callback and `user_data` are used on a thread of the library's.
unsafe impl<F> Send for Log<F> {}
// SAFETY: the core calls with one line at a time.
unsafe impl<F> Sync for Log<F> {}

impl Log<unsafe extern "C" fn(durstream_log_level, *const c_char, *mut c_void)> {
    fn line(&self, line: &LogLine) {
        let (level, text) = (durstream_log_level::of(line.level()), c_string(line.text()));
        // SAFETY: the host's function with its own data, for a text that lives until it ends.
        unsafe { (self.callback)(level, text.as_ptr(), self.user_data) };
    }
}

impl Log<unsafe extern "C" fn(*const durstream_log_line, *mut c_void)> {
    fn line(&self, line: &LogLine) {
        let line = durstream_log_line::new(line);
        // SAFETY: the host's function with its own data, for a line that lives until it ends.
        unsafe { (self.callback)(&raw const line, self.user_data) };
    }
}

/// Sends the library's log lines to a callback in place of standard error; NULL silences them.
/// `user_data` has to live as long as the process: another thread may be writing a line while this
/// is called. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_set_log(
    callback: durstream_log_callback,
    user_data: *mut c_void,
) {
    get((), || {
        let log = callback.map(|callback| Log { callback, user_data });
        durstream_core::set_log_sink(move |line| log.iter().for_each(|log| log.line(line)));
        Some(())
    })
}

/// Sends the library's log lines with their fields to a callback, in place of standard error and of
/// the callback of `durstream_set_log`; NULL silences them. `user_data` has to live as long as the
/// process. Any thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_set_log_lines(
    callback: durstream_log_line_callback,
    user_data: *mut c_void,
) {
    get((), || {
        let log = callback.map(|callback| Log { callback, user_data });
        durstream_core::set_log_sink(move |line| log.iter().for_each(|log| log.line(line)));
        Some(())
    })
}

/// Sets how much the callback, or standard error, gets: lines of this `durstream_log_level` and of
/// those that matter more, or none with 0. `DURSTREAM_LOG_INFO` until it is set. Any thread; does
/// not block.
///
/// Errors: `DURSTREAM_INVALID_ARGUMENT` for any other number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_set_log_level(
    level: i32,
    error: *mut *mut durstream_error,
) -> durstream_code {
    // SAFETY: `error` is as the header asks.
    unsafe {
        call(error, || {
            let known = LogLevel::from_number(level);
            if known.is_none() && level != 0 {
                let text = format!("`level` takes a durstream_log_level or 0, not {level}");
                return Err(Problem::argument("level", text));
            }
            durstream_core::set_log_level(known);
            Ok(())
        })
    }
}

/// How much the line matters; `DURSTREAM_LOG_WARNING` for NULL. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_level(
    line: *const durstream_log_line,
) -> durstream_log_level {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(durstream_log_level::DURSTREAM_LOG_WARNING, || Some(line.as_ref()?.level)) }
}

/// The part of the library: `producer`, `connection` or `process`. Owned by the line. The callback's
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_target(
    line: *const durstream_log_line,
) -> *const c_char {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(ptr::null(), || Some(line.as_ref()?.target.as_ptr())) }
}

/// The text for a person, which stands alone. Owned by the line. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_text(line: *const durstream_log_line) -> *const c_char {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(ptr::null(), || Some(line.as_ref()?.text.as_ptr())) }
}

/// The URL of the stream it is about, without user info and query, or NULL. Owned by the line. The
/// callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_stream(
    line: *const durstream_log_line,
) -> *const c_char {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(ptr::null(), || Some(pointer(line.as_ref()?.stream.as_ref()))) }
}

/// The id of the producer it is about, or NULL. Owned by the line. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_producer_id(
    line: *const durstream_log_line,
) -> *const c_char {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(ptr::null(), || Some(pointer(line.as_ref()?.producer_id.as_ref()))) }
}

/// The epoch of that producer's session; 0 for a line about no producer. The callback's thread; does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_epoch(line: *const durstream_log_line) -> u64 {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(0, || Some(line.as_ref()?.epoch)) }
}

/// Failed attempts in a row; 0 when all is well. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_log_line_attempt(line: *const durstream_log_line) -> u32 {
    // SAFETY: NULL or the line the callback is about.
    unsafe { get(0, || Some(line.as_ref()?.attempt)) }
}
