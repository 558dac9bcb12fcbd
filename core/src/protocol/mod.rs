//! The wire: header names, JSON framing, and the meaning of answers. Pure functions.

pub(crate) mod answer;
pub(crate) mod framing;
pub(crate) mod headers;
pub(crate) mod items;
pub(crate) mod json;
pub(crate) mod json_text;
pub(crate) mod key;
pub(crate) mod lines;
pub(crate) mod stream_type;
pub(crate) mod trace;

/// The largest integer the protocol's numbers may have (PROTOCOL.md 5.2.1).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
