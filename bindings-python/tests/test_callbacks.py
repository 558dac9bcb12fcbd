"""``on_delivery`` and ``on_state``: what they are told, and when."""

import gc
import threading

import pytest

import durstream
from conftest import wait_until
from durstream import IdempotentProducer, create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(items={"schema": True, "type": "item", "primary_key": "id"})


def test_each_delivered_write_is_told_once_a_batch_at_a_time(json_stream):
    told, threads = [], set()

    def on_delivery(delivery):
        threads.add(threading.current_thread().name)
        told.append(delivery)

    with IdempotentProducer(json_stream, "told", on_delivery=on_delivery) as producer:
        for n in range(1000):
            producer.append_json(n)
        producer.flush()
        wait_until(lambda: sum(delivery.count for delivery in told) == 1000)
        batches = producer.stats()["batches"]
    ids = [id for d in told for id in range(d.first_id, d.first_id + d.count)]
    assert ids == list(range(1, 1001)) and len(told) == batches < 1000
    assert all(isinstance(d, durstream.Delivery) for d in told)
    assert all(d.outcome.delivered and d.outcome.offset for d in told)
    assert threading.current_thread().name not in threads


def test_a_handle_that_is_gone_is_told_all_the_same(json_stream):
    told = []

    def write():
        producer = IdempotentProducer(json_stream, "gone", on_delivery=told.append)
        producer.append_json(1)
        producer.flush()

    write()
    gc.collect()
    wait_until(lambda: len(told) == 1)


def test_each_change_of_the_state_is_told_in_order_and_why(nowhere):
    told = []
    producer = create_durable_stream(
        url=nowhere, schema=SCHEMA, producer_id="states", on_state=told.append
    )
    producer.upsert("items", {"id": "1"})
    wait_until(lambda: told)
    producer.stop()
    wait_until(lambda: told[-1].to == "stopped")
    assert [(change.from_, change.to) for change in told] == [
        ("connecting", "backoff"),
        ("backoff", "stopping"),
        ("stopping", "stopped"),
    ]
    assert isinstance(told[0].error, durstream.TransportError)
    assert told[1].error is None and isinstance(told[1], durstream.StateChange)


def test_a_callback_that_raises_is_reported_and_takes_nothing(json_stream, monkeypatch):
    raised, told = [], []
    monkeypatch.setattr("sys.unraisablehook", raised.append)

    def on_state(change):
        told.append(change.to)
        raise RuntimeError("mine")

    with IdempotentProducer(json_stream, "raising", on_state=on_state) as producer:
        producer.append_json(1)
        producer.flush()
        wait_until(lambda: told == ["ready"])
        wait_until(lambda: [str(report.exc_value) for report in raised] == ["mine"])


def test_inside_a_callback_nothing_waits(json_stream):
    errors = []
    producer = None

    def on_state(change):
        if change.to == "ready":
            with pytest.raises(durstream.NotSupportedError) as raised:
                producer.flush()
            errors.append(raised.value.reason)

    producer = IdempotentProducer(json_stream, "waiting", on_state=on_state)
    with producer:
        producer.append_json(1)
        wait_until(lambda: errors == ["would-deadlock"])


@pytest.mark.parametrize("name", ["on_delivery", "on_state"])
def test_what_is_no_plain_function_is_refused(json_stream, name):
    async def later(_):
        pass

    for wrong in (1, later):
        with pytest.raises(durstream.InvalidArgumentError) as refused:
            IdempotentProducer(json_stream, "wrong", **{name: wrong})
        assert refused.value.option == name
