"""Secrets are in nothing that a program prints, logs or raises."""

import logging
import traceback

import durstream
import pytest
from conftest import MARK
from durstream import DurableStream, IdempotentProducer, define_stream_schema

SCHEMA = define_stream_schema({"c": {"schema": {}, "type": "c", "primary_key": "id"}})


def options(place):
    """A secret wherever there may be one."""
    return {
        "url": f"{place.replace('://', f'://user:{MARK}-password@')}?token={MARK}-query",
        "params": {"api_key": f"{MARK}-parameter"},
        "headers": {"x-api-key": f"{MARK}-header", "authorization": lambda: f"{MARK}-function"},
    }


def all_of(error):
    """An error as it is printed, kept and logged, with what caused it."""
    shown = [str(error), repr(error), repr(error.args), repr(vars(error))]
    # No lines of source: those of this file hold secrets.
    for part in (error, error.__cause__, error.__context__):
        shown += traceback.format_exception_only(type(part), part) if part else []
    return shown


def outcome_of(call):
    """What a call raises or returns."""
    try:
        return [repr(call())]
    except durstream.DurstreamError as error:
        return all_of(error)


@pytest.mark.parametrize("place", ["server", "nobody", "proxy", "tls"])
def test_no_secret_is_shown(place, url, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    where = {
        "server": options(url),
        "nobody": options("http://127.0.0.1:1/x"),
        "proxy": {**options(url), "proxy": f"http://user:{MARK}-proxy@127.0.0.1:1"},
        "tls": {**options(url), "ca_pem": f"-----BEGIN CERTIFICATE-----\n{MARK}-pem\n"},
    }[place]
    few = {**where, "content_type": "text/plain", "max_retries": 0, "idempotent": False}
    shown = outcome_of(lambda: DurableStream.create(**few))
    try:
        shown += used(few, shown)
    except durstream.InvalidArgumentError as error:
        assert place == "tls"
        shown += all_of(error)
    state = {**where, "schema": SCHEMA, "producer_id": "state", "delivery_timeout_ms": 100}
    shown += outcome_of(lambda: durstream.inspect(**state))
    if place != "tls":
        producer = durstream.create_durable_stream(**state)
        shown += [repr(producer), str(vars(type(producer)).keys())]
        shown.append(repr(producer.upsert("c", {"id": "1"})))
        shown += outcome_of(producer.flush) + [repr(producer.stats)]
        producer.stop()
    shown += [record.getMessage() for record in caplog.records]
    shown += list(capfd.readouterr())
    assert len(shown) > 10
    leaks = [text.replace(MARK, "S...") for text in shown if MARK in text]
    assert not leaks


def used(few, shown):
    """What a handle and its producer say of themselves."""
    stream = DurableStream.connect(**few)
    shown += [repr(stream), str(stream), stream.url]
    for call in (stream.head, lambda: stream.append(b"x"), lambda: list(stream.read())):
        shown += outcome_of(call)
    heard = []
    producer = IdempotentProducer(stream, "p", delivery_timeout_ms=100, on_error=heard.append)
    receipt = producer.append("x")
    shown += outcome_of(producer.flush) + [repr(producer), repr(producer.stats), repr(receipt)]
    producer.stop()
    return [repr(failure) for failure in heard]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": f"http://user:{MARK}@h:port/"},
        {"url": f"{MARK}://h/"},
        {"headers": {"x": f"{MARK}\n"}},
        {"headers": {"x": [MARK]}},
        {"headers": [MARK]},
        {"params": {"x": [MARK]}},
        {"params": MARK},
        {"proxy": f"socks5://user:{MARK}@p"},
        {"proxy": [MARK]},
        {"client_key_pem": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n"},
        {"ca_pem": [MARK]},
    ],
)
def test_what_cannot_be_used_is_not_shown(wrong):
    good = {"url": "http://127.0.0.1:1/x", "content_type": "text/plain"}
    with pytest.raises(durstream.DurstreamError) as raised:
        DurableStream.connect(**{**good, **wrong})
    shown = "\n".join(all_of(raised.value)).replace(MARK, "S...")
    assert "S..." not in shown
