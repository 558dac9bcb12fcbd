"""Appending what a source yields."""

import asyncio
import itertools
import threading
import time

import durstream
import pytest
from conftest import read_bytes, read_json, run_python, wait_until
from durstream import DurableStream, FlushReport

NUMBERS = [{"n": n} for n in range(5000)]


async def awaited(messages):
    for message in messages:
        await asyncio.sleep(0)
        yield message


def blocking(stream, source, **more):
    return stream.append_stream(source, **more)


def in_asyncio(stream, source, **more):
    return asyncio.run(stream.aappend_stream(source, **more))


def in_asyncio_both(stream, source, **more):
    return asyncio.run(stream.aappend_stream(awaited(source), **more))


@pytest.fixture(params=[blocking, in_asyncio, in_asyncio_both])
def append(request):
    """``append_stream`` in each of its ways."""
    return request.param


def test_everything_in_order(json_stream, append):
    assert append(json_stream, iter(NUMBERS)) == FlushReport(delivered=5000)
    assert append(json_stream, ["1", b"2", [3]]) == FlushReport(delivered=3)
    assert append(json_stream, ()) == FlushReport()
    assert read_json(json_stream.url) == [*NUMBERS, 1, 2, [3]]


def test_bytes_of_all_kinds_and_nothing_of_the_empty_ones(text_stream, append):
    source = ["a", "", b"b", b"", bytearray(b"c"), memoryview(b"-d-")[1:-1], memoryview(b"")]
    assert append(text_stream, source).delivered == 4
    assert read_bytes(text_stream.url) == b"abcd"


def test_a_source_that_never_waits_lets_others_run(text_stream):
    taken, others = itertools.count(), []

    def source():
        for _ in range(2000):
            time.sleep(0.001)  # slower than the server: there is always room
            if others:
                return
            next(taken)
            yield "x"

    async def main():
        asyncio.get_running_loop().call_later(0.01, others.append, True)
        await text_stream.aappend_stream(source())

    asyncio.run(main())
    assert next(taken) < 2000


def test_many_travel_in_one_request(gate, append):
    def source():
        yield from ["x"] * 1000
        gate.open.set()

    append(DurableStream.connect(gate.url), source())
    assert sum(map(len, gate.bodies)) == 1000 and len(gate.bodies) < 10


@pytest.mark.parametrize("source", ["text", b"bytes", {"a": 1}, 5, None])
def test_one_message_is_no_source(text_stream, source):
    for append in (blocking, in_asyncio):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            append(text_stream, source)
        assert raised.value.option == "source"


def test_an_async_source_is_for_asyncio(text_stream):
    with pytest.raises(durstream.InvalidArgumentError, match="aappend_stream"):
        text_stream.append_stream(awaited(["x"]))


def test_what_a_failing_source_gave_before_is_delivered(text_stream, append):
    failure = RuntimeError("mine")

    def source():
        yield from ("a", "b", "c")
        raise failure

    with pytest.raises(RuntimeError) as raised:
        append(text_stream, source())
    assert raised.value is failure
    assert read_bytes(text_stream.url) == b"abc"


def test_what_comes_before_a_model_that_fails_is_delivered(json_stream, append):
    failure = KeyError("mine")

    class Model:
        model_fields = {}

        def model_dump(self, **_):
            raise failure

    source = iter([1, 2, Model(), 4])
    with pytest.raises(KeyError) as raised:
        append(json_stream, source)
    assert raised.value is failure and next(source) == 4
    assert durstream.pending_count() == 0
    assert read_json(json_stream.url) == [1, 2]


def test_what_comes_before_a_refused_message_is_delivered(json_stream, append):
    source = iter([1, 2, float("nan"), 4])
    with pytest.raises(durstream.DeliveryError) as raised:
        append(json_stream, source)
    assert isinstance(raised.value.cause, durstream.ValidationError)
    assert (raised.value.delivered, raised.value.undelivered) == (2, 1)
    assert raised.value.url == json_stream.url
    assert read_json(json_stream.url) == [1, 2] and next(source) == 4
    with pytest.raises(durstream.DeliveryError):
        append(json_stream, [3, "", 5])
    assert read_json(json_stream.url) == [1, 2, 3]


def test_an_end_of_the_stream_ends_an_endless_source(text_stream, append):
    def source():
        yield "a"
        DurableStream.connect(text_stream.url, content_type="text/plain").close()
        yield from itertools.repeat("x")

    with pytest.raises(durstream.DeliveryError) as raised:
        append(text_stream, source())
    assert isinstance(raised.value.cause, durstream.StreamClosedError)
    assert raised.value.undelivered > 0


def test_a_source_that_says_nothing_does_not_hide_a_loss(text_stream):
    entered, left = [], []

    async def source():
        yield "a"
        while durstream.pending_count():
            await asyncio.sleep(0)
        await DurableStream.connect(text_stream.url, content_type="text/plain").aclose()
        yield "b"
        entered.append(True)  # unless the loss is known already
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    async def main():
        with pytest.raises(durstream.DeliveryError) as raised:
            await asyncio.wait_for(text_stream.aappend_stream(source()), 20)
        await asyncio.sleep(0)  # nobody is cancelled any more
        return raised.value

    error = asyncio.run(main())
    assert isinstance(error.cause, durstream.StreamClosedError)
    assert (error.delivered, error.undelivered) == (1, 1) and left == entered


