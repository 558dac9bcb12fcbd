"""The writer of entity state."""

import gc
import sys
import threading

import durstream
import pytest
from conftest import SHIPMENTS, is_closed, read_bytes, read_json, stored, wait_until
from conftest import each_base as base  # noqa: F401  (with the server, and with a recorder)
from durstream import create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(shipments=SHIPMENTS)


@pytest.fixture
def producer(path):
    with create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="service") as producer:
        yield producer


def upsert(key, **fields):
    headers = {"operation": "upsert"}
    return {"type": "shipment", "key": key, "value": {"id": key, **fields}, "headers": headers}


def delete(key):
    return {"type": "shipment", "key": key, "headers": {"operation": "delete"}}


def test_upsert_and_delete(producer, url):
    receipts = [producer.upsert("shipments", {"id": f"s{n}", "size": n}) for n in range(500)]
    assert [receipt.id for receipt in receipts] == list(range(1, 501))
    producer.delete("shipments", "s0")
    assert producer.flush().delivered == 501
    assert receipts[0].wait().delivered
    expected = [upsert(f"s{n}", size=n) for n in range(500)] + [delete("s0")]
    assert read_json(url) == expected
    assert producer.url == url and producer.producer_id == "service"
    assert producer.state == "ready" and producer.stats()["delivered"] == 501


def test_a_large_value_waits_for_room_too(path, url):
    options = {"max_write_bytes": 200, "max_buffer_items": 1, "linger_ms": 60_000}
    with create_durable_stream(
        stream_path=path, schema=SCHEMA, producer_id="service", max_block_ms=10_000, **options
    ) as producer:
        for n in range(3):
            assert producer.upsert("shipments", {"id": str(n), "text": "x" * 100}).accepted
    assert len(read_json(url)) == 3


def test_text_reaches_the_stream_byte_for_byte(producer, url):
    text = '{"id":"ä","big":123456789012345678901234567890, "f":1.10}'
    producer.upsert("shipments", text)
    producer.upsert("shipments", memoryview(text.encode()))
    producer.flush()
    event = '{"type":"shipment","key":"ä","value":%s,"headers":{"operation":"upsert"}}' % text
    assert read_bytes(url).decode() == f"[{event},{event}]"


@pytest.mark.parametrize(
    ("collection", "value", "reason"),
    [
        ("parcels", {"id": "a"}, "invalid-entity"),
        ("", {"id": "a"}, "invalid-entity"),
        ("\ud800", {"id": "a"}, "invalid-entity"),
        ("shipments", {}, "invalid-key"),
        ("shipments", {"id": ""}, "invalid-key"),
        ("shipments", {"id": None}, "invalid-key"),
        ("shipments", {"id": ["a"]}, "invalid-key"),
        ("shipments", {"id": "a", "size": "big"}, "invalid-value"),
        ("shipments", ["a"], "invalid-value"),
        ("shipments", None, "invalid-value"),
        ("shipments", "", "invalid-value"),
        ("shipments", "{", "invalid-value"),
        ("shipments", b'{"id":"\xff"}', "invalid-value"),
        ("shipments", {"id": "a", "x": float("nan")}, "serialization-failed"),
        ("shipments", {"id": "a", "x": b"bytes"}, "serialization-failed"),
        ("shipments", {"id": "a", "x": {1}}, "serialization-failed"),
        ("shipments", {"id": "\ud800"}, "invalid-key"),
        ("shipments", {"id": "a", "x": "\ud800"}, "serialization-failed"),
        ("shipments", '"\ud800"', "serialization-failed"),
    ],
)
def test_what_is_refused(path, url, collection, value, reason):
    with create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a") as producer:
        receipt = producer.upsert(collection, value)
        assert not receipt.accepted and receipt.id == 0
        outcome = receipt.outcome
        assert (outcome.status, outcome.reason) == ("rejected", reason)
        assert isinstance(outcome.error, durstream.ValidationError)
        assert outcome.error.reason == reason and outcome.error.url == url
        assert receipt.wait() == outcome or receipt.wait().reason == reason
        stats = producer.stats()
        assert (stats["refused_invalid"], stats["accepted"]) == (1, 0)
        # A skipped value is no failure of the delivery.
        assert producer.flush().delivered == 0
        producer.upsert("shipments", {"id": "fine"})
    assert read_json(url) == [upsert("fine")]


