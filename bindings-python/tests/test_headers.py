"""Headers whose values are functions."""

import asyncio
import gc
import threading
import weakref

import durstream
import pytest
from conftest import SHIPMENTS, page, run_python, stored, wait_until
from durstream import DurableStream, IdempotentProducer

QUICK = {"retry_initial_delay_ms": 1, "retry_max_delay_ms": 1}


def connect(url, **options):
    """A handle that knows its stream's type, so that nothing is asked before an append."""
    return DurableStream.connect(url, content_type="text/plain", **options)


class Tokens:
    """A function that gives ``token-1``, ``token-2``, ..."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return f"token-{self.calls}"


def sent(server):
    """What came as the header, request by request."""
    return [asked.headers["Authorization"] for asked in server.asked]


def test_a_function_is_called_once_for_each_request(serve):
    answers = iter([503, 200, 200])
    server = serve(lambda asked: (next(answers), *stored(asked)[1:]))
    tokens = Tokens()
    stream = connect(server.url)
    headers = {"authorization": tokens, "x-fixed": "ü"}
    with IdempotentProducer(stream, "asked", headers=headers, max_in_flight=1, **QUICK) as producer:
        producer.append("1").wait()
        producer.append("2").wait()
    # The repeat of the first is the same request.
    assert sent(server) == ["token-1", "token-1", "token-2"] and tokens.calls == 2
    assert server.asked[0].headers["x-fixed"].encode("latin-1").decode() == "ü"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_asked_for_again(serve, status):
    answers = iter([status, 200])
    server = serve(lambda asked: (next(answers), *stored(asked)[1:]))
    stream = connect(server.url, headers={"Authorization": Tokens()})
    with IdempotentProducer(stream, "again") as producer:
        assert producer.append("x").wait().delivered
    assert sent(server) == ["token-1", "token-2"]


def test_every_request_of_a_stream_asks(serve):
    def answer(asked):
        if asked.method == "GET":
            return page(asked, b"one", b"two")
        return stored(asked)

    server = serve(answer)
    headers = {"Authorization": Tokens()}
    stream = DurableStream.create(server.url, content_type="text/plain", headers=headers)
    stream.append("x")
    stream.head()
    assert [chunk.data for chunk in stream.read()] == [b"one", b"two"]
    stream.close()
    stream.delete()
    assert sent(server) == [f"token-{n + 1}" for n in range(len(server.asked))]
    assert {asked.method for asked in server.asked} == {"PUT", "POST", "HEAD", "GET", "DELETE"}


def failing(*failures):
    """A function that fails in these ways first, and a list of its calls."""
    calls = []

    def give():
        calls.append(None)
        if len(calls) > len(failures):
            return "good"
        failure = failures[len(calls) - 1]
        if isinstance(failure, Exception):
            raise failure
        return failure

    return give, calls


def test_writes_wait_while_a_function_fails(serve):
    server = serve(stored)
    give, calls = failing(OSError("no tokens today"), 5, None, "a\r\nb", "\ud800", ValueError("\ud800"))
    stream = connect(server.url, headers={"Authorization": give})
    producer = IdempotentProducer(stream, "waiting", **QUICK)
    receipts = producer.append_many(["1", "2", "3"])
    assert producer.detach().delivered == 3 and len(calls) >= 7
    assert all(receipt.outcome.delivered for receipt in receipts)
    assert set(sent(server)) == {"good"}


def test_why_a_function_failed_is_said(serve):
    server = serve(stored)

    def give():
        raise OSError("no tokens today")

    stream = connect(server.url, headers={"Authorization": give})
    producer = IdempotentProducer(stream, "why", delivery_timeout_ms=2000, **QUICK)
    producer.append("x")
    with pytest.raises(durstream.DeliveryError, match="authorization.*OSError: no tokens today"):
        producer.flush()
    assert "no tokens today" in str(producer.last_error) and server.asked == []
    producer.stop()


def test_a_function_must_not_wait_for_the_library(serve):
    server, refused = serve(stored), []
    other = connect(serve(stored).url)

    def give():
        try:
            other.head()
        except durstream.NotSupportedError as error:
            refused.append(error)
        return "good"

    stream = connect(server.url, headers={"Authorization": give})
    assert stream.append("x").delivered and len(refused) == 1 and sent(server) == ["good"]


def test_an_async_function_runs_on_the_loop_of_its_handle(serve):
    server = serve(stored)
    ran_on = []

    async def token():
        await asyncio.sleep(0)
        ran_on.append(asyncio.get_running_loop())
        return f"token-{len(ran_on)}"

    async def main():
        stream = connect(server.url, headers={"Authorization": token})
        async with IdempotentProducer(stream, "async", max_in_flight=1) as producer:
            await producer.append("1")
            await producer.append("2")
        assert ran_on == [asyncio.get_running_loop()] * 2
        return stream

    stream = asyncio.run(main())
    assert sent(server) == ["token-1", "token-2"]
    # That loop is gone.
    assert stream.append("3").delivered and sent(server)[2:] == ["token-3"]
    assert ran_on[2] is not ran_on[0]
    wait_until(ran_on[2].is_closed)


def test_an_async_function_without_a_loop(serve):
    server = serve(stored)
    tries = []

    async def token():
        await asyncio.sleep(0)
        tries.append(threading.current_thread())
        if len(tries) == 1:
            raise OSError("no tokens yet")
        return "good"

    # What gives an awaitable is as good as an async function.
    stream = connect(server.url, headers={"Authorization": lambda: token()})
    with IdempotentProducer(stream, "no-loop", **QUICK) as producer:
        producer.append("x")
    assert sent(server) == ["good"] and tries[1] is not threading.main_thread()


def test_a_cancelled_function_fails(serve):
    server = serve(stored)
    tries = []

    async def token():
        tries.append(None)
        if len(tries) == 1:
            asyncio.current_task().cancel()
            await asyncio.sleep(3600)
        return "good"

    async def main():
        stream = connect(server.url, headers={"Authorization": token})
        async with IdempotentProducer(stream, "cancelled", **QUICK) as producer:
            assert (await producer.append("x")).delivered

    asyncio.run(main())
    assert sent(server) == ["good"] and len(tries) == 2


def test_state(serve):
    server = serve(stored)
    schema = durstream.define_stream_schema(shipments=SHIPMENTS)
    options = {"url": server.url, "schema": schema, "producer_id": "state"}
    first, second = Tokens(), Tokens()
    opened = durstream.create_durable_stream(headers={"Authorization": first}, **options)
    with durstream.create_durable_stream(headers={"Authorization": second}, **options) as again:
        assert again.is_same(opened)
        opened.detach()
        del opened
        gc.collect()
        assert again.upsert("shipments", {"id": "a"}).wait().delivered
    assert first.calls == len(server.asked) >= 1 and second.calls == 0


def test_a_function_that_knows_its_handles_is_collected(serve):
    server = serve(stored)
    schema = durstream.define_stream_schema(shipments=SHIPMENTS)

    class Service:
        def __init__(self):
            headers = {"Authorization": self.token}
            self.stream = DurableStream.create(server.url, headers=headers)
            self.reader = self.stream.read()
            self.producer = IdempotentProducer(self.stream, "cycle", headers=headers)
            self.state = durstream.create_durable_stream(
                url=f"{server.url}-state", schema=schema, producer_id="cycle", headers=headers
            )

        def token(self):
            return "token"

    service = weakref.ref(Service())
    gc.collect()
    assert service() is None


def test_what_a_function_uses_stays_while_it_is_asked(serve):
    there = threading.Event()
    server = serve(stored)

    class Service:
        def __init__(self):
            self.value = "good"
            stream = connect(server.url, headers={"Authorization": self.token})
            self.producer = IdempotentProducer(stream, "let-go", **QUICK)
            self.receipt = self.producer.append("x")

        def token(self):
            if not there.is_set():
                raise OSError("not yet")
            return self.value

    def let_go():
        service = Service()
        return weakref.ref(service), service.receipt

    service, receipt = let_go()
    gc.collect()
    there.set()
    assert receipt.wait().delivered and sent(server) == ["good"]

    def is_collected():
        gc.collect()
        return service() is None

    wait_until(is_collected)


def test_functions_outlive_a_producer_that_was_let_go_of(serve):
    server, failures = serve(stored), []
    there = threading.Event()

    def let_go(path, **options):
        def give():
            if not there.is_set():
                raise OSError("not yet")
            return "good"

        stream = connect(server.url + path, headers={"Authorization": give})
        return IdempotentProducer(stream, "let-go", **options, **QUICK).append("x")

    with pytest.warns(ResourceWarning, match="1 write pending"):
        expires = let_go("/1", on_error=lambda e: failures.append(e), delivery_timeout_ms=50)
        delivered = let_go("/2")
    gc.collect()
    assert expires.wait().reason == "expired"
    wait_until(lambda: failures)
    there.set()
    assert delivered.wait().delivered and sent(server) == ["good"]


def test_what_a_wait_was_given_up_for_goes_on(serve):
    server = serve(stored)
    give, calls = failing(*[OSError("not yet")] * 100)

    def give_up():
        options = {"headers": {"Authorization": lambda: give()}, **QUICK}
        with pytest.raises(durstream.TimeoutError):
            connect(server.url, **options).append("x", timeout=0.01)

    give_up()
    gc.collect()
    wait_until(lambda: server.asked)
    assert sent(server) == ["good"] and len(calls) == 101


def test_what_was_collected_is_not_called(serve):
    code = """
