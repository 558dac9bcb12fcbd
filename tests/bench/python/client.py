"""Our Python client as its documentation shows it."""

import queue
import threading
import time

import durstream
from durstream import DurableStream, IdempotentProducer
from job import (
    SAMPLED_CALLS,
    Clock,
    Job,
    Pace,
    answer,
    idle_report,
    resident_bytes,
    wait_for_word,
)


def stream_all(producer, messages):
    append = producer.append
    sample, rest = messages[:SAMPLED_CALLS], messages[SAMPLED_CALLS:]
    clock = Clock()
    started = time.perf_counter()
    for message in sample:
        append(message)
    accepting = time.perf_counter() - started
    for message in rest:
        append(message)
    producer.flush()
    stats = producer.stats()
    return clock.report(accepting, len(sample), stats["requests"], stats["retries"])


def idle(producer, messages):
    waits = []
    for message in messages:
        started = time.perf_counter()
        outcome = producer.append(message).wait()
        waits.append(time.perf_counter() - started)
        assert outcome.status == "delivered", outcome
    return idle_report(waits)


def paced(producer, job):
    pace, messages = Pace(job), job.messages()
    receipts = queue.SimpleQueue()

    def follow():
        """Waits for each write in turn: they are delivered in this order."""
        for event in range(job.events):
            if receipts.get().wait().status == "delivered":
                pace.done([event])

    follower = threading.Thread(target=follow)
    follower.start()
    while (pause := pace.pause()) is not None:
        if pause > 0:
            time.sleep(pause)
        for event in pace.begin(slept=pause > 0):
            receipts.put(producer.append(messages[event]))
    follower.join()
    return pace.report()


def queued(producer, messages):
    producer.append(messages[0]).wait()
    wait_for_word()
    append = producer.append
    before = resident_bytes()
    for message in messages:
        append(message)
    return {"before_bytes": before, "after_bytes": resident_bytes()}


def streams(job):
    messages = job.messages()[: job.events // job.streams]
    clock = Clock()
    producers = []
    for url in job.urls():
        stream = DurableStream.connect(url, content_type=job.content_type)
        producers.append(IdempotentProducer(stream, "bench"))
    for message in messages:
        for producer in producers:
            producer.append(message)
    for producer in producers:
        producer.flush()
    stats = [producer.stats() for producer in producers]
    requests, repeats = (sum(each[name] for each in stats) for name in ("requests", "retries"))
    report = clock.report(0, 0, requests, repeats)
    for producer in producers:
        producer.detach()
    return report


def main():
    job = Job()
    if job.mode == "streams":
        return answer(streams(job))
    options = {}
    if job.max_buffer_bytes:
        durstream.set_buffer_budget(1 << 40)
        options["max_buffer_bytes"] = job.max_buffer_bytes
    stream = DurableStream.create(job.url, content_type=job.content_type)
    producer = IdempotentProducer(stream, "bench", **options)
    if job.mode == "queue":
        # What it queued is given up: there is no context that would wait for it.
        return answer(queued(producer, job.messages()))
    with producer:
        if job.mode == "paced":
            answer(paced(producer, job))
        else:
            answer((idle if job.mode == "idle" else stream_all)(producer, job.messages()))


main()
