"""A recorder in a server's place: what it shows, and what it does to writes."""

import gc
import os

import durstream
import pytest
from durstream import DurableStream, IdempotentProducer, create_durable_stream, define_stream_schema
from durstream.testing import Recorder

SCHEMA = define_stream_schema(
    orders={"schema": {"type": "object", "required": ["id"]}, "type": "order", "primary_key": "id"}
)


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setenv("DURABLE_STREAMS_URL", recorder.url)
    return recorder


@pytest.fixture
def producer(recorder):
    producer = create_durable_stream(
        stream_path="/orders", schema=SCHEMA, producer_id="service", retry_initial_delay_ms=1
    )
    yield producer
    producer.stop()


def keys(recorder):
    return [event["key"] for event in recorder.events("/orders")]


def test_what_was_written_is_shown_since_it_was_cleared(recorder, producer):
    assert recorder.events("/orders") == [] and recorder.content("/nothing") == b""
    producer.upsert("orders", {"id": "a", "big": 2**70})
    producer.flush()
    (event,) = recorder.events("orders")
    assert event["value"] == {"id": "a", "big": 2**70}
    assert recorder.content("/orders").startswith(b'[{"type":"order","key":"a",')
    recorder.clear()
    producer.delete("orders", "a")
    producer.flush()
    assert [event["headers"] for event in recorder.events("/orders")] == [{"operation": "delete"}]


def test_bytes_have_no_events(recorder):
    stream = DurableStream.create(stream_path="/log", content_type="text/plain", body="a")
    with IdempotentProducer(stream, "p") as log:
        log.append("b")
    assert recorder.content("/log") == b"ab"
    with pytest.raises(durstream.NotSupportedError):
        recorder.events("/log")


def test_what_is_held_is_pending_until_it_is_released(recorder, producer):
    recorder.hold()
    receipt = producer.upsert("orders", {"id": "a"})
    with pytest.raises(durstream.TimeoutError):
        receipt.wait(timeout=0.02)
    assert keys(recorder) == [] and receipt.outcome is None
    recorder.release()
    assert receipt.wait().delivered and keys(recorder) == ["a"]
    with pytest.raises(durstream.InvalidArgumentError, match="`hold` comes first"):
        recorder.release()


def test_rejected_writes_say_why_and_take_no_neighbour(recorder, producer):
    recorder.reject('"b"', "too-large")
    receipts = [producer.upsert("orders", {"id": key}) for key in "abc"]
    assert [receipt.wait().reason for receipt in receipts] == [None, "too-large", None]
    with pytest.raises(durstream.DeliveryError):
        producer.flush()
    assert keys(recorder) == ["a", "c"]
    recorder.deliver()
    producer.upsert("orders", {"id": "b"})
    assert producer.flush().delivered == 1


def test_fenced_and_failing(recorder, producer):
    recorder.fail(2)
    assert producer.upsert("orders", {"id": "a"}).wait().delivered
    recorder.fence()
    assert producer.upsert("orders", {"id": "b"}).wait().reason == "fenced"
    recorder.fail()
    with create_durable_stream(
        stream_path="/late", schema=SCHEMA, producer_id="late", delivery_timeout_ms=50
    ) as late:
        assert late.upsert("orders", {"id": "c"}).wait().reason == "expired"
        with pytest.raises(durstream.DeliveryError):
            late.flush()


def test_recorders_know_nothing_of_each_other(recorder, producer):
    other = Recorder()
    options = {"endpoints": other.url, "stream_path": "/orders", "strict": True}
    with create_durable_stream(schema=SCHEMA, producer_id="service", **options) as strict:
        strict.upsert("orders", {"id": "a"})
    assert keys(other) == ["a"] and keys(recorder) == []


def test_a_recorder_that_is_gone_is_not_found():
    recorder = Recorder()
    options = {"endpoints": recorder.url, "stream_path": "/orders"}
    producer = create_durable_stream(schema=SCHEMA, producer_id="service", **options)
    recorder.hold()
    receipt = producer.upsert("orders", {"id": "a"})
    del recorder
    gc.collect()
    assert receipt.wait().delivered  # what is open goes on
    with pytest.raises(durstream.InvalidArgumentError, match="there is no recorder at http://"):
        DurableStream(**options)


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (lambda recorder: recorder.events(5), "path"),
        (lambda recorder: recorder.content(None), "path"),
        (lambda recorder: recorder.reject("a", "no-such-reason"), "reason"),
        (lambda recorder: recorder.reject("a", "fenced"), "reason"),
        (lambda recorder: recorder.reject("\ud83d"), "containing"),
        (lambda recorder: recorder.fail(0), "times"),
        (lambda recorder: recorder.fail(True), "times"),
        (lambda recorder: recorder.fail("1"), "times"),
    ],
)
def test_wrong_arguments_are_named(recorder, call, option):
    with pytest.raises(durstream.InvalidArgumentError, match=f"`{option}`") as raised:
        call(recorder)
    assert raised.value.option == option


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_no_recorder_of_its_parents(recorder, producer):
    producer.upsert("orders", {"id": "a"})
    producer.flush()
    child = os.fork()
    if child == 0:
        try:
            recorder.events("/orders")
        except durstream.ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0 and keys(recorder) == ["a"]


def test_inspect_tells_what_would_be_opened(monkeypatch):
    monkeypatch.setenv("DURABLE_STREAMS_URL", "http://user:s3cret-1@127.0.0.1:9")
    monkeypatch.setenv("STREAMS_SECRET", "s3cret-2")
    told = durstream.inspect(
        stream_path="/orders",
        schema=define_stream_schema(
            {
                "orders": {
                    "schema": {"properties": {"id": {"type": "integer"}}},
                    "type": "order",
                    "primary_key": "id",
                },
                "users": {"schema": lambda value: True, "type": "user", "primary_key": "name"},
            }
        ),
        producer_id="service",
        headers={"x-tenant": "s3cret-3"},
        linger_ms=5,
    )
    assert "s3cret" not in str(told)
    assert told["url"] == "http://127.0.0.1:9/v1/stream/orders" and told["urls"] == [told["url"]]
    assert told["headers"]["x-tenant"] == {"from": "given"}
    assert told["options"]["linger_ms"] == {"value": 5, "from": "given"}
    endpoints = {"value": "http://127.0.0.1:9/", "from": "environment"}
    assert told["options"]["endpoints"] == {**endpoints, "variable": "DURABLE_STREAMS_URL"}
    assert told["collections"]["users"]["validator"] == "external"
    assert [warning["code"] for warning in told["warnings"]] == ["numeric-primary-key"]


def test_inspect_takes_the_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("STREAMS_SECRET", "s3cret")
    arguments = {"url": "http://streams.example/a", "schema": SCHEMA, "producer_id": "service"}
    told = durstream.inspect(**arguments)
    origin = {"from": "environment", "variable": "STREAMS_SECRET"}
    assert told["headers"] == {"authorization": origin} and "s3cret" not in str(told)
    assert [warning["code"] for warning in told["warnings"]] == ["credentials-in-clear"]


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"schema": {}}, "schema"),
        ({"producer_id": 5}, "producer_id"),
        ({"on_error": 5}, "on_error"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"stream_path": "/a"}, "url"),
        ({"lingerms": 5}, "lingerms"),
    ],
)
def test_inspect_refuses_what_opening_refuses(wrong, option):
    arguments = {"url": "http://h/a", "schema": SCHEMA, "producer_id": "service", **wrong}
    for call in (durstream.inspect, create_durable_stream):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            call(**arguments)
        assert raised.value.option == option
