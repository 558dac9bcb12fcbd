"""A real server from the environment, streams of one's own on it, and reading them back."""

from __future__ import annotations

import collections
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import durstream
import pytest
from durstream.testing import Recorder

#: What every secret of a test has in its text (tests/src/secrets.rs).
MARK = "s3cret"

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

SHIPMENTS = {
    "schema": {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
    },
    "type": "shipment",
    "primary_key": "id",
}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Fails a test that printed or logged a secret: nobody sees what a test that passes says."""
    outcome = yield
    report = outcome.get_result()
    leaks = [name for name, text in report.sections if MARK in text.lower()]
    if report.passed and leaks:
        report.outcome = "failed"
        report.longrepr = f"a secret is in what was captured: {', '.join(leaks)}"


@pytest.fixture(scope="session")
def base():
    """The server's URL."""
    url = os.environ.get("DURABLE_STREAMS_URL")
    if not url:
        pytest.fail("DURABLE_STREAMS_URL is not set: run `cargo xtask test python`")
    return url.rstrip("/")


#: The recorders of the tests under way, by their servers' URLs.
RECORDERS = {}


@pytest.fixture(params=["server", "recorder"])
def each_base(request, monkeypatch):
    """The server's URL, and that of a recorder in its place: what holds for one holds for both."""
    if request.param == "server":
        yield request.getfixturevalue("base")
        return
    recorder = Recorder()
    base = recorder.url[: -len("/v1/stream")]
    monkeypatch.setenv("DURABLE_STREAMS_URL", base)
    RECORDERS[base] = recorder
    yield base
    del RECORDERS[base]


@pytest.fixture
def path(base):
    """The path of a stream nobody else has."""
    return f"/python-{uuid.uuid4().hex}"


@pytest.fixture
def url(base, path):
    """The same as a URL."""
    return f"{base}/v1/stream{path}"


@pytest.fixture
def json_stream(url):
    """A JSON stream that exists."""
    return durstream.DurableStream.create(url, content_type="application/json")


@pytest.fixture
def text_stream(url):
    """A text stream that exists."""
    return durstream.DurableStream.create(url, content_type="text/plain")


def read_pages(url):
    """The stream's pages as bytes, over plain HTTP, or from the recorder that has it."""
    base, _, path = url.partition("/v1/stream")
    if base in RECORDERS:
        return [RECORDERS[base].content(path)]
    offset, pages = "-1", []
    while True:
        with urllib.request.urlopen(f"{url}?offset={offset}", timeout=20) as answer:
            pages.append(answer.read())
            headers = answer.headers
        after = headers["Stream-Next-Offset"]
        if headers.get("Stream-Up-To-Date") == "true" or after == offset:
            return pages
        offset = after


def read_bytes(url):
    """The stream's content."""
    return b"".join(read_pages(url))


def read_json(url):
    """The stream's values."""
    return [value for page in read_pages(url) if page for value in json.loads(page)]


def values(url):
    """The values of the entities in the stream."""
    return [event["value"] for event in read_json(url)]


@pytest.fixture
def opened(path):
    """Opens state producers by their collection's schema."""
    held = []

    def open_with(schema, **options):
        collections = durstream.define_stream_schema(shipments={**SHIPMENTS, "schema": schema})
        held.append(
            durstream.create_durable_stream(
                stream_path=path, schema=collections, producer_id="a", **options
            )
        )
        return held[-1]

    yield open_with
    for producer in held:
        producer.close()


def is_closed(url):
    """Whether the stream has ended."""
    if url.partition("/v1/stream")[0] in RECORDERS:
        return durstream.DurableStream(url).head().stream_closed
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers.get("Stream-Closed") == "true"


def wait_until(condition):
    """Waits for a condition; the test's time limit ends it."""
    while not condition():
        time.sleep(0.005)


def start_python(code, *arguments, **more):
    """A Python program of one's own."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def run_python(code, *arguments, **more):
    """What a Python program of one's own prints; it has to end well."""
    program = start_python(code, *arguments, **more)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    return out, err


