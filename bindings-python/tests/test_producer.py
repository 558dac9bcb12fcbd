"""The exactly-once writer."""

import array
import gc
import inspect
import threading
import warnings

import durstream
import pytest
from conftest import is_closed, read_bytes, read_json, wait_until
from conftest import each_base as base  # noqa: F401  (with the server, and with a recorder)
from durstream import IdempotentProducer


def test_order_and_counts(json_stream):
    producer = IdempotentProducer(json_stream, "order")
    receipts = [producer.append({"n": n}) for n in range(2000)]
    assert [receipt.id for receipt in receipts] == list(range(1, 2001))
    assert producer.flush() == durstream.FlushReport(delivered=2000)
    assert receipts[-1].wait().delivered and receipts[-1].outcome == receipts[-1].wait()
    stats = producer.stats()
    assert stats["accepted"] == stats["delivered"] == 2000 and stats["pending"] == 0
    assert producer.state == "ready" and producer.epoch > 0 and producer.next_seq >= 1
    assert producer.pending_count == producer.in_flight_count == 0
    assert producer.last_offset and producer.last_error is None
    assert producer.producer_id == "order" and producer.url == json_stream.url
    producer.detach()
    assert read_json(json_stream.url) == [{"n": n} for n in range(2000)]
    assert not is_closed(json_stream.url)


def test_append_is_called_as_its_signature_says(text_stream):
    """The usual call has a way of its own, every other one that of all methods."""
    assert str(inspect.signature(IdempotentProducer.append)) == "(self, /, message)"
    assert "one message" in str(IdempotentProducer.append.__doc__)
    with IdempotentProducer(text_stream, "calls") as producer:
        assert producer.append("a").id == 1
        assert producer.append(message="b").id == 2
        assert producer.append(**{"message": b"c"}).id == 3
        assert IdempotentProducer.append(producer, "d").id == 4
        assert [receipt.id for receipt in map(producer.append, "ef")] == [5, 6]
        for arguments in [(), ("a", "b")]:
            with pytest.raises(TypeError, match="append"):
                producer.append(*arguments)
        with pytest.raises(TypeError, match="append.*unexpected keyword argument 'text'"):
            producer.append(text="a")
        with pytest.raises(TypeError):
            IdempotentProducer.append(object(), "a")
        assert producer.flush().delivered == 6
    assert read_bytes(text_stream.url) == b"abcdef"


def test_text_reaches_the_stream_byte_for_byte(json_stream):
    texts = [
        '{"big": 123456789012345678901234567890, "f": 1.10, "e": 1E5}',
        ' { "spaced" :  [ 1 , 2 ] } '.strip(),
        '{"twice":1,"twice":2}',
        '"\\u00fc ü 💧 \\ud83d\\udca7"',
        b'{"bytes":"\xc3\xbc"}',
        bytearray(b"[1]"),
        memoryview(b"2"),
    ]
    with IdempotentProducer(json_stream, "bytes") as producer:
        producer.append_many(texts)
    expected = [t.encode() if isinstance(t, str) else bytes(t) for t in texts]
    assert read_bytes(json_stream.url) == b"[" + b",".join(expected) + b"]"


def test_values_are_written_as_json(json_stream):
    values = [{"ü": "💧\u2028"}, [1, None, True, 1.5], 2**80, "text as it is", {}, {"k": (1, 2)}]
    with IdempotentProducer(json_stream, "values") as producer:
        for value in values:
            producer.append_json(value)
        producer.append({"a": 1})
    assert read_json(json_stream.url) == [*values[:-1], {"k": [1, 2]}, {"a": 1}]
    assert '{"ü":"💧\u2028"}'.encode() in read_bytes(json_stream.url)


def test_bytes_of_every_kind(text_stream):
    integers = array.array("H", [0x6161, 0x6262])
    with IdempotentProducer(text_stream, "raw") as producer:
        for part in ("ü", b"\x00\xff", bytearray(b"ba"), memoryview(integers), memoryview(b"x-y")[::2]):
            producer.append(part)
    assert read_bytes(text_stream.url) == "ü".encode() + b"\x00\xffba" + b"aabb" + b"xy"


def cyclic():
    value = []
    value.append(value)
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


