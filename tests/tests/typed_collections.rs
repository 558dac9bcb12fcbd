//! Collections whose entities have a type, in place of their names.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use durstream_core::{
    Collection, EventOptions, Operation, Options, Reason, StateProducer, StreamSchema,
    TypedCollection, Validator, create_durable_stream,
};
use durstream_tests::readback::read_stream;
use durstream_tests::{fresh_path, server_address};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Serialize)]
struct Shipment {
    id: &'static str,
}

#[derive(Serialize)]
struct Order {
    id: u64,
}

fn collection<T: Serialize>(name: &str, entity_type: &str) -> TypedCollection<T> {
    TypedCollection::new(name, entity_type, "id", Validator::Any)
}

fn open(path: &str, schema: StreamSchema) -> StateProducer {
    create_durable_stream(Options::new().stream_path(path).producer_id("typed"), schema).unwrap()
}

#[test]
fn a_typed_collection_stands_for_its_name() {
    let path = fresh_path("typed");
    let (shipments, orders) = (collection("shipments", "shipment"), collection("orders", "order"));
    let producer = open(&path, StreamSchema::new().with(&shipments).with(&orders));
    producer.upsert(&shipments, &Shipment { id: "a" }).unwrap();
    producer.insert(&orders, &Order { id: 1 }).unwrap();
    producer.update(&shipments, &Shipment { id: "a" }).unwrap();
    let many = [Order { id: 2 }, Order { id: 3 }];
    producer.upsert_many(&orders, &many).unwrap();
    producer.upsert_many(&orders, many).unwrap();
    producer.delete(&shipments, "a").unwrap();
    let how = EventOptions { txid: Some("t"), ..EventOptions::default() };
    producer.change(Operation::Delete, &orders, &Order { id: 1 }, how).unwrap();
    let mut changes = producer.transaction(Some("u")).unwrap();
    changes.upsert(&shipments, &Shipment { id: "b" }).unwrap();
    changes.change(Operation::Delete, &orders, &Order { id: 2 }, &how_of(None)).unwrap();
    changes.delete(&orders, "3").unwrap();
    changes.commit().unwrap();
    // Names of any kind go on working.
    let (name, value) = (String::from("shipments"), json!({ "id": "c" }));
    producer.upsert(&name, &value).unwrap();
    producer.upsert(name.as_str(), &value).unwrap();
    producer.delete(&name, "c").unwrap();
    producer.close().wait().unwrap();
    let said = read_stream(server_address(), &path).unwrap();
    let told = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [&event["type"], &event["headers"]["operation"], &event["key"], &event["headers"]["txid"]]
            .map(text)
            .join(" ")
    };
    let expected = [
        "shipment upsert a ",
        "order insert 1 ",
        "shipment update a ",
        "order upsert 2 ",
        "order upsert 3 ",
        "order upsert 2 ",
        "order upsert 3 ",
        "shipment delete a ",
        "order delete 1 t",
        "shipment upsert b u",
        "order delete 2 u",
        "order delete 3 u",
        "shipment upsert c ",
        "shipment upsert c ",
        "shipment delete c ",
    ];
    assert_eq!(said.iter().map(told).collect::<Vec<_>>(), expected);
}

fn how_of(txid: Option<&str>) -> EventOptions<'_> {
    EventOptions { txid, ..EventOptions::default() }
}

#[test]
fn a_collection_of_another_schema_is_refused() {
    let schema = StreamSchema::new()
        .collection("shipments", Collection::new("shipment", "id", Validator::Any));
    let producer = open(&fresh_path("typed-foreign"), schema);
    let another_type = collection::<Shipment>("shipments", "parcel");
    let another_key =
        TypedCollection::<Shipment>::new("shipments", "shipment", "number", Validator::Any);
    let another_name = collection::<Shipment>("parcels", "shipment");
    let own = collection::<Shipment>("shipments", "shipment");
    for (foreign, text) in [
        (&another_type, "the collection `shipments` is of another schema"),
        (&another_key, "the collection `shipments` is of another schema"),
        (&another_name, "there is no collection `parcels`; the schema has shipments"),
    ] {
        for receipt in [
            producer.upsert(foreign, &Shipment { id: "a" }),
            producer.delete(foreign, "a"),
            producer.change(Operation::Insert, foreign, &Shipment { id: "a" }, how_of(Some("t"))),
        ] {
            let receipt = receipt.unwrap();
            let refusal = receipt.refusal().unwrap();
            assert_eq!(refusal.reason, Some(Reason::InvalidEntity));
            assert_eq!(refusal.error.as_ref().unwrap().message(), text);
        }
        let mut changes = producer.transaction(None).unwrap();
        changes.upsert(&own, &Shipment { id: "a" }).unwrap();
        changes.upsert(foreign, &Shipment { id: "a" }).unwrap();
        changes.delete(foreign, "a").unwrap();
        let receipt = changes.commit().unwrap().unwrap();
        let error = receipt.refusal().unwrap().error.clone().unwrap();
        assert!(
            error.message().starts_with("2 changes of the transaction were refused"),
            "{error}"
        );
    }
    assert!(producer.upsert(&own, &Shipment { id: "a" }).unwrap().is_accepted());
    assert_eq!(producer.stats().refused_invalid, 12);
    producer.close().wait().unwrap();
}
