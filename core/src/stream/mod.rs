//! [`DurableStream`](handle::DurableStream): a stream by its URL. Its appends go through the
//! exactly-once machine, under an identity of the library's own.

mod append;
#[cfg(test)]
mod forked;
pub(crate) mod handle;
mod page;
pub(crate) mod read;
pub(crate) mod sink;
mod source;
mod target;
pub(crate) mod writer;
