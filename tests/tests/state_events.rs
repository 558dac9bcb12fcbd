//! What state producers write is what the State Protocol asks for, read from a real server and from a
//! recorder.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod place;

use std::sync::Arc;

use durstream_core::{
    Collection, Control, EventOptions, Operation, Options, Reason, Receipt, StateProducer,
    StreamSchema, Timestamp, Validator, WriteOptions, create_durable_stream,
};
use durstream_tests::fresh_path;
use place::{Place, on_each_place};
use serde_json::{Value, json};

on_each_place!(
    every_verb_writes_its_operation,
    an_event_says_what_it_was_told_byte_for_byte,
    control_messages_stand_in_order_with_the_changes,
    strict_operations_say_insert_once_for_each_key_from_any_thread,
    strict_operations_say_insert_again_behind_a_reset,
    producers_with_timestamps_stamp_what_has_none,
    what_an_event_cannot_say_is_refused_and_nothing_is_sent,
);

fn open(path: &str, options: Options) -> StateProducer {
    let schema = StreamSchema::new()
        .collection("orders", Collection::new("order", "id", Validator::Any))
        .collection("users", Collection::new("user", "id", Validator::Any));
    let options = options.stream_path(path).producer_id("service");
    create_durable_stream(options, schema).unwrap()
}

fn refusal(receipt: durstream_core::Result<Receipt>) -> (Reason, String) {
    let receipt = receipt.unwrap();
    let outcome = receipt.refusal().expect("it is refused").clone();
    (outcome.reason.unwrap(), outcome.error.unwrap().message().to_owned())
}

fn every_verb_writes_its_operation(place: &Place) {
    let path = fresh_path("verbs");
    let producer = open(&path, place.options());
    let entity = json!({ "id": "1", "total": 5 });
    producer.insert("orders", &entity).unwrap();
    producer.update("orders", &entity).unwrap();
    producer.upsert("orders", &entity).unwrap();
    producer.delete("orders", "1").unwrap();
    producer.upsert_many("users", [json!({ "id": 7 }), json!({ "id": true })]).unwrap();
    producer.flush().wait().unwrap();
    let order = |operation: &str| json!({ "type": "order", "key": "1", "value": entity, "headers": { "operation": operation } });
    let user = |key: &str, id: Value| json!({ "type": "user", "key": key, "value": { "id": id }, "headers": { "operation": "upsert" } });
    let deleted = json!({ "type": "order", "key": "1", "headers": { "operation": "delete" } });
    let expected = [
        order("insert"),
        order("update"),
        order("upsert"),
        deleted,
        user("7", json!(7)),
        user("true", json!(true)),
    ];
    assert_eq!(place.events(&path).unwrap(), expected);
}

fn an_event_says_what_it_was_told_byte_for_byte(place: &Place) {
    let path = fresh_path("told");
    let producer = open(&path, place.options());
    let options = EventOptions {
        txid: Some("tx-1"),
        timestamp: Some(Timestamp::At("2026-02-28T10:00:00+01:00")),
        headers: &[("from", "billing")],
        old_value: Some(br#" {"id" : "1", "total": 1.0} "#),
        ..EventOptions::default()
    };
    let value = br#" {"id":"1", "total": 2.0} "#;
    producer.change_json_with(Operation::Update, "orders", value, options).unwrap();
    producer.change_json_with(Operation::Delete, "orders", value, options).unwrap();
    let keyed = EventOptions { key: Some("k"), ..EventOptions::default() };
    producer.upsert_json_with("orders", b"{}", keyed).unwrap();
    producer.flush().wait().unwrap();
    let rest = concat!(
        r#""old_value":{"id" : "1", "total": 1.0},"headers":{"operation":"OPERATION","#,
        r#""txid":"tx-1","timestamp":"2026-02-28T10:00:00+01:00","from":"billing"}}"#
    );
    let update = r#"{"type":"order","key":"1","value":{"id":"1", "total": 2.0},"#;
    let delete = r#"{"type":"order","key":"1","#;
    let keyed = r#"{"type":"order","key":"k","value":{},"headers":{"operation":"upsert"}}"#;
    let expected = format!(
        "[{update}{},{delete}{},{keyed}]",
        rest.replace("OPERATION", "update"),
        rest.replace("OPERATION", "delete")
    );
    let found = String::from_utf8(place.bytes(&path).unwrap()).unwrap();
    assert_eq!(found, expected);
}

fn control_messages_stand_in_order_with_the_changes(place: &Place) {
    let path = fresh_path("control");
    let producer = open(&path, place.options());
    let control = |control, offset| {
        assert!(producer.control(control, offset, WriteOptions::default()).unwrap().is_accepted());
    };
    control(Control::SnapshotStart, None);
    producer.upsert("users", &json!({ "id": "a" })).unwrap();
    control(Control::SnapshotEnd, Some("12_34"));
    control(Control::Reset, None);
    let wrong = producer.control(Control::Reset, Some(""), WriteOptions::default()).unwrap_err();
    assert_eq!(wrong.option_name(), Some("offset"));
    producer.flush().wait().unwrap();
    let found: Vec<Value> =
        place.events(&path).unwrap().iter().map(|event| event["headers"].clone()).collect();
    let expected = [
        json!({ "control": "snapshot-start" }),
        json!({ "operation": "upsert" }),
        json!({ "control": "snapshot-end", "offset": "12_34" }),
        json!({ "control": "reset" }),
    ];
    assert_eq!(found, expected);
}

fn strict_operations_say_insert_once_for_each_key_from_any_thread(place: &Place) {
    const THREADS: usize = 8;
    const KEYS: usize = 200;
    let path = fresh_path("strict");
    // Room for a few, so that some threads wait and some are refused.
    let options = place.options().operations("strict").max_buffer_items(20u64);
    let producer = Arc::new(open(&path, options));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let producer = producer.clone();
            scope.spawn(move || {
                for n in 0..KEYS {
                    let value = format!(r#"{{"id":"{n}"}}"#);
                    match thread % 2 {
                        0 => producer.blocking_upsert_json("orders", value.as_bytes()),
                        _ => producer.upsert_json("orders", value.as_bytes()),
                    }
                    .unwrap();
                }
            });
        }
    });
    let _ = producer.flush().wait(); // it tells of those that found no room
    producer.delete("orders", "0").unwrap();
    producer.upsert("orders", &json!({ "id": "0" })).unwrap();
    producer.flush().wait().unwrap();
    let found = place.events(&path).unwrap();
    let (before, after) = found.split_at(found.len() - 2);
    let operations = |events: &[Value], key: &str| -> Vec<String> {
        let own = events.iter().filter(|event| event["key"] == key);
        own.map(|event| event["headers"]["operation"].as_str().unwrap().to_owned()).collect()
    };
    for n in 0..KEYS {
        let own = operations(before, &n.to_string());
        assert!(own.len() >= THREADS / 2, "those that wait are written");
        assert_eq!(own[0], "insert", "key {n}");
        assert!(own[1..].iter().all(|operation| operation == "update"), "key {n}: {own:?}");
    }
    assert_eq!(operations(after, "0"), ["delete", "insert"]);
}