UNSERIALISABLE = [
    float("nan"),
    {"a": float("inf")},
    {"a": b"bytes"},
    {1, 2},
    object(),
    "\ud800",
    {"a": "\udfff"},
    {(1, 2): 3},
]


@pytest.mark.parametrize("value", [*UNSERIALISABLE, cyclic(), deep()], ids=lambda v: type(v).__name__)
def test_what_json_cannot_say_is_refused(json_stream, value):
    with IdempotentProducer(json_stream, "refused") as producer:
        with pytest.raises(durstream.ValidationError) as raised:
            producer.append(value)
        assert raised.value.reason == "serialization-failed" and raised.value.message
        assert producer.try_append(value).outcome.reason == "serialization-failed"
        assert producer.stats()["refused_invalid"] == 2
        producer.append({"still": "alive"})
    assert read_json(json_stream.url) == [{"still": "alive"}]


@pytest.mark.parametrize("text", ["", b"", "{", "1 2", "NaN", b'"\xff"', "[1,]"])
def test_broken_json_is_refused(json_stream, text):
    with IdempotentProducer(json_stream, "broken") as producer:
        with pytest.raises(durstream.ValidationError) as raised:
            producer.append(text)
        assert raised.value.reason == "invalid-value" and raised.value.url == json_stream.url
        receipt = producer.try_append(text)
        assert not receipt.accepted and receipt.id == 0
        assert receipt.wait(0).status == "rejected"
        assert producer.flush().delivered == 0


def test_values_need_a_json_stream(text_stream):
    with IdempotentProducer(text_stream, "values") as producer:
        with pytest.raises(durstream.ValidationError, match="str or bytes"):
            producer.append({"a": 1})
        with pytest.raises(durstream.ValidationError):
            producer.append("")
        producer.append_json({"a": 1})
    assert read_bytes(text_stream.url) == b'{"a":1}'


def test_append_many_says_how_far_it_came(json_stream):
    with IdempotentProducer(json_stream, "many") as producer:
        with pytest.raises(durstream.ValidationError) as raised:
            producer.append_many(["1", "2", "three", "4"])
        assert [receipt.id for receipt in raised.value.receipts] == [1, 2]
    assert read_json(json_stream.url) == [1, 2]


def test_append_many_takes_an_iterable(json_stream):
    with IdempotentProducer(json_stream, "many") as producer:
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            producer.append_many(5)
        assert raised.value.option == "messages"


def test_too_large(json_stream):
    with IdempotentProducer(json_stream, "large", max_write_bytes=100) as producer:
        with pytest.raises(durstream.TooLargeError) as raised:
            producer.append("1" * 101)
        assert raised.value.reason == "too-large"
        with pytest.raises(durstream.DeliveryError):
            producer.flush()


def test_close_ends_the_stream(json_stream):
    producer = IdempotentProducer(json_stream, "closing")
    producer.append({"n": 1})
    result = producer.close({"n": 2})
    assert result.final_offset and producer.close() == result
    assert is_closed(json_stream.url) and read_json(json_stream.url) == [{"n": 1}, {"n": 2}]
    with pytest.raises(durstream.ProducerClosedError):
        producer.append({"n": 3})
    assert producer.try_append({"n": 3}).outcome.status == "rejected"


def test_close_refuses_a_broken_last_message(json_stream):
    with IdempotentProducer(json_stream, "closing") as producer:
        for broken in ("{", {1}):
            with pytest.raises(durstream.ValidationError):
                producer.close(broken)
        producer.append({"n": 1})
    assert not is_closed(json_stream.url) and read_json(json_stream.url) == [{"n": 1}]


def test_a_context_delivers_and_raises(json_stream, nowhere):
    with IdempotentProducer(json_stream, "context") as producer:
        producer.append({"n": 1})
    assert read_json(json_stream.url) == [{"n": 1}]
    lost = durstream.DurableStream.connect(nowhere)
    with pytest.raises(durstream.DeliveryError):
        with IdempotentProducer(lost, "context", delivery_timeout_ms=50) as producer:
            producer.append("x")
    with pytest.raises(KeyError):
        with IdempotentProducer(lost, "context", delivery_timeout_ms=50) as producer:
            producer.append("x")
            raise KeyError
    with pytest.raises(KeyboardInterrupt):
        with IdempotentProducer(lost, "context", delivery_timeout_ms=50) as producer:
            producer.append("x")
            raise KeyboardInterrupt


