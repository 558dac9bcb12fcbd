//! What `parts.rs` times and `instructions.rs` counts.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each benchmark takes what it needs")]

use std::hint::black_box;

use durstream_core::{
    Collection, EventOptions, IdempotentProducer, Operation, Options, StateProducer, StreamSchema,
    Validator, create_durable_stream,
};

use crate::common;

#[path = "../../src/delivery/buffer/batch.rs"]
pub mod batch;
#[path = "../../src/protocol/json_text.rs"]
pub mod json_text;

const TXID: &str = "0190a5c4-7d3e-7000-8000-0123456789ab";

/// A hundred bytes.
pub const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;

const FLAT: &str = r#"{"type":"object","required":["type","key","n"],"properties":{
    "type":{"enum":["shipment","order"]},"key":{"type":"string","minLength":3,"maxLength":40},
    "n":{"type":"integer","minimum":0},"value":{"type":"object","required":["state"]}}}"#;
const PATTERNS: &str = r#"{"properties":{"key":{"pattern":"^shp_[0-9]{9}$"},"value":{"properties":{
    "state":{"pattern":"^(?!done)[a-z-]+$"},"eta":{"pattern":"^\\d{4}-\\d{2}-\\d{2}$"}}}}}"#;
const REFERENCES: &str = r##"{"$defs":{"word":{"type":"string","minLength":1},"value":{"properties":{
    "state":{"$ref":"#/$defs/word"},"eta":{"$ref":"#/$defs/word"}}}},
    "properties":{"key":{"$ref":"#/$defs/word"},"value":{"$ref":"#/$defs/value"}}}"##;

/// A batch of so many writes.
pub fn gather(builder: &mut batch::Builder, count: u64) -> batch::Batch {
    for id in 1..=count {
        builder.push(id, &[black_box(MESSAGE.as_bytes())]);
    }
    builder.seal().expect("there are writes")
}

/// A producer whose writes stay: nobody listens.
pub enum Writer {
    Plain(IdempotentProducer),
    State(StateProducer),
    /// With a transaction's id beside each entity.
    Told(StateProducer),
}

pub type Open = fn() -> Writer;

impl Writer {
    pub const ALL: [(&str, Open); 4] = [
        ("bytes", || Writer::plain("text/plain")),
        ("json", || Writer::plain("application/json")),
        ("upsert", || Writer::State(Writer::producer(Validator::Any))),
        ("txid", || Writer::Told(Writer::producer(Validator::Any))),
    ];
    /// Entities that a JSON Schema checks: with keywords alone, with patterns, with references.
    pub const VALIDATED: [(&str, Open); 3] = [
        ("flat", || Writer::validated(FLAT)),
        ("patterns", || Writer::validated(PATTERNS)),
        ("references", || Writer::validated(REFERENCES)),
    ];

    fn plain(content_type: &str) -> Self {
        Writer::Plain(common::producer(&common::nowhere(), content_type, options()))
    }

    fn validated(schema: &str) -> Self {
        let schema = serde_json::from_str(schema).expect("it is JSON");
        Writer::State(Writer::producer(Validator::JsonSchema(schema)))
    }

    fn producer(validator: Validator) -> StateProducer {
        let shipments = Collection::new("shipment", "key", validator);
        let schema = StreamSchema::new().collection("shipments", shipments);
        let options = options().url(common::nowhere()).producer_id("numbers");
        create_durable_stream(options, schema).expect("options are right")
    }

    /// Accepts so many writes of [`MESSAGE`].
    #[inline(never)]
    pub fn write(&self, count: u64) {
        for _ in 0..count {
            self.write_one();
        }
    }

    /// The same under another name.
    #[inline(never)]
    pub fn warm_up(&self, count: u64) {
        for _ in 0..count {
            self.write_one();
        }
    }

    fn write_one(&self) {
        let message = black_box(MESSAGE.as_bytes());
        let receipt = match self {
            Writer::Plain(producer) => producer.append(message),
            Writer::State(producer) => producer.upsert_json("shipments", message),
            Writer::Told(producer) => {
                let told = EventOptions { txid: Some(TXID), ..EventOptions::default() };
                producer.change_json_with(Operation::Upsert, "shipments", message, told)
            }
        };
        black_box(receipt.expect("there is room"));
    }

    /// Gives up what was accepted.
    pub fn end(self) {
        match self {
            Writer::Plain(producer) => producer.stop(),
            Writer::State(producer) | Writer::Told(producer) => producer.stop(),
        }
    }
}

fn options() -> Options {
    durstream_core::set_log_sink(|_| {}); // what is given up is not news here
    Options::new().max_buffer_bytes(1u64 << 32)
}
