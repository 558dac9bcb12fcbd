"""What type checkers say of writes to collections. Each mistake is marked; one that is not found, by mypy
or by pyright, makes its mark an error.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Dict, List, TypedDict, Union

import msgspec
import pydantic
from durstream import (
    Collection,
    Receipt,
    StateProducer,
    StreamSchema,
    create_durable_stream,
    define_stream_schema,
)


@dataclass
class Shipment:
    id: str
    status: str


class Order(pydantic.BaseModel):
    id: int


class Parcel(msgspec.Struct):
    id: str


class Box(TypedDict):
    id: str
    size: int


shipments = Collection(Shipment, type="shipment", primary_key="id")
orders = Collection(Order, type="order", primary_key="id")
parcels = Collection(Parcel, type="parcel", primary_key="id")
boxes = Collection(Box, type="box", primary_key="id")
things = Collection({"type": "object"}, type="thing", primary_key="id")


def open_one() -> StateProducer[Shipment]:
    schema = define_stream_schema(shipments=shipments)
    return create_durable_stream(stream_path="/one", schema=schema, producer_id="typed")


def open_some() -> StateProducer[Union[Shipment, Order, Box]]:
    schema: StreamSchema[Union[Shipment, Order, Box]] = define_stream_schema(
        shipments=shipments, orders=orders, boxes=boxes
    )
    return create_durable_stream(stream_path="/some", schema=schema, producer_id="typed")


def no_mistakes(one: StateProducer[Shipment], some: StateProducer[Union[Shipment, Order, Box]]) -> None:
    receipt: Receipt = one.upsert(shipments, Shipment("a", "created"), txid="t")
    receipts: List[Receipt] = one.upsert_many(shipments, [Shipment("a", "created")])
    one.insert(shipments, Shipment("a", "created"), timestamp=True)
    one.update(shipments, Shipment("a", "b"), old_value=Shipment("a", "created"))
    one.delete(shipments, "a", old_value='{"id":"a"}')
    one.delete(shipments, uuid.uuid4())
    one.delete(shipments, Shipment("a", "created"))
    some.upsert(orders, Order(id=1))
    some.delete(orders, 1)
    some.upsert(boxes, Box(id="a", size=1))
    with some.transaction() as changes:
        changes.upsert(shipments, Shipment("a", "created"))
        changes.delete(boxes, "a")
    # Names go on working, and say nothing of the values.
    one.upsert("shipments", {"id": "a"})
    one.upsert_many("shipments", [{"id": "a"}])
    one.delete("shipments", {"id": "a"})
    named = define_stream_schema(shipments={"schema": Shipment, "type": "shipment", "primary_key": "id"})
    untyped: StateProducer = create_durable_stream(stream_path="/a", schema=named, producer_id="a")
    untyped.upsert(parcels, Parcel("a"))
    open_things: StateProducer[Dict[str, Any]] = create_durable_stream(
        stream_path="/b", schema=define_stream_schema(things=things), producer_id="b"
    )
    open_things.upsert(things, {"id": 5})
    print(receipt, receipts)


def of_the_four(one: StateProducer[Shipment]) -> None:
    """An unknown collection, in an upsert and in a delete; a value that is no entity; a missing key."""
    one.upsert(orders, Order(id=1))  # type: ignore[arg-type]
    one.upsert(shipmnts, Shipment("a", "b"))  # type: ignore[name-defined]
    one.delete(orders, 1)  # type: ignore[arg-type]
    one.delete(shipmnts, "a")  # type: ignore[name-defined]
    one.upsert(shipments, "shipment")  # type: ignore[misc]
    one.upsert(shipments, None)  # type: ignore[misc]
    one.upsert(shipments, Shipment(status="created"))  # type: ignore[call-arg]


def of_every_verb(one: StateProducer[Shipment]) -> None:
    one.upsert(shipments, Order(id=1))  # type: ignore[misc]
    one.upsert(shipments, {"id": "a", "status": "b"})  # type: ignore[misc]
    one.insert(shipments, Order(id=1))  # type: ignore[misc]
    one.insert(orders, Order(id=1))  # type: ignore[arg-type]
    one.update(shipments, Order(id=1))  # type: ignore[misc]
    one.update(orders, Order(id=1))  # type: ignore[arg-type]
    one.update(shipments, Shipment("a", "b"), old_value=5)  # type: ignore[misc]
    one.upsert_many(shipments, [Order(id=1)])  # type: ignore[misc]
    one.upsert_many(orders, [Order(id=1)])  # type: ignore[arg-type]
    one.delete(shipments, Order(id=1))  # type: ignore[misc]
    one.delete(shipments, None)  # type: ignore[misc]
    one.delete(shipments, 1.5)  # type: ignore[misc]
    one.upsert(shipments, Shipment("a", "b"), key=1.5)  # type: ignore[arg-type]
    one.upsert(5, Shipment("a", "b"))  # type: ignore[arg-type]


def in_transactions(one: StateProducer[Shipment]) -> None:
    with one.transaction() as changes:
        changes.upsert(orders, Order(id=1))  # type: ignore[arg-type]
        changes.upsert(shipments, Order(id=1))  # type: ignore[misc]
        changes.upsert_many(shipments, [Order(id=1)])  # type: ignore[misc]
        changes.delete(orders, 1)  # type: ignore[arg-type]


def of_several(some: StateProducer[Union[Shipment, Order, Box]]) -> None:
    some.upsert(parcels, Parcel("a"))  # type: ignore[arg-type]
    some.delete(parcels, "a")  # type: ignore[arg-type]
    some.upsert(orders, Shipment("a", "b"))  # type: ignore[misc]
    some.upsert(boxes, {"id": "a"})  # type: ignore[misc]
    some.upsert(boxes, Box(size=1))  # type: ignore[typeddict-item]


def of_declarations() -> None:
    define_stream_schema(shipments=5)  # type: ignore[call-overload]
    Collection(Shipment, type="shipment")  # type: ignore[call-overload]
    # Of several collections mypy infers no types where none are named.
    schema = define_stream_schema(shipments=shipments, orders=orders)
    several = create_durable_stream(stream_path="/several", schema=schema, producer_id="typed")
    several.upsert(parcels, Parcel("a"))  # pyright: ignore[reportArgumentType]
