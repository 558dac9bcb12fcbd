"""Streams as handles: look, read, delete, sequence numbers, query parameters."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import durstream
import pytest
from conftest import (
    is_closed,
    page,
    read_bytes,
    run_python,
    start_python,
    stored,
    wait_until,
)
from durstream import DurableStream


def create(url, content_type="text/plain", **options):
    return DurableStream.create(url, content_type=content_type, **options)


def text_of(reader):
    return "".join(chunk.text() for chunk in reader)


# --- head and delete ---------------------------------------------------------------------------


def test_head(url):
    stream = create(url, ttl_seconds=3600, body="abc")
    before = stream.head()
    assert before.exists and before.content_type == "text/plain" and not before.stream_closed
    assert before.ttl_seconds == 3600 and before.expires_at is None
    outcome = stream.append("def")
    stream.close()
    after = asyncio.run(stream.ahead())
    assert after.stream_closed and after.offset == outcome.offset != before.offset


def test_a_head_of_nothing_is_an_answer(url):
    stream = DurableStream.connect(url)
    assert stream.head() == asyncio.run(stream.ahead()) == durstream.Metadata(exists=False)


@pytest.mark.parametrize(
    "call",
    [
        lambda stream: stream.delete(),
        lambda stream: asyncio.run(stream.adelete()),
        lambda stream: stream.read().next_chunk(),
        lambda stream: asyncio.run(stream.read().anext_chunk()),
        lambda stream: stream.append("x", seq="1"),
        lambda stream: asyncio.run(stream.aappend("x", seq="1")),
    ],
)
def test_what_is_not_there_is_said_by_name(url, path, call):
    with pytest.raises(durstream.StreamNotFoundError) as raised:
        call(DurableStream.connect(url))
    assert raised.value.status == 404 and path in str(raised.value)


def test_a_deleted_stream_is_gone_and_can_be_made_again(url):
    stream = create(url, body="old")
    assert stream.delete() is None
    with pytest.raises(durstream.StreamNotFoundError):
        stream.delete()
    assert text_of(create(url, body="new").read()) == "new"
    assert asyncio.run(stream.adelete()) is None
    assert not stream.head().exists


# --- Creation ----------------------------------------------------------------------------------


def test_a_stream_can_be_born_closed(url):
    stream = create(url, closed=True, body="all there is")
    assert is_closed(url)
    reader = stream.read()
    (chunk,) = reader
    assert chunk.text() == "all there is" and chunk.stream_closed and chunk.up_to_date
    assert reader.stream_closed and reader.up_to_date
    with pytest.raises(durstream.StreamClosedError):
        stream.append("more")


def test_a_fork_begins_with_its_sources_content(url, path):
    source = create(url, body="ab")
    after = source.head().offset
    source.append("c")
    fork = DurableStream.create(url + "-fork", fork_from=f"/v1/stream{path}", fork_offset=after)
    assert fork.content_type == "text/plain"
    fork.append("d")
    assert (text_of(fork.read()), text_of(source.read())) == ("abd", "abc")


# --- Sequence numbers --------------------------------------------------------------------------


def test_sequence_numbers_have_to_rise(url):
    stream = create(url)
    assert stream.append("a", seq="001").delivered
    assert asyncio.run(stream.aappend("b", seq="003")).delivered
    for stale in ("003", "002"):
        with pytest.raises(durstream.SequenceConflictError) as raised:
            stream.append("no", seq=stale)
        assert raised.value.status == 409 and raised.value.definite
    stream.append("c")
    assert read_bytes(url) == b"abc"


def test_sequence_numbers_of_json(json_stream):
    json_stream.append_json("a", seq="1")
    with pytest.raises(durstream.SequenceConflictError):
        json_stream.append_json("b", seq="1")
    (chunk,) = json_stream.read()
    assert chunk.json() == ["a"]


@pytest.mark.parametrize("seq", ["", "a b", "\u00fc", "\ud800", "x" * 257, 5, b"1"])
def test_wrong_sequence_numbers(text_stream, seq):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        text_stream.append("x", seq=seq)
    assert raised.value.option == "seq"


# --- Reading to the present end ----------------------------------------------------------------


def test_read_goes_on_where_it_left_off(url):
    stream = create(url)
    reader = stream.read()
    assert reader.offset is None and not reader.up_to_date
    assert list(reader) == [] and reader.up_to_date and not reader.stream_closed
    stream.append("first ")
    (first,) = reader
    assert (first.data, first.text()) == (b"first ", "first ")
    assert first.up_to_date and not first.stream_closed
    assert first.offset == reader.offset == stream.head().offset
    stream.append("second")
    later = stream.read(first.offset)
    assert later.offset == first.offset
    assert later.next_chunk().text() == "second" and later.next_chunk() is None
    stream.close(" third")
    assert text_of(reader) == "second third" and reader.stream_closed
    assert text_of(stream.read()) == "first second third"


def test_following_is_not_there_yet(text_stream):
    for live, word in ((True, "auto"), ("auto", "auto"), ("long-poll", "long-poll"), ("sse", "sse")):
        with pytest.raises(durstream.NotSupportedError, match=f"`live`: `{word}`") as raised:
            text_stream.read(live=live)
        assert raised.value.url == text_stream.url
    for live in ("later", "\u00fc", "\ud800", "", 1, None):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            text_stream.read(live=live)
        assert raised.value.option == "live"
    assert text_of(text_stream.read(live=False)) == text_of(text_stream.read(live="off")) == ""


def test_read_for_asyncio(url):
    async def main():
        stream = await DurableStream.acreate(url, content_type="text/plain", body="first ")
        reader = stream.read()
        assert [chunk.text() async for chunk in reader] == ["first "]
        await stream.aappend("second")
        assert (await reader.anext_chunk()).text() == "second"
        assert await reader.anext_chunk() is None
        assert [chunk.text() async for chunk in stream.read()] == ["first second"]
        assert reader.up_to_date and not reader.stream_closed

    asyncio.run(main())


def test_many_pages(serve):
    pages = [f"{n} ".encode() for n in range(100)]
    server = serve(lambda asked: page(asked, *pages))
    stream = DurableStream.connect(server.url)
    chunks = list(stream.read())
    assert [chunk.data for chunk in chunks] == pages
    assert [chunk.up_to_date for chunk in chunks] == [False] * 99 + [True]

    async def main():
        return [chunk.data async for chunk in stream.read(chunks[49].offset)]

    assert asyncio.run(main()) == pages[50:]


def test_threads_take_turns(serve):
    pages = [f"{n} ".encode() for n in range(100)]
    reader = DurableStream.connect(serve(lambda asked: page(asked, *pages)).url).read()
    found = []

    def work():
        for chunk in reader:
            found.append(chunk.data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(pages)


def test_json_is_exact(json_stream):
    values = [
        2**53 + 1,
        -(2**70),
        {"n": 12345678901234567890, "t": "ü\u2028", "l": [1.5, None, True]},
        [1, [2]],
        "text",
    ]
    for value in values:
        json_stream.append_json(value)
    found = [value for chunk in json_stream.read() for value in chunk.json()]
    assert found == values and isinstance(found[1], int)


def test_json_lines(url):
    stream = create(url, "application/x-ndjson", body='{"n": 12345678901234567890}\n\n[2]\n')
    (chunk,) = stream.read()
    assert chunk.json() == [{"n": 12345678901234567890}, [2]]
    assert chunk.text().endswith("[2]\n")


def test_bytes_are_not_taken_for_something_else(url):
    stream = create(url, "application/octet-stream", body=b"\xff[1]")
    (chunk,) = stream.read()
    assert chunk.data == b"\xff[1]" and chunk.data is chunk.data
    assert "4 bytes" in repr(chunk)
    with pytest.raises(durstream.NotSupportedError):
        chunk.json()
    with pytest.raises(UnicodeDecodeError):
        chunk.text()


# --- What goes wrong ---------------------------------------------------------------------------


def test_an_offset_that_is_none(text_stream):
    reader = text_stream.read("no offset")
    for _ in range(2):
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            next(reader)
        assert raised.value.option == "offset" and raised.value.status == 400


@pytest.mark.parametrize("offset", ["", "a\r\nb", "\ud800", 5, b"-1"])
def test_an_offset_that_cannot_be_sent(text_stream, offset):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        text_stream.read(offset)
    assert raised.value.option == "offset"


def test_an_answer_that_is_cut_is_asked_for_again(serve):
    def answer(asked):
        status, headers, body = page(asked, b"first ", b"second")
        if len(server.asked) < 3:
            headers, body = {**headers, "Content-Length": str(len(body))}, body[:3]
        return status, headers, body

    server = serve(answer)
    stream = DurableStream.connect(server.url, retry_initial_delay_ms=1)
    assert text_of(stream.read()) == "first second"
    assert [asked.offset for asked in server.asked] == ["-1", "-1", "-1", "1"]


def test_a_read_gives_up_and_may_be_tried_again(serve):
    fails = [True]

    def answer(asked):
        if asked.offset == "1" and fails[0]:
            return 500, {}, b""
        return page(asked, b"first ", b"second")

    server = serve(answer)
    stream = DurableStream.connect(server.url, max_retries=1, retry_initial_delay_ms=1)
    reader = stream.read()
    assert next(reader).text() == "first "
    with pytest.raises(durstream.TransportError) as raised:
        next(reader)
    assert raised.value.status == 500 and reader.offset == "1"
    fails[0] = False
    assert text_of(reader) == "second"


@pytest.mark.parametrize("broken", [b'[1,{"a":', b"[1] 2", b"{}", b"[\xff]"])
def test_broken_json_is_no_chunk(serve, broken):
    reader = DurableStream.connect(
        serve(lambda asked: page(asked, b"[0]", broken, content_type="application/json")).url
    ).read()
    assert next(reader).json() == [0]
    for ask in (lambda: next(reader), lambda: asyncio.run(reader.anext_chunk())):
        with pytest.raises(durstream.ProtocolError):
            ask()
    assert reader.offset == "1"


def test_messages_are_whole_wherever_pages_end(serve):
    stored = '12\n{"a": "é\\""}\n345\n'.encode()

    def answer(asked):
        at = 0 if asked.offset == "-1" else int(asked.offset)
        end = min(at + 12, len(stored))
        headers = {"Content-Type": "application/x-ndjson", "Stream-Next-Offset": f"{end:020}"}
        if end == len(stored):
            headers["Stream-Up-To-Date"] = "true"
        return 200, headers, stored[at:end]

    stream = DurableStream.connect(serve(answer).url, content_type="application/json")
    chunks = list(stream.read())
    assert [value for chunk in chunks for value in chunk.json()] == [12, {"a": 'é"'}, 345]
    rest = [value for chunk in stream.read(chunks[0].offset) for value in chunk.json()]
    assert rest == [{"a": 'é"'}, 345]


def test_a_dropped_offset_is_no_deleted_stream(serve):
    def gone(head):
        def answer(asked):
            return (head if asked.method == "HEAD" else 410), {"Stream-Next-Offset": "7"}, b""

        return DurableStream.connect(serve(answer).url).read("3")

    with pytest.raises(durstream.StreamGoneError, match="no longer keeps") as raised:
        gone(200).next_chunk()
    assert (raised.value.reason, raised.value.earliest_offset) == ("offset-gone", "7")
    with pytest.raises(durstream.StreamGoneError, match="deleted") as raised:
        gone(404).next_chunk()
    assert (raised.value.reason, raised.value.earliest_offset) == ("gone", None)


def test_an_answer_without_an_offset_is_no_stream(serve):
    stream = DurableStream.connect(serve(lambda asked: (200, {}, b"a page")).url)
    for ask in (stream.head, stream.read().next_chunk):
        with pytest.raises(durstream.ProtocolError):
            ask()


def test_an_answer_beyond_the_limit(url):
    create(url, body="0123456789")
    with pytest.raises(durstream.TooLargeError):
        DurableStream.connect(url, max_read_bytes=9).read().next_chunk()
    assert DurableStream.connect(url, max_read_bytes=10).read().next_chunk().text() == "0123456789"


# --- Waits that are given up -------------------------------------------------------------------


class Held:
    """A stream of two pages; the first is held back until it is let go."""

    def __init__(self, serve):
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.url = serve(self.answer).url
        self.reader = DurableStream.connect(self.url).read()

    def answer(self, asked):
        if asked.offset == "-1":
            self.asked.set()
            self.let_go.wait()
        return page(asked, b"first ", b"second")


@pytest.fixture
def held(serve):
    held = Held(serve)
    yield held
    held.let_go.set()


def test_a_wait_that_ran_out_loses_no_chunk(held):
    for _ in range(3):
        with pytest.raises(durstream.TimeoutError):
            held.reader.next_chunk(timeout=0.01)
    held.let_go.set()
    assert text_of(held.reader) == "first second"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize("first", ["signal", "answer"])
def test_an_interrupted_wait_loses_no_chunk(held, first):
    def interrupt():
        held.asked.wait()
        if first == "answer":
            held.let_go.set()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    chunks = []
    with pytest.raises(KeyboardInterrupt):
        for chunk in held.reader:
            chunks.append(chunk)
        while True:
            pass
    held.let_go.set()
    chunks += held.reader
    assert [chunk.text() for chunk in chunks] == ["first ", "second"]


def test_a_cancelled_wait_loses_no_chunk(held):
    async def main():
        waiting = asyncio.ensure_future(held.reader.anext_chunk())
        while not held.asked.is_set():
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await waiting
        again = asyncio.ensure_future(held.reader.anext_chunk())
        await asyncio.sleep(0)
        held.let_go.set()
        chunks = [await again] + [chunk async for chunk in held.reader]
        assert [chunk.text() for chunk in chunks] == ["first ", "second"]
        return cancelled

    asyncio.run(main())


def test_a_wait_cancelled_when_its_chunk_is_there_loses_none(held):
    async def main():
        waiting = asyncio.ensure_future(held.reader.anext_chunk())
        while not held.asked.is_set():
            await asyncio.sleep(0)
        held.let_go.set()
        wait_until(lambda: held.reader.offset == "1")  # it is there, and the loop does not know
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await waiting
        assert held.reader.offset is None
        assert [chunk.text() async for chunk in held.reader] == ["first ", "second"]
        return cancelled

    asyncio.run(main())


def test_a_wait_given_up_in_asyncio_goes_on_in_a_thread(held):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(held.reader.anext_chunk(), 0.01)

    asyncio.run(main())
    held.let_go.set()
    assert text_of(held.reader) == "first second"


def test_a_blocking_read_lets_other_threads_run(held):
    threading.Timer(0.02, held.let_go.set).start()
    assert text_of(held.reader) == "first second"  # the timer's thread had to run


def test_an_exit_while_daemon_threads_wait_for_chunks(held):
    code = """