/// Readers forget everything at a reset: an `update` of what they do not have says nothing to them.
fn strict_operations_say_insert_again_behind_a_reset(place: &Place) {
    let path = fresh_path("strict-reset");
    let producer = open(&path, place.options().operations("strict"));
    let upsert = || producer.upsert("orders", &json!({ "id": "1" })).unwrap();
    let control = |control, block| {
        producer.control(control, None, WriteOptions { tag: 0, block }).unwrap();
    };
    upsert();
    control(Control::SnapshotStart, false);
    control(Control::SnapshotEnd, true);
    upsert();
    control(Control::Reset, false);
    upsert();
    upsert();
    control(Control::Reset, true);
    upsert();
    producer.flush().wait().unwrap();
    let found = place.events(&path).unwrap();
    let operations = found.iter().filter_map(|event| event["headers"]["operation"].as_str());
    let expected = ["insert", "update", "insert", "update", "insert"];
    assert_eq!(operations.collect::<Vec<_>>(), expected);
}

fn producers_with_timestamps_stamp_what_has_none(place: &Place) {
    let path = fresh_path("stamps");
    let producer = open(&path, place.options().timestamps(true));
    producer.upsert("users", &json!({ "id": "a" })).unwrap();
    producer.delete("users", "a").unwrap();
    producer.flush().wait().unwrap();
    for event in place.events(&path).unwrap() {
        let stamp = event["headers"]["timestamp"].as_str().unwrap().to_owned();
        assert!(stamp.starts_with("20") && stamp.ends_with('Z'), "{stamp}");
    }
}

fn what_an_event_cannot_say_is_refused_and_nothing_is_sent(place: &Place) {
    let path = fresh_path("refused");
    let producer = open(&path, place.options().operations("strict"));
    let with = |options: EventOptions<'_>| {
        refusal(producer.upsert_json_with("orders", br#"{"id":"1"}"#, options))
    };
    let none = EventOptions::default;
    for (options, reason, text) in [
        (EventOptions { txid: Some(""), ..none() }, Reason::InvalidHeaders, "empty `txid`"),
        (
            EventOptions { timestamp: Some(Timestamp::At("today")), ..none() },
            Reason::InvalidHeaders,
            "no RFC 3339 time",
        ),
        (
            EventOptions { headers: &[("operation", "x")], ..none() },
            Reason::InvalidHeaders,
            "the protocol's own",
        ),
        (
            EventOptions { headers: &[("from", "x")], ..none() },
            Reason::InvalidHeaders,
            "strict operations",
        ),
        (EventOptions { old_value: Some(b"{"), ..none() }, Reason::InvalidValue, "the old value"),
        (EventOptions { key: Some("2"), ..none() }, Reason::InvalidKey, "not the entity's own"),
    ] {
        let (found, said) = with(options);
        assert_eq!(found, reason, "{said}");
        assert!(said.contains(text), "{said}");
    }
    let without = refusal(producer.change_json_with(Operation::Delete, "orders", b"{}", none()));
    assert_eq!(without.0, Reason::InvalidKey);
    assert_eq!(refusal(producer.delete("orders", "")).0, Reason::InvalidKey);
    assert_eq!(producer.stats().refused_invalid, 8);
    assert_eq!(producer.stats().accepted, 0);
}