@pytest.mark.parametrize("wait", ["flush", "close", "receipt", "ready"])
def test_a_wait_that_ran_out_names_the_failure(nowhere, wait):
    stream = durstream.DurableStream.connect(nowhere, content_type="text/plain")
    producer = IdempotentProducer(stream, "nobody", max_buffer_items=1)
    receipt = producer.append("x")
    wait_until(lambda: producer.last_error is not None)
    waits = {
        "flush": producer.flush,
        "close": lambda timeout: producer.close(timeout=timeout),
        "receipt": receipt.wait,
        "ready": producer.wait_ready,
    }
    if wait == "ready":
        assert not producer.try_append("y").accepted
    with pytest.raises(durstream.TimeoutError, match="The last failure: append failed") as raised:
        waits[wait](0.05)
    assert isinstance(raised.value.cause, durstream.TransportError)
    assert raised.value.__cause__ is raised.value.cause
    producer.stop()


def test_no_server(nowhere):
    stream = durstream.DurableStream.connect(nowhere)
    producer = IdempotentProducer(stream, "nobody", delivery_timeout_ms=2000)
    receipt = producer.append("x")
    with pytest.raises(durstream.DeliveryError) as raised:
        producer.flush()
    error = raised.value
    assert error.undelivered == 1 and error.delivered == 0
    assert isinstance(error.cause, durstream.TransportError) and error.__cause__ is error.cause
    assert error.cause.url == nowhere and nowhere in str(error)
    outcome = receipt.wait()
    assert not outcome.delivered and outcome.reason == "expired" and outcome.error is not None
    assert isinstance(producer.last_error, durstream.TransportError)
    producer.stop()


def test_a_flush_runs_out_and_consumes_nothing(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "slow")
    receipt = producer.append("x")
    for wait in (producer.flush, receipt.wait):
        with pytest.raises(durstream.TimeoutError) as raised:
            wait(0.01)
        assert raised.value.retryable
    assert receipt.outcome is None
    gate.open.set()
    assert producer.flush().delivered == 1 and receipt.outcome.delivered
    producer.detach()


def test_stop_settles_what_is_pending(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "stopped")
    sent = producer.append("sent")
    gate.arrived.wait()
    waiting = producer.append("waiting")
    producer.stop()
    assert sent.wait().status == "delivery-unknown"
    assert waiting.wait().status == "cancelled"
    wait_until(lambda: producer.state == "stopped")


def test_a_full_buffer(gate):
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "full", max_buffer_items=2, max_block_ms=20)
    producer.append("1")
    producer.append("2")
    assert producer.try_append("3").outcome.reason == "buffer-count-exceeded"
    with pytest.raises(durstream.BufferFullError) as raised:
        producer.append("3")
    assert raised.value.retryable
    gate.open.set()
    with pytest.raises(durstream.DeliveryError):
        producer.flush()
    producer.detach()


def test_a_full_buffer_sends_what_lingers(gate):
    gate.open.set()
    stream = durstream.DurableStream.connect(gate.url)
    options = {"linger_ms": 60_000, "max_buffer_items": 2, "max_block_ms": 5_000}
    producer = IdempotentProducer(stream, "full", **options)
    for _ in range(6):
        producer.append("x")
    assert producer.flush().delivered == 6
    producer.detach()


def test_append_waits_for_room_and_lets_others_run(gate):
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "full", max_buffer_bytes=4096, max_in_flight=1)
    threading.Timer(0.05, gate.open.set).start()
    receipts = [producer.append("x" * 100) for _ in range(200)]
    assert producer.flush().delivered == 200
    assert all(receipt.accepted for receipt in receipts)
    assert b"".join(gate.bodies) == b"x" * 20_000
    producer.detach()


def test_a_write_that_fits_waits_for_nothing(gate):
    """Room is what the write needs, and no margin beside it."""
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "fits", max_buffer_bytes=2_000)
    written = threading.Thread(target=lambda: [producer.append("x" * 300) for _ in range(4)])
    written.start()
    written.join(20)
    has_waited = written.is_alive()
    gate.open.set()
    written.join()
    assert not has_waited
    assert producer.flush().delivered == 4
    producer.detach()


