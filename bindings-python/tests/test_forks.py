"""Forks at any moment: of another thread's first call, of everything at once."""

import os

import pytest
from conftest import read_json, run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PROGRAM = """
import os, random, signal, subprocess, sys, threading, time, durstream

URL, KIND, FORKS = sys.argv[1], sys.argv[2], int(sys.argv[3])
SCHEMA = {"type": "object", "required": ["id"], "additionalProperties": False,
          "properties": {"id": {"type": "string", "pattern": "^[a-z]+-[0-9]+$"}}}

def publish():
    stream = durstream.DurableStream.connect(URL, content_type="application/json")
    producer = durstream.IdempotentProducer(stream, "fork", shared=True)
    producer.append({"by": "fork"})
    producer.flush(15)
    producer.detach()

def validate():
    schema = durstream.define_stream_schema(a={"schema": SCHEMA, "type": "a", "primary_key": "id"})
    with durstream.create_durable_stream(
            url=URL + "-state", schema=schema, producer_id="fork", shared=True) as producer:
        assert not producer.upsert("a", {"id": "a-1", "more": 1}).accepted
        assert producer.upsert("a", {"id": "a-1"}).wait(15).delivered

def fail_and_log():
    nowhere = durstream.DurableStream.connect("http://127.0.0.1:1/nowhere")
    producer = durstream.IdempotentProducer(nowhere, "fork", shared=True)
    producer.append("x")
    producer.stop()
    try: producer.flush(15)
    except durstream.DeliveryError: pass

def everything():
    publish(); validate(); fail_and_log()

begun, ended = threading.Event(), threading.Event()

def once(work):
    begun.set()
    work()

def again_and_again(work):
    while not ended.is_set():
        once(work)

def forked(work):
    exits = random.random() < 0.5
    child = os.fork()
    if child == 0:
        signal.alarm(25)
        try:
            work()
            if exits: sys.exit(0)
        except Exception as error:
            print("in a child:", repr(error))
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with {status}, {signal.SIGALRM} is: it hung"

def at_first(work):
    for n in range(FORKS):
        fresh = os.fork()
        if fresh == 0:
            signal.alarm(50)
            thread = threading.Thread(target=once, args=(work,))
            thread.start()
            begun.wait()
            time.sleep(random.random() * random.choice([0.0005, 0.004, 0.02]))
            try:
                forked(work)
                thread.join()
            except Exception as error:
                print("in a process of its own:", repr(error))
                os._exit(1)
            os._exit(0)
        status = os.waitpid(fresh, 0)[1]
        assert status == 0, status

def in_the_middle():
    threads = [threading.Thread(target=again_and_again, args=(work,))
               for work in (publish, validate, fail_and_log)]
    for thread in threads: thread.start()
    try:
        for n in range(FORKS):
            time.sleep(random.random() * 0.004)
            if n % 4 == 3: subprocess.run(["true"], check=True)
            forked(everything)
    finally:
        ended.set()
        for thread in threads: thread.join()

signal.alarm(100)
if KIND == "middle": in_the_middle()
else: at_first({"publish": publish, "validate": validate, "log": fail_and_log}[KIND])
print("none hung")
"""


@pytest.mark.parametrize("kind", ["publish", "validate", "log", "middle"])
def test_no_child_hangs(url, json_stream, kind):
    forks = int(os.environ.get("DURSTREAM_FORKS", "40"))
    out, _ = run_python(PROGRAM, url, kind, str(forks))
    assert out.strip().endswith("none hung")
    if kind == "publish":
        assert read_json(url) == [{"by": "fork"}] * 2 * forks


LOADING = """
import os, signal, sys, threading, time, durstream

begun = threading.Event()

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "json":
            begun.set()
            time.sleep(0.2)

assert "json" not in sys.modules
sys.meta_path.insert(0, Slow())
loading = threading.Thread(target=lambda: exec(sys.argv[1]))
loading.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    durstream.DurableStream("http://127.0.0.1:1/nowhere")
    os._exit(0)
loading.join()
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("first", ["durstream.DurableStream('http://127.0.0.1:1/nowhere')", "import json"])
def test_no_child_waits_for_what_another_thread_was_loading(first):
    out, _ = run_python(LOADING, first)
    assert out == "0\n"
