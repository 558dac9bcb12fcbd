//! A service that owns shipments and publishes their state: created, in transit, delivered,
//! removed. `cargo xtask demo` runs it twice under one producer id.
#![allow(clippy::disallowed_methods, reason = "it is a program, and times itself")]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Instant;

use durstream_core::{
    Collection, Options, Receipt, StateProducer, StreamSchema, Validator, create_durable_stream,
};
use serde_json::{Value, json};

/// The shipment service: its producer, and the ledger of what it is about to write.
struct Service {
    producer: StateProducer,
    ledger: File,
}

impl Service {
    fn open() -> Result<Self, Box<dyn Error>> {
        let schema = StreamSchema::new().collection(
            "shipments",
            Collection::new(
                "shipment",
                "id",
                Validator::JsonSchema(json!({
                    "type": "object",
                    "required": ["id", "orderId", "status"],
                    "properties": {
                        "id": { "type": "string" },
                        "orderId": { "type": "string" },
                        "status": { "enum": ["created", "in_transit", "delivered"] },
                    },
                })),
            ),
        );
        let mut options = Options::new()
            .stream_path(std::env::var("SHIPMENT_STREAM_PATH")?)
            .producer_id(std::env::var("SHIPMENT_PRODUCER_ID")?);
        // With an outbox, what was accepted outlives this process, too.
        if let Ok(folder) = std::env::var("SHIPMENT_OUTBOX") {
            options = options.outbox_dir(folder);
        }
        let path = std::env::var("SHIPMENT_LEDGER")?;
        let ledger = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Service { producer: create_durable_stream(options, schema)?, ledger })
    }

    fn record(&mut self, event: &Value) -> Result<(), Box<dyn Error>> {
        Ok(self.ledger.write_all(format!("{event}\n").as_bytes())?)
    }

    fn upsert(&mut self, n: u64, status: &str) -> Result<(), Box<dyn Error>> {
        let shipment = json!({
            "id": format!("ship_{n:06}"),
            "orderId": format!("ord_{n:06}"),
            "status": status,
            "updatedAt": "2026-01-01T00:00:00.000Z",
        });
        self.record(&json!({
            "type": "shipment",
            "key": shipment["id"],
            "value": shipment,
            "headers": { "operation": "upsert" },
        }))?;
        accepted(self.producer.upsert("shipments", &shipment)?)
    }

    fn remove(&mut self, n: u64) -> Result<(), Box<dyn Error>> {
        let key = format!("ship_{n:06}");
        let headers = json!({ "operation": "delete" });
        self.record(&json!({ "type": "shipment", "key": key, "headers": headers }))?;
        accepted(self.producer.delete("shipments", &key)?)
    }
}

/// A refused write is a fault of this program.
fn accepted(receipt: Receipt) -> Result<(), Box<dyn Error>> {
    match receipt.refusal().and_then(|outcome| outcome.error.clone()) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = std::env::var("SHIPMENT_COUNT")?.parse()?;
    let first_run = std::env::var("SHIPMENT_RUN")? == "1";
    let started = Instant::now();
    let mut service = Service::open()?;
    if first_run {
        (1..=count).try_for_each(|n| service.upsert(n, "created"))?;
        (1..=count).try_for_each(|n| service.upsert(n, "in_transit"))?;
    } else {
        (1..=count).try_for_each(|n| service.upsert(n, "delivered"))?;
        (1..=count).filter(|n| n % 2 == 0).try_for_each(|n| service.remove(n))?;
    }
    service.producer.flush().wait()?;
    service.producer.close().wait()?;
    let stats = service.producer.stats();
    let summary = json!({
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "seconds": started.elapsed().as_secs_f64(),
    });
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}
