"""Values that JSON does not know: those that every library writes alike, and ``default``."""

import dataclasses
import datetime
import decimal
import enum
import gc
import json
import uuid
import weakref
from typing import Any, Dict, Optional, TypedDict

import durstream
import msgspec
import orjson
import pydantic
import pydantic_core
import pytest
from conftest import SHIPMENTS, read_json, values
from durstream import DurableStream, IdempotentProducer, create_durable_stream, define_stream_schema

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))


class Status(enum.Enum):
    MOVING = "moving"


class Day(enum.Enum):
    FIRST = datetime.date(2026, 1, 2)


class Level(enum.IntEnum):
    TWO = 2


class Grade(str, enum.Enum):
    GOOD = "good"


STANDARD = [
    datetime.datetime(2026, 1, 2, 3, 4, 5),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 100000, EAST),
    datetime.datetime(1, 1, 1, tzinfo=UTC),
    datetime.date(2026, 1, 2),
    datetime.time(3, 4, 5),
    datetime.time(3, 4, 5, 678),
    uuid.UUID("6BA7B810-9DAD-11D1-80B4-00C04FD430C8"),
    Status.MOVING,
    Day.FIRST,
    Level.TWO,
    Grade.GOOD,
    decimal.Decimal("9.90"),
    decimal.Decimal("1E+400"),
]


@pytest.mark.parametrize("value", STANDARD, ids=repr)
def test_values_are_written_as_other_libraries_do(json_stream, value):
    with IdempotentProducer(json_stream, "values") as producer:
        producer.append([value])
        producer.append_json(value)
        producer.append({"nested": {"value": (value,)}})
    json_stream.append([value])
    json_stream.append_json(value)
    (expected,) = json.loads(msgspec.json.encode([value]))
    assert json.loads(pydantic_core.to_json(value)) == expected
    if not isinstance(value, decimal.Decimal):
        assert json.loads(orjson.dumps(value, option=orjson.OPT_UTC_Z)) == expected
    nested = {"nested": {"value": [expected]}}
    assert read_json(json_stream.url) == [[expected], expected, nested, [expected], expected]


@pytest.mark.parametrize("key", [value for value in STANDARD if value is not Level.TWO], ids=repr)
def test_they_are_keys_too(json_stream, path, key):
    text = json.loads(msgspec.json.encode(key))
    with IdempotentProducer(json_stream, "keys") as producer:
        producer.append({key: 1, 2: key})
        producer.append({"in": [{key: Point(key, {key: None})}]})
    expected = [{text: 1, "2": text}, {"in": [{text: {"x": text, "y": {text: None}}}]}]
    assert read_json(json_stream.url) == expected
    schema = define_stream_schema(shipments={**SHIPMENTS, "schema": lambda value: None})
    with create_durable_stream(stream_path=path + "s", schema=schema, producer_id="a") as producer:
        producer.upsert("shipments", {"id": key})
        producer.delete("shipments", key)
        url = producer.url
    assert [event["key"] for event in read_json(url)] == [text, text]


@dataclasses.dataclass
class Point:
    x: object
    y: object


@dataclasses.dataclass
class Shipment:
    id: uuid.UUID
    status: Status
    at: datetime.datetime
    price: decimal.Decimal
    by_day: Dict[datetime.date, int]


class ShipmentDict(TypedDict):
    id: uuid.UUID
    status: Status
    at: datetime.datetime
    price: decimal.Decimal
    by_day: Dict[datetime.date, int]


class ShipmentModel(pydantic.BaseModel):
    id: uuid.UUID
    status: Status
    at: datetime.datetime
    price: decimal.Decimal
    by_day: Dict[datetime.date, int]


class ShipmentStruct(msgspec.Struct):
    id: uuid.UUID
    status: Status
    at: datetime.datetime
    price: decimal.Decimal
    by_day: Dict[datetime.date, int]


