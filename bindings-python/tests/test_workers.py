"""Workers that others start, recycle and end: what they accepted is delivered at their end.

Nothing here is sent before that: `linger_ms` holds it.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import read_json, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these servers do not run there")

#: Opened by the first that publishes in a process, as in a service.
PUBLISHING = """
import os, durstream
durstream.set_exit_timeout(float(os.environ.get("END", "60")))
stream = durstream.DurableStream.connect(os.environ["STREAM"], content_type="application/json")
HELD = {"linger_ms": 600_000, "delivery_timeout_ms": 0}
opened = {}

def publish(n):
    if os.getpid() not in opened:
        opened[os.getpid()] = durstream.IdempotentProducer(
            stream, "worker", shared=True, **HELD)
    opened[os.getpid()].append({"n": n})
    return n
"""

MULTIPROCESSING = """
import sys, multiprocessing, concurrent.futures
from publishing import publish

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    if sys.argv[1] == "process":
        workers = [context.Process(target=publish, args=(n,)) for n in range(4)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
    elif sys.argv[1] == "executor":
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(publish, range(4)))
    else:
        each = 1 if sys.argv[1] == "recycled pool" else None
        pool = context.Pool(2, maxtasksperchild=each)
        pool.map(publish, range(4), 1)
        pool.close()
        pool.join()
"""

CELERY = """
import celery, os, pathlib
from publishing import publish

app = celery.Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    f"{name}_folder{end}": "broker" for name, end in
    [("data", "_in"), ("data", "_out"), ("control", "")]}

@app.task(ignore_result=True)
def work(n):
    publish(n)
    pathlib.Path(f"done-{n}").touch()
"""

WSGI = """
import itertools
from publishing import publish

requests = itertools.count()

def app(environ, start_response):
    publish(next(requests))
    start_response("200 OK", [])
    return [b""]
"""

ASGI = """
import os
from durstream import DurableStream, IdempotentProducer
from publishing import HELD

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        stream = DurableStream.connect(os.environ["STREAM"], content_type="application/json")
        async with IdempotentProducer(stream, "asgi", **HELD) as app.producer:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    app.producer.append({"n": 0})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture
def start(tmp_path, json_stream):
    """Starts programs where the modules above can be imported; their output is a file."""
    (tmp_path / "broker").mkdir()
    for name, code in [
        ("publishing", PUBLISHING),
        ("spread", MULTIPROCESSING),
        ("tasks", CELERY),
        ("wsgi", WSGI),
        ("asgi", ASGI),
    ]:
        (tmp_path / f"{name}.py").write_text(code)
    started = []

    def run(*arguments, **environment):
        environment = {**os.environ, "STREAM": json_stream.url, **environment}
        with open(tmp_path / "log", "ab") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=tmp_path,
                env=environment,
                stdout=log,
                stderr=log,
            )
        started.append(program)
        return program

    yield run
    for program in started:
        program.kill()
        program.wait()


def written(url):
    return sorted(value["n"] for value in read_json(url))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["process", "pool", "recycled pool", "executor"])
def test_multiprocessing(start, url, kind, method):
    assert start("spread", kind, method).wait() == 0
    assert written(url) == [0, 1, 2, 3]


def celery(start, *options, **environment):
    options = ("--pool", "prefork", "--concurrency", "2", "--without-gossip", *options)
    return start("celery", "-A", "tasks", "worker", *options, **environment)


def send_tasks(start):
    tasks = "import tasks; [tasks.work.delay(n) for n in range(6)]"
    assert start("timeit", "-n", "1", "-r", "1", tasks).wait() == 0


def test_celery_recycles_its_children(start, url):
    send_tasks(start)
    worker = celery(start, "--max-tasks-per-child", "1")
    wait_until(lambda: len(read_json(url)) == 6)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    assert written(url) == list(range(6))


def test_celery_ends(start, url, tmp_path):
    send_tasks(start)
    worker = celery(start)
    wait_until(lambda: all((tmp_path / f"done-{n}").exists() for n in range(6)))
    assert read_json(url) == []
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    assert written(url) == list(range(6))


def test_celery_says_what_is_given_up(start, nowhere, tmp_path):
    send_tasks(start)
    celery(start, "--max-tasks-per-child", "1", END="0.05", STREAM=nowhere)
    wait_until(lambda: "still pending" in (tmp_path / "log").read_text())


def free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ask(port, times):
    while times:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).close()
            times -= 1
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.02)  # it starts, or is recycled


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_recycles_and_ends(start, url, worker):
    port = free_port()
    options = ["-k", worker, "-w", "1", "--max-requests", "2", "-b", f"127.0.0.1:{port}"]
    server = start("gunicorn", *options, "wsgi:app")
    ask(port, 3)
    wait_until(lambda: len(read_json(url)) == 2)
    server.send_signal(signal.SIGTERM)
    server.wait()
    assert len(read_json(url)) == 3


def test_uvicorn_ends(start, url):
    port = free_port()
    server = start("uvicorn", "--port", str(port), "asgi:app")
    ask(port, 2)
    server.send_signal(signal.SIGTERM)
    server.wait()
    assert written(url) == [0, 0]
