//! The writer of entity state.

use std::sync::Arc;

use durstream_core::{
    Control, Operation, Reason, StateProducer, WriteOptions, create_durable_stream_with,
};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{self, Payload, Written, bytes, closed, guarded, report, written};
use crate::failure::{Listener, callback};
use crate::options::Given;
use crate::receipts::Receipts;
use crate::said::{Said, issues_of};
use crate::schema::Schema;
use crate::transaction::Transaction;
use crate::wait::Wait;
use crate::write::Writer;

/// One holder of a state producer. JavaScript's collector lets it go at the latest; its receipts
/// hold nothing open.
#[napi]
pub struct State {
    producer: Arc<StateProducer>,
}

impl Drop for State {
    fn drop(&mut self) {
        drop(self.producer.release());
    }
}

/// What an open with these would open, as JSON text.
#[napi]
pub fn inspect(schema: &Schema, given: Given<'_>) -> napi::Result<String> {
    let options = given.options()?;
    guarded(|| Ok(durstream_core::inspect(options, schema.schema.clone())?.to_string()))
}

#[napi]
impl State {
    /// Opens the producer of a stream, or becomes a holder of the open one.
    #[napi(constructor)]
    pub fn new(
        schema: &Schema,
        given: Given<'_>,
        listener: Option<Listener<'_>>,
    ) -> napi::Result<Self> {
        let (options, callbacks) = (given.options()?, callback(listener)?);
        guarded(|| {
            let producer = create_durable_stream_with(options, schema.schema.clone(), callbacks)?;
            Ok(State { producer: Arc::new(producer) })
        })
    }

    /// Whether both hold the same producer.
    #[napi]
    pub fn is_same(&self, other: &State) -> bool {
        self.producer.is_same(&other.producer)
    }

    /// Lets this holder go. Its `onError` is called for no later writes, and it writes no more.
    #[napi]
    pub fn release(&self) -> napi::Result<()> {
        guarded(|| {
            drop(self.producer.release());
            Ok(())
        })
    }

    /// The waits of its receipts.
    #[napi]
    pub fn receipts(&self) -> Receipts {
        Receipts::of(&*self.producer)
    }

    /// The function that publishes an entity of a collection, given as JSON.
    #[napi]
    pub fn upserter(&self, collection: String) -> Writer {
        let producer = self.producer.clone();
        Writer::new(move |value| producer.upsert_json(&collection, value))
    }

    /// Publishes that an entity is gone.
    #[napi]
    pub fn delete(&self, collection: String, key: String) -> Written {
        written(|| self.producer.delete(&collection, &key))
    }

    /// Publishes a change of an entity given as JSON, or that the entity of the key is gone. Headers
    /// are a flat list of names and values.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "an object costs more to cross than its fields")]
    pub fn change(
        &self,
        operation: String,
        collection: String,
        value: Payload<'_>,
        headers: Vec<String>,
        txid: Option<String>,
        timestamp: Option<String>,
        key: Option<String>,
        old_value: Option<Payload<'_>>,
    ) -> Written {
        let said = Said { txid, timestamp, headers, key, old_value };
        let value = bytes(&value);
        written(|| {
            let operation = Operation::from_name(&operation)?;
            said.with(|options| {
                self.producer.change_json_with(operation, &collection, value, options)
            })
        })
    }

    /// Begins a transaction.
    #[napi]
    pub fn begin(&self, txid: Option<String>) -> napi::Result<Transaction> {
        guarded(|| Transaction::begin(self.producer.clone(), txid.as_deref()))
    }

    /// Publishes a message about the stream.
    #[napi]
    pub fn control(&self, control: String, offset: Option<String>) -> napi::Result<Written> {
        guarded(|| {
            let control = Control::from_name(&control)?;
            let options = WriteOptions::default();
            Ok(written(|| self.producer.control(control, offset.as_deref(), options)))
        })
    }

    /// Refuses and counts a value that the facade refused. Issues are a flat list of paths and
    /// messages.
    #[napi]
    pub fn refuse(
        &self,
        collection: String,
        reason: String,
        key: Option<String>,
        issues: Vec<String>,
    ) -> Written {
        written(|| {
            let reason = Reason::from_name(&reason).unwrap_or(Reason::InvalidValue);
            self.producer.refuse(&collection, reason, key.as_deref(), issues_of(&issues))
        })
    }

    /// Waits for everything accepted so far.
    #[napi]
    pub fn flush(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.flush(), report)))
    }

    /// Waits until the stream exists and writes are taken at once.
    #[napi]
    pub fn ready(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.ready(), |()| Value::Null)))
    }

    /// Begins a fresh session.
    #[napi]
    pub fn restart(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.restart(), |()| Value::Null)))
    }

    /// Ends now and drops what the outbox holds.
    #[napi]
    pub fn discard_outbox(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.discard_outbox(), |count| Value::from(*count))))
    }

    /// Flushes, leaves the registry and stops the producer for all holders.
    #[napi]
    pub fn close(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.close(), report)))
    }

    /// Flushes, then ends the stream.
    #[napi]
    pub fn close_stream(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.close_stream(), closed)))
    }

    /// Takes no more writes from any holder, delivers the accepted ones.
    #[napi]
    pub fn begin_shutdown(&self) -> napi::Result<()> {
        guarded(|| {
            self.producer.begin_shutdown();
            Ok(())
        })
    }

    /// Ends now.
    #[napi]
    pub fn stop(&self) -> napi::Result<()> {
        guarded(|| {
            self.producer.stop();
            Ok(())
        })
    }

    /// The state of the producer, as JSON text.
    #[napi]
    pub fn snapshot(&self) -> napi::Result<String> {
        guarded(|| Ok(crossing::snapshot(&self.producer.snapshot())))
    }

    /// Its counters, as JSON text.
    #[napi]
    pub fn stats(&self) -> napi::Result<String> {
        guarded(|| Ok(crossing::stats(&self.producer.stats())))
    }

    /// The text for Prometheus, or as OpenMetrics.
    #[napi]
    pub fn stats_prometheus(&self, openmetrics: bool) -> napi::Result<String> {
        guarded(|| Ok(self.producer.stats_prometheus(crossing::exposition(openmetrics))))
    }

    /// The producer id as sent.
    #[napi(getter)]
    pub fn producer_id(&self) -> String {
        self.producer.producer_id().to_owned()
    }

    /// The URL without secrets.
    #[napi(getter)]
    pub fn url(&self) -> String {
        self.producer.url().to_owned()
    }
}
