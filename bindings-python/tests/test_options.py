"""Names: options against the core's table, errors against the core's kinds, stubs against the
runtime."""

import pickle
import subprocess
import sys

import durstream
import pytest
from durstream import InvalidArgumentError, _durstream, _errors, _option_types


def test_options_are_the_cores():
    declared = {
        "stream": set(_option_types.StreamOptions.__annotations__) | {"url"},
        "producer": set(_option_types.ProducerOptions.__annotations__),
        "state": set(_option_types.StateOptions.__annotations__) | {"url", "producer_id"},
    }
    for scope, names in declared.items():
        table = {row[0] for row in _durstream.options_table() if scope in row[3]}
        # A producer's URL is its stream's.
        assert names == table - ({"url"} if scope == "producer" else set()), scope


def test_every_kind_has_its_class():
    kinds = {name: code for name, code in _durstream.error_classes()}
    assert {name: leaf.code for name, leaf in _errors.LEAVES.items()} == kinds
    for name, leaf in _errors.LEAVES.items():
        assert getattr(durstream, name) is leaf and issubclass(leaf, durstream.DurstreamError)


def test_errors_are_builtins_of_their_kind():
    import builtins

    assert issubclass(durstream.InvalidArgumentError, ValueError)
    assert issubclass(durstream.ValidationError, ValueError)
    assert issubclass(durstream.TransportError, ConnectionError)
    assert issubclass(durstream.TimeoutError, builtins.TimeoutError)


def test_a_producer_id_has_to_be_text(json_stream):
    for wrong in ("\ud800", b"id", None):
        with pytest.raises(InvalidArgumentError) as raised:
            durstream.IdempotentProducer(json_stream, wrong)
        assert raised.value.option == "producer_id"


def test_no_name_makes_an_error_long(json_stream):
    name = "é" * 2_000_000
    one = {"schema": {}, "type": "a", "primary_key": "id"}
    for wrong in (
        lambda: durstream.IdempotentProducer(json_stream, "a", **{name: "1"}),
        lambda: durstream.IdempotentProducer(json_stream, name),
        lambda: durstream.DurableStream("http://h/a", **{name: name}),
        lambda: durstream.DurableStream("http://h/a", headers={name: "1"}),
        lambda: durstream.DurableStream("http://h/a", headers={name: 1}),
        lambda: durstream.StreamSchema({name: 1}),
        lambda: durstream.StreamSchema({name: {**one, name: 1}}),
        lambda: durstream.StreamSchema({name: {**one, "schema": {"type": name}}}),
    ):
        with pytest.raises(InvalidArgumentError) as raised:
            wrong()
        assert 0 < len(str(raised.value)) < 2100 and len(raised.value.option or "") < 2100


def test_errors_survive_pickling():
    cause = durstream.TransportError("refused", url="http://h/a")
    error = durstream.DeliveryError("1 of 2", delivered=1, undelivered=1, cause=cause)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is durstream.DeliveryError and again.undelivered == 1
    assert str(again.cause) == "refused (http://h/a)"


def test_outcomes_and_stats_have_the_cores_names(json_stream):
    with durstream.IdempotentProducer(json_stream, "names") as producer:
        assert set(producer.stats()) == set(durstream.Stats.__annotations__)


@pytest.mark.parametrize(
    ("options", "option", "text"),
    [
        ({"linger_ms": -1}, "linger_ms", "from 0"),
        ({"linger_ms": 1.5}, "linger_ms", "whole number"),
        ({"linger_ms": True}, "linger_ms", "whole number"),
        ({"linger_ms": "soon"}, "linger_ms", "whole number"),
        ({"linger_ms": "5"}, "linger_ms", "whole number"),
        ({"auto_claim": "true"}, "auto_claim", "True or False"),
        ({"linger_ms": [1]}, "linger_ms", "whole number"),
        ({"linger_ms": 10**5000}, "linger_ms", "whole number"),
        ({"auto_claim": 1}, "auto_claim", "True or False"),
        ({"on_uncertain": "maybe"}, "on_uncertain", "one of"),
        ({"retry_multiplier": 0.5}, "retry_multiplier", "at least 1"),
        ({"retry_multiplier": float("nan")}, "retry_multiplier", "at least 1"),
        ({"lingerMs": 1}, "lingerMs", "`linger_ms`"),
        ({"delivery_timeout": 1}, "delivery_timeout", "`delivery_timeout_ms`"),
        ({"ttl_seconds": 1}, "ttl_seconds", "not of a "),
        ({"headers": {"Producer-Epoch": "1"}}, "headers", "library itself"),
        ({"headers": {"x": "a\r\nb: c"}}, "headers", "control"),
        ({"headers": {"x": b"s3cret"}}, "headers", "text, or a function that gives it, not bytes"),
        ({"params": {"x": b"s3cret"}}, "params", "takes text, not bytes"),
        ({"headers": {1: "x"}}, "headers", "names as text"),
        ({"headers": {"Stream-Seq": str}}, "headers", "library itself"),
        ({"headers": {"a b": str}}, "headers", "not a header name"),
        ({"headers": lambda: {}}, "headers", "mapping"),
        ({"on_error": 5}, "on_error", "callable"),
    ],
)
def test_wrong_options_are_named(json_stream, options, option, text):
    with pytest.raises(InvalidArgumentError) as raised:
        durstream.IdempotentProducer(json_stream, "wrong", **options)
    assert raised.value.option == option and text in str(raised.value)


