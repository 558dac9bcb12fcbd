"""The process around it: restarts, exits, forks, Ctrl-C, shutdown, logs."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import durstream
import pytest
from conftest import (
    Gate,
    read_json,
    run_python,
    start_python,
    wait_until,
)
from durstream import IdempotentProducer

OPEN = """
import sys, durstream
stream = durstream.DurableStream.create(sys.argv[1], content_type="application/json")
producer = durstream.IdempotentProducer(stream, "fixed-id")
"""
#: The end waits, however long the machine stands still.
PATIENT = "durstream.set_exit_timeout(60)\n"


def test_a_restart_under_one_id_loses_and_doubles_nothing(url):
    write = OPEN + "for n in range(500): producer.append({'run': sys.argv[2], 'n': n})\n"
    write += "print(producer.flush().delivered)"
    for run in ("first", "second"):
        assert run_python(write, url, run)[0].strip() == "500"
    expected = [{"run": run, "n": n} for run in ("first", "second") for n in range(500)]
    assert read_json(url) == expected


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "del producer"])
def test_an_exit_without_flush_delivers(url, ending):
    code = OPEN + PATIENT + "for n in range(2000): producer.append({'n': n})\n" + ending
    run_python(code, url)
    assert read_json(url) == [{"n": n} for n in range(2000)]


def test_state_is_delivered_at_exit(path, url):
    code = """
schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "id"})
producer = durstream.create_durable_stream(stream_path=sys.argv[1], schema=schema, producer_id="a")
for n in range(500): producer.upsert("a", {"id": n})
"""
    run_python("import sys, durstream\n" + PATIENT + code, path)
    assert [event["value"]["id"] for event in read_json(url)] == list(range(500))


def test_an_exit_is_bounded_and_says_what_was_given_up(nowhere):
    code = """
import sys, durstream
durstream.set_exit_timeout(0.05)
producer = durstream.IdempotentProducer(durstream.DurableStream(sys.argv[1]), "lost")
producer.append("x")
"""
    _, err = run_python(code, nowhere)
    [line] = [line for line in err.splitlines() if "cannot reach" not in line]
    assert f"1 write was still pending after 50 ms: 1 write to {nowhere}" in line


def test_callbacks_are_told_before_the_exit(nowhere):
    code = """
import sys, durstream
durstream.set_exit_timeout(0.05)
told = lambda error: print(error.failure.payload, error.failure.outcome.reason)
producer = durstream.IdempotentProducer(durstream.DurableStream(sys.argv[1]), "a", on_error=told)
producer.append("x")
"""
    out, _ = run_python(code, nowhere)
    assert out.strip() == "b'x' producer-stopped"


def test_an_exit_with_daemon_threads_that_write(url):
    code = OPEN + """
import threading, time
def write():
    try:
        while True: producer.append({"n": 1})
    except durstream.ProducerClosedError:
        pass
threads = [threading.Thread(target=write, daemon=True) for _ in range(4)]
for thread in threads: thread.start()
while producer.stats()["accepted"] < 1000: time.sleep(0.001)
"""
    run_python(code, url)
    assert len(read_json(url)) >= 1000


@pytest.mark.parametrize("call", ["flush()", "append('x' * 1000)", "append('y').wait()"])
def test_an_exit_while_daemon_threads_wait(gate, call):
    code = f"""
import sys, threading, durstream
durstream.set_exit_timeout(0.05)
stream = durstream.DurableStream(sys.argv[1])
producer = durstream.IdempotentProducer(stream, "a", max_buffer_bytes=4096)
producer.append("x")
def wait():
    while True:
        try: producer.{call}
        except durstream.DurstreamError: pass
for _ in range(3): threading.Thread(target=wait, daemon=True).start()
print("started", flush=True)
sys.stdin.readline()
"""
    program = start_python(code, gate.url, stdin=subprocess.PIPE)
    assert program.stdout.readline().strip() == "started"
    gate.arrived.wait()
    _, err = program.communicate("end\n", timeout=60)
    assert program.returncode == 0, err


@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(3600)",
        "[0 for _ in iter(int, 1)]",
        "[time.sleep(0.0005) for _ in iter(int, 1)]",
        "[producer.try_append('y') for _ in iter(int, 1)]",
    ],
)
def test_an_exit_while_a_callback_hangs(nowhere, hang):
    code = f"""
