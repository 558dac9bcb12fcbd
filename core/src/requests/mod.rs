//! One operation of the protocol each, over a transport: what is sent, and what came of it.

pub(crate) mod operations;
pub(crate) mod retry;
pub(crate) mod tail;