import asyncio, sys, threading, durstream
reader = durstream.DurableStream.connect(sys.argv[1]).read()
async def wait(): return [chunk async for chunk in reader]
for work in (lambda: list(reader), lambda: asyncio.run(wait())) * 2:
    threading.Thread(target=work, daemon=True).start()
print("started", flush=True)
sys.stdin.readline()
"""
    program = start_python(code, held.url, stdin=subprocess.PIPE)
    assert program.stdout.readline().strip() == "started"
    held.asked.wait()
    _, err = program.communicate("end\n", timeout=60)
    assert program.returncode == 0, err


def test_a_callback_must_not_wait_for_a_chunk(held, nowhere):
    raised = []

    def on_error(error):
        try:
            held.reader.next_chunk()
        except durstream.DurstreamError as refusal:
            raised.append(refusal)

    producer = durstream.IdempotentProducer(
        DurableStream.connect(nowhere), "reads", on_error=on_error, delivery_timeout_ms=1
    )
    producer.append("x")
    wait_until(lambda: raised)
    assert isinstance(raised[0], durstream.NotSupportedError)
    producer.stop()
    held.let_go.set()
    assert text_of(held.reader) == "first second"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_reader_is_not_inherited(url):
    create(url, body="content")
    code = """
import os, sys, durstream
stream = durstream.DurableStream.connect(sys.argv[1])
reader = stream.read()
assert next(reader).text() == "content"
child = os.fork()
if child == 0:
    for ask in (reader.next_chunk, lambda: next(reader), lambda: reader.offset):
        try: ask()
        except durstream.ForkedError: continue
        os._exit(2)
    repr(reader)
    os._exit(0 if [chunk.text() for chunk in stream.read()] == ["content"] else 3)
