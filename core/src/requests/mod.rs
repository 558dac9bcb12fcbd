//! One operation of the protocol each, over a transport: the request, and its result.

pub(crate) mod operations;
pub(crate) mod retry;
pub(crate) mod tail;
