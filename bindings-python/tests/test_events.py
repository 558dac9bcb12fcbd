"""What a change of an entity says beside its value, and control messages."""

import datetime

import durstream
import pytest
from conftest import SHIPMENTS, read_bytes, read_json
from conftest import each_base as base  # noqa: F401  (with the server, and with a recorder)
from durstream import create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(
    shipments=SHIPMENTS,
    orders={"schema": lambda value: value, "type": "order", "primary_key": "id"},
)


@pytest.fixture
def opened(path):
    producers = []

    def open_with(**options):
        producer = create_durable_stream(
            stream_path=path, schema=SCHEMA, producer_id="service", **options
        )
        producers.append(producer)
        return producer

    yield open_with
    for producer in producers:
        producer.stop()


def headers(url):
    return [event["headers"] for event in read_json(url)]


@pytest.mark.parametrize("collection", ["shipments", "orders"])
def test_every_verb_writes_its_operation(opened, url, collection):
    producer = opened()
    entity = {"id": "1", "n": 5}
    producer.insert(collection, entity)
    producer.update(collection, entity)
    producer.upsert(collection, entity)
    producer.delete(collection, entity)
    assert all(receipt.accepted for receipt in producer.upsert_many(collection, [entity, entity]))
    producer.flush()
    operations = ["insert", "update", "upsert", "delete", "upsert", "upsert"]
    assert headers(url) == [{"operation": operation} for operation in operations]
    assert {event["key"] for event in read_json(url)} == {"1"}
    assert "value" not in read_json(url)[3]


def test_an_event_says_what_it_was_told(opened, url):
    producer = opened()
    zone = datetime.timezone(datetime.timedelta(hours=1))
    producer.update(
        "shipments",
        '{"id":"1", "n": 2.0}',
        txid="tx-1",
        timestamp=datetime.datetime(2026, 2, 28, 10, tzinfo=zone),
        headers={"from": "billing"},
        old_value={"id": "1", "n": 1},
    )
    producer.delete("shipments", "1", txid="tx-2", timestamp="2026-02-28T10:00:00Z", old_value="{}")
    producer.upsert("orders", {}, key=7)
    producer.flush()
    update = (
        '{"type":"shipment","key":"1","value":{"id":"1", "n": 2.0},"old_value":{"id":"1","n":1},'
        '"headers":{"operation":"update","txid":"tx-1","timestamp":"2026-02-28T10:00:00+01:00",'
        '"from":"billing"}}'
    )
    delete = (
        '{"type":"shipment","key":"1","old_value":{},"headers":{"operation":"delete",'
        '"txid":"tx-2","timestamp":"2026-02-28T10:00:00Z"}}'
    )
    keyed = '{"type":"order","key":"7","value":{},"headers":{"operation":"upsert"}}'
    assert read_bytes(url).decode() == f"[{update},{delete},{keyed}]"


def test_now_is_the_time_of_the_call(opened, url):
    producer = opened()
    before = datetime.datetime.now(datetime.timezone.utc)
    producer.upsert("shipments", {"id": "1"}, timestamp=True)
    producer.upsert("shipments", {"id": "1"}, timestamp=False)
    producer.flush()
    first, second = headers(url)
    stamp = datetime.datetime.fromisoformat(first["timestamp"].replace("Z", "+00:00"))
    second_later = datetime.timedelta(seconds=1)
    assert before - second_later <= stamp <= datetime.datetime.now(before.tzinfo) + second_later
    assert "timestamp" not in second


def test_options_stamp_events_and_make_them_strict(opened, url):
    producer = opened(timestamps=True, operations="strict")
    for _ in range(2):
        producer.upsert("shipments", {"id": "1"})
    producer.delete("shipments", "1")
    producer.upsert("shipments", {"id": "1"})
    producer.flush()
    operations = [found["operation"] for found in headers(url)]
    assert operations == ["insert", "update", "delete", "insert"]
    assert all(found["timestamp"].endswith("Z") for found in headers(url))


def test_control_messages_stand_in_order(opened, url):
    producer = opened()
    producer.control("snapshot-start")
    producer.upsert("shipments", {"id": "1"})
    producer.control("snapshot-end", offset="1_2")
    producer.control("reset")
    producer.flush()
    assert headers(url) == [
        {"control": "snapshot-start"},
        {"operation": "upsert"},
        {"control": "snapshot-end", "offset": "1_2"},
        {"control": "reset"},
    ]
    for wrong in ["snapshot", 5, None]:
        with pytest.raises(durstream.InvalidArgumentError, match="`control` takes"):
            producer.control(wrong)
    for wrong in ["", 5]:
        with pytest.raises(durstream.InvalidArgumentError, match="`offset`"):
            producer.control("reset", offset=wrong)


@pytest.mark.parametrize(
    "said, reason, text",
    [
        ({"txid": ""}, "invalid-headers", "empty `txid`"),
        ({"txid": 5}, "invalid-headers", "a `txid` that is no text: 5"),
        ({"txid": "\ud83d"}, "invalid-headers", "half of a surrogate pair"),
        ({"timestamp": "today"}, "invalid-headers", "no RFC 3339 time"),
        ({"timestamp": "now"}, "invalid-headers", "no RFC 3339 time"),
        ({"timestamp": 5}, "invalid-headers", "a `timestamp` that is no text: 5"),
        ({"timestamp": datetime.datetime(2026, 2, 28)}, "invalid-headers", "without a time zone"),
        ({"headers": {"operation": "x"}}, "invalid-headers", "the protocol's own"),
        ({"headers": {"from": 5}}, "invalid-headers", "a header `from` that is no text: 5"),
        ({"headers": "from"}, "invalid-headers", "`headers` that are no mapping"),
        ({"key": "2"}, "invalid-key", "not the entity's own"),
        ({"key": []}, "invalid-key", "neither text, an integer"),
        ({"old_value": {1, 2}}, "serialization-failed", "the old value: set"),
        ({"old_value": "{"}, "invalid-value", "the old value"),
    ],
)
@pytest.mark.parametrize("collection", ["shipments", "orders"])
def test_what_an_event_cannot_say_is_refused(opened, collection, said, reason, text):
    producer = opened()
    receipt = producer.update(collection, {"id": "1"}, **said)
    outcome = receipt.outcome
    assert outcome.reason == reason
    assert text in str(outcome.error)
    assert producer.stats()["refused_invalid"] == 1
    assert producer.stats()["accepted"] == 0


def test_strict_operations_take_no_further_headers(opened):
    producer = opened(operations="strict")
    refused = producer.upsert("shipments", {"id": "1"}, headers={"from": "x"}).outcome
    assert refused.reason == "invalid-headers"


def test_deleting_an_entity_wants_its_key(opened):
    producer = opened()
    outcome = producer.delete("shipments", {"n": 1}).outcome
    assert outcome.reason == "invalid-key" and "`id` is missing" in str(outcome.error)