assert os.waitpid(child, 0)[1] == 0
assert reader.next_chunk() is None
"""
    run_python(code, url)


# --- Query parameters --------------------------------------------------------------------------

PARAMS = {"tenant": "a&b=c ü", "empty": ""}


def test_params_are_sent_with_every_request(serve):
    def answer(asked):
        return page(asked, b"data") if asked.method == "GET" else stored(asked)

    server = serve(answer)
    stream = DurableStream.create(server.url, params=PARAMS)
    stream = DurableStream.connect(
        server.url + "?kept=1", content_type="text/plain", params=PARAMS
    )
    stream.head()
    stream.append("x")
    stream.append("x", seq="1")
    stream.close()
    list(stream.read())
    stream.delete()
    asyncio.run(DurableStream.acreate(server.url, params=PARAMS))
    methods = [asked.method for asked in server.asked]
    assert methods == ["PUT", "HEAD", "POST", "POST", "POST", "GET", "DELETE", "PUT"]
    for asked in server.asked:
        sent = [pair for pair in asked.query if pair[0] not in ("kept", "offset")]
        assert sent == list(PARAMS.items()), asked.method
        assert ("kept", "1") in asked.query or asked.method == "PUT"
    assert stream.url == server.url


def test_producers_have_params_of_their_own(serve):
    server = serve(stored)
    stream = DurableStream.connect(server.url, content_type="text/plain")
    with durstream.IdempotentProducer(stream, "params", params=PARAMS) as producer:
        producer.append("x")
    schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "id"})
    with durstream.create_durable_stream(
        url=server.url, schema=schema, producer_id="params", params=PARAMS
    ) as state:
        state.upsert("a", {"id": 1})
    assert [asked.method for asked in server.asked] == ["POST", "PUT", "POST"]
    assert all(asked.query == list(PARAMS.items()) for asked in server.asked)


@pytest.mark.parametrize(
    "params",
    [
        {"offset": "1"},
        {"live": "sse"},
        {"cursor": "1"},
        {"": "x"},
        {"a": 1},
        {1: "a"},
        {"a": "\ud800"},
        [("a", "b")],
        "a=b",
    ],
)
def test_wrong_params(url, params):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        DurableStream.connect(url, params=params)
    assert raised.value.option == "params"
