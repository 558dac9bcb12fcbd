"""One rule of what makes a primary key, by the vectors that every language reads."""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from pathlib import Path
from typing import Any

import pydantic
import pytest
from conftest import read_json
from durstream import Collection, create_durable_stream, define_stream_schema

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "tests" / "vectors" / "keys.json").read_text()
)


@dataclasses.dataclass
class Thing:
    id: Any


THINGS = {
    "by the core": True,
    "by a dataclass": Thing,
    "by a function": lambda value: None,
}


class Level(enum.IntEnum):
    TWO = 2


class Name(str, enum.Enum):
    A = "a"


class Size(enum.Enum):
    SMALL = "small"
    HALF = 0.5


@pytest.fixture
def open_things(path):
    held = []

    def open_with(schema, **options):
        things = Collection(schema, type="thing", primary_key="id")
        held.append(
            create_durable_stream(
                stream_path=path,
                schema=define_stream_schema(things=things),
                producer_id="keys",
                **options,
            )
        )
        return held[-1]

    yield open_with
    for producer in held:
        producer.close()


def check(outcome, why, what):
    assert outcome.reason == "invalid-key", what
    (issue,) = outcome.error.issues
    assert issue.message.endswith(why), (what, issue)


def writes(producer, vector):
    """A vector's key by every verb that takes one."""
    entity = vector.get("entity") or '{"id":%s}' % vector.get("json", vector.get("number"))
    value = json.loads(entity)
    if "number" not in vector:
        yield producer.upsert("things", entity)
        yield producer.upsert("things", entity.encode())
    yield producer.upsert("things", value)
    yield producer.update("things", value, old_value={})
    yield producer.delete("things", value)
    yield producer.delete("things", value, txid="t")
    if "entity" in vector:
        return
    key = uuid.UUID(value["id"]) if vector.get("uuid") else value["id"]
    yield producer.upsert("things", Thing(key))
    yield producer.delete("things", Thing(key))
    yield producer.delete("things", key)
    yield producer.delete("things", key, txid="t")


@pytest.mark.parametrize("schema", THINGS.values(), ids=THINGS)
def test_each_vector_has_its_key_or_its_reason(open_things, url, schema):
    producer = open_things(schema)
    expected = []
    for vector in VECTORS:
        if schema is Thing and vector.get("entity", "{}") not in ("{}", '{"id":"first","id":"last"}'):
            continue  # a dataclass has no other fields
        for receipt in writes(producer, vector):
            if "refused" not in vector:
                assert receipt.accepted, (vector["what"], receipt.outcome)
                expected.append(vector["key"])
            elif not ("json" in vector and vector["json"] in ("{}", '{"id":"a"}')):
                check(receipt.outcome, vector["refused"], vector["what"])
            else:
                # As what is deleted, an object is an entity.
                assert receipt.accepted or receipt.outcome.reason == "invalid-key"
                expected += ["a"] if receipt.accepted else []
    producer.flush()
    assert [event["key"] for event in read_json(url)] == expected
    assert len(expected) > 200


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (datetime.date(2026, 2, 28), "2026-02-28"),
        (datetime.datetime(2026, 2, 28, 1, tzinfo=datetime.timezone.utc), "2026-02-28T01:00:00Z"),
        (datetime.time(1, 2), "01:02:00"),
        (decimal.Decimal("1.50"), "1.50"),
        (Level.TWO, "2"),
        (Name.A, "a"),
        (Size.SMALL, "small"),
        (2**70, str(2**70)),
    ],
)
def test_other_keys_are_the_text_that_they_are_written_as(open_things, url, key, text):
    producer = open_things(True)
    producer.upsert("things", {"id": key})
    producer.upsert("things", {}, key=key)
    producer.delete("things", {"id": key})
    producer.delete("things", key)
    producer.flush()
    assert [event["key"] for event in read_json(url)] == [text] * 4


@pytest.mark.parametrize("key", [b"a", {1}, object(), ["a"], Size.HALF, float("nan"), "\ud800"])
def test_what_no_json_says_is_no_key(open_things, key):
    producer = open_things(True)
    why = {
        Size.HALF: "is a number that is no integer",
        "\ud800": "holds half of a surrogate pair",
    }.get(key if isinstance(key, (str, Size)) else None, "")
    why = why or ("no integer" if isinstance(key, float) else "true nor false")
    check(producer.upsert("things", {"id": key}).outcome, why, key)
    check(producer.upsert("things", {}, key=key).outcome, why, key)
    check(producer.delete("things", {"id": key}).outcome, why, key)
    check(producer.delete("things", key).outcome, why, key)


def test_the_key_comes_first_whatever_else_is_wrong(open_things):
    producer = open_things(lambda value: False)
    check(producer.upsert("things", {"id": 1.5}).outcome, "no integer", "refused")
    check(producer.upsert("things", {"id": None, "x": float("nan")}).outcome, "is null", "NaN")
    assert producer.upsert("things", {"id": "a"}).outcome.error.key == "a"


def test_of_two_members_with_one_name_the_last_counts(open_things, url):
    class Sized(pydantic.BaseModel):
        id: str
        size: int

    entity = '{"id":"a","size":"small","id":"b","size":3}'
    refused = '{"id":"a","size":3,"id":"b","size":"small"}'
    producers = [open_things(schema) for schema in ({"properties": {"size": {"type": "integer"}}},)]
    producers[0].upsert("things", entity)
    assert producers[0].upsert("things", refused).outcome.error.key == "b"
    producers[0].close()
    producer = open_things(Sized)
    producer.upsert("things", entity)
    assert producer.upsert("things", refused).outcome.error.key == "b"
    producer.flush()
    read = [(event["key"], event["value"]) for event in read_json(url)]
    assert read == [("b", {"id": "b", "size": 3})] * 2