import gc, sys, weakref, durstream

calls = 0

def give_up():
    def give():
        global calls
        calls += 1
        raise OSError(stream.url)

    options = {"max_retries": 1000, "retry_initial_delay_ms": 1, "retry_max_delay_ms": 1}
    stream = durstream.DurableStream(sys.argv[1], headers={"Authorization": give}, **options)
    while not calls:
        try:
            stream.read().next_chunk(0.01)
        except durstream.TimeoutError:
            pass
    return weakref.ref(stream)

stream = give_up()
while stream() is not None:
    gc.collect()
before = calls
other = durstream.DurableStream(sys.argv[2], headers={"Authorization": lambda: "good"})
for _ in range(100):
    other.append("x")
print(before > 0, calls - before)
"""
    out, _ = run_python(code, serve(stored).url, serve(stored).url)
    assert out.split() == ["True", "0"]


def test_a_stream_stays_for_its_readers(serve):
    server = serve(lambda asked: page(asked, b"x"))

    class Service:
        def __init__(self):
            self.stream = connect(server.url, headers={"Authorization": self.token})

        def token(self):
            return "good"

    reader = Service().stream.read()
    gc.collect()
    assert [chunk.data for chunk in reader] == [b"x"] and set(sent(server)) == {"good"}


def test_functions_are_asked_until_the_process_ends(serve):
    server = serve(stored)
    code = """
import asyncio, sys
from durstream import DurableStream, IdempotentProducer

async def token():
    await asyncio.sleep(0)
    return "good"

async def main():
    stream = DurableStream.connect(
        sys.argv[1], content_type="text/plain", headers={"Authorization": token}
    )
    return IdempotentProducer(stream, "exit")

producer = asyncio.run(main())
producer.append("x")
"""
    run_python(code, server.url)
    assert sent(server) == ["good"]
