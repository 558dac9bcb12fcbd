//! Where lines of the log go that no function of the host's takes: the application's `tracing`, or
//! standard error.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing::{Level, dispatcher};

use crate::runtime::log_line::{LogLevel, LogLine, Target};

/// Whether `tracing` may have a subscriber for lines of a level.
pub(super) fn is_traced(level: LogLevel) -> bool {
    level_of(level) <= LevelFilter::current()
}

/// Hands a line to the application's `tracing`; whether it has a subscriber, on this thread: one
/// for the whole process.
pub(super) fn trace(line: &LogLine) -> bool {
    let is_there = dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>());
    if is_there {
        emit(line);
    }
    is_there
}

fn level_of(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warning => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    }
}

/// An event's target and level are constants of the place that makes it.
fn emit(line: &LogLine) {
    macro_rules! event {
        ($target:literal, $level:ident) => {
            tracing::event!(
                target: $target,
                Level::$level,
                stream = line.stream(),
                producer_id = line.producer_id(),
                epoch = line.epoch(),
                attempt = line.attempt(),
                "{}",
                line.text()
            )
        };
    }
    macro_rules! at_its_level {
        ($target:literal) => {
            match line.level {
                LogLevel::Error => event!($target, ERROR),
                LogLevel::Warning => event!($target, WARN),
                LogLevel::Info => event!($target, INFO),
                LogLevel::Debug => event!($target, DEBUG),
                LogLevel::Trace => event!($target, TRACE),
            }
        };
    }
    match line.target {
        Target::Producer => at_its_level!("durstream::producer"),
        Target::Connection => at_its_level!("durstream::connection"),
        Target::Process => at_its_level!("durstream::process"),
    }
}

/// Writes a line to standard error, as without a sink; whether it was taken. For the sinks of
/// bindings that do not always take a line themselves.
///
/// Past the standard library's own handle, whose lock a host's thread may hold at a fork.
#[cfg(unix)]
#[doc(hidden)]
#[allow(unsafe_code, reason = "standard error is written to without its lock")]
pub fn log_to_stderr(line: &str) -> bool {
    use std::io::Write;
    use std::os::fd::FromRawFd;
    // SAFETY: the descriptor is the host's; `ManuallyDrop` keeps it open. Closed, writing fails.
    let stderr = unsafe { std::fs::File::from_raw_fd(2) };
    let mut stderr = std::mem::ManuallyDrop::new(stderr);
    stderr.write_all(format!("durstream: {line}\n").as_bytes()).is_ok()
}

#[cfg(not(unix))]
#[doc(hidden)]
pub fn log_to_stderr(line: &str) -> bool {
    use std::io::Write;
    writeln!(std::io::stderr(), "durstream: {line}").is_ok()
}