NEVER = [-1, float("nan"), float("inf"), -float("inf"), 10**400, "5", "", True, False, [1]]
DELAYS = [*NEVER, 0, 1.5, 5.0, 86_400_001, 2**64]
WRONG_RETRIES = {
    "max_retries": [*NEVER, 1.5, 3.0, 1001, 2**64],
    "retry_initial_delay_ms": DELAYS,
    "retry_max_delay_ms": DELAYS,
    "retry_multiplier": [*NEVER, 0, 0.5, 0.999],
}


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name in WRONG_RETRIES for value in WRONG_RETRIES[name]]
)
def test_wrong_retries_are_named_at_construction(nowhere, option, value):
    wrong = {option: value}
    stream = durstream.DurableStream.connect(nowhere)
    schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "id"})
    makers = [
        lambda: durstream.DurableStream(nowhere, **wrong),
        lambda: durstream.DurableStream.connect(nowhere, **wrong),
        lambda: durstream.DurableStream.create(nowhere, **wrong),
    ]
    if option != "max_retries":
        makers += [
            lambda: durstream.IdempotentProducer(stream, "wrong", **wrong),
            lambda: durstream.create_durable_stream(
                url=nowhere, schema=schema, producer_id="wrong", **wrong
            ),
        ]
    for make in makers:
        with pytest.raises(InvalidArgumentError) as raised:
            make()
        assert raised.value.option == option and f"`{option}`" in str(raised.value)


def test_the_least_and_the_most_of_retries(nowhere):
    least = {"retry_initial_delay_ms": 1, "retry_max_delay_ms": 1, "retry_multiplier": 1}
    most = {"retry_initial_delay_ms": 86_400_000, "retry_max_delay_ms": 86_400_000}
    durstream.DurableStream(nowhere, max_retries=0, **least)
    durstream.DurableStream(nowhere, max_retries=1000, retry_multiplier=1.5, **most)


@pytest.mark.parametrize("producer_id", ["", "a b", "ü", "x" * 257, 5, None])
def test_wrong_producer_ids(json_stream, producer_id):
    with pytest.raises(InvalidArgumentError) as raised:
        durstream.IdempotentProducer(json_stream, producer_id)
    assert raised.value.option == "producer_id"


@pytest.mark.parametrize("url", [None, "", "nonsense", "ftp://h/a", "/relative", 5, "http://\ud800"])
def test_wrong_urls(url):
    with pytest.raises(InvalidArgumentError) as raised:
        durstream.DurableStream.connect(url)
    assert raised.value.option == "url"


def test_a_stream_is_a_durable_stream():
    with pytest.raises(InvalidArgumentError) as raised:
        durstream.IdempotentProducer("http://h/a", "wrong")
    assert raised.value.option == "stream"


def test_no_server_is_configured(monkeypatch):
    monkeypatch.delenv("DURABLE_STREAMS_URL")
    with pytest.raises(InvalidArgumentError, match="DURABLE_STREAMS_URL"):
        durstream.DurableStream.connect(stream_path="/a")


def test_endpoints_may_be_a_list(monkeypatch):
    monkeypatch.delenv("DURABLE_STREAMS_URL")
    stream = durstream.DurableStream.connect(stream_path="/a", endpoints=["http://h:1", "http://i"])
    assert stream.url == "http://h:1/v1/stream/a"


def test_secrets_are_not_shown():
    stream = durstream.DurableStream.connect("http://user:s3cret@h/a?token=s3cret")
    assert "s3cret" not in stream.url + repr(stream)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_wrong_timeouts(json_stream, timeout):
    with durstream.IdempotentProducer(json_stream, "timeouts") as producer:
        with pytest.raises(InvalidArgumentError) as raised:
            producer.flush(timeout)
        assert raised.value.option == "timeout"


def test_importing_starts_nothing():
    code = "import os, durstream; print(len(os.listdir('/proc/self/task')))"
    if not sys.platform.startswith("linux"):
        pytest.skip("threads are counted on Linux")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1"


def test_stubs_match_the_runtime():
    command = [sys.executable, "-m", "mypy.stubtest", "durstream._durstream"]
    out = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert out.returncode == 0, out.stdout + out.stderr
