//! The exactly-once machine: what is accepted goes out in order, each write once, and every write
//! gets its outcome.

pub(crate) mod buffer;
pub(crate) mod callbacks;
pub(crate) mod closing;
pub(crate) mod config;
pub(crate) mod decide;
pub(crate) mod engine;
pub(crate) mod handle;
pub(crate) mod open;
pub(crate) mod task;
#[cfg(test)]
mod tests;
