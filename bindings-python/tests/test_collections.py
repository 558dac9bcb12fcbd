"""Collections as objects, in place of their names."""

from dataclasses import dataclass

import durstream
import pytest
from conftest import read_json
from durstream import Collection, StateProducer, StreamSchema, create_durable_stream
from durstream import define_stream_schema


@dataclass
class Shipment:
    id: str
    status: str


@dataclass
class Order:
    id: int


SHIPMENTS = Collection(Shipment, type="shipment", primary_key="id")
ORDERS = Collection(Order, type="order", primary_key="id")
FOREIGN = Collection(Shipment, type="shipment", primary_key="id")


@pytest.fixture
def producer(path):
    schema = define_stream_schema(shipments=SHIPMENTS, orders=ORDERS)
    with create_durable_stream(stream_path=path, schema=schema, producer_id="a") as opened:
        yield opened


def test_a_collection_stands_for_its_name(producer, url):
    producer.upsert(SHIPMENTS, Shipment("a", "created"))
    producer.insert(ORDERS, Order(1), txid="t")
    producer.update(SHIPMENTS, Shipment("a", "lost"), old_value=Shipment("a", "created"))
    producer.upsert_many(ORDERS, [Order(2), Order(3)])
    producer.delete(SHIPMENTS, Shipment("a", "lost"))
    producer.delete(ORDERS, 1)
    with producer.transaction("t") as changes:
        changes.upsert(SHIPMENTS, Shipment("b", "created"))
        changes.delete(ORDERS, Order(2))
    producer.upsert("shipments", {"id": "c", "status": "created"})
    producer.flush()
    said = [(e["type"], e["headers"]["operation"], e["key"]) for e in read_json(url)]
    assert said == [
        ("shipment", "upsert", "a"),
        ("order", "insert", "1"),
        ("shipment", "update", "a"),
        ("order", "upsert", "2"),
        ("order", "upsert", "3"),
        ("shipment", "delete", "a"),
        ("order", "delete", "1"),
        ("shipment", "upsert", "b"),
        ("order", "delete", "2"),
        ("shipment", "upsert", "c"),
    ]


def test_a_collection_of_another_schema_is_refused(producer):
    wrong = "there is no collection `Collection(Shipment, shipment)`; the schema has shipments, orders"
    for receipt in (
        producer.upsert(FOREIGN, Shipment("a", "created")),
        producer.insert(FOREIGN, Shipment("a", "created")),
        producer.delete(FOREIGN, "a"),
        producer.delete(FOREIGN, Shipment("a", "created"), txid="t"),
    ):
        assert receipt.outcome.reason == "invalid-entity"
        assert wrong in str(receipt.outcome.error)
    with pytest.raises(durstream.ValidationError, match="no collection"):
        with producer.transaction() as changes:
            changes.upsert(FOREIGN, Shipment("a", "created"))


def test_collections_may_be_declared_in_each_way(path, url):
    both = {"orders": {"schema": Order, "type": "order", "primary_key": "id"}}
    schema = define_stream_schema(both, shipments=SHIPMENTS)
    assert schema.collections == ("orders", "shipments")
    with create_durable_stream(stream_path=path, schema=schema, producer_id="a") as producer:
        producer.upsert(SHIPMENTS, Shipment("a", "created"))
        producer.upsert("orders", Order(1))
        assert producer.upsert(ORDERS, Order(1)).outcome.reason == "invalid-entity"
    assert [event["key"] for event in read_json(url)] == ["a", "1"]


@pytest.mark.parametrize(
    ("collection", "text"),
    [
        (Collection(5, type="a", primary_key="id"), "`schema` of collection `a` takes"),
        (Collection(Shipment, type=5, primary_key="id"), "takes text"),
        (Collection(Shipment, type="a", primary_key=""), "no primary key"),
        (Collection(Shipment, type=None, primary_key="id"), "has no `type`"),
        (Shipment, "takes a Collection or a dict"),
    ],
)
def test_collections_that_cannot_be_are_refused_with_their_schema(collection, text):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        define_stream_schema(a=collection)
    assert raised.value.option == "schema" and text in str(raised.value), str(raised.value)


def test_types_may_be_named_at_runtime():
    assert Collection[Shipment] and StreamSchema[Shipment] and StateProducer[Shipment]
    assert repr(Collection({}, type="a", primary_key="id")) == "Collection({}, a)"
