"""Upstream's Python client as its documentation shows it; PYTHONPATH says where it is."""

import asyncio
import json
import time

import httpx
from durable_streams import AsyncDurableStream, IdempotentProducer
from job import CALLS_PER_TURN, SAMPLED_CALLS, Clock, Job, answer, idle_report


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
            self.repeats += sequence in self._seen
            self._seen.add(sequence)


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


async def main():
    job = Job()
    requests = Requests()
    hooks = {"request": [requests.count]}
    async with httpx.AsyncClient(timeout=30.0, event_hooks=hooks) as client:
        await AsyncDurableStream.create(job.url, content_type=job.content_type, client=client)
        producer = IdempotentProducer(
            job.url, "bench", client=client, auto_claim=True, content_type=job.content_type
        )
        plain = producer.append
        append = (lambda value: plain(json.dumps(value))) if job.kind == "objects" else plain
        messages = job.messages()
        if job.idle:
            return await idle(producer, messages, append)
        return await stream_all(producer, messages, requests, append)


answer(asyncio.run(main()))