def test_a_source_that_says_nothing_can_be_cancelled(text_stream):
    async def source():
        yield "a"
        task.cancel()
        await asyncio.Event().wait()

    async def main():
        nonlocal task
        task = asyncio.ensure_future(text_stream.aappend_stream(source()))
        with pytest.raises(asyncio.CancelledError):
            await task

    task = None
    asyncio.run(main())


def test_a_loss_is_not_hidden_by_a_failing_source(serve, append):
    asked_for_more = threading.Event()

    def missing(asked):
        asked_for_more.wait()
        return 404, {}, b""

    def source():
        yield "x"
        asked_for_more.set()
        raise RuntimeError("mine")

    stream = DurableStream.connect(serve(missing).url)
    with pytest.raises(durstream.DeliveryError) as raised:
        append(stream, source())
    assert isinstance(raised.value.cause, durstream.StreamNotFoundError)
    assert isinstance(raised.value.cause.__cause__, RuntimeError)
    assert (raised.value.delivered, raised.value.undelivered) == (0, 1)


@pytest.mark.parametrize(("message", "most"), [("x", 16_386), ("x" * 2**20, 18)])
def test_a_source_is_not_read_ahead(gate, message, most):
    taken = itertools.count()
    at = 0

    def source():
        nonlocal at
        for at in taken:
            if gate.open.is_set() and at > 2 * most:
                return
            yield message

    async def main():
        task = asyncio.ensure_future(stream.aappend_stream(source()))
        while not gate.arrived.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)  # it would have gone on
        held_at = at
        gate.open.set()
        return held_at, await task

    stream = DurableStream.connect(gate.url)
    held_at, report = asyncio.run(main())
    assert held_at < most
    assert report.delivered == at
    assert sum(map(len, gate.bodies)) == at * len(message)


def test_what_was_taken_before_it_was_cancelled_arrives(gate):
    taken = []

    def source():
        while True:
            taken.append("x" * 2**20)
            yield taken[-1]

    async def main():
        task = asyncio.ensure_future(stream.aappend_stream(source()))
        while not gate.arrived.is_set() or len(taken) < 16:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stream = DurableStream.connect(gate.url)
    asyncio.run(main())
    gate.open.set()
    stream.append("end")
    assert sum(map(len, gate.bodies)) == len(taken) * 2**20 + 3


def test_a_full_process_makes_it_wait(url):
    code = """
import asyncio, sys, durstream
durstream.set_buffer_budget(0)
stream = durstream.DurableStream.create(sys.argv[1], content_type="text/plain")
pages = [str(n % 10) * 400_000 for n in range(20)]
async def main():
    return await stream.aappend_stream(pages)
assert stream.append_stream(pages).delivered == asyncio.run(main()).delivered == 20
"""
    run_python(code, url)
    found = read_bytes(url)
    assert len(found) == 16_000_000
    assert found[::400_000].decode() == "01234567890123456789" * 2


def test_seq_goes_with_the_first_message(text_stream, append):
    assert append(text_stream, iter("abc"), seq="2").delivered == 3
    source = iter("def")
    with pytest.raises(durstream.DeliveryError) as raised:
        append(text_stream, source, seq="1")
    assert isinstance(raised.value.cause, durstream.SequenceConflictError)
    assert list(source) == ["e", "f"] and read_bytes(text_stream.url) == b"abc"


@pytest.mark.parametrize("seq", ["", "a b", 5])
def test_a_wrong_seq_is_an_argument(text_stream, append, seq):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        append(text_stream, ["x"], seq=seq)
    assert raised.value.option == "seq"


def test_a_callback_must_not_wait_for_a_source(nowhere, text_stream):
    raised = []

    def on_error(error):
        try:
            text_stream.append_stream(["x"] * 5000)
        except durstream.DurstreamError as refusal:
            raised.append(refusal)

    stream = DurableStream.connect(nowhere)
    producer = durstream.IdempotentProducer(stream, "feeds", on_error=on_error, delivery_timeout_ms=1)
    producer.append("x")
    wait_until(lambda: raised)
    assert isinstance(raised[0], durstream.NotSupportedError)
    producer.stop()


def test_cancelled_it_takes_no_more(gate):
    source = itertools.repeat("x" * 2**20)
    stream = DurableStream.connect(gate.url)

    async def main():
        task = asyncio.ensure_future(stream.aappend_stream(source))
        while not gate.arrived.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        return cancelled

    asyncio.run(main())
    gate.open.set()
    wait_until(lambda: durstream.pending_count() == 0)
    assert sum(map(len, gate.bodies)) % 2**20 == 0


def test_an_interrupt_is_not_held_up(gate):
    def source():
        yield "x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DurableStream.connect(gate.url).append_stream(source())
    gate.open.set()
    wait_until(lambda: gate.bodies == [b"x"])
