"""Our Python client as its documentation shows it."""

import time

from durstream import DurableStream, IdempotentProducer
from job import SAMPLED_CALLS, Clock, Job, answer, idle_report


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


job = Job()
stream = DurableStream.create(job.url, content_type=job.content_type)
with IdempotentProducer(stream, "bench") as producer:
    answer((idle if job.idle else stream_all)(producer, job.messages()))
