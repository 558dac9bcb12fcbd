"""The ways of writing data to a durable stream.

    DURABLE_STREAMS_URL=http://localhost:4437 python writing_data.py [/prefix]
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import AsyncIterator

from durstream import DurableStream, DurstreamError, IdempotentProducer, StaleEpochError

PREFIX = sys.argv[1] if len(sys.argv) > 1 else f"/writing-{uuid.uuid4().hex[:8]}"
EVENTS = [{"type": "order.created", "orderId": str(n)} for n in range(3)]


def on_error(error: DurstreamError) -> None:
    print("Write error:", error, file=sys.stderr)


# --- Setup -------------------------------------------------------------------------------------
# append() for a few writes, the producer for anything beyond. It takes its id over from an older
# producer unless told otherwise (auto_claim), so the id stays the same over restarts.


async def setup() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/my-stream", content_type="application/json"
    )

    def on_error(error: DurstreamError) -> None:
        if isinstance(error, StaleEpochError):
            print("Another producer took over", file=sys.stderr)
        else:
            print("Write error:", error, file=sys.stderr)

    producer = IdempotentProducer(handle, "my-service", auto_claim=True, on_error=on_error)
    for event in EVENTS:
        producer.append(json.dumps(event))
    await producer.aflush()
    await producer.aclose()


# --- Simple writes with append() ---------------------------------------------------------------
# Each call waits for its outcome. Values are written as JSON, text is taken as JSON already.


async def simple_writes() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/events", content_type="application/json"
    )
    await handle.aappend({"type": "order.created", "orderId": "123"})
    await handle.aappend({"type": "order.paid", "orderId": "123"})


# --- High-throughput writes with IdempotentProducer --------------------------------------------
# Messages are gathered, sent side by side, and written once, in order. append() returns at once;
# waiting for each would undo that.


async def tokens() -> AsyncIterator[str]:
    for token in ("Durable ", "streams ", "keep ", "their ", "order."):
        yield token


async def high_throughput() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/tokens", content_type="text/plain"
    )
    producer = IdempotentProducer(
        handle,
        "llm-worker",
        linger_ms=10,
        max_batch_bytes=65536,
        max_in_flight=4,
        on_error=on_error,
    )
    async for token in tokens():
        producer.append(token)
    await producer.aflush()
    await producer.aclose()


# --- From a source -----------------------------------------------------------------------------
# An iterable or an async iterable, read as fast as it is delivered.


async def from_a_source() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/source", content_type="text/plain"
    )
    report = await handle.aappend_stream(tokens())
    assert report.delivered == 5


# --- Closing a stream --------------------------------------------------------------------------
# No more writes for anybody, a last message in the same request; closing again is fine.


async def closing() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/closed", content_type="application/json"
    )
    result = await handle.aclose(json.dumps({"type": "stream.complete"}))
    assert await handle.aclose() == result


# --- Byte streams with framing of your own -----------------------------------------------------
# Here newline-delimited JSON. The context flushes when it is left.


async def byte_stream() -> None:
    handle = await DurableStream.acreate(stream_path=f"{PREFIX}/logs", content_type="text/plain")
    async with IdempotentProducer(handle, "logger") as producer:
        producer.append(json.dumps({"level": "info", "msg": "started"}) + "\n")
        producer.append(json.dumps({"level": "error", "msg": "failed"}) + "\n")


# --- Values or text ----------------------------------------------------------------------------
# A producer takes text and bytes as they are, and writes other values as JSON on JSON streams;
# append_json() writes any value as JSON, text too.


async def values_or_text() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/values", content_type="application/json"
    )
    async with IdempotentProducer(handle, "worker") as producer:
        producer.append({"event": "user.created"})
        producer.append('{"event":"user.created"}')
        producer.append_json("user.created")


# --- Noticing that another producer took over --------------------------------------------------
# on_error runs on a thread of the library's. A fenced producer raises at every later append.


async def fenced_worker() -> None:
    handle = await DurableStream.acreate(
        stream_path=f"{PREFIX}/fenced", content_type="application/json"
    )
    fenced = False

    def on_error(error: DurstreamError) -> None:
        nonlocal fenced
        if isinstance(error, StaleEpochError):
            fenced = True

    producer = IdempotentProducer(handle, "worker", on_error=on_error)
    await producer.append({"written by": "the first"})
    async with IdempotentProducer(handle, "worker") as second:
        await second.append({"written by": "the second"})
    try:
        while not fenced:
            await producer.append({"written by": "nobody"})
    except StaleEpochError:
        pass
    producer.stop()


async def main() -> None:
    await setup()
    await simple_writes()
    await high_throughput()
    await from_a_source()
    await closing()
    await byte_stream()
    await values_or_text()
    await fenced_worker()


if __name__ == "__main__":
    asyncio.run(main())
    print(PREFIX)
