//! One rule of what makes a primary key, by the vectors that every language reads.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use durstream_core::{
    Collection, Detail, EventOptions, Operation, Options, Reason, Receipt, Result, StateProducer,
    StreamSchema, Validator, create_durable_stream, key_of_json,
};
use durstream_tests::readback::read_stream;
use durstream_tests::tree::Tree;
use durstream_tests::{fresh_path, server_address};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Vector {
    what: String,
    json: Option<String>,
    entity: Option<String>,
    key: Option<String>,
    refused: Option<String>,
}

fn vectors() -> Vec<Vector> {
    let file = Tree::find().unwrap().root.join("tests/vectors/keys.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn open(path: &str, validator: Validator) -> StateProducer {
    let schema =
        StreamSchema::new().collection("things", Collection::new("thing", "id", validator));
    let options = Options::new().stream_path(path).producer_id("keys");
    create_durable_stream(options, schema).unwrap()
}

fn keys_of(path: &str) -> Vec<String> {
    let events = read_stream(server_address(), path).unwrap();
    events.iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect()
}

fn check_refusal(what: &str, written: Result<Receipt>, why: &str) {
    let written = written.unwrap();
    let refusal = written.refusal().unwrap_or_else(|| panic!("{what} is accepted"));
    assert_eq!(refusal.reason, Some(Reason::InvalidKey), "{what}");
    let text = refusal.error.as_ref().unwrap().message();
    assert!(text.ends_with(why), "{what}: {text}");
}

/// Writes a vector by every verb that takes its key.
fn write(producer: &StateProducer, vector: &Vector) -> Vec<Result<Receipt>> {
    let given = |json: &String| format!("{{\"id\":{json}}}");
    let Some(entity) = vector.json.as_ref().map(given).or_else(|| vector.entity.clone()) else {
        return Vec::new();
    };
    let text = entity.as_bytes();
    let none = EventOptions::default();
    let mut written = vec![
        producer.upsert_json("things", text),
        producer.change_json_with(Operation::Delete, "things", text, none),
    ];
    if let Ok(Value::Object(value)) = serde_json::from_str(&entity) {
        // A `Value` rounds an integer beyond 64 bits.
        if vector.json.is_none() || serde_json::to_string(&value).unwrap() == entity {
            written.push(producer.upsert("things", &value));
        }
    }
    if let Some(Ok(key)) = vector.json.as_deref().map(key_of_json) {
        written.push(producer.delete("things", &key));
    }
    written
}

#[test]
fn each_vector_has_its_key_or_its_reason() {
    let path = fresh_path("keys");
    let producer = open(&path, Validator::Any);
    let mut expected = Vec::new();
    for vector in vectors() {
        for written in write(&producer, &vector) {
            match (&vector.key, &vector.refused) {
                (Some(key), None) => {
                    assert!(written.unwrap().is_accepted(), "{}", vector.what);
                    expected.push(key.clone());
                }
                (None, Some(why)) => check_refusal(&vector.what, written, why),
                _ => panic!("{} says neither or both", vector.what),
            }
        }
    }
    assert!(expected.len() > 100, "{}", expected.len());
    producer.flush().wait().unwrap();
    assert_eq!(keys_of(&path), expected);
}

#[test]
fn a_key_that_is_given_is_text_and_not_empty() {
    let producer = open(&fresh_path("keys-given"), Validator::Any);
    check_refusal("empty", producer.delete("things", ""), "the key is empty");
    check_refusal("NaN", producer.upsert("things", &json!({ "id": f64::NAN })), "is null");
    let told = EventOptions { key: Some("a"), ..EventOptions::default() };
    let upsert = |entity: &str| producer.upsert_json_with("things", entity.as_bytes(), told);
    assert!(upsert("{}").unwrap().is_accepted() && upsert(r#"{"id":null}"#).unwrap().is_accepted());
    check_refusal("a fraction beside a key", upsert(r#"{"id":1.5}"#), "no integer");
    check_refusal("another", upsert(r#"{"id":"b"}"#), "is not the entity's own, `b`");
    producer.close().wait().unwrap();
}

/// The last member of a name counts: for the key, for the schema and for whoever reads the stream.
#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let path = fresh_path("keys-twice");
    let schema = json!({ "properties": { "size": { "type": "integer" } }, "maxProperties": 2 });
    let producer = open(&path, Validator::JsonSchema(schema));
    let upsert = |text: &str| producer.upsert_json("things", text.as_bytes()).unwrap();
    let entity = r#"{"id":"a","size":"small","id":"b","size":3}"#;
    assert!(upsert(entity).is_accepted());
    let refused = upsert(r#"{"id":"a","size":3,"id":"b","size":"small"}"#);
    let error = refused.refusal().unwrap().error.clone().unwrap();
    let Some(Detail::Validation { key, issues, .. }) = error.detail() else { panic!("{error}") };
    assert_eq!((key.as_deref(), issues[0].path.as_str()), (Some("b"), "/size"));
    producer.close().wait().unwrap();
    let event = read_stream(server_address(), &path).unwrap().remove(0);
    assert_eq!((&event["key"], &event["value"]), (&json!("b"), &json!({ "id": "b", "size": 3 })));
}