def test_strict_raises(path):
    with create_durable_stream(
        stream_path=path, schema=SCHEMA, producer_id="a", strict=True
    ) as producer:
        for collection, value, reason in [
            ("parcels", {"id": "a"}, "invalid-entity"),
            ("shipments", {"size": 1}, "invalid-key"),
            ("shipments", {"id": "a", "size": "big"}, "invalid-value"),
            ("shipments", {"id": "a", "x": {1}}, "serialization-failed"),
        ]:
            with pytest.raises(durstream.ValidationError) as raised:
                producer.upsert(collection, value)
            assert raised.value.reason == reason and raised.value.collection == collection
        with pytest.raises(durstream.ValidationError):
            producer.delete("shipments", "")
    with pytest.raises(durstream.ProducerClosedError):
        producer.upsert("shipments", {"id": "a"})


def test_issues_name_the_place(producer):
    error = producer.upsert("shipments", {"id": "a", "size": "big"}).outcome.error
    assert (error.collection, error.key) == ("shipments", "a")
    assert error.issues[0].path == "/size" and "big" in error.issues[0].message


def test_text_that_is_no_json_is_refused_alike_whoever_validates(path):
    own = {"schema": lambda value: None, "type": "own", "primary_key": "id"}
    schema = define_stream_schema(core={"schema": {}, "type": "core", "primary_key": "id"}, own=own)
    with create_durable_stream(stream_path=path, schema=schema, producer_id="a") as producer:
        for broken in ("", "{", '{"id":"a"} 2', "nonsense", b'{"id":"\xff"}'):
            for collection in ("core", "own"):
                error = producer.upsert(collection, broken).outcome.error
                assert (error.reason, error.key) == ("invalid-value", None), broken
                assert error.collection == collection
        if hasattr(sys, "get_int_max_str_digits"):
            # What Python does not read is not published unseen.
            long = '{"id":"a","n":%s}' % ("1" * 5000)
            assert producer.upsert("own", long).outcome.reason == "invalid-value"


@pytest.mark.parametrize("collection", [None, 5, b"shipments", ["shipments"]])
def test_a_collections_name_is_text(producer, collection):
    for write in (
        lambda: producer.upsert(collection, {"id": "a"}),
        lambda: producer.delete(collection, "a"),
    ):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            write()
        assert raised.value.option == "collection"


def test_one_producer_per_stream(path, url):
    first = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    second = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    assert first.is_same(second)
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="b")
    assert raised.value.option == "options"
    other = define_stream_schema(shipments={**SHIPMENTS, "schema": {}})
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        create_durable_stream(stream_path=path, schema=other, producer_id="a")
    assert raised.value.option == "schema"
    kept = first.upsert("shipments", {"id": "1"})
    first.detach()
    assert first.upsert("shipments", {"id": "2"}).outcome.reason == "producer-stopping"
    assert second.state == "ready"
    second.upsert("shipments", {"id": "3"})
    second.detach()
    # The last handle let the producer go, whatever receipts are left.
    wait_until(lambda: second.state == "stopped")
    assert kept.wait().delivered
    third = create_durable_stream(stream_path=path, schema=other, producer_id="b")
    assert not third.is_same(second)
    third.upsert("shipments", {"id": "4"})
    third.close()
    assert [event["key"] for event in read_json(url)] == ["1", "3", "4"]


def test_handles_that_are_dropped_let_go(path):
    first = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    receipt = first.upsert("shipments", {"id": "1"})
    first.flush()
    del first
    gc.collect()
    assert receipt.outcome.delivered
    create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="b").close()


def test_close_is_for_all_holders(path, url):
    first = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    second = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    first.upsert("shipments", {"id": "1"})
    assert first.close().delivered == 1
    assert second.upsert("shipments", {"id": "2"}).outcome.reason in (
        "producer-stopping",
        "producer-stopped",
    )
    assert not is_closed(url)


def test_close_may_end_the_stream(path, url):
    producer = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    producer.upsert("shipments", {"id": "1"})
    result = producer.close(end_stream=True)
    assert result.final_offset and is_closed(url)
    assert read_json(url) == [upsert("1")]


def test_begin_shutdown_delivers_what_was_accepted(path, url):
    producer = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    producer.upsert("shipments", {"id": "1"})
    producer.begin_shutdown()
    producer.flush()
    producer.close()
    assert not producer.upsert("shipments", {"id": "2"}).accepted
    assert read_json(url) == [upsert("1")]