def test_ready_after_a_full_buffer(gate):
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "ready", max_buffer_items=1)
    producer.wait_ready()
    first = producer.append("1")
    assert not producer.try_append("2").accepted
    with pytest.raises(durstream.TimeoutError, match="wait_ready"):
        producer.wait_ready(0.01)
    gate.open.set()
    producer.wait_ready()
    assert first.outcome.delivered and producer.try_append("2").accepted
    producer.stop()
    with pytest.raises(durstream.ProducerClosedError):
        producer.wait_ready()


def test_on_error_gets_what_was_not_written(nowhere):
    failures = []
    stream = durstream.DurableStream.connect(nowhere)
    producer = IdempotentProducer(stream, "failing", on_error=failures.append, delivery_timeout_ms=50)
    producer.append("one")
    producer.append("two")
    with pytest.raises(durstream.DeliveryError):
        producer.flush()
    wait_until(lambda: len(failures) == 2)
    told = sorted((error.failure.id, error.failure.payload) for error in failures)
    assert told == [(1, b"one"), (2, b"two")]
    assert all(isinstance(error, durstream.DurstreamError) for error in failures)
    assert failures[0].failure.outcome.reason == "expired"
    producer.stop()


def test_a_callback_must_not_wait_but_may_write(nowhere, json_stream):
    other = IdempotentProducer(json_stream, "other")
    stream = durstream.DurableStream.connect(nowhere)
    patient = IdempotentProducer(stream, "patient", on_error=lambda _: None)
    patient.append("pending all along")
    seen = []

    def on_error(error):
        seen.append(other.append({"lost": error.failure.payload.decode()}))
        try:
            seen.append(patient.flush())
        except durstream.DurstreamError as refused:
            seen.append(refused)

    with IdempotentProducer(stream, "waits", on_error=on_error, delivery_timeout_ms=50) as producer:
        producer.append("x")
        with pytest.raises(durstream.DeliveryError):
            producer.flush()
        wait_until(lambda: len(seen) == 2)
    assert isinstance(seen[1], durstream.NotSupportedError)
    patient.stop()
    other.detach()
    assert read_json(json_stream.url) == [{"lost": "x"}]


def test_a_callback_that_raises_is_reported(nowhere, monkeypatch):
    reported, called = [], []
    monkeypatch.setattr("sys.unraisablehook", lambda hook: reported.append(hook.exc_value))

    def on_error(error):
        called.append(error)
        raise RuntimeError("mine")

    stream = durstream.DurableStream.connect(nowhere)
    producer = IdempotentProducer(stream, "raising", on_error=on_error, delivery_timeout_ms=50)
    producer.append_many(["one", "two"])
    wait_until(lambda: len(called) == len(reported) == 2)
    assert [str(error) for error in reported] == ["mine", "mine"]
    producer.stop()


def test_fencing(json_stream):
    fenced = []
    first = IdempotentProducer(json_stream, "one-id", on_error=fenced.append)
    first.append({"by": "first"}).wait()
    with IdempotentProducer(json_stream, "one-id") as second:
        second.append({"by": "second"}).wait()
        assert first.append({"by": "nobody"}).wait().reason == "fenced"
        wait_until(lambda: fenced)
        assert isinstance(fenced[0], durstream.StaleEpochError)
        assert fenced[0].current_epoch == second.epoch
        assert first.state == "fenced"
        with pytest.raises(durstream.StaleEpochError):
            # A rejected receipt until the callback has returned.
            while not first.append({"by": "nobody"}).accepted:
                pass
    first.stop()
    assert read_json(json_stream.url) == [{"by": "first"}, {"by": "second"}]