import sys, threading, time, durstream
durstream.set_exit_timeout(0.05)
hangs = threading.Event()
def hang(error):
    hangs.set()
    {hang}
producer = durstream.IdempotentProducer(
    durstream.DurableStream(sys.argv[1]), "a", on_error=hang, delivery_timeout_ms=1)
producer.append("x")
hangs.wait()
print("ends", flush=True)
"""
    out, err = run_python(code, nowhere)
    assert out.strip() == "ends" and "SystemExit" not in err


@pytest.mark.parametrize("hang", ["time.sleep(3600)", "while True: pass", "asyncio.run(asyncio.sleep(3600))"])
def test_an_exit_while_a_header_function_hangs(gate, hang):
    code = f"""
import asyncio, sys, threading, time, durstream
durstream.set_exit_timeout(0.05)
asked = threading.Event()
def hang():
    asked.set()
    {hang}
stream = durstream.DurableStream(sys.argv[1], headers={{"Authorization": hang}})
producer = durstream.IdempotentProducer(stream, "hangs")
producer.append("x")
asked.wait()
"""
    program = start_python(code, gate.url)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 0 and "pending" in err and "Traceback" not in err, err
    assert not gate.arrived.is_set()


def test_shutdown_and_a_fresh_start(url):
    code = OPEN + """
receipt = producer.append({"n": 1})
durstream.shutdown(10)
assert receipt.wait().delivered and producer.state == "stopped"
try: producer.append({"n": 2})
except durstream.ProducerClosedError: pass
else: sys.exit("accepted")
again = durstream.IdempotentProducer(stream, "fixed-id")
again.append({"n": 3})
durstream.flush_all()
assert durstream.pending_count() == 0
durstream.shutdown(10)
durstream.shutdown(0)
"""
    run_python(code, url)
    assert read_json(url) == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("wrong", ["5", b"5", -1, float("nan"), [1], 10**400])
def test_limits_are_seconds(wrong):
    for call, option in [
        (durstream.set_exit_timeout, "seconds"),
        (durstream.shutdown, "timeout"),
        (durstream.flush_all, "timeout"),
    ]:
        with pytest.raises(durstream.InvalidArgumentError) as raised:
            call(wrong)
        assert raised.value.option == option


def test_a_shutdown_has_the_same_limit_as_the_end(nowhere):
    code = """
import sys, durstream
stream = durstream.DurableStream.connect(sys.argv[1])
durstream.IdempotentProducer(stream, "a").append("x")
try: durstream.shutdown()
except durstream.TimeoutError as error: assert "after 3000 ms" in str(error), error
else: sys.exit("delivered")
"""
    run_python(code, nowhere)


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@forks
def test_fork(url):
    code = OPEN + """
import os
receipt = producer.append({"by": "parent"})
producer.flush()
child = os.fork()
if child == 0:
    def forked(call):
        try: call()
        except durstream.ForkedError: return
        os._exit(2)
    for call in (
        lambda: producer.append({"by": "child"}), producer.flush, producer.detach, producer.close,
        producer.stats, lambda: producer.state, receipt.wait,
        lambda: producer.append_json(1),
    ):
        forked(call)
    producer.stop()
    assert not producer.try_append("1").accepted
    del producer, receipt
    own = durstream.IdempotentProducer(stream, "child-id")
    own.append({"by": "child"})
    sys.exit(0)  # without flush
assert os.waitpid(child, 0)[1] == 0
producer.append({"by": "parent"})
"""
    run_python(code, url)
    assert [value["by"] for value in read_json(url)] == ["parent", "child", "parent"]


@forks
def test_fork_with_writes_under_way(url):
    code = OPEN + """
import os
children = []
for n in range(500):
    producer.append({"n": n})
    if n % 100 == 0:
        child = os.fork()
        if child == 0:
            schema = durstream.define_stream_schema(
                a={"schema": {}, "type": "a", "primary_key": "id"})
            with durstream.create_durable_stream(
                    url=sys.argv[1] + "-child", schema=schema, producer_id="child",
                    shared=True) as own:
                own.upsert("a", {"id": n})
            os._exit(0)
        children.append(child)
