"""The instruments for OpenTelemetry, as its SDK collects them."""

import logging
import sys
import time

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import durstream
from conftest import run_python, wait_until
from durstream import IdempotentProducer, _durstream
from durstream import _opentelemetry as otel
from durstream.opentelemetry import observe, trace_batches


def collected(reader):
    """The points of each instrument, as (value, attributes)."""
    found = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            assert (scope.scope.name, scope.scope.version) == ("durstream", durstream.__version__)
            for metric in scope.metrics:
                assert metric.name not in found, "each name is one instrument"
                points = [(p.value, dict(p.attributes)) for p in metric.data.data_points]
                found[metric.name] = metric, points
    return found


def of(points, id):
    return [(v, a) for v, a in points if a["messaging.client.id"] == id]


def test_what_producers_count_is_collected(json_stream):
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    assert observe(provider) and observe(provider)
    with IdempotentProducer(json_stream, "observed") as producer:
        for n in range(7):
            producer.append_json(n)
        producer.flush()
        for _ in range(2):  # each collection has a snapshot of its own
            stats = producer.stats()
            found = collected(reader)
            ((sent, attributes),) = of(found["messaging.client.sent.messages"][1], "observed")
            assert sent == stats["delivered"] and attributes["messaging.operation.type"] == "send"
            assert attributes["messaging.system"] == "durable_streams"
            assert producer.url.endswith(attributes["messaging.destination.name"])
            assert attributes["server.address"] and attributes["server.port"] > 0
            classes = of(found["durstream.answers"][1], "observed")
            assert {a["class"]: v for v, a in classes}["2xx"] == stats["answers_2xx"]
            ((state, attributes),) = of(found["durstream.state"][1], "observed")
            assert (state, attributes["state"]) == (1, "ready")
            latency = stats["delivery_latency_us"]
            ((count, _),) = of(found["durstream.delivery_latency.count"][1], "observed")
            ((total, _),) = of(found["durstream.delivery_latency.sum"][1], "observed")
            assert count == latency["count"] and total == pytest.approx(latency["sum"] / 1e6)
            quantiles = of(found["durstream.delivery_latency"][1], "observed")
            assert {a["quantile"]: v for v, a in quantiles}[0.5] == latency["p50"] / 1e6
            assert found["durstream.delivery_latency"][0].unit == "s"
            producer.append_json("again")
            producer.flush()
    made = {instrument for instrument, *_ in _durstream.instruments()}
    assert made <= set(found)
    provider.shutdown()


def test_what_is_not_delivered_has_its_reason_as_error_type():
    from durstream.testing import Recorder

    recorder, reader = Recorder(), InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    assert observe(provider)
    recorder.reject("bad", "refused")
    stream = durstream.DurableStream.create(url=recorder.url + "/o", content_type="text/plain")
    producer = IdempotentProducer(stream, "errors", on_error=lambda _: None)
    producer.append("bad")
    with pytest.raises(durstream.DeliveryError):
        producer.flush()
    points = of(collected(reader)["messaging.client.sent.messages"][1], "errors")
    assert {a.get("error.type"): v for v, a in points} == {None: 0, "refused": 1}
    provider.shutdown()


def test_one_that_is_shut_down_first_breaks_nothing(json_stream):
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    assert observe(provider)
    provider.shutdown()
    with IdempotentProducer(json_stream, "after") as producer:
        producer.append_json(1)
    assert producer.stats()["delivered"] == 1


def test_without_it_a_warning_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(otel, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert not observe() and not observe()
    assert len(caplog.records) == 1 and "OpenTelemetry" in caplog.text


def test_one_that_is_too_old_is_told_once(monkeypatch, caplog):
    class Old:
        def get_meter(self, *_):
            return object()

    monkeypatch.setattr(otel, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert not observe(Old()) and not observe(Old())
    assert len(caplog.records) == 1 and "too old" in caplog.text


def test_importing_it_imports_no_opentelemetry():
    code = """
import sys
import durstream.opentelemetry
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry"])
"""
    assert run_python(code)[0].strip() == "[]"


def test_each_batch_is_a_span_that_is_linked_to_those_of_its_writes():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind, StatusCode

    from durstream import create_durable_stream, define_stream_schema
    from durstream.testing import Recorder

    exporter, provider, recorder = InMemorySpanExporter(), TracerProvider(), Recorder()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = TracerProvider().get_tracer("test")  # whose spans are not among those that are looked at
    assert trace_batches(provider)
    schema = define_stream_schema(orders={"schema": True, "type": "order", "primary_key": "id"})

    def open(id, trace):
        return create_durable_stream(
            url=f"{recorder.url}/{id}", schema=schema, producer_id=id, trace=trace,
            linger_ms=60_000, on_error=lambda _: None,
        )  # fmt: skip

    def spans(id, count):
        def own():
            all = exporter.get_finished_spans()
            return [span for span in all if span.attributes["messaging.client.id"] == id]

        wait_until(lambda: len(own()) >= count)
        return own()

    with open("traced", True) as producer:
        before = time.time_ns()
        contexts = []
        for keys in (["1"], ["2", "3"]):
            with tracer.start_as_current_span("caller") as caller:
                contexts.append(caller.get_span_context())
                for key in keys:
                    producer.upsert("orders", {"id": key})
        producer.flush()
        (span,) = spans("traced", 1)
        assert (span.name, span.kind, span.parent) == ("append /v1/stream/traced", SpanKind.PRODUCER, None)
        assert span.status.status_code == StatusCode.UNSET
        expected = {
            "messaging.system": "durable_streams",
            "messaging.operation.name": "append",
            "messaging.operation.type": "send",
            "messaging.destination.name": "/v1/stream/traced",
            "messaging.batch.message_count": 3,
        }
        assert expected.items() <= dict(span.attributes).items()
        assert "error.type" not in span.attributes
        links = [link.context for link in span.links]
        assert [(c.trace_id, c.span_id) for c in links] == [(c.trace_id, c.span_id) for c in contexts]
        assert all(c.is_remote and c.trace_flags.sampled for c in links)
        slack = 10_000_000  # the wall's clock is not the one of waits
        assert before - slack <= span.start_time <= span.end_time <= time.time_ns() + slack
        assert span.instrumentation_scope.name == "durstream"

        recorder.reject("bad", "refused")
        producer.upsert("orders", {"id": "bad"})
        with pytest.raises(durstream.DeliveryError):
            producer.flush()
        _, span = spans("traced", 2)
        assert span.attributes["error.type"] == "refused" and not span.links
        assert span.status.status_code == StatusCode.ERROR and span.status.description
    with open("untraced", False) as untraced:
        untraced.upsert("orders", {"id": "1"})
        untraced.flush()
    assert len(spans("traced", 2)) == 2 and not spans("untraced", 0)


def test_without_it_no_batch_is_traced_and_a_warning_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(otel, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert not trace_batches() and not trace_batches()
    assert len(caplog.records) == 1 and "OpenTelemetry" in caplog.text
