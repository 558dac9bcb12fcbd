//! A line of the log: how much it matters, what it is about, and its text.

use std::fmt;
use std::sync::Arc;

use crate::error::{CUT, start};

/// The longest line, in bytes.
const LINE: usize = 4096;

/// How much a line of the log matters. The numbers are fixed, and rise with how much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum LogLevel {
    /// A producer ended by itself, and nobody else is told of it.
    Error = 1,
    /// Something needs attention.
    Warning = 2,
    /// Something is well again.
    Info = 3,
    /// A step of a producer: its lifecycle, its sessions, what it asked the stream itself.
    Debug = 4,
    /// A request with its answer.
    Trace = 5,
}

impl LogLevel {
    /// Every level, in the order of the numbers.
    pub const ALL: &'static [LogLevel] =
        &[LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// The name shown in every language: `error`, `warn`, `info`, `debug` or `trace`.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warning => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }

    /// The level of a number; `None` if no level has it.
    pub fn from_number(number: i32) -> Option<LogLevel> {
        LogLevel::ALL.iter().copied().find(|level| *level as i32 == number)
    }
}

/// What the lines of a part of the library are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A producer: its lifecycle, its sessions, its writes.
    Producer,
    /// The way to a host: contact, certificates.
    Connection,
    /// The whole process: its end, its callbacks, the log itself.
    Process,
}

impl Target {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Target::Producer => "producer",
            Target::Connection => "connection",
            Target::Process => "process",
        }
    }
}

/// What a line is about, as far as it is about one producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) stream: Option<Arc<str>>,
    pub(crate) producer_id: Option<String>,
    pub(crate) epoch: Option<u64>,
    pub(crate) attempt: Option<u32>,
}

/// A line of the log. Its text stands alone; the fields say again what it is about, for logs that
/// are searched by field. Neither ever holds credentials or what was written.
#[derive(Debug, Clone)]
pub struct LogLine {
    pub(crate) level: LogLevel,
    pub(crate) target: Target,
    pub(crate) text: String,
    pub(crate) about: About,
}

impl LogLine {
    /// A text beyond 4 KiB is cut, with an ellipsis. A line that wants attention ends in its word.
    pub(crate) fn new(
        level: LogLevel,
        target: Target,
        about: About,
        text: &str,
        word: Option<&str>,
    ) -> Self {
        debug_assert_eq!(level <= LogLevel::Warning, word.is_some(), "{text}");
        let mut line = start(text, LINE).to_owned();
        if line.len() < text.len() {
            line.push_str(CUT);
        }
        if let Some(word) = word {
            line.push_str(&format!(" [{word}]"));
        }
        LogLine { level, target, text: line, about }
    }

    /// How much it matters.
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// The part of the library: `producer`, `connection` or `process`.
    pub fn target(&self) -> &'static str {
        self.target.as_str()
    }

    /// The text for a person. An error or a warning ends in a word in brackets, `[unreachable]` say:
    /// `docs/errors.md` says what to do about it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The URL of the stream it is about, without user info and query.
    pub fn stream(&self) -> Option<&str> {
        self.about.stream.as_deref()
    }

    /// The id of the producer it is about.
    pub fn producer_id(&self) -> Option<&str> {
        self.about.producer_id.as_deref()
    }

    /// The epoch of that producer's session.
    pub fn epoch(&self) -> Option<u64> {
        self.about.epoch
    }

    /// Failed attempts in a row.
    pub fn attempt(&self) -> Option<u32> {
        self.about.attempt
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
