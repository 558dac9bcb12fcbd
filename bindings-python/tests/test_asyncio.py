"""The same for asyncio, on any of its loops."""

import asyncio
import threading

import durstream
import pytest
from conftest import SHIPMENTS, read_json, wait_until
from durstream import IdempotentProducer


def test_receipts_and_flush(json_stream):
    async def main():
        async with IdempotentProducer(json_stream, "async") as producer:
            outcome = await producer.append({"n": 0})
            assert outcome.delivered
            receipts = [producer.append({"n": n}) for n in range(1, 500)]
            outcomes = await asyncio.gather(*receipts)
            assert all(outcome.delivered for outcome in outcomes)
            assert (await producer.aflush()).delivered == 500
            assert (await producer.aflush()).delivered == 0
            refused = await producer.try_append("broken")
            assert refused.reason == "invalid-value"

    asyncio.run(main())
    assert read_json(json_stream.url) == [{"n": n} for n in range(500)]


def test_close(json_stream):
    async def main():
        producer = IdempotentProducer(json_stream, "async")
        producer.append({"n": 1})
        return await producer.aclose({"n": 2})

    assert asyncio.run(main()).final_offset


def test_a_cancelled_flush_leaves_its_report(gate):
    async def main():
        stream = durstream.DurableStream.connect(gate.url)
        async with IdempotentProducer(stream, "cancelled") as producer:
            receipt = producer.append("x")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(producer.aflush(), 0.01)
            waiting = asyncio.ensure_future(_await(receipt))
            await asyncio.sleep(0.01)
            waiting.cancel()
            gate.open.set()
            assert (await receipt).delivered
            assert (await producer.aflush()).delivered == 1

    asyncio.run(main())


async def _await(receipt):
    return await receipt


def test_a_flush_that_fails_after_it_was_cancelled_is_not_lost(nowhere):
    async def main():
        stream = durstream.DurableStream.connect(nowhere)
        producer = IdempotentProducer(stream, "cancelled")
        receipt = producer.append("x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.aflush(), 0.01)
        producer.stop()
        assert (await receipt).reason == "producer-stopped"
        with pytest.raises(durstream.DeliveryError) as raised:
            await producer.aflush()
        assert raised.value.undelivered == 1

    asyncio.run(main())


def test_two_loops_at_once(json_stream):
    producer = IdempotentProducer(json_stream, "loops")

    def run(name):
        async def main():
            for n in range(50):
                assert (await producer.append({"loop": name, "n": n})).delivered
            await producer.aflush()

        asyncio.run(main())

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.detach()
    values = read_json(json_stream.url)
    assert [v["n"] for v in values if v["loop"] == "a"] == list(range(50))
    assert len(values) == 100


def test_a_loop_that_is_closed_meanwhile(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "closed")

    async def main():
        asyncio.ensure_future(_await(producer.append("x")))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    gate.open.set()
    assert producer.detach().delivered == 1


def test_a_full_buffer_answers_at_once_in_a_loop(gate):
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "full", max_buffer_items=1, max_block_ms=86_400_000)

    async def main():
        producer.append("1")
        with pytest.raises(durstream.BufferFullError):
            producer.append("2")

    asyncio.run(main())
    producer.stop()


def test_ready_in_a_loop(gate):
    stream = durstream.DurableStream.connect(gate.url)

    async def main():
        async with IdempotentProducer(stream, "ready", max_buffer_items=1) as producer:
            await producer.aready()
            first = producer.append("1")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(producer.aready(), 0.01)
            gate.open.set()
            await producer.aready()
            assert first.outcome.delivered and producer.append("2").accepted

    asyncio.run(main())
    assert gate.bodies == [b"1", b"2"]


def test_restart(json_stream):
    async def main():
        async with IdempotentProducer(json_stream, "one-id") as first:
            await first.append({"n": 1})
            async with IdempotentProducer(json_stream, "one-id") as second:
                await second.append({"n": 2})
            lost = await first.append({"n": "lost"})
            assert lost.reason == "fenced"
            with pytest.raises(durstream.DeliveryError):
                await first.aflush()
            await first.arestart()
            assert (await first.append({"n": 3})).delivered

    asyncio.run(main())
    assert read_json(json_stream.url) == [{"n": n} for n in (1, 2, 3)]


def test_leaving_a_context(json_stream, nowhere):
    lost = durstream.DurableStream.connect(nowhere)

    async def leave(error):
        async with IdempotentProducer(lost, "context", delivery_timeout_ms=50) as producer:
            producer.append("x")
            if error:
                raise error

    with pytest.raises(durstream.DeliveryError):
        asyncio.run(leave(None))
    with pytest.raises(KeyError):
        asyncio.run(leave(KeyError()))


def test_a_cancelled_context_is_not_held_up(gate):
    async def main():
        async def hold():
            stream = durstream.DurableStream.connect(gate.url)
            async with IdempotentProducer(stream, "context") as producer:
                receipts.append(producer.append("x"))
                await asyncio.sleep(3600)

        receipts = []
        task = asyncio.ensure_future(hold())
        while not receipts:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        assert (await receipts[0]).delivered

    asyncio.run(main())


def test_state(path, url):
    schema = durstream.define_stream_schema(shipments=SHIPMENTS)

    async def main():
        async with durstream.create_durable_stream(
            stream_path=path, schema=schema, producer_id="async"
        ) as producer:
            assert (await producer.upsert("shipments", {"id": "a"})).delivered
            assert (await producer.upsert("shipments", {})).reason == "invalid-key"
            producer.delete("shipments", "a")
            assert (await producer.aflush()).delivered == 2
            assert isinstance(await producer.aclose(), durstream.FlushReport)
        wait_until(lambda: producer.state == "stopped")

    asyncio.run(main())
    assert len(read_json(url)) == 2
