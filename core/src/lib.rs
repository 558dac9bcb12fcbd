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

// The map. A module knows what is on floors below its own, and nothing else
// (`tests/tests/layout.rs` reads this); `docs/reading.md` walks through it.
//
//   testing            the recorder: a server within the process, for the tests of services
//   opentelemetry      the instruments of all producers, where the feature is on
//   producer state     the faces: `IdempotentProducer`, `StateProducer` with its schemas and registry
//   stream             `DurableStream`: create, append, read, end, delete; its plain appends
//   delivery           the exactly-once machine: accept, send, decide, settle (a map in its `mod.rs`)
//   outbox             what was accepted, on disk until it is settled
//   requests           one operation of the protocol each: create, look, close, delete; repeats
//   transport          one attempt, from endpoint to answer: redirects, header functions, HTTP, recorders
//   options            the table of options and the builder
//   protocol runtime   the wire's words, pure; threads, forks, results and the process's end
//   outcome            what became of a write
//   error stats        the one error; the table of metrics
//   reason             why a write was not delivered

mod delivery;
mod error;
#[cfg(test)]
mod errors_page;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod metrics_page;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
mod options;
mod outbox;
mod outcome;
mod producer;
mod protocol;
mod reason;
mod requests;
mod runtime;
mod state;
mod stats;
mod stream;
pub mod testing;
mod transport;

pub use delivery::buffer::budget::set_buffer_budget;
pub use delivery::buffer::lifecycle::{Lifecycle, StateChange};
#[doc(hidden)]
pub use delivery::callbacks::UntilTold;
pub use delivery::callbacks::{
    Callbacks, Delivery, DeliveryCallback, ErrorCallback, Failure, StateCallback,
};
#[doc(hidden)]
pub use delivery::engine::accept::Full;
pub use delivery::engine::accept::WriteOptions;
#[doc(hidden)]
pub use delivery::engine::spans::{FinishedBatch, TraceContext, set_batch_observer};
pub use delivery::handle::{Producer, Receipts, Snapshot};
pub use delivery::measured::{ProducerStats, all_stats, stats_prometheus};
#[doc(hidden)]
pub use delivery::measured::{observations, opentelemetry_signals};
pub use delivery::permit::Permit;
pub use error::{Detail, Error, ErrorKind, Issue, Result};
pub use options::headers::{HeaderAnswer, HeaderFn};
pub use options::{OPTIONS, OptionKind, OptionSpec, Options, Scope, nearest};
#[doc(hidden)]
pub use outbox::look::outbox_tool;
pub use outcome::{CloseResult, FlushReport, Outcome, Receipt, Status};
pub use producer::IdempotentProducer;
pub use protocol::MAX_SAFE_INTEGER;
pub use protocol::items::Items;
#[doc(hidden)]
pub use protocol::key::{NoKey, key_of_json};
pub use reason::Reason;
pub use requests::operations::Metadata;
pub use runtime::exit::set_exit_timeout;
#[doc(hidden)]
pub use runtime::fork::uncut;
pub use runtime::lifecycle::{
    behind_reports, callbacks_done, drain_log, flush_all, is_idle, is_told, pending_count,
    shutdown, stop_all,
};
#[doc(hidden)]
pub use runtime::log::set_log_taker;
pub use runtime::log::{set_log_level, set_log_sink};
pub use runtime::log_line::{LogLevel, LogLine};
#[doc(hidden)]
pub use runtime::log_writers::log_to_stderr;
#[doc(hidden)]
pub use runtime::pending::Overdue;
pub use runtime::pending::Pending;
pub use state::collection::{CollectionRef, Takes, TypedCollection};
pub use state::event::{Control, EventOptions, Operation, Timestamp};
pub use state::inspect::inspect;
pub use state::producer::{StateProducer, create_durable_stream, create_durable_stream_with};
pub use state::schema::{Collection, StreamSchema, ValidateFn, Validator};
#[doc(hidden)]
pub use state::transaction::Changes;
pub use state::transaction::Transaction;
pub use stats::histogram::Distribution;
pub use stats::names::Instrument;
pub use stats::prometheus::Exposition;
#[doc(hidden)]
pub use stats::signals::{AttributeValue, Observation, Signal};
pub use stats::{METRICS, Metric, MetricKind, Stats};
pub use stream::handle::DurableStream;
pub use stream::read::{Chunk, StreamReader};
pub use stream::sink::{AppendSink, SinkState};
#[doc(hidden)]
#[doc(hidden)]
pub use transport::endpoint::VARIABLES;
pub use transport::tls::trust::trust_also;
