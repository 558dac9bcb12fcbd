//! Writes the plan of `rule.mjs` through the Rust face.
//! Arguments: the stream's path, the plan, how many events, the seed.
#![allow(clippy::print_stdout, reason = "its output is what it is run for")]

use std::collections::HashMap;
use std::error::Error;

use durstream_core::{
    Collection, Control, EventOptions, Operation, Options, Receipt, StateProducer, StreamSchema,
    Timestamp, Validator, WriteOptions, create_durable_stream,
};
use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const KEYS_PER_COLLECTION: u32 = 64;
const NOTES: [&str; 8] = [
    "",
    "plain",
    "quote \" and \\ backslash",
    "line\nbreak\ttab",
    "ümlaut €",
    "🚢 𝄞",
    "\u{0}\u{1f}",
    "</script>\u{2028}",
];
const FLAGS: [Option<bool>; 3] = [Some(true), Some(false), None];
const BLOCKING: WriteOptions = WriteOptions { tag: 0, block: true };

fn mixed(seed: u32, n: u32) -> u32 {
    let x = seed.wrapping_add(n.wrapping_mul(0x9e37_79b1));
    let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    let x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

fn has(bits: u32, bit: u32) -> bool {
    (bits >> bit) & 1 == 1
}

/// A writer, and the number of the event that wrote each key last.
struct Writer {
    producer: StateProducer,
    plan: String,
    count: u32,
    seed: u32,
    last: HashMap<String, u32>,
}

impl Writer {
    fn open(arguments: &[String]) -> Result<Self> {
        let [path, plan, count, seed] = arguments else {
            return Err("PATH PLAN COUNT SEED".into());
        };
        let any = || Validator::JsonSchema(json!({ "type": "object" }));
        let schema = StreamSchema::new()
            .collection("orders", Collection::new("order", "id", any()))
            .collection("users", Collection::new("user", "id", any()));
        let mut options = Options::new().stream_path(path).producer_id("interop-rust");
        if plan == "strict" {
            options = options.operations("strict").timestamps(true);
        }
        Ok(Self {
            producer: create_durable_stream(options, schema)?,
            plan: plan.clone(),
            count: count.parse()?,
            seed: seed.parse()?,
            last: HashMap::new(),
        })
    }

    fn run(mut self) -> Result {
        for n in 0..self.count {
            if self.plan == "groups" {
                self.group(n)?;
                continue;
            }
            if self.plan != "txids" {
                self.controls(n)?;
            }
            accepted(self.write(n)?)?;
            if self.plan == "txids" {
                self.producer.flush().wait()?;
                println!("{n}");
            }
        }
        self.producer.flush().wait()?;
        self.producer.close().wait()?;
        Ok(())
    }

    fn group(&self, n: u32) -> Result {
        let bits = mixed(self.seed, n);
        let mut changes = self.producer.transaction(Some(&format!("tx-{}-{n}", self.seed)))?;
        for index in 0..1 + bits % 20 {
            changes.upsert("orders", &json!({ "id": format!("g{n}-{index}"), "n": n }))?;
        }
        if (bits >> 7) & 3 == 0 {
            changes.rollback();
        } else {
            accepted(changes.blocking_commit()?.ok_or("an empty transaction")?)?;
        }
        let single = json!({ "id": format!("s{n}"), "n": n }).to_string();
        let options = EventOptions { write: BLOCKING, ..EventOptions::default() };
        let single = single.as_bytes();
        let upsert = Operation::Upsert;
        accepted(self.producer.change_json_with(upsert, "orders", single, options)?)
    }

    fn controls(&mut self, n: u32) -> Result {
        let write = |control, offset| accepted(self.producer.control(control, offset, BLOCKING)?);
        if n == 0 {
            write(Control::SnapshotStart, None)?;
        }
        if n == self.count / 4 {
            write(Control::SnapshotEnd, Some("1_2"))?;
        }
        if n == self.count / 2 {
            write(Control::Reset, None)?;
            self.last.clear();
        }
        Ok(())
    }

    fn write(&mut self, n: u32) -> Result<Receipt> {
        let bits = mixed(self.seed, n);
        let number = (bits >> 1) % KEYS_PER_COLLECTION;
        let (collection, key) = match has(bits, 0) {
            true => ("users", format!("Zoë \"{number}\"")),
            false => ("orders", format!("order-{number}")),
        };
        let action = (bits >> 7) & 7;
        let before = self.last.remove(&key);
        let operation = match (action, before) {
            (0 | 1, Some(_)) => Operation::Delete,
            (0..5, _) => Operation::Upsert,
            (_, Some(_)) => Operation::Update,
            (_, None) => Operation::Insert,
        };
        let takes_old = matches!(operation, Operation::Update | Operation::Delete);
        let old_value = before.filter(|_| has(bits, 10) && takes_old);
        let old_value = old_value.map(|before| self.entity(before, &key).to_string());
        let txid = format!("tx-{}-{n}", self.seed);
        let (minutes, seconds, millis) = (n / 60 % 60, n % 60, n % 1000);
        let time = format!("2026-03-01T12:{minutes:02}:{seconds:02}.{millis:03}Z");
        let says_from = self.plan != "strict" && has(bits, 13);
        let options = EventOptions {
            txid: (self.plan == "txids" || has(bits, 11)).then_some(&txid),
            timestamp: has(bits, 12).then_some(Timestamp::At(&time)),
            headers: if says_from { &[("from", "billing")] } else { &[] },
            key: None,
            old_value: old_value.as_ref().map(String::as_bytes),
            write: BLOCKING,
            ..EventOptions::default()
        };
        if operation == Operation::Delete && action == 0 {
            return Ok(self.producer.delete_with(collection, &key, options)?);
        }
        let is_put = operation != Operation::Delete;
        let value = if is_put { self.entity(n, &key) } else { json!({ "id": key }) };
        let told = (is_put && has(bits, 14)).then_some(key.as_str());
        let options = EventOptions { key: told, ..options };
        let value = value.to_string();
        let receipt =
            self.producer.change_json_with(operation, collection, value.as_bytes(), options)?;
        if is_put {
            self.last.insert(key, n);
        }
        Ok(receipt)
    }

    fn entity(&self, n: u32, key: &str) -> Value {
        let bits = mixed(self.seed, n);
        let mut entity = json!({
            "n": n,
            "amount": (f64::from(bits % 4001) - 2000.0) / 8.0,
            "note": NOTES[(bits >> 15) as usize & 7],
            "flag": FLAGS[(bits >> 18) as usize % 3],
            "tags": ["a", n],
            "nested": { "deep": [null, n] },
        });
        if !has(bits, 14) {
            entity["id"] = key.into();
        }
        entity
    }
}

/// A refused write is a fault of this program.
fn accepted(receipt: Receipt) -> Result {
    match receipt.refusal().and_then(|outcome| outcome.error.clone()) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Writer::open(&arguments)?.run()
}
