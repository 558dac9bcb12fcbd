//! libdurstream: the C face of durstream-core, and nothing but a translation.
//!
//! Every export is in the file of its noun, visible as it is, and its whole body is one guard of
//! `ffi_guard`. The conventions are the prose of `include/durstream.h`.
#![allow(non_camel_case_types, reason = "the types have the names C sees")]
#![allow(clippy::missing_safety_doc, reason = "the header's conventions say it once for all")]

mod args;
pub mod chunk;
pub mod delivery;
mod either;
pub mod error;
pub mod event;
mod ffi_guard;
mod given;
pub mod header;
pub mod inspect;
pub mod log;
pub mod metadata;
pub mod options;
pub mod outcome;
pub mod problem;
pub mod process;
pub mod producer;
pub mod reader;
pub mod recorder;
pub mod schema;
pub mod source;
pub mod state;
pub mod stats;
pub mod stream;
pub mod transaction;
pub mod transition;
mod version;