@pytest.fixture
def nowhere():
    """A stream on a server that is not there."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1/stream/nowhere"


class Gate:
    """A server that holds every write back until it is opened, and keeps what it got: once each,
    in a producer's order, as servers do whichever of their threads is ahead."""

    def __init__(self, port=0):
        self.open = threading.Event()
        self.arrived = threading.Event()
        self.bodies = []
        self.headers = []
        self._turn = threading.Condition()
        self._taken = collections.Counter()
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Stream-Next-Offset", f"{len(gate.bodies):032}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                gate.headers.append(dict(self.headers.items()))
                gate.arrived.set()
                gate.open.wait()
                gate._take(body, self.headers)
                self.send_response(200)
                for name in ("Producer-Epoch", "Producer-Seq", "Stream-Closed"):
                    if name in self.headers:
                        self.send_header(name, self.headers[name])
                self.send_header("Stream-Next-Offset", f"{len(gate.bodies):032}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/stream/gate"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def _take(self, body, headers):
        session = headers["Producer-Id"], headers["Producer-Epoch"]
        with self._turn:
            seq = int(headers["Producer-Seq"] or self._taken[session])
            self._turn.wait_for(lambda: self._taken[session] >= seq)
            if self._taken[session] == seq:
                self._taken[session] += 1
                self.bodies.append(body)
            self._turn.notify_all()

    def end(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def gate():
    """A server that holds writes back."""
    gate = Gate()
    yield gate
    gate.end()


class Faults:
    """The fault proxy before the server; its rules are those of ``tests/src/proxy``."""

    def __init__(self, base):
        name = "durstream-proxy" + (".exe" if sys.platform == "win32" else "")
        program = Path(os.environ["DURSTREAM_TARGET"]) / "release" / name
        command = [str(program), "--upstream", base]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        places = json.loads(self.program.stdout.readline())
        self.base, self._control = places["url"], places["control"]

    def add(self, *rules):
        """Adds rules; the first that fires takes a request."""
        self._ask("POST", "/rules", json.dumps(rules).encode())

    def clear(self):
        """Removes all rules."""
        self._ask("DELETE", "/rules")

    def posts(self):
        """What the writes that came by met: the names of faults, none for none."""
        entries = self._ask("GET", "/log")["entries"]
        posts = [entry for entry in entries if entry["method"] == "POST"]
        return [[rule["fault"] for rule in entry["rules"]] for entry in posts]

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(self._control + path, body, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def end(self):
        self.program.stdin.close()
        self.program.wait()
        self.program.stdout.close()


@pytest.fixture
def faults(base):
    """The fault proxy before the server."""
    faults = Faults(base)
    yield faults
    faults.end()


class Asked:
    """A request as a server of the tests got it."""

    def __init__(self, method, target, headers):
        self.method = method
        self.headers = headers
        self.path, _, query = target.partition("?")
        self.query = urllib.parse.parse_qsl(query, keep_blank_values=True)

    @property
    def offset(self):
        """Where a reader asks to go on."""
        return dict(self.query)["offset"]


class Answers:
    """A server that answers what a function of the request says: (status, headers, body). A body
    with ``Content-Length`` among the headers is cut off where it ends."""

    def __init__(self, answer):
        self.asked = []
        answers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def do(self):
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                asked = Asked(self.command, self.path, self.headers)
                answers.asked.append(asked)
                status, headers, body = answer(asked)
                self.close_connection = "Content-Length" in headers
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/stream/answers"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve():
    """Starts servers that answer as a function says."""
    started = []

    def start(answer):
        started.append(Answers(answer))
        return started[-1]

    yield start
    for server in started:
        server.end()


def stored(asked):
    """The answer to a write, or to whatever else needs no body."""
    names = ("Producer-Epoch", "Producer-Seq", "Stream-Closed")
    names = [name for name in names if name in asked.headers]
    echo = {name: asked.headers[name] for name in names}
    return 200, {"Stream-Next-Offset": "1", **echo}, b""


def page(asked, *pages, content_type="text/plain"):
    """The answer to a reader of a stream of these pages, whose offsets are their numbers."""
    n = 0 if asked.offset == "-1" else int(asked.offset)
    body, after = (pages[n], n + 1) if n < len(pages) else (b"", n)
    headers = {"Content-Type": content_type, "Stream-Next-Offset": str(after)}
    if after == len(pages):
        headers["Stream-Up-To-Date"] = "true"
    return 200, headers, body