for child in children: assert os.waitpid(child, 0)[1] == 0
"""
    run_python(code, url)
    assert read_json(url) == [{"n": n} for n in range(500)]
    assert sorted(event["key"] for event in read_json(url + "-child")) == sorted(
        str(n) for n in range(0, 500, 100)
    )


@forks
def test_multiprocessing_children_deliver_at_their_end(url):
    code = OPEN + """
import multiprocessing
def work(n):
    own = durstream.IdempotentProducer(stream, f"worker-{n}")
    for i in range(100): own.append({"worker": n, "i": i})
if __name__ == "__main__":
    producer.append({"worker": -1, "i": 0})
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(n,)) for n in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join(); assert worker.exitcode == 0
"""
    run_python(code, url)
    values = read_json(url)
    assert len(values) == 301
    for worker in range(3):
        assert [v["i"] for v in values if v["worker"] == worker] == list(range(100))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize(
    "wait",
    [
        "producer.flush()",
        "producer.detach()",
        "producer.close()",
        "receipt.wait()",
        "stream.append('y')",
        "[producer.append('x' * 1000) for _ in range(10)]",
    ],
)
def test_ctrl_c_interrupts(gate, wait):
    code = f"""
import sys, durstream
durstream.set_exit_timeout(0)
stream = durstream.DurableStream(sys.argv[1])
producer = durstream.IdempotentProducer(stream, "a", max_buffer_bytes=4096)
receipt = producer.append("x")
try:
    print("waits", flush=True)
    {wait}
except KeyboardInterrupt: print("interrupted")
producer.stop()
"""
    program = start_python(code, gate.url)
    assert program.stdout.readline().strip() == "waits"
    gate.arrived.wait()
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert out.strip() == "interrupted" and program.returncode == 0, err


def test_blocking_waits_let_other_threads_run(gate):
    producer = durstream.IdempotentProducer(durstream.DurableStream.connect(gate.url), "gil")
    producer.append("x")
    threading.Timer(0.02, gate.open.set).start()
    assert producer.flush().delivered == 1  # the timer's thread had to run
    producer.detach()


def test_the_buffers_of_all_producers_have_a_budget(gate):
    stream = durstream.DurableStream.connect(gate.url)
    options = {"max_batch_bytes": 200, "max_block_ms": 0}
    producers = [IdempotentProducer(stream, f"budget-{n}", **options) for n in range(2)]
    durstream.set_buffer_budget(0)
    try:
        for producer in producers:
            # Room for one batch is its own.
            producer.append("x" * 100)
            refused = producer.try_append("x" * 100)
            assert refused.outcome.reason == "buffer-bytes-exceeded"
            assert "other producers" in str(refused.outcome.error)
        durstream.set_buffer_budget(1000)
        assert producers[0].try_append("x" * 100).accepted
    finally:
        durstream.set_buffer_budget(512 << 20)
    for producer in producers:
        producer.stop()


def test_append_waits_for_the_budget_of_all_producers(gate):
    stream = durstream.DurableStream.connect(gate.url)
    producer = IdempotentProducer(stream, "budget-waits", max_batch_bytes=200)
    durstream.set_buffer_budget(0)
    try:
        producer.append("x" * 100)
        gate.arrived.wait()
        threading.Timer(0.05, gate.open.set).start()
        assert producer.append("x" * 100).wait().delivered
    finally:
        durstream.set_buffer_budget(512 << 20)
    assert producer.flush().delivered == 2
    producer.detach()


@pytest.mark.parametrize("bytes", [-1, 1.5, True, "1", None, 2**64])
def test_a_wrong_budget(bytes):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        durstream.set_buffer_budget(bytes)
    assert raised.value.option == "bytes"


def test_warnings_go_to_the_log(nowhere, caplog):
    caplog.set_level(logging.WARNING, "durstream")
    stream = durstream.DurableStream.connect(nowhere)
    producer = durstream.IdempotentProducer(stream, "logged", delivery_timeout_ms=20)
    producer.append("x")
    with pytest.raises(durstream.DeliveryError):
        producer.flush()
    wait_until(lambda: any("logged" in record.getMessage() for record in caplog.records))
    assert caplog.records[0].name == "durstream" and caplog.records[0].levelname == "WARNING"
    producer.stop()


UNREAD = OPEN + """
import logging, os, signal, threading
signal.alarm(50)
def full_pipe():
    unread, end = os.pipe()
    os.set_blocking(end, False)
    for size in (4096, 1):
        try:
            while True: os.write(end, b"x" * size)
        except BlockingIOError: pass
    os.set_blocking(end, True)
    return end
