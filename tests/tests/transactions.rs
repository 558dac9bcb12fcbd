//! Transactions and groups: whole in the stream, or not at all.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod place;

use durstream_core::{
    Collection, DurableStream, ErrorKind, EventOptions, IdempotentProducer, Operation, Options,
    Reason, StateProducer, StreamSchema, Validator, WriteOptions, create_durable_stream,
};
use durstream_tests::fresh_path;
use place::{Place, on_each_place};
use serde_json::json;

on_each_place!(
    a_transaction_is_one_piece_with_one_id,
    a_transaction_without_an_id_gets_a_new_one,
    what_is_rolled_back_or_empty_sends_nothing,
    a_commit_says_of_everything_that_was_refused_and_sends_nothing,
    a_transaction_is_too_large_as_a_whole,
    transactions_are_of_one_thread_and_not_nested,
    a_commit_behind_the_end_is_refused,
    strict_transactions_insert_each_key_once_and_forget_what_was_not_accepted,
    a_group_of_messages_is_one_piece,
);

fn open(path: &str, options: Options) -> StateProducer {
    let validator = Validator::JsonSchema(json!({ "properties": { "n": { "type": "integer" } } }));
    let schema =
        StreamSchema::new().collection("orders", Collection::new("order", "id", validator));
    create_durable_stream(options.stream_path(path).producer_id("service"), schema).unwrap()
}

fn a_transaction_is_one_piece_with_one_id(place: &Place) {
    let path = fresh_path("transaction");
    let producer = open(&path, place.options());
    let mut transaction = producer.transaction(Some("tx-1")).unwrap();
    transaction.insert("orders", &json!({ "id": "a" })).unwrap();
    producer.upsert("orders", &json!({ "id": "between" })).unwrap();
    transaction.update("orders", &json!({ "id": "b" })).unwrap();
    transaction.delete("orders", "c").unwrap();
    let receipt = transaction.commit().unwrap().unwrap();
    assert_eq!(receipt.id(), 4);
    assert!(producer.wait(receipt.id()).wait().unwrap().is_delivered());
    let found: Vec<_> = place
        .events(&path)
        .unwrap()
        .iter()
        .map(|event| (event["key"].clone(), event["headers"]["txid"].clone()))
        .collect();
    let expected = [
        json!(["between", null]),
        json!(["a", "tx-1"]),
        json!(["b", "tx-1"]),
        json!(["c", "tx-1"]),
    ];
    assert_eq!(found, expected.map(|pair| (pair[0].clone(), pair[1].clone())));
}

fn a_transaction_without_an_id_gets_a_new_one(place: &Place) {
    let producer = open(&fresh_path("own-ids"), place.options());
    let ids: Vec<String> =
        (0..2).map(|_| producer.transaction(None).unwrap().txid().to_owned()).collect();
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    }
}

fn what_is_rolled_back_or_empty_sends_nothing(place: &Place) {
    let path = fresh_path("rolled-back");
    let producer = open(&path, place.options());
    let mut transaction = producer.transaction(None).unwrap();
    transaction.upsert("orders", &json!({ "id": "a" })).unwrap();
    transaction.rollback();
    {
        let mut dropped = producer.transaction(None).unwrap();
        dropped.upsert("orders", &json!({ "id": "b" })).unwrap();
    }
    assert_eq!(producer.transaction(None).unwrap().commit().unwrap(), None);
    assert_eq!(producer.stats().accepted, 0);
    producer.upsert("orders", &json!({ "id": "c" })).unwrap();
    producer.flush().wait().unwrap();
    assert_eq!(place.events(&path).unwrap().len(), 1);
}

