"""What producers count and measure, as Prometheus reads it."""

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

import durstream
from durstream import Collection, IdempotentProducer, create_durable_stream, define_stream_schema

STATES = "connecting ready backoff reconnecting stopping stopped failed fenced".split()


def parsed(text, openmetrics):
    """The families by name, with the samples of each; parsing fails on what Prometheus refuses."""
    read = openmetrics_parser if openmetrics else parser
    families = {family.name: family for family in read.text_string_to_metric_families(text)}
    assert len(families) > 30, text
    return families


def values(families, name, **labels):
    """The values of the samples of a name that have these labels, by their other labels."""
    family = families[name.removesuffix("_total")] if name.endswith("_total") else families[name]
    return {
        tuple(sorted(set(sample.labels.items()) - set(labels.items()))): sample.value
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_real_parser_reads_the_text(json_stream, openmetrics):
    name = 'quo"te\\back'
    with IdempotentProducer(json_stream, name) as producer:
        for n in range(20):
            producer.append_json({"n": n})
        producer.flush()
        stats = producer.stats()
        own = parsed(producer.stats_prometheus(openmetrics), openmetrics)
        everything = parsed(durstream.stats_prometheus(openmetrics), openmetrics)
    labels = {"stream": producer.url, "producer_id": name}
    for families in (own, everything):
        assert values(families, "durstream_delivered_total", **labels) == {(): 20}
        assert values(families, "durstream_pending", **labels) == {(): 0}
        state = values(families, "durstream_state", **labels)
        assert state == {(("state", state),): state == "ready" for state in STATES}
        answers = values(families, "durstream_answers_total", **labels)
        assert sum(answers.values()) == stats["requests"] and answers[(("class", "2xx"),)] > 0
        histogram = families["durstream_batch_writes"]
        assert histogram.type == "histogram"
        mine = [s for s in histogram.samples if labels.items() <= s.labels.items()]
        total = {s.name: s.value for s in mine if "le" not in s.labels}
        assert total["durstream_batch_writes_sum"] == 20
        assert total["durstream_batch_writes_count"] == stats["batches"]
        buckets = [(float(s.labels["le"]), s.value) for s in mine if "le" in s.labels]
        assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), stats["batches"])
    types = {family.type for family in own.values()}
    assert types == {"counter", "gauge", "histogram"}


def test_a_name_of_two_producers_is_one_series(json_stream):
    for _ in range(2):
        with IdempotentProducer(json_stream, "one-name") as producer:
            producer.append_json(1)
            producer.flush()
            families = parsed(durstream.stats_prometheus(), False)
            found = values(
                families,
                "durstream_delivered_total",
                stream=producer.url,
                producer_id="one-name",
            )
            assert len(found) == 1


def test_distributions_and_reasons(json_stream):
    with IdempotentProducer(json_stream, "measured", max_batch_items=1) as producer:
        for n in range(5):
            producer.append_json(n)
        producer.flush()
        stats = producer.stats()
    assert stats["batch_writes"] == {"count": 5, "sum": 5, "p50": 1, "p90": 1, "p99": 1, "max": 1}
    latency = stats["delivery_latency_us"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert set(latency) == set(durstream.Distribution.__annotations__)
    assert stats["undelivered"] == {}


def test_what_is_refused_is_told_by_reason():
    from durstream.testing import Recorder

    recorder = Recorder()
    recorder.reject("bad", "refused")
    items = Collection(True, type="item", primary_key="id")
    schema = define_stream_schema(items=items)
    producer = create_durable_stream(
        url=recorder.url + "/reasons", schema=schema, producer_id="r", on_error=lambda _: None
    )
    producer.upsert(items, {"id": "bad"})
    with pytest.raises(durstream.DeliveryError):
        producer.close()
    assert producer.stats()["undelivered"] == {"refused": 1}
    families = parsed(producer.stats_prometheus(), False)
    assert values(families, "durstream_undelivered_total", reason="refused").popitem()[1] == 1
