//! The meaning of answers. Pure.

pub(crate) mod compare;
pub(crate) mod pacing;
pub(crate) mod session;
pub(crate) mod unidentified;
