"""Events carry the context of the span that is current at the call, where ``trace`` is set."""

import asyncio

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from durstream import create_durable_stream, define_stream_schema
from durstream.testing import Recorder

SCHEMA = define_stream_schema(items={"schema": True, "type": "item", "primary_key": "id"})
TRACER = TracerProvider().get_tracer("test")


@pytest.fixture
def recorder():
    return Recorder()


def opened(recorder, **options):
    return create_durable_stream(
        url=recorder.url + "/traced", schema=SCHEMA, producer_id="traced", **options
    )


def parents(recorder):
    return [event["headers"].get("traceparent") for event in recorder.events("/traced")]


def parent_of(span):
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def test_each_kind_of_change_carries_the_current_span(recorder):
    told = f"00-{'a' * 32}-{'b' * 16}-00"
    with opened(recorder, trace=True) as producer:
        with TRACER.start_as_current_span("caller") as span:
            producer.upsert("items", {"id": "1"})
            producer.insert("items", {"id": "2"}, txid="t")
            producer.delete("items", "1")
            producer.upsert("items", {"id": "3"}, headers={"traceparent": told})
            with producer.transaction() as changes:
                changes.update("items", {"id": "2"})
                changes.delete("items", "2")
        producer.upsert("items", {"id": "4"})
    own = parent_of(span)
    assert parents(recorder) == [own, own, own, told, own, own, None]


def test_each_task_has_its_own(recorder):
    spans = []

    async def write(producer, n):
        with TRACER.start_as_current_span(f"task {n}") as span:
            spans.append(parent_of(span))
            await asyncio.sleep(0)
            producer.upsert("items", {"id": str(n)})

    async def main():
        async with opened(recorder, trace=True) as producer:
            await asyncio.gather(*(write(producer, n) for n in range(5)))

    asyncio.run(main())
    assert sorted(parents(recorder)) == sorted(spans) and len(set(spans)) == 5


@pytest.mark.parametrize("options", [{}, {"trace": True, "operations": "strict"}])
def test_without_the_option_or_with_strict_operations_there_is_none(recorder, options):
    with opened(recorder, **options) as producer:
        with TRACER.start_as_current_span("caller"):
            receipt = producer.upsert("items", {"id": "1"})
        assert receipt.wait().delivered
    assert parents(recorder) == [None]


def test_the_state_of_the_trace_goes_along(recorder):
    state = trace.TraceState([("vendor", "1")])
    context = trace.SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=trace.TraceFlags(0), trace_state=state)
    with opened(recorder, trace=True) as producer:
        with trace.use_span(trace.NonRecordingSpan(context)):
            producer.upsert("items", {"id": "1"})
    headers = recorder.events("/traced")[0]["headers"]
    assert headers["traceparent"] == f"00-{0xA1:032x}-{0xB2:016x}-00"
    assert headers["tracestate"] == "vendor=1"