def test_restart_is_the_way_back_after_being_fenced(json_stream):
    first = IdempotentProducer(json_stream, "one-id", on_error=lambda _: None)
    first.append({"n": 1}).wait()
    with IdempotentProducer(json_stream, "one-id") as second:
        second.append({"n": 2}).wait()
    assert first.append({"n": "lost"}).wait().reason == "fenced"
    with pytest.raises(durstream.DeliveryError):
        first.flush()
    first.restart()
    assert first.append({"n": 3}).wait().delivered and first.epoch > second.epoch
    first.restart()
    first.append({"n": 4})
    assert first.detach().delivered == 2
    wait_until(lambda: first.state == "stopped")
    with pytest.raises(durstream.ProducerClosedError):
        first.restart()
    assert read_json(json_stream.url) == [{"n": n} for n in (1, 2, 3, 4)]


def test_a_restart_waits_for_what_was_accepted(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "restarting")
    receipt = producer.append("x")
    with pytest.raises(durstream.TimeoutError, match="restart"):
        producer.restart(0.01)
    gate.open.set()
    producer.restart()
    assert receipt.outcome.delivered
    producer.detach()


def test_shared_ids_write_side_by_side(json_stream):
    with IdempotentProducer(json_stream, "one-id", shared=True) as first:
        with IdempotentProducer(json_stream, "one-id", shared=True) as second:
            assert first.producer_id != second.producer_id
            for n in range(10):
                first.append({"n": n}).wait()
                second.append({"n": n}).wait()
    assert read_json(json_stream.url) == [{"n": n} for n in range(10) for _ in (1, 2)]


def test_headers_are_sent(gate):
    gate.open.set()
    stream = durstream.DurableStream.connect(gate.url, headers={"x-stream": "1"})
    with IdempotentProducer(stream, "headers", headers={"x-own": "ü"}) as producer:
        producer.append("x")
    sent = {name.lower(): value for name, value in gate.headers[0].items()}
    assert sent["x-stream"] == "1" and sent["x-own"].encode("latin-1").decode() == "ü"
    assert sent["producer-id"] == "headers"


def test_threads_share_a_producer(json_stream):
    producer = IdempotentProducer(json_stream, "threads", max_buffer_items=50)

    def write(worker):
        for n in range(300):
            producer.append({"worker": worker, "n": n})

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert producer.flush().delivered == 1200
    producer.detach()
    values = read_json(json_stream.url)
    for worker in range(4):
        assert [v["n"] for v in values if v["worker"] == worker] == list(range(300))


def test_letting_go_warns_and_delivers(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "dropped")
    receipt = producer.append("x")
    with pytest.warns(ResourceWarning, match="1 write pending"):
        del producer
        gc.collect()
    gate.open.set()
    assert receipt.wait().delivered and gate.bodies == [b"x"]


def test_a_producer_that_was_let_go_of_properly_says_nothing(json_stream):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        producer = IdempotentProducer(json_stream, "quiet")
        producer.append({"n": 1})
        producer.flush()
        del producer
        gc.collect()


def test_a_callback_that_knows_its_producer_is_collected(json_stream):
    import weakref

    class Service:
        def __init__(self):
            self.producer = IdempotentProducer(json_stream, "cycle", on_error=self.failed)

        def failed(self, error):
            pass

    service = weakref.ref(Service())
    gc.collect()
    assert service() is None


def test_outcome_of_a_receipt_does_not_wait(gate):
    producer = IdempotentProducer(durstream.DurableStream.connect(gate.url), "look")
    receipt = producer.append("x")
    assert [receipt.outcome for _ in range(1000)] == [None] * 1000
    gate.open.set()
    wait_until(lambda: receipt.outcome is not None)
    assert receipt.outcome.delivered and receipt.outcome.attempts == 1
    assert repr(receipt) == "Receipt(1)"
    producer.detach()


def test_a_loop_that_ends_by_a_flag_needs_no_handling_of_errors(json_stream):
    """A fenced producer's append raises only once ``on_error`` was told."""
    fenced = []

    def on_error(error):
        if isinstance(error, durstream.StaleEpochError):
            fenced.append(error)

    old = IdempotentProducer(json_stream, "svc", on_error=on_error)
    old.append(1)
    old.flush()
    with IdempotentProducer(json_stream, "svc") as young:
        young.append(2)
    receipts = []
    while not fenced:
        receipts.append(old.append(3))
    assert receipts[-1].wait().reason in ("fenced", "producer-failed")
    with pytest.raises(durstream.StaleEpochError):
        while True:
            old.append(4)
