//! The wire: header names, JSON framing, and what an answer says. Pure functions.

pub(crate) mod answer;
pub(crate) mod framing;
pub(crate) mod headers;
pub(crate) mod items;
pub(crate) mod json;
