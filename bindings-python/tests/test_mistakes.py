"""What people get wrong when they write data: harmless here, or a clear error."""

import asyncio
import json

import durstream
import pytest
from conftest import read_bytes, read_json, run_python, wait_until
from durstream import DurableStream, IdempotentProducer, StaleEpochError

EVENTS = [{"n": n} for n in range(40)]

#: Half of them let the server store what the client is not told of.
ROUGH = [
    {"fault": "reset-after", "method": "POST", "skip": 2, "times": 3},
    {"fault": "answer", "method": "POST", "status": 503, "forward": True, "times": 3},
    {"fault": "cut-answer", "method": "POST", "skip": 4, "times": 2},
    {"fault": "reset-before", "method": "POST", "times": 3},
    {"fault": "answer", "method": "POST", "status": 503, "headers": {"Retry-After": "0"}},
    {"fault": "reset-within", "method": "POST", "bytes": 3, "times": 2},
    {"fault": "answer", "method": "POST", "status": 500, "forward": True, "times": 2},
    {"fault": "answer", "method": "POST", "status": 429, "headers": {"Retry-After": "0"}},
]


@pytest.fixture
def behind(faults, path):
    """A handle on the stream through the fault proxy."""

    def connect(content_type="application/json", **options):
        pauses = {"retry_initial_delay_ms": 1, "retry_max_delay_ms": 5}
        url = f"{faults.base}/v1/stream{path}"
        return DurableStream(url, content_type=content_type, **{**pauses, **options})

    return connect


# --- Plain appends for sustained writes --------------------------------------------------------


def each(stream):
    for event in EVENTS:
        stream.append(json.dumps(event))


def each_in_asyncio(stream):
    async def main():
        for event in EVENTS:
            await stream.aappend(json.dumps(event))

    asyncio.run(main())


def all_at_once(stream):
    async def main():
        await asyncio.gather(*(stream.aappend(event) for event in EVENTS))

    asyncio.run(main())


def from_an_iterator(stream):
    stream.append_stream(EVENTS[:20])
    stream.append_stream(iter(EVENTS[20:]))


@pytest.mark.parametrize("write", [each, each_in_asyncio, all_at_once, from_an_iterator])
def test_plain_appends_are_not_doubled(json_stream, behind, faults, write):
    faults.add(*ROUGH)
    write(behind())
    met = [name for names in faults.posts() for name in names]
    assert read_json(json_stream.url) == EVENTS
    if write in (each, each_in_asyncio):
        assert len(met) == 17 and set(met) == {rule["fault"] for rule in ROUGH}
    else:
        assert met


def test_without_an_identity_what_is_unclear_is_told(text_stream, behind, faults):
    stream = behind("text/plain", idempotent=False)
    for fault in (
        {"fault": "reset-after"},
        {"fault": "answer", "status": 500, "forward": True},
        {"fault": "answer", "status": 503, "forward": True},
    ):
        faults.add({"method": "POST", **fault})
        with pytest.raises(durstream.TransportError) as raised:
            stream.append("x")
        assert not raised.value.definite
    assert read_bytes(text_stream.url) == b"xxx"
    retry = {"Retry-After": "0"}
    faults.add({"fault": "answer", "status": 503, "headers": retry, "method": "POST", "times": 2})
    faults.add({"fault": "answer", "status": 429, "headers": retry, "method": "POST", "times": 2})
    assert stream.append("y").attempts == 5
    assert stream.append_stream(iter("zzz")).delivered == 3
    assert read_bytes(text_stream.url) == b"xxxyzzz"


# --- No flush before the end -------------------------------------------------------------------

WITHOUT_FLUSH = """
import json, sys, durstream
handle = durstream.DurableStream.create(sys.argv[1], content_type="application/json")
producer = durstream.IdempotentProducer(handle, "my-service")
for n in range(500):
    producer.append(json.dumps({"n": n}))
"""


def test_an_end_without_flush_loses_nothing(url):
    run_python(WITHOUT_FLUSH, url)
    assert read_json(url) == [{"n": n} for n in range(500)]


