"""Streams by their URL."""

import asyncio

import durstream
import pytest
from conftest import is_closed, read_bytes, read_json
from durstream import DurableStream


def test_create_append_close(url):
    stream = durstream.DurableStream.create(url, content_type="application/json")
    assert stream.append({"n": 1}).delivered
    assert stream.append('{"n":2}').delivered
    assert stream.append_json("three").delivered
    result = stream.close({"n": 4})
    assert result.final_offset
    assert stream.close() == result
    assert read_json(url) == [{"n": 1}, {"n": 2}, "three", {"n": 4}]
    assert is_closed(url)
    with pytest.raises(durstream.DurstreamError):
        stream.append({"n": 5})


def test_create_with_content(url):
    durstream.DurableStream.create(url, content_type="text/plain", body="first ")
    stream = durstream.DurableStream.connect(url, content_type="text/plain")
    stream.append(b"second ")
    stream.append(bytearray(b"third "))
    stream.append(memoryview(b"-fourth-")[1:-1])
    assert read_bytes(url) == b"first second third fourth"


def test_create_twice_and_otherwise(url):
    for _ in range(2):
        durstream.DurableStream.create(url, content_type="text/plain")
    with pytest.raises(durstream.StreamExistsError) as raised:
        durstream.DurableStream.create(url, content_type="application/json")
    assert raised.value.status == 409 and raised.value.url == url and raised.value.definite


def test_a_handle_without_a_type_asks_for_it_once_something_is_appended(url):
    durstream.DurableStream.create(url, content_type="application/json")
    stream = durstream.DurableStream.connect(url)
    assert stream.content_type is None
    with durstream.IdempotentProducer(stream, "svc") as producer:
        producer.append({"n": 1})
        producer.append("[2]")
        with pytest.raises(durstream.ValidationError):
            producer.append("")
        report = producer.flush()
    assert (report.delivered, report.refused) == (2, 1)
    assert stream.content_type == "application/json"
    assert stream.append({"n": 3}).offset is not None
    assert read_json(url) == [{"n": 1}, [2], {"n": 3}]


def test_values_need_a_json_stream(text_stream):
    for value in ({"a": 1}, 5, None, [1]):
        with pytest.raises(durstream.ValidationError, match="str or bytes") as raised:
            text_stream.append(value)
        assert raised.value.reason == "serialization-failed"


def test_a_stream_that_is_not_there(url):
    stream = durstream.DurableStream.connect(url, content_type="text/plain")
    with pytest.raises(durstream.StreamNotFoundError) as raised:
        stream.append("x")
    assert raised.value.status == 404


def test_no_server(nowhere):
    with pytest.raises(durstream.TransportError) as raised:
        durstream.DurableStream.create(nowhere, max_retries=1, retry_initial_delay_ms=1)
    assert raised.value.url == nowhere and nowhere in str(raised.value)
    assert raised.value.retryable


def test_asyncio(url):
    async def main():
        stream = await durstream.DurableStream.acreate(url, content_type="application/json")
        outcomes = await asyncio.gather(*(stream.aappend({"n": n}) for n in range(100)))
        assert all(outcome.delivered for outcome in outcomes)
        return await stream.aclose()

    assert asyncio.run(main()).final_offset
    assert read_json(url) == [{"n": n} for n in range(100)]


def test_a_wait_for_creation_runs_out(gate):
    with pytest.raises(durstream.TimeoutError):
        durstream.DurableStream.connect(gate.url).append("x", timeout=0.01)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", pytest.param(10**400, id="huge")])
def test_a_wrong_timeout_is_found_before_anything_begins(url, text_stream, timeout):
    producer = durstream.IdempotentProducer(text_stream, "timeouts")
    schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "id"})
    state = durstream.create_durable_stream(url=url + "-a", schema=schema, producer_id="timeouts")
    for call in (
        lambda: DurableStream.create(url + "-b", timeout=timeout),
        lambda: text_stream.append("x", timeout),
        lambda: text_stream.append_json("x", timeout),
        lambda: text_stream.head(timeout),
        lambda: text_stream.close("x", timeout),
        lambda: text_stream.delete(timeout),
        lambda: producer.flush(timeout),
        lambda: producer.wait_ready(timeout),
        lambda: producer.restart(timeout),
        lambda: producer.close("x", timeout),
        lambda: producer.detach(timeout),
        lambda: state.detach(timeout),
        lambda: state.close(timeout=timeout),
        lambda: state.close(end_stream=True, timeout=timeout),
    ):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            call()
        assert raised.value.option == "timeout"
    assert producer.append("still open").wait().delivered
    assert state.upsert("a", {"id": "1"}).wait().delivered
    assert not DurableStream.connect(url + "-b").head().exists
    assert read_bytes(text_stream.url) == b"still open"
    producer.detach()
    state.close()


def test_what_cannot_be_serialised_names_the_stream(json_stream):
    with durstream.IdempotentProducer(json_stream, "names") as producer:
        for call in (
            json_stream.append,
            json_stream.append_json,
            json_stream.close,
            producer.append,
            producer.append_json,
            producer.close,
        ):
            with pytest.raises(durstream.ValidationError) as raised:
                call(float("nan"))
            error = raised.value
            assert (error.url, error.reason) == (json_stream.url, "serialization-failed")
        assert producer.stats()["refused_invalid"] == 3
    with pytest.raises(durstream.ValidationError) as raised:
        DurableStream.create(json_stream.url + "-b", content_type="application/json", body={1})
    assert raised.value.url == json_stream.url + "-b"


def test_memory_that_is_gone_is_refused(text_stream):
    gone = memoryview(b"abc")
    gone.release()
    with durstream.IdempotentProducer(text_stream, "gone") as producer:
        for call in (text_stream.append, text_stream.close, producer.append, producer.close):
            with pytest.raises(durstream.ValidationError, match="released") as raised:
                call(gone)
            assert raised.value.reason == "serialization-failed"
        assert producer.try_append(gone).outcome.reason == "serialization-failed"
    with pytest.raises(durstream.DeliveryError) as raised:
        text_stream.append_stream([b"a", gone])
    assert isinstance(raised.value.cause, durstream.ValidationError)
    assert read_bytes(text_stream.url) == b"a"
