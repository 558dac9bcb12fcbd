//! [`DurableStream`](handle::DurableStream): a stream by its URL. What it appends goes through the
//! exactly-once machine, or, where a server takes no identities, through a queue of its own.

mod append;
pub(crate) mod feed;
#[cfg(test)]
mod forked;
pub(crate) mod handle;
mod plain;
mod plain_queue;
pub(crate) mod read;
mod source;
mod target;
mod writer;
