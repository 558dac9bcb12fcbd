//! Accepted writes, and their outcomes. Nothing here sends or waits.

pub(crate) mod batch;
pub(crate) mod book;
pub(crate) mod budget;
pub(crate) mod doubt;
pub(crate) mod flushes;
pub(crate) mod kept;
pub(crate) mod lifecycle;
pub(crate) mod queue;
pub(crate) mod receipts;
mod record;
pub(crate) mod store;
