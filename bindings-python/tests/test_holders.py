"""Several handles on one state producer: what each is told, validates, and may still do."""

import asyncio
import gc
import os
import threading
import weakref

import durstream
import pytest
from conftest import SHIPMENTS, is_closed, read_json, run_python, stored, wait_until
from durstream import create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(shipments=SHIPMENTS)


class Told:
    """An ``on_error``, and the ids of what it was told."""

    def __init__(self):
        self.ids = []

    def __call__(self, error):
        self.ids.append(error.failure.id)


def hold(url, on_error=None, schema=SCHEMA, **options):
    return create_durable_stream(
        url=url, schema=schema, producer_id="holders", on_error=on_error, **options
    )


def upsert(handle, key="a"):
    return handle.upsert("shipments", {"id": key})


def two_of(url, **options):
    one, two = Told(), Told()
    first, second = hold(url, one, **options), hold(url, two, **options)
    assert first.is_same(second)
    return first, one, second, two


def test_each_handles_on_error_is_told_of_every_write(nowhere):
    first, one, second, two = two_of(nowhere)
    third = hold(nowhere, two)  # the same callable, and a handle of its own
    upsert(first)
    upsert(second)
    second.stop()
    wait_until(lambda: len(two.ids) == 4)
    assert one.ids == [1, 2] and two.ids == [1, 1, 2, 2]
    assert third.is_same(first)


def test_a_handle_may_come_without_on_error(nowhere):
    first, two = hold(nowhere), Told()
    second = hold(nowhere, two)
    upsert(first)
    first.stop()
    wait_until(lambda: two.ids == [1])
    assert second.is_same(first)


def test_each_handle_validates_with_its_own(path, url):
    class Refuses:
        def __init__(self, key):
            self.key = key

        def __call__(self, value):
            if value["id"] == self.key:
                raise ValueError(f"not {self.key}")

    def schema(key):
        return define_stream_schema(shipments={**SHIPMENTS, "schema": Refuses(key)})

    first, second = hold(url, schema=schema("a")), hold(url, schema=schema("b"))
    assert first.is_same(second)
    assert [upsert(first, key).accepted for key in "ab"] == [False, True]
    assert [upsert(second, key).accepted for key in "ab"] == [True, False]
    assert upsert(second, "b").outcome.error.issues[0].message == "not b"
    first.detach()
    assert [upsert(second, key).accepted for key in "ab"] == [True, False]
    second.detach()
    assert [event["key"] for event in read_json(url)] == ["b", "a", "a"]


def test_a_detached_handle_is_told_of_what_came_before(nowhere):
    first, one, second, two = two_of(nowhere)
    upsert(first)
    upsert(second)
    with pytest.raises(durstream.TimeoutError):
        first.detach(0.01)
    upsert(second)
    second.stop()
    wait_until(lambda: two.ids == [1, 2, 3])
    assert one.ids == [1, 2]


def test_a_context_that_was_left_is_told_no_more(nowhere):
    one, two, three = Told(), Told(), Told()
    soon = {"delivery_timeout_ms": 50}

    async def main():
        with pytest.raises(durstream.DeliveryError):
            async with hold(nowhere, three, **soon) as handle:
                assert (await upsert(handle)).reason == "expired"

    second = hold(nowhere, two, **soon)
    with pytest.raises(durstream.DeliveryError):
        with hold(nowhere, one, **soon) as first:
            upsert(first)
    asyncio.run(main())
    upsert(second)
    with pytest.raises(durstream.DeliveryError):
        second.flush()
    wait_until(lambda: two.ids == [1, 2, 3])
    assert one.ids == [1] and three.ids == [2]


def test_a_handle_that_was_collected_is_told_of_what_came_before(nowhere):
    first, one, second, two = two_of(nowhere)
    upsert(first)
    known = weakref.ref(one)
    ids = one.ids
    with pytest.warns(ResourceWarning):
        del first, one
        gc.collect()
    upsert(second)
    second.stop()
    wait_until(lambda: two.ids == [1, 2])
    assert ids == [1]

    def is_collected():
        gc.collect()
        return known() is None

    wait_until(is_collected)