def test_an_end_without_flush_or_server_says_what_is_lost(nowhere):
    code = WITHOUT_FLUSH.replace(".create", ".connect")
    _, err = run_python("import logging; logging.basicConfig()\n" + code, nowhere)
    assert "500 writes" in err, err


# --- A wait for each append --------------------------------------------------------------------


def test_awaiting_each_append_is_harmless(json_stream):
    async def main():
        async with IdempotentProducer(json_stream, "my-service") as producer:
            for event in EVENTS:
                assert (await producer.append(json.dumps(event))).delivered

    asyncio.run(main())
    assert read_json(json_stream.url) == EVENTS


# --- Objects in place of strings ---------------------------------------------------------------


def test_objects_are_serialised(json_stream):
    with IdempotentProducer(json_stream, "my-service") as producer:
        producer.append({"event": "user.created"})
    assert read_json(json_stream.url) == [{"event": "user.created"}]


def test_objects_on_a_stream_of_text_are_a_clear_error(text_stream):
    with IdempotentProducer(text_stream, "my-service") as producer:
        with pytest.raises(durstream.ValidationError, match="str or bytes"):
            producer.append({"event": "user.created"})
    assert producer.stats()["refused_invalid"] == 1


# --- Another worker takes over, and nobody looks -----------------------------------------------


def take_over(stream):
    with IdempotentProducer(stream, "worker") as other:
        other.append('"other"')


def appended_until_told(producer):
    """Appends until ``on_error`` was told: the receipts are rejected ones until then."""
    while not producer.append('"third"').accepted:
        pass


@pytest.mark.parametrize("listens", [False, True])
def test_ignoring_a_takeover_is_an_error_at_the_next_call(json_stream, listens):
    on_error = (lambda error: None) if listens else None
    producer = IdempotentProducer(json_stream, "worker", on_error=on_error)
    producer.append('"first"').wait()
    take_over(json_stream)
    receipt = producer.append('"second"')
    with pytest.raises(durstream.DeliveryError) as raised:
        producer.flush()
    assert isinstance(raised.value.cause, StaleEpochError)
    assert receipt.outcome.reason == "fenced"
    for call in (lambda: appended_until_told(producer), lambda: producer.close()):
        with pytest.raises(durstream.DurstreamError) as raised:
            call()
        error = raised.value
        assert isinstance(error, StaleEpochError) or isinstance(error.cause, StaleEpochError)
    producer.stop()
    assert read_json(json_stream.url) == ["first", "other"]


def test_a_loop_that_ignores_a_takeover_ends(json_stream):
    producer = IdempotentProducer(json_stream, "worker", on_error=lambda error: None)
    producer.append('"first"').wait()
    take_over(json_stream)
    with pytest.raises(StaleEpochError):
        while True:
            producer.append('"nobody"')
    producer.stop()
    assert "nobody" not in read_json(json_stream.url)


# --- Epochs by hand ----------------------------------------------------------------------------


def test_a_stale_epoch_by_hand_is_a_clear_error(json_stream):
    with IdempotentProducer(json_stream, "worker", epoch=2) as producer:
        producer.append("1")
        producer.flush()
        assert producer.epoch == 2
    failed = []
    older = IdempotentProducer(json_stream, "worker", epoch=1, on_error=failed.append)
    receipts = older.append_many(["2", "3"])
    with pytest.raises(durstream.DeliveryError) as raised:
        older.flush()
    assert isinstance(raised.value.cause, StaleEpochError)
    assert (raised.value.cause.current_epoch, raised.value.undelivered) == (2, 2)
    assert [receipt.wait().reason for receipt in receipts] == ["fenced", "fenced"]
    wait_until(lambda: len(failed) == 2)
    assert [error.failure.payload for error in failed] == [b"2", b"3"]  # nothing is lost silently
    older.stop()
    assert read_json(json_stream.url) == [1]


def test_an_epoch_by_hand_is_not_needed(json_stream):
    with IdempotentProducer(json_stream, "worker", epoch=2) as producer:
        producer.append("1")
    with IdempotentProducer(json_stream, "worker") as producer:
        producer.append("2")
    assert read_json(json_stream.url) == [1, 2] and producer.epoch > 2