fn a_commit_says_of_everything_that_was_refused_and_sends_nothing(place: &Place) {
    let path = fresh_path("refused");
    let producer = open(&path, place.options());
    let mut transaction = producer.transaction(None).unwrap();
    transaction.upsert("orders", &json!({ "id": "a" })).unwrap();
    transaction.upsert("orders", &json!({ "id": "b", "n": "x" })).unwrap();
    transaction.upsert("orders", &json!({})).unwrap();
    transaction.upsert("nothing", &json!({ "id": "d" })).unwrap();
    let other = EventOptions { txid: Some("another"), ..EventOptions::default() };
    transaction.change_json(Operation::Upsert, "orders", b"{\"id\":\"e\"}", &other).unwrap();
    let receipt = transaction.commit().unwrap().unwrap();
    let outcome = receipt.refusal().unwrap();
    let error = outcome.error.as_ref().unwrap();
    assert_eq!(outcome.reason, Some(Reason::InvalidValue));
    assert!(error.message().starts_with("4 changes of the transaction were refused: orders `b`: "));
    let Some(durstream_core::Detail::Validation { issues, .. }) = error.detail() else {
        panic!("{error:?}")
    };
    let said: Vec<&str> = issues.iter().map(|issue| issue.message.as_str()).collect();
    for (said, text) in said.iter().zip(["orders `b`: ", "`id` is missing", "nothing", "`txid`"]) {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(producer.stats().accepted, 0);
    assert_eq!(producer.stats().refused_invalid, 1);
}

fn a_transaction_is_too_large_as_a_whole(place: &Place) {
    let path = fresh_path("large");
    let options = place.options().max_batch_items(3u64).max_write_bytes(1_000u64);
    let producer = open(&path, options);
    let of = |count: usize, text: &str| {
        let mut transaction = producer.transaction(None).unwrap();
        for n in 0..count {
            transaction.upsert("orders", &json!({ "id": n, "text": text })).unwrap();
        }
        transaction.commit().unwrap().unwrap()
    };
    for (count, text) in [(4, ""), (2, "x".repeat(500).as_str())] {
        let refused = of(count, text);
        assert_eq!(refused.refusal().unwrap().reason, Some(Reason::TooLarge), "{count}");
    }
    assert!(of(3, "").is_accepted());
    assert!(producer.flush().wait().is_err(), "two were turned away");
    assert_eq!(place.events(&path).unwrap().len(), 3);
}

fn transactions_are_of_one_thread_and_not_nested(place: &Place) {
    let producer = open(&fresh_path("threads"), place.options());
    let mut transaction = producer.transaction(None).unwrap();
    let nested = producer.transaction(None).err().unwrap();
    assert_eq!(nested.option_name(), Some("transaction"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let own = producer.transaction(None).unwrap();
            let error = transaction.upsert("orders", &json!({ "id": "a" })).unwrap_err();
            assert_eq!(error.option_name(), Some("transaction"));
            own.rollback();
        });
    });
    transaction.rollback();
    drop(producer.transaction(None).unwrap());
    assert_eq!(producer.transaction(Some("")).err().unwrap().option_name(), Some("txid"));
}

fn a_commit_behind_the_end_is_refused(place: &Place) {
    let producer = open(&fresh_path("ended"), place.options());
    let mut transaction = producer.transaction(None).unwrap();
    transaction.upsert("orders", &json!({ "id": "a" })).unwrap();
    producer.close().wait().unwrap();
    let receipt = transaction.commit().unwrap().unwrap();
    let error = receipt.refusal().unwrap().error.clone().unwrap();
    assert_eq!(error.kind(), ErrorKind::ProducerClosed);
}

fn strict_transactions_insert_each_key_once_and_forget_what_was_not_accepted(place: &Place) {
    let path = fresh_path("strict");
    let options = place.options().operations("strict").max_buffer_items(4u64);
    let producer = open(&path, options);
    let write = |keys: &[&str]| {
        let mut transaction = producer.transaction(None).unwrap();
        keys.iter().for_each(|key| transaction.upsert("orders", &json!({ "id": key })).unwrap());
        transaction.blocking_commit().unwrap().unwrap()
    };
    assert!(!write(&["a", "b", "c", "d", "e"]).is_accepted(), "larger than the buffer");
    assert!(write(&["a", "a", "b"]).is_accepted());
    assert!(write(&["b", "c", "d"]).is_accepted(), "it waits for room");
    let _ = producer.flush().wait();
    let found: Vec<_> = place
        .events(&path)
        .unwrap()
        .iter()
        .map(|event| format!("{} {}", event["headers"]["operation"], event["key"]).replace('"', ""))
        .collect();
    let expected = ["insert a", "update a", "insert b", "update b", "insert c", "insert d"];
    assert_eq!(found, expected);
}

fn a_group_of_messages_is_one_piece(place: &Place) {
    let path = fresh_path("group");
    let json = place.options().stream_path(&path).content_type("application/json");
    let stream = DurableStream::create(json, "").wait().unwrap();
    let options = Options::new().max_batch_items(4u64);
    let producer = IdempotentProducer::open(&stream, "p", options).unwrap();
    producer.append("0").unwrap();
    assert_eq!(producer.append_group(&["1", "2", "3", "4"]).unwrap().unwrap().id(), 5);
    assert_eq!(producer.append_group::<&str>(&[]).unwrap(), None);
    let error = producer.append_group(&["5", "no"]).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InvalidValue));
    let waits = WriteOptions { block: true, ..WriteOptions::default() };
    assert_eq!(producer.append_group_with(&["5"], waits).unwrap().unwrap().id(), 6);
    assert_eq!(producer.flush().wait().unwrap().delivered, 6);
    assert_eq!(place.events(&path).unwrap(), (0..6).map(|n| json!(n)).collect::<Vec<_>>());
    let error = producer.append_group(&["6"; 5]).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::TooLarge));
}
