//! The hidden runtime: threads, what a fork leaves of them, chance, and results on their way to
//! callers. It knows neither HTTP nor producers.

pub(crate) mod alike;
pub(crate) mod chance;
pub(crate) mod dispatcher;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod io;
pub(crate) mod lifecycle;
pub(crate) mod log;
pub(crate) mod log_line;
pub(crate) mod log_writers;
pub(crate) mod notice;
pub(crate) mod pending;
pub(crate) mod rarely;
pub(crate) mod threads;