@pytest.mark.parametrize(
    "kind", [Shipment, ShipmentDict, ShipmentModel, ShipmentStruct, {}, True, lambda value: value]
)
def test_entities_hold_them(opened, url, kind):
    given = {
        "id": uuid.UUID(int=1),
        "status": Status.MOVING,
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "price": decimal.Decimal("9.90"),
        "by_day": {datetime.date(2026, 1, 2): 3},
    }
    producer = opened(kind)
    both = [given, kind(**given)] if isinstance(kind, type) else [given]
    for value in both:
        outcome = producer.upsert("shipments", value).wait()
        assert outcome.delivered, outcome
    written = {
        "id": "00000000-0000-0000-0000-000000000001",
        "status": "moving",
        "at": "2026-01-02T03:04:05Z",
        "price": "9.90",
        "by_day": {"2026-01-02": 3},
    }
    assert values(url) == [written] * len(both)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def cents(value: Any) -> Any:
    if isinstance(value, Money):
        return {"cents": decimal.Decimal(value.cents)}
    raise TypeError(f"what is {type(value).__name__}?")


def test_default_is_asked_for_the_rest(url):
    own = DurableStream.create(url, content_type="application/json", default=cents, body=[Money(0)])
    own.append({"n": Money(1)})
    own.append_json(Money(2))
    own.append_stream([{"n": Money(3)}])
    with IdempotentProducer(own, "its-streams") as producer:
        producer.append({"n": Money(4)})
        with pytest.raises(durstream.ValidationError, match="what is object"):
            producer.append({"n": object()})
        refused = producer.try_append({"n": {1}})
        assert "what is set" in str(refused.outcome.error)
    with IdempotentProducer(own, "its-own", default=lambda value: "own") as producer:
        producer.append({"n": Money(5)})
        producer.append_json(Money(5))
    assert read_json(url) == [
        {"cents": "0"},
        {"n": {"cents": "1"}},
        {"cents": "2"},
        {"n": {"cents": "3"}},
        {"n": {"cents": "4"}},
        {"n": "own"},
        "own",
    ]


class Arbitrary(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    id: str
    price: Optional[Money] = None


@dataclasses.dataclass
class Held:
    id: str
    price: Money


@pytest.mark.parametrize("kind", [Arbitrary, Held, {}, lambda value: None])
def test_default_is_asked_for_entities_too(path, url, kind):
    schema = define_stream_schema(shipments={**SHIPMENTS, "schema": kind})
    price = Money(5)
    value = kind(id="a", price=price) if isinstance(kind, type) else {"id": "a", "price": price}
    for default, accepted in [(cents, True), (None, False)]:
        with create_durable_stream(
            stream_path=path, schema=schema, producer_id="a", default=default
        ) as producer:
            receipt = producer.upsert("shipments", value)
            assert receipt.accepted is accepted
            if not accepted:
                assert receipt.outcome.reason == "serialization-failed"
                assert receipt.outcome.error.key == "a"
    assert values(url) == [{"id": "a", "price": {"cents": "5"}}]


async def waits(value: Any) -> Any:
    return value


def test_functions_that_cannot_be_called(json_stream, path):
    schema = define_stream_schema(shipments=SHIPMENTS)

    def state(**given):
        create_durable_stream(stream_path=path, schema=schema, producer_id="a", **given)

    def producer(**given):
        IdempotentProducer(json_stream, "a", **given)

    def stream(**given):
        DurableStream.connect(json_stream.url, **given)

    for opens, names in [(state, 2), (producer, 2), (stream, 1)]:
        for name in ("default", "on_error")[:names]:
            for wrong in (waits, "text"):
                with pytest.raises(durstream.InvalidArgumentError) as raised:
                    opens(**{name: wrong})
                assert raised.value.option == name


def test_a_default_that_refers_to_its_handle_keeps_nothing(json_stream):
    class Asked:
        def __call__(self, value: Any) -> Any:
            return str(type(self.producer))

    asked = Asked()
    asked.producer = IdempotentProducer(json_stream, "circle", default=asked)
    asked.producer.append({"n": Money(1)})
    asked.producer.flush()
    gone = weakref.ref(asked)
    del asked
    gc.collect()
    assert gone() is None
