//! Publishes data to durable streams, exactly once.
//!
//! A durable stream is an append-only log at a URL, over plain HTTP. This crate is the core of
//! libdurstream: [`IdempotentProducer`] writes bytes or JSON, [`create_durable_stream`] writes
//! the state of entities, [`DurableStream`] is a stream by its URL. The C library, the Python
//! package and the npm package show the same under the same names.
//!
//! Everything runs on a runtime of the library's own, so calls work on any executor or none:
//! each waiting call returns a [`Pending`], which is a future and can also be waited for.
//!
//! ```no_run
//! use durstream_core::{DurableStream, IdempotentProducer, Options};
//!
//! # fn main() -> Result<(), durstream_core::Error> {
//! let options = Options::new()
//!     .url("http://localhost:4437/v1/stream/events")
//!     .content_type("application/json");
//! let stream = DurableStream::create(options, "").wait()?;
//! let producer = IdempotentProducer::open(&stream, "my-service", Options::new())?;
//! producer.append(r#"{"type":"order.created","orderId":"123"}"#)?;
//! let report = producer.detach().wait()?;
//! assert_eq!(report.delivered, 1);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod endpoint;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod options;
mod pending;
mod producer;
mod protocol;
mod runtime;
mod state;
mod stats;
mod stream;
mod transport;

pub use error::{Detail, Error, ErrorKind, Issue, Result};
pub use options::{MAX_SAFE_INTEGER, OPTIONS, OptionKind, OptionSpec, Options, Scope};
pub use pending::Pending;
pub use producer::{
    Callbacks, CloseResult, Delivery, DeliveryCallback, ErrorCallback, Failure, FlushReport,
    IdempotentProducer, Outcome, ProducerState, Reason, Receipt, Snapshot, Status, WriteOptions,
};
pub use protocol::items::Items;
pub use runtime::exit::set_exit_timeout;
#[doc(hidden)]
pub use runtime::fork::uncut;
#[doc(hidden)]
pub use runtime::log::log_to_stderr;
pub use runtime::log::set_log_sink;
pub use runtime::{flush_all, pending_count, set_buffer_budget, shutdown};
pub use state::{
    Collection, StateProducer, StreamSchema, ValidateFn, Validator, create_durable_stream,
    create_durable_stream_with,
};
pub use stats::Stats;
pub use stream::{Chunk, DurableStream, Feed, Metadata, Next, StreamReader};
pub use transport::asking::{HeaderAnswer, HeaderFn};
