"""Upstream's Python client as its documentation shows it; PYTHONPATH says where it is."""

import asyncio
import contextlib
import json
import time

import httpx
from durable_streams import AsyncDurableStream, IdempotentProducer
from job import (
    CALLS_PER_TURN,
    SAMPLED_CALLS,
    Clock,
    Job,
    Pace,
    answer,
    idle_report,
    resident_bytes,
    wait_for_word,
)


class Requests:
    """Counts what goes out, and what goes out again."""

    def __init__(self):
        self.sent = 0
        self.repeats = 0
        self._seen = set()

    async def count(self, request):
        sequence = request.headers.get("producer-seq")
        if sequence is not None:
            self.sent += 1
            key = (str(request.url), sequence)
            self.repeats += key in self._seen
            self._seen.add(key)


async def stream_all(producer, messages, requests, append):
    accepting = 0.0
    clock = Clock()
    for first in range(0, len(messages), CALLS_PER_TURN):
        started = time.perf_counter()
        for message in messages[first : first + CALLS_PER_TURN]:
            append(message)
        if first < SAMPLED_CALLS:
            accepting += time.perf_counter() - started
        # It sends only while the event loop turns.
        await asyncio.sleep(0)
    await producer.flush()
    calls = min(len(messages), SAMPLED_CALLS)
    return clock.report(accepting, calls, requests.sent, requests.repeats)


async def idle(producer, messages, append):
    waits = []
    for message in messages:
        started = time.perf_counter()
        append(message)
        await producer.flush()
        waits.append(time.perf_counter() - started)
    return idle_report(waits)


async def paced(producer, job, append):
    """What is due is appended and flushed: only a flush tells when it was taken."""
    pace, messages = Pace(job), job.messages()
    while (pause := pace.pause()) is not None:
        if pause > 0:
            await asyncio.sleep(pause)
        events = pace.begin(slept=pause > 0)
        for event in events:
            append(messages[event])
        # It raises what went wrong with one of the batches, and none of them comes again.
        with contextlib.suppress(Exception):
            await producer.flush()
            pace.done(events)
    return pace.report()


async def queued(producer, messages, append):
    append(messages[0])
    await producer.flush()
    wait_for_word()
    before = resident_bytes()
    for first in range(0, len(messages), CALLS_PER_TURN):
        for message in messages[first : first + CALLS_PER_TURN]:
            append(message)
        await asyncio.sleep(0)
    return {"before_bytes": before, "after_bytes": resident_bytes()}


async def streams(job, client, requests):
    clock = Clock()
    producers = [
        IdempotentProducer(
            url, "bench", client=client, auto_claim=True, content_type=job.content_type
        )
        for url in job.urls()
    ]
    for message in job.messages()[: job.events // job.streams]:
        for first in range(0, len(producers), CALLS_PER_TURN):
            for producer in producers[first : first + CALLS_PER_TURN]:
                producer.append(message)
            await asyncio.sleep(0)
    await asyncio.gather(*(producer.flush() for producer in producers))
    return clock.report(0, 0, requests.sent, requests.repeats)


async def main():
    job = Job()
    requests = Requests()
    hooks = {"request": [requests.count]}
    async with httpx.AsyncClient(timeout=30.0, event_hooks=hooks) as client:
        if job.mode == "streams":
            return answer(await streams(job, client, requests))
        await AsyncDurableStream.create(job.url, content_type=job.content_type, client=client)
        producer = IdempotentProducer(
            job.url, "bench", client=client, auto_claim=True, content_type=job.content_type
        )
        plain = producer.append
        append = (lambda value: plain(json.dumps(value))) if job.kind == "objects" else plain
        if job.mode == "paced":
            return answer(await paced(producer, job, append))
        messages = job.messages()
        if job.mode == "queue":
            return answer(await queued(producer, messages, append))
        if job.mode == "idle":
            return answer(await idle(producer, messages, append))
        return answer(await stream_all(producer, messages, requests, append))


asyncio.run(main())
