//! What `parts.rs` times and `instructions.rs` counts.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each benchmark takes what it needs")]

use std::hint::black_box;

use durstream_core::{
    Collection, IdempotentProducer, Options, StateProducer, StreamSchema, Validator,
    create_durable_stream,
};

use crate::common;

#[path = "../../src/delivery/buffer/batch.rs"]
pub mod batch;
#[path = "../../src/protocol/json_text.rs"]
pub mod json_text;

/// A hundred bytes.
pub const MESSAGE: &str = r#"{"type":"shipment","key":"shp_000000001","value":{"state":"in-transit","eta":"2031-01-01"},"n":1234}"#;

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
}

type Open = fn() -> Writer;

impl Writer {
    pub const ALL: [(&str, Open); 3] = [
        ("bytes", || Writer::plain("text/plain")),
        ("json", || Writer::plain("application/json")),
        ("upsert", Writer::state),
    ];

    fn plain(content_type: &str) -> Self {
        Writer::Plain(common::producer(&common::nowhere(), content_type, options()))
    }

    fn state() -> Self {
        let shipments = Collection::new("shipment", "key", Validator::Any);
        let schema = StreamSchema::new().collection("shipments", shipments);
        let options = options().url(common::nowhere()).producer_id("numbers");
        Writer::State(create_durable_stream(options, schema).expect("options are right"))
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
        };
        black_box(receipt.expect("there is room"));
    }

    /// Gives up what was accepted.
    pub fn end(self) {
        match self {
            Writer::Plain(producer) => producer.stop(),
            Writer::State(producer) => producer.stop(),
        }
    }
}

fn options() -> Options {
    durstream_core::set_log_sink(|_, _| {}); // what is given up is not news here
    Options::new().max_buffer_bytes(1u64 << 32)
}
