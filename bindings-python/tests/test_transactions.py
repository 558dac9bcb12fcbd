"""Transactions and groups: whole in the stream, or not at all."""

import threading

import durstream
import pytest
from conftest import SHIPMENTS, read_json
from conftest import each_base as base  # noqa: F401  (with the server, and with a recorder)
from durstream import DurableStream, IdempotentProducer, create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(
    shipments={"schema": {"properties": {"n": {"type": "integer"}}}, "type": "shipment",
               "primary_key": "id"},
    orders={"schema": lambda value: value.get("n") != "x", "type": "order", "primary_key": "id"},
)


@pytest.fixture
def producer(path):
    producer = create_durable_stream(
        stream_path=path, schema=SCHEMA, producer_id="service", max_batch_items=5
    )
    yield producer
    producer.stop()


def found(url):
    return [(event["key"], event["headers"].get("txid")) for event in read_json(url)]


def test_a_transaction_is_one_piece(producer, url):
    with producer.transaction("tx-1") as changes:
        assert changes.txid == "tx-1"
        assert changes.insert("shipments", {"id": "a"}) is None
        producer.upsert("shipments", {"id": "between"})
        changes.update("orders", {"id": "b"}, old_value={"id": "b"})
        changes.upsert_many("orders", [{"id": "c"}, {"id": "d"}])
        changes.delete("orders", {"id": "e"})
        assert changes.receipt is None
    assert changes.receipt.id == 6 and changes.receipt.wait().delivered
    expected = [("between", None)] + [(key, "tx-1") for key in "abcde"]
    assert found(url) == expected
    with pytest.raises(durstream.InvalidArgumentError, match="has ended"):
        changes.upsert("orders", {"id": "f"})


def test_what_raises_is_rolled_back(producer, url):
    with pytest.raises(ZeroDivisionError), producer.transaction() as changes:
        changes.upsert("orders", {"id": "a"})
        1 / 0
    with producer.transaction() as changes:
        changes.upsert("orders", {"id": "b"})
        changes.rollback()
    with producer.transaction() as empty:
        assert len(empty.txid) == 36
    assert empty.receipt is None
    by_hand = producer.transaction()
    by_hand.upsert("orders", {"id": "c"})
    del by_hand
    changes = producer.transaction()
    changes.upsert("orders", {"id": "d"})
    assert changes.commit().id == 1
    producer.flush()
    assert [key for key, _ in found(url)] == ["d"]


def test_a_commit_raises_everything_that_was_refused(producer):
    with pytest.raises(durstream.ValidationError) as raised:
        with producer.transaction() as changes:
            changes.upsert("shipments", {"id": "a"})
            changes.upsert("shipments", {"id": "b", "n": "x"})
            changes.upsert("orders", {"id": "c", "n": "x"})
            changes.upsert("orders", {})
            changes.upsert("nothing", {"id": "d"})
            changes.upsert("orders", {"id": "e"}, txid="another")
            changes.upsert("orders", {"id": {1, 2}})
            changes.delete("orders", [])
    said = [issue.message for issue in raised.value.issues]
    for message, text in zip(
        said,
        ["shipments `b`: ", "orders `c`: ", "`id` is missing", "nothing", "`txid`", "true nor false", "the key"],
    ):
        assert text in message
    assert len(said) == 7
    assert producer.stats()["accepted"] == 0


def test_a_transaction_is_too_large_as_a_whole(producer):
    with pytest.raises(durstream.TooLargeError):
        with producer.transaction() as changes:
            changes.upsert_many("orders", [{"id": n} for n in range(6)])
    assert producer.stats()["accepted"] == 0


def test_a_transaction_is_of_one_thread_and_not_nested(producer):
    errors = []

    def elsewhere():
        with producer.transaction():
            try:
                changes.upsert("orders", {"id": "a"})
            except durstream.InvalidArgumentError as error:
                errors.append(error)

    with producer.transaction() as changes:
        with pytest.raises(durstream.InvalidArgumentError, match="is open on this thread"):
            producer.transaction()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert [error.option for error in errors] == ["transaction"]
    for wrong in ["", 5]:
        with pytest.raises(durstream.InvalidArgumentError, match="`txid`"):
            producer.transaction(wrong)


def test_a_transaction_waits_for_room(path, url):
    options = {"max_buffer_items": 3, "linger_ms": 60_000, "max_block_ms": 30_000}
    with create_durable_stream(
        stream_path=path, schema=SCHEMA, producer_id="service", **options
    ) as producer:
        for number in range(3):
            with producer.transaction() as changes:
                changes.upsert_many("orders", [{"id": 2 * number}, {"id": 2 * number + 1}])
    assert [key for key, _ in found(url)] == [str(n) for n in range(6)]


def test_a_commit_behind_the_end_raises(producer):
    changes = producer.transaction()
    changes.upsert("orders", {"id": "a"})
    producer.close()
    with pytest.raises(durstream.ProducerClosedError):
        changes.commit()


def test_a_group_of_messages_is_one_piece(json_stream, url):
    with IdempotentProducer(json_stream, "p", max_batch_items=4) as producer:
        assert producer.append_group([{"n": 1}, "[2]", b"3"]).id == 3
        assert producer.append_group(iter(())) is None
        with pytest.raises(durstream.ValidationError):
            producer.append_group(["4", "no"])
        with pytest.raises(durstream.ValidationError):
            producer.append_group(["4", {1, 2}])
        with pytest.raises(durstream.TooLargeError):
            producer.append_group(range(5))
        with pytest.raises(durstream.InvalidArgumentError):
            producer.append_group(5)
        assert producer.stats()["accepted"] == 3
        with pytest.raises(durstream.DeliveryError):
            producer.flush()
    assert read_json(url) == [{"n": 1}, [2], 3]
