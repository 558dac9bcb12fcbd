//! Both kinds of producers behind one set of calls.

use std::sync::Arc;

use durstream_core::{
    Callbacks, Collection, DurableStream, ErrorCallback, FlushReport, HeaderFn, IdempotentProducer,
    Lifecycle, Options, Outcome, Pending, Receipt, StateProducer, Stats, StreamSchema, Validator,
    create_durable_stream_with,
};
use durstream_tests::numbered::{self, Kind};

use crate::job::{Job, Result};

/// The producer of a job.
pub(crate) enum Producer {
    Messages(Kind, IdempotentProducer),
    State(StateProducer),
}

/// The same call on either.
macro_rules! either {
    ($self:expr, $producer:ident => $call:expr) => {
        match $self {
            Producer::Messages(_, $producer) => $call,
            Producer::State($producer) => $call,
        }
    };
}

impl Producer {
    /// Opens it; a stream of messages is created first.
    pub(crate) fn open(job: &Job, on_error: ErrorCallback) -> Result<Self> {
        let callbacks = Callbacks { on_error: Some(on_error), ..Callbacks::default() };
        let mut own = Options::new();
        for (name, value) in &job.options {
            own.set(name, value)?;
        }
        if job.kind == Kind::State {
            let collection = Collection::new(numbered::EVENT_TYPE, "id", Validator::Any);
            let schema = StreamSchema::new().collection(numbered::COLLECTION, collection);
            let options = place(job, own);
            let options = with_token(job, options.producer_id(&job.producer_id));
            return Ok(Self::State(create_durable_stream_with(options, schema, callbacks)?));
        }
        let options = place(job, Options::new());
        let options = with_token(job, options.content_type(job.kind.content_type()));
        let stream = DurableStream::create(options, "").wait()?;
        let producer = IdempotentProducer::open_with(&stream, &job.producer_id, own, callbacks)?;
        Ok(Self::Messages(job.kind, producer))
    }

    /// Makes one write; one that was not accepted is a receipt too.
    pub(crate) fn write(&self, writer: &str, number: usize) -> Receipt {
        let written = match self {
            Self::Messages(kind, producer) => {
                return producer.try_append(kind.record(writer, number));
            }
            Self::State(producer) if numbered::deletes(number) => {
                producer.delete(numbered::COLLECTION, &numbered::key(writer, number))
            }
            Self::State(producer) => {
                producer.upsert(numbered::COLLECTION, &numbered::value(writer, number))
            }
        };
        written.expect("without `strict` and forks every refusal is a receipt")
    }

    pub(crate) fn wait(&self, id: u64) -> Pending<Outcome> {
        either!(self, producer => producer.wait(id))
    }

    pub(crate) fn flush(&self) -> Pending<FlushReport> {
        either!(self, producer => producer.flush())
    }

    pub(crate) fn stats(&self) -> Stats {
        either!(self, producer => producer.stats())
    }

    pub(crate) fn state(&self) -> Lifecycle {
        either!(self, producer => producer.snapshot().state)
    }

    /// Ends it; everything is settled by now.
    pub(crate) fn let_go(self) {
        let report = match &self {
            Self::Messages(_, producer) => producer.detach(),
            Self::State(producer) => producer.close(),
        };
        // A producer that failed says so here too; its outcomes have told.
        let _ = report.wait();
    }
}

/// Where the job's stream is.
fn place(job: &Job, options: Options) -> Options {
    let options = options.endpoints(&job.url).stream_path(&job.stream_path);
    match &job.path_prefix {
        Some(prefix) => options.path_prefix(prefix),
        None => options,
    }
}

/// A token read anew for every request, where the job has one.
fn with_token(job: &Job, options: Options) -> Options {
    let Some(file) = job.token_file.clone() else { return options };
    let read: HeaderFn = Arc::new(move |answer| match std::fs::read_to_string(&file) {
        Ok(token) => answer.give(format!("Bearer {token}")),
        Err(error) => answer.fail(error.to_string()),
    });
    options.header_fn("Authorization", read)
}
