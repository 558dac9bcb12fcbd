//! The Node face of `durstream_core`: the functions that the typed facade in `lib/` calls.
//!
//! Results and errors cross as JSON text, so that one place, the facade, makes JavaScript's
//! classes of them. No promise made here is ever rejected: its text says what went wrong.

pub mod crossing;
pub mod failure;

pub mod header;
pub mod log;
pub mod options;
pub mod outbox;
pub mod process;
pub mod producer;
pub mod reader;
pub mod receipts;
pub mod recorder;
pub mod said;
pub mod schema;
pub mod sink;
pub mod spans;
pub mod state;
pub mod stream;
pub mod thread;
pub mod transaction;
pub mod wait;
pub mod write;
