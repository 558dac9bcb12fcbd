"""The logger ``durstream``: levels, fields, and handlers that go wrong."""

import logging
import socket

import durstream
from conftest import Gate, read_json, run_python, wait_until


def write(url, producer_id):
    stream = durstream.DurableStream.create(url, content_type="application/json")
    with durstream.IdempotentProducer(stream, producer_id) as producer:
        producer.append({"n": 1})
        producer.flush(20)


def of(caplog, producer_id):
    records = list(caplog.records)
    return [record for record in records if getattr(record, "producer_id", None) == producer_id]


def test_steps_are_at_debug_with_fields(url, caplog):
    caplog.set_level(logging.DEBUG, "durstream")
    write(url, "steps")
    wait_until(lambda: any("-> stopped" in r.getMessage() for r in of(caplog, "steps")))
    records = of(caplog, "steps")
    assert {record.levelname for record in records} == {"DEBUG"}
    assert {(r.name, r.target, r.stream) for r in records} == {("durstream", "producer", url)}
    assert records[0].epoch > 0 and records[0].attempt is None
    said = [record.getMessage() for record in records]
    assert said.count("producer steps: connecting -> ready") == 1, said


def test_requests_are_below_debug(url, caplog):
    caplog.set_level(5, "durstream")
    write(url, "requests")
    sent = "producer requests: sends batch 0: 1 write"
    wait_until(lambda: any(sent in record.getMessage() for record in of(caplog, "requests")))
    assert {record.levelno for record in of(caplog, "requests")} == {logging.DEBUG, 5}


def test_a_level_set_later_counts_at_once(url, caplog):
    caplog.set_level(logging.WARNING, "durstream")
    stream = durstream.DurableStream.create(f"{url}-text", content_type="text/plain")
    producer = durstream.IdempotentProducer(stream, "later")
    caplog.handler.setLevel(logging.DEBUG)
    logging.getLogger("durstream").setLevel(logging.DEBUG)
    producer.append("x")
    producer.detach(20)
    wait_until(lambda: any("-> stopped" in r.getMessage() for r in of(caplog, "later")))
    logging.getLogger("durstream").setLevel(logging.WARNING)
    write(url, "quiet")
    assert not of(caplog, "quiet")


PRELUDE = """
import logging, sys, durstream
url = sys.argv[1]
stream = durstream.DurableStream.create(url, content_type="application/json")
logger = logging.getLogger("durstream")
logger.setLevel(logging.DEBUG)
"""


def test_a_handler_that_raises_loses_nothing_and_is_told_once(url):
    code = PRELUDE + """
class Raises(logging.Handler):
    def emit(self, record): raise RuntimeError("the handler's own")
logger.addHandler(Raises())
with durstream.IdempotentProducer(stream, "raises") as producer:
    for n in range(3): producer.append(n)
    producer.flush(20)
durstream.shutdown(20)
"""
    _, err = run_python(code, url)
    assert read_json(url) == [0, 1, 2]
    assert err.count("RuntimeError: the handler's own") == 1, err
    for step in ("connecting -> ready", "ready -> stopping", "stopping -> stopped"):
        assert err.count(f"durstream: producer raises: {step}\n") == 1, err


def test_a_handler_may_publish_with_the_library(url):
    code = PRELUDE + """
log = durstream.IdempotentProducer(durstream.DurableStream.create(url + "-log", content_type="application/json"), "log")
import threading
heard = threading.Event()
class Publishes(logging.Handler):
    def emit(self, record):
        if record.producer_id != "log": log.append_json(record.getMessage())
        if "published: connecting -> ready" in record.getMessage(): heard.set()
        try: log.flush(20)
        except durstream.NotSupportedError as error: assert error.reason == "would-deadlock"
        else: raise AssertionError("a wait within the log")
logger.addHandler(Publishes())
with durstream.IdempotentProducer(stream, "published") as producer:
    producer.append(1)
    producer.flush(20)
heard.wait(60)  # the log has a thread of its own
durstream.shutdown(20)
"""
    _, err = run_python(code, url)
    assert "AssertionError" not in err
    assert "producer published: connecting -> ready" in read_json(f"{url}-log")


def test_an_outage_is_told_with_its_end(caplog):
    caplog.set_level(logging.INFO, "durstream")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    host = f"http://127.0.0.1:{port}"
    url = f"http://user:secret@127.0.0.1:{port}/v1/stream/x"
    stream = durstream.DurableStream.connect(url, content_type="text/plain")
    pauses = {"retry_initial_delay_ms": 10, "retry_max_delay_ms": 10}
    producer = durstream.IdempotentProducer(stream, "outage", **pauses)
    receipt = producer.append("x")
    said = lambda: [(r.levelname, r.getMessage()) for r in caplog.records if host in r.getMessage()]
    wait_until(lambda: len(said()) == 1)
    server = Gate(port)
    server.open.set()
    assert receipt.wait().delivered
    wait_until(lambda: len(said()) == 2)
    (lost, why), (back, after) = said()
    assert lost == "WARNING" and why.startswith(f"cannot reach {host}: Connection refused")
    assert back == "INFO" and after.startswith(f"{host} answers again, after ")
    assert after.endswith("; 1 write waited")
    assert "secret" not in caplog.text
    producer.detach()
    server.end()


WITHOUT = """
import sys, durstream

def fail(producer_id):
    stream = durstream.DurableStream.connect(sys.argv[1])
    producer = durstream.IdempotentProducer(stream, producer_id, delivery_timeout_ms=1)
    producer.append("x")
    try: producer.flush(20)
    except durstream.DeliveryError: pass

fail("early")
assert "logging" not in sys.modules
import logging
lines = []
class Kept(logging.Handler):
    def emit(self, record): lines.append(record.getMessage())
logging.getLogger().addHandler(Kept())
fail("late")
durstream.shutdown(5)
assert any("late" in line for line in lines), lines
logging.getLogger("durstream").setLevel(logging.DEBUG)
lines.clear()
fail("last")
durstream.shutdown(5)
assert any("last: connecting" in line for line in lines), lines
"""


def test_a_program_that_loads_logging_later_has_the_log_from_then_on(nowhere):
    _, err = run_python(WITHOUT, nowhere)
    assert "early" in err and "late" not in err and "last" not in err
