//! The commands about producers: the suite's `idempotent-`, and ours by name.

use std::collections::HashMap;

use durstream_core::{IdempotentProducer, Options, Outcome};
use serde_json::{Value, json};

use crate::command::Command;
use crate::failure::{Failure, Result, code};
use crate::streams::Streams;

/// The producers that are open.
#[derive(Default)]
pub(crate) struct Producers {
    /// By path, producer id and epoch: the commands of one triple share one.
    shared: HashMap<(String, String, String), IdempotentProducer>,
    named: HashMap<String, Named>,
}

struct Named {
    producer: IdempotentProducer,
    /// The accepted writes, in the order of the calls.
    accepted: Vec<u64>,
}

fn open(streams: &Streams, command: &Command, options: Options) -> Result<IdempotentProducer> {
    let stream = streams.open(command)?;
    Ok(IdempotentProducer::open(&stream, &command.needed("producerId")?, options)?)
}

/// The options that say who the producer is.
fn identity(command: &Command) -> Result<Options> {
    let mut options = Options::new();
    for (field, option) in [("epoch", "epoch"), ("autoClaim", "auto_claim")] {
        if let Some(value) = command.text(field) {
            options.set(option, &value)?;
        }
    }
    Ok(options)
}

impl Producers {
    fn shared(&mut self, streams: &Streams, command: &Command) -> Result<&IdempotentProducer> {
        let key = key(command)?;
        if !self.shared.contains_key(&key) {
            let producer = open(streams, command, identity(command)?.max_in_flight(1u64))?;
            self.shared.insert(key.clone(), producer);
        }
        Ok(&self.shared[&key])
    }

    pub(crate) fn append(&mut self, streams: &Streams, command: &Command) -> Result<Value> {
        let data = command.data()?.unwrap_or_default();
        let producer = self.shared(streams, command)?;
        let id = producer.append(data)?.id();
        producer.flush().wait()?;
        let outcome = producer.wait(id).wait()?;
        Ok(json!({ "status": 200, "duplicate": outcome.duplicate }))
    }

    pub(crate) fn append_batch(&self, streams: &Streams, command: &Command) -> Result<Value> {
        let in_flight = command.number("maxInFlight").unwrap_or(1);
        let options = identity(command)?.max_in_flight(in_flight);
        let options = match in_flight {
            0 | 1 => options.linger_ms(1000u64), // all in one request; the flush seals it
            _ => options.max_batch_bytes(1u64),  // each in its own
        };
        let producer = open(streams, command, options)?;
        for item in command.items("items")? {
            producer.append(item)?;
        }
        let flushed = producer.flush().wait();
        producer.detach().wait()?;
        flushed?;
        Ok(json!({ "status": 200 }))
    }

    pub(crate) fn close(&mut self, streams: &Streams, command: &Command) -> Result<Value> {
        let data = command.data()?;
        let closed = self.shared(streams, command)?.close(data.as_deref()).wait()?;
        Ok(json!({ "status": 200, "finalOffset": closed.final_offset.as_deref() }))
    }

    pub(crate) fn detach(&mut self, command: &Command) -> Result<Value> {
        if let Some(producer) = self.shared.remove(&key(command)?) {
            producer.detach().wait()?;
        }
        Ok(json!({ "status": 200 }))
    }

    pub(crate) fn open_named(&mut self, streams: &Streams, command: &Command) -> Result<Value> {
        let mut options = Options::new();
        for (name, value) in command.pairs("options") {
            options.set(name, &value)?;
        }
        let producer = open(streams, command, options)?;
        let named = Named { producer, accepted: Vec::new() };
        self.named.insert(command.needed("as")?, named);
        Ok(json!({}))
    }

    fn named(&mut self, command: &Command) -> Result<&mut Named> {
        let name = command.needed("producer")?;
        let unknown = || Failure::invalid_argument(format!("there is no producer `{name}`"));
        self.named.get_mut(&name).ok_or_else(unknown)
    }

    pub(crate) fn append_named(&mut self, command: &Command) -> Result<Value> {
        let named = self.named(command)?;
        let (mut accepted, mut refused) = (0, Vec::new());
        for (index, item) in command.items("items")?.iter().enumerate() {
            let receipt = named.producer.try_append(item);
            match receipt.refusal() {
                None => {
                    named.accepted.push(receipt.id());
                    accepted += 1;
                }
                Some(outcome) => {
                    let code = outcome.error.as_ref().map(code);
                    refused.push(json!({ "index": index, "errorCode": code }));
                }
            }
        }
        Ok(json!({ "accepted": accepted, "refused": refused }))
    }

    pub(crate) fn flush_named(&mut self, command: &Command) -> Result<Value> {
        let report = self.named(command)?.producer.flush().wait()?;
        Ok(json!({
            "delivered": report.delivered,
            "duplicates": report.duplicates,
            "uncertain": report.uncertain,
        }))
    }

    pub(crate) fn close_named(&mut self, command: &Command) -> Result<Value> {
        let data = command.data()?;
        let closed = self.named(command)?.producer.close(data.as_deref()).wait()?;
        Ok(json!({ "finalOffset": closed.final_offset.as_deref() }))
    }

    pub(crate) fn detach_named(&mut self, command: &Command) -> Result<Value> {
        self.named(command)?.producer.detach().wait()?;
        Ok(json!({}))
    }

    pub(crate) fn outcomes_named(&mut self, command: &Command) -> Result<Value> {
        let named = self.named(command)?;
        let settled = |id: &u64| Ok(outcome(&named.producer.wait(*id).wait()?));
        let outcomes = named.accepted.iter().map(settled).collect::<Result<Vec<_>>>()?;
        Ok(json!({ "outcomes": outcomes }))
    }
}

fn key(command: &Command) -> Result<(String, String, String)> {
    let epoch = command.text("epoch").unwrap_or_default();
    Ok((command.needed("path")?, command.needed("producerId")?, epoch))
}

fn outcome(outcome: &Outcome) -> Value {
    let mut out = json!({ "status": outcome.status.as_str() });
    if let Some(reason) = outcome.reason {
        out["reason"] = reason.as_str().into();
    }
    if outcome.duplicate {
        out["duplicate"] = true.into();
    }
    if outcome.maybe_duplicate {
        out["maybeDuplicate"] = true.into();
    }
    out
}