let_go = threading.Event()
class Blocks(logging.Handler):
    def emit(self, record): let_go.wait()
if sys.argv[2] == "blocked handler": logging.getLogger("durstream").addHandler(Blocks())
else: os.dup2(full_pipe(), 2)
nowhere = durstream.DurableStream.connect("http://127.0.0.1:1/nowhere")
for n in range(3):
    producer.append({"n": n})
    producer.flush(20)
    failing = durstream.IdempotentProducer(nowhere, f"failing-{n}")
    failing.append("x")
    failing.stop()
    try: failing.flush(20)
    except durstream.DeliveryError: pass
producer.append({"n": 3})
producer.flush(20)
if sys.argv[3] == "shutdown": durstream.shutdown(5)
let_go.set()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and alarms of another kind")
@pytest.mark.parametrize("log", ["unread stderr", "blocked handler"])
@pytest.mark.parametrize("ending", ["shutdown", "exit"])
def test_nobody_waits_for_the_log(url, log, ending):
    run_python(UNREAD, url, log, ending)
    assert read_json(url) == [{"n": n} for n in range(4)]


@pytest.mark.skipif(sys.platform == "win32", reason="another C library")
def test_an_exit_called_from_c_hangs_nowhere(nowhere):
    """With the GIL held, which the log's thread needs for its own end."""
    code = """
import ctypes, logging, sys, threading, durstream
said = threading.Event()
class Notes(logging.Handler):
    def emit(self, record): said.set()
logging.getLogger("durstream").addHandler(Notes())
producer = durstream.IdempotentProducer(durstream.DurableStream.connect(sys.argv[1]), "p")
producer.append("x")
producer.stop()
try: producer.flush()
except durstream.DeliveryError: pass
assert said.wait(30)
ctypes.PyDLL(None).exit(0)
"""
    run_python(code, nowhere)


def test_a_producer_may_start_before_its_server():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    stream = durstream.DurableStream.connect(f"http://127.0.0.1:{port}/v1/stream/later")
    pauses = {"retry_initial_delay_ms": 10, "retry_max_delay_ms": 10}
    producer = durstream.IdempotentProducer(stream, "early", **pauses)
    receipt = producer.append("x")
    wait_until(lambda: producer.last_error is not None)
    server = Gate(port)
    server.open.set()
    assert receipt.wait().delivered
    producer.detach()
    server.end()


#: A thread stands still half way through loading a module, while another one writes.
HALF_LOADED = """
import sys, threading, durstream

url, module, first = sys.argv[1:]
begun, written = threading.Event(), threading.Event()

def stand_still(frame, event, argument):
    names = frame.f_globals
    if names.get("__name__") == module and first in names:
        begun.set()
        written.wait()
    return stand_still

def load():
    sys.settrace(stand_still)
    __import__(module)

assert module not in sys.modules
threading.Thread(target=load).start()
begun.wait()
try:
    stream = durstream.DurableStream(url, content_type="text/plain")
    producer = durstream.IdempotentProducer(stream, "p", max_buffer_items=1, max_block_ms=1)
    producer.append("x")
    try: producer.append("y")
    except durstream.BufferFullError: pass
    producer.stop()
finally:
    written.set()
"""


@pytest.mark.parametrize(
    "module, first",
    [
        ("asyncio.events", "__name__"),
        ("logging", "lastResort"),
        ("multiprocessing.util", "__name__"),
    ],
)
def test_a_module_that_another_thread_still_loads_is_not_there(nowhere, module, first):
    run_python(HALF_LOADED, nowhere, module, first)