def test_ready_once_the_stream_is_there(serve):
    there = threading.Event()

    def answer(asked):
        return stored(asked) if there.is_set() else (503, {}, b"")

    options = {"retry_initial_delay_ms": 1, "retry_max_delay_ms": 1}
    schema = define_stream_schema(shipments=SHIPMENTS)
    producer = create_durable_stream(
        url=serve(answer).url, schema=schema, producer_id="ready", **options
    )
    producer.upsert("shipments", {"id": "a"})
    with pytest.raises(durstream.TimeoutError):
        producer.wait_ready(0.01)
    there.set()
    producer.wait_ready()
    assert producer.close().delivered == 1


def test_no_server(nowhere):
    failures = []
    producer = create_durable_stream(
        url=nowhere,
        schema=SCHEMA,
        producer_id="a",
        delivery_timeout_ms=2000,
        on_error=failures.append,
    )
    producer.upsert("shipments", {"id": "1"})
    with pytest.raises(durstream.DeliveryError) as raised:
        producer.flush()
    assert isinstance(raised.value.cause, durstream.TransportError)
    assert nowhere in str(raised.value.cause)
    wait_until(lambda: failures)
    assert b'"key":"1"' in failures[0].failure.payload
    producer.stop()
    assert not producer.upsert("shipments", {"id": "2"}).accepted


def test_a_stream_of_another_kind(url, path):
    durstream.DurableStream.create(url, content_type="text/plain")
    producer = create_durable_stream(stream_path=path, schema=SCHEMA, producer_id="a")
    producer.upsert("shipments", {"id": "1"})
    with pytest.raises(durstream.DeliveryError) as raised:
        producer.flush()
    assert isinstance(raised.value.cause, (durstream.StreamExistsError, durstream.ConflictError))
    producer.stop()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({"schema": None}, "schema"),
        ({"schema": {"shipments": SHIPMENTS}}, "schema"),
        ({"producer_id": ""}, "producer_id"),
        ({"producer_id": None}, "producer_id"),
        ({"stream_path": None}, "url"),
        ({"stream_path": "/a/../b"}, "stream_path"),
        ({"url": "http://h/a"}, "url"),
        ({"content_type": "text/plain"}, "content_type"),
        ({"stream_path": 5}, "stream_path"),
    ],
)
def test_wrong_arguments(path, arguments, option):
    given = {"stream_path": path, "schema": SCHEMA, "producer_id": "a", **arguments}
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        create_durable_stream(**given)
    assert raised.value.option == option


@pytest.mark.parametrize(
    ("collections", "text"),
    [
        ({}, "no collections"),
        ({"": SHIPMENTS}, "name is empty"),
        ({5: SHIPMENTS}, "has to be text, not 5"),
        ({"a": None}, "takes a Collection or a dict, not None"),
        ({"a": {"type": "a", "primary_key": "id"}}, "no `schema`"),
        ({"a": {"schema": {}, "primary_key": "id"}}, "no `type`"),
        ({"a": {"schema": {}, "type": "a"}}, "no `primary_key`"),
        ({"a": {"schema": {}, "type": "", "primary_key": "id"}}, "no `type`"),
        ({"a": {"schema": {}, "type": 5, "primary_key": "id"}}, "takes text"),
        ({"a": {**SHIPMENTS, "primaryKey": "id"}}, "takes no `primaryKey`"),
        ({"a": {**SHIPMENTS, "schema": {"type": "nonsense"}}}, "JSON Schema"),
        ({"a": {**SHIPMENTS, "schema": {"const": {1}}}}, "JSON Schema"),
        ({"a": {**SHIPMENTS, "schema": 5}}, "not 5"),
        ({"a": {**SHIPMENTS, "schema": int}}, "not <class 'int'>"),
        ({"a": SHIPMENTS, "b": SHIPMENTS}, "same type"),
        ([SHIPMENTS], "by keyword, or as a dict, not [{"),
    ],
)
def test_wrong_schemas(collections, text):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        define_stream_schema(collections)
    assert raised.value.option == "schema" and text in str(raised.value)


def test_schemas_are_declared_either_way():
    schema = define_stream_schema({"a": SHIPMENTS}, b={**SHIPMENTS, "type": "b"})
    assert schema.collections == ("a", "b") and repr(schema) == "StreamSchema(a, b)"