def test_a_handle_that_was_collected_is_told_nothing_later(nowhere):
    first, one, second, two = two_of(nowhere)
    del first
    gc.collect()
    upsert(second)
    second.stop()
    wait_until(lambda: two.ids == [1])
    assert one.ids == []


def test_on_error_that_knows_its_handle_is_collected(nowhere):
    class Service:
        def __init__(self):
            self.handle = hold(nowhere, self.on_error)

        def on_error(self, error):
            pass

    first = hold(nowhere)
    second = weakref.ref(Service())
    gc.collect()
    assert second() is None
    first.detach()


def test_close_by_one_is_told_to_all(nowhere):
    first, one, second, two = two_of(nowhere)
    upsert(first)
    upsert(second)
    with pytest.raises(durstream.TimeoutError):
        first.close(timeout=0.01)
    assert upsert(second).outcome.reason == "producer-stopping"
    second.stop()
    wait_until(lambda: two.ids == [1, 2])
    assert one.ids == [1, 2]


def test_a_detached_handle_writes_nothing_and_ends_nothing_of_others(url):
    first, second = hold(url), hold(url)
    receipt = upsert(first)
    assert first.detach().delivered == 1
    refused = [upsert(first), first.delete("shipments", "a")]
    assert [r.outcome.reason for r in refused] == ["producer-stopping"] * 2
    assert isinstance(refused[0].outcome.error, durstream.ProducerClosedError)
    assert second.stats()["refused"] == 2
    first.detach()
    first.close()
    first.begin_shutdown()
    first.stop()
    with pytest.raises(durstream.ProducerClosedError):
        first.close(end_stream=True)
    assert second.state == "ready" == first.state
    assert receipt.wait().delivered
    assert upsert(second).wait().delivered
    second.detach()  # it fails of nothing that was refused there
    wait_until(lambda: first.state == "stopped")
    assert not is_closed(url)


def test_strict_raises_once_detached(url):
    first, second = hold(url, strict=True), hold(url, strict=True)
    first.detach()
    with pytest.raises(durstream.ProducerClosedError):
        upsert(first)
    assert upsert(second).wait().delivered
    second.detach()


def test_receipts_outlive_their_handle_and_hold_nothing_open(serve):
    there = threading.Event()

    def answer(asked):
        return stored(asked) if there.is_set() else (503, {}, b"")

    url = serve(answer).url
    options = {"retry_initial_delay_ms": 1, "retry_max_delay_ms": 1}
    first, second = hold(url, **options), hold(url, **options)
    receipts = [upsert(first), upsert(first), upsert(second)]
    for handle in (first, second):
        with pytest.raises(durstream.TimeoutError):
            handle.detach(0.01)
    assert first.state == "stopping"
    third = hold(url, linger_ms=5, **options)  # other options: a producer of its own
    del first, second, handle
    gc.collect()
    assert receipts[0].outcome is None
    there.set()

    async def main():
        return await receipts[2]

    assert receipts[0].wait().delivered and asyncio.run(main()).delivered
    assert receipts[1].outcome.delivered
    third.close()


FORKED = """
import gc, os, signal, sys, time
import durstream

URL = sys.argv[1]
schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "id"})

def two_of():
    told = [[], []]
    handles = [
        durstream.create_durable_stream(
            url=URL, schema=schema, producer_id="forked",
            on_error=lambda error, own=own: own.append(error.failure.id))
        for own in told
    ]
    return handles, told

def are_told(handles, told):
    for handle in handles: handle.upsert("a", {"id": "a"})
    handles[1].stop()
    until = time.monotonic() + 20
    while told != [[1, 2], [1, 2]]:
        assert time.monotonic() < until, told
        time.sleep(0.005)

handles, told = two_of()
child = os.fork()
if child == 0:
    signal.alarm(30)
    for ask in (lambda: handles[0].upsert("a", {"id": "a"}), handles[0].detach):
        try: ask()
        except durstream.ForkedError: pass
        else: os._exit(1)
    del handles, ask
    gc.collect()
    are_told(*two_of())
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert status == 0, status
are_told(handles, told)
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_holders_of_its_own(nowhere):
    assert run_python(FORKED, nowhere)[0] == "well\n"
