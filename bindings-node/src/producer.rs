//! The exactly-once writer of bytes or JSON.

use std::sync::Arc;

use durstream_core::{IdempotentProducer, Producer as _};
use napi_derive::napi;
use serde_json::Value;

use crate::crossing::{
    self, Payload, Written, bytes, closed, guarded, report, written, written_if_any,
};
use crate::failure::{Listener, callback};
use crate::options::Given;
use crate::receipts::Receipts;
use crate::stream::Stream;
use crate::wait::Wait;
use crate::write::Writer;

/// A producer on a stream.
#[napi]
pub struct Producer {
    producer: Arc<IdempotentProducer>,
}

#[napi]
impl Producer {
    /// Opens a producer; sends nothing.
    #[napi(constructor)]
    pub fn new(
        stream: &Stream,
        id: String,
        given: Given<'_>,
        listener: Option<Listener<'_>>,
    ) -> napi::Result<Self> {
        let (options, callbacks) = (given.options()?, callback(listener)?);
        guarded(|| {
            let producer =
                IdempotentProducer::open_with(&stream.stream(), &id, options, callbacks)?;
            Ok(Producer { producer: Arc::new(producer) })
        })
    }

    /// The function that accepts one message.
    #[napi]
    pub fn appender(&self) -> Writer {
        let producer = self.producer.clone();
        Writer::new(move |message| producer.append(message))
    }

    /// The function that accepts the JSON text that the facade made of one message.
    #[napi]
    pub fn json_appender(&self) -> Writer {
        let producer = self.producer.clone();
        Writer::new(move |message| producer.append_serialised(message))
    }

    /// Refuses and counts a value that could not be serialised, as `append` does.
    #[napi]
    pub fn refuse(&self, text: String) -> Written {
        written(|| Err(self.producer.refuse(&text)))
    }

    /// Accepts messages as one group; null where there are none.
    #[napi]
    pub fn append_group(&self, messages: Vec<Payload<'_>>) -> Option<Written> {
        let messages: Vec<&[u8]> = messages.iter().map(bytes).collect();
        written_if_any(|| self.producer.append_group(&messages))
    }

    /// Accepts one message if there is room for it.
    #[napi]
    pub fn offer(&self, message: Payload<'_>) -> Option<Written> {
        let message = bytes(&message);
        let permit = self.producer.try_reserve(message.len())?;
        Some(written(|| permit.submit(message)))
    }

    /// The waits of its receipts.
    #[napi]
    pub fn receipts(&self) -> Receipts {
        Receipts::of(&*self.producer)
    }

    /// Waits for everything accepted so far.
    #[napi]
    pub fn flush(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.flush(), report)))
    }

    /// Waits until writes are taken at once.
    #[napi]
    pub fn ready(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.ready(), |()| Value::Null)))
    }

    /// Ends now and drops what the outbox holds.
    #[napi]
    pub fn discard_outbox(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.discard_outbox(), |count| Value::from(*count))))
    }

    /// Begins a fresh session.
    #[napi]
    pub fn restart(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.restart(), |()| Value::Null)))
    }

    /// Flushes, then ends the stream.
    #[napi]
    pub fn close(&self, message: Option<Payload<'_>>) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.close(message.as_ref().map(bytes)), closed)))
    }

    /// Flushes and stops the producer.
    #[napi]
    pub fn detach(&self) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.producer.detach(), report)))
    }

    /// Takes no more writes, delivers the accepted ones.
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
