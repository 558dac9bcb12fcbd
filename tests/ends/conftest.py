"""Services out of the blocks of `docs/shutdown.md`, under load, ended, and their streams read back."""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Programs in JavaScript find their packages above it.
BUILD = Path(__file__).parent / ".build"
STREAM = "/v1/stream/shop/orders"


def blocks():
    """The blocks of the page by the names in their first lines."""
    text = (ROOT / "docs/shutdown.md").read_text()
    found = {}
    for block in re.findall(r"^```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        name = re.match(r"(?:#|//|;|/\*) (\S+)", block)
        if name is None:
            continue  # a command to type
        assert name[1] not in found, f"two blocks are called {name[1]}"
        found[name[1]] = block
    return found


BLOCKS = blocks()


class Front:
    """The proxy in front of the server: it holds writes back, or is away."""

    def __init__(self, base):
        suffix = ".exe" if sys.platform == "win32" else ""
        program = Path(os.environ["DURSTREAM_TARGET"]) / "release" / f"durstream-proxy{suffix}"
        command = [str(program), "--upstream", base]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        places = json.loads(self.program.stdout.readline())
        self.base, self._control = places["url"], places["control"]

    def hold(self):
        """Holds what is written, until all is let go."""
        self.add({"fault": "hold", "name": "all", "before": "forward", "method": "POST", "times": 0})

    def slow(self, ms):
        """Each write takes so long."""
        self.add({"fault": "delay", "ms": ms, "before": "forward", "method": "POST", "times": 0})

    def away(self):
        """Nobody listens."""
        self.add({"fault": "closed"})

    def add(self, rule):
        self._ask("POST", "/rules", json.dumps(rule).encode())

    def let_go(self):
        self._ask("DELETE", "/rules")

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(self._control + path, body, method=method)
        urllib.request.urlopen(request, timeout=20).close()

    def end(self):
        self.program.stdin.close()
        self.program.wait()
        self.program.stdout.close()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(condition):
    """Waits for a condition; the test's time limit ends it."""
    while not condition():
        time.sleep(0.01)


class Program:
    """A process in the folder of a test."""

    def __init__(self, command, folder, environment, name):
        self.err_path = folder / f"{name}.err"
        self.out_path = folder / f"{name}.out"
        with open(self.err_path, "wb") as err, open(self.out_path, "wb") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    def send(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait()

    def end(self):
        """Whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Ends:
    """A folder with blocks of the page, and the processes that run them."""

    def __init__(self, base, front, folder):
        self.base, self.front, self.folder = base, front, folder
        self._programs = []
        self.environment = {**os.environ, "DURABLE_STREAMS_URL": front.base}
        for name in ("NODE_TEST_CONTEXT", "PYTEST_CURRENT_TEST"):
            self.environment.pop(name, None)

    def take(self, *names):
        """Writes blocks of the page as they are."""
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BLOCKS[name])
        return self.folder / names[0]

    def start(self, *command, **environment):
        name = f"{len(self._programs)}-{Path(str(command[0])).name}"
        every = {**self.environment, **environment}
        self._programs.append(Program(command, self.folder, every, name))
        return self._programs[-1]

    def python(self, *arguments, **environment):
        return self.start(sys.executable, *arguments, **environment)

    def node(self, *arguments, **environment):
        return self.start("node", *arguments, **environment)

    def said(self):
        """What all have said on standard error."""
        return "".join(program.err for program in self._programs)

    def written(self):
        """How often each order is in the stream."""
        return collections.Counter(self._keys())

    def _keys(self):
        offset = "-1"
        while True:
            try:
                asked = f"{self.base}{STREAM}?offset={offset}"
                with urllib.request.urlopen(asked, timeout=20) as answer:
                    body, headers = answer.read(), answer.headers
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return
                raise
            for event in json.loads(body or b"[]"):
                yield event["key"]
            after = headers["Stream-Next-Offset"]
            if headers.get("Stream-Up-To-Date") == "true" or after == offset:
                return
            offset = after

    def holds_once(self, accepted):
        """All that was accepted is in the stream, and nothing twice."""
        written = self.written()
        lost = sorted(set(accepted) - set(written))
        twice = sorted(key for key, count in written.items() if count > 1)
        assert not lost and not twice, f"lost {lost}, twice {twice}; said: {self.said()[-4000:]}"

    def end(self):
        for program in reversed(self._programs):
            program.end()


class Load:
    """Clients that ask for one order after another, until they are refused."""

    CLIENTS = 4

    def __init__(self, port):
        self._port = port
        self.accepted = []
        self._ending = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor(self.CLIENTS)
        self._clients = [pool.submit(self._ask, client) for client in range(self.CLIENTS)]
        pool.shutdown(wait=False)

    def _ask(self, client):
        n = 0
        while True:
            n += 1
            order = f"{client}-{n}"
            url = f"http://127.0.0.1:{self._port}/orders/{order}"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    answer.read()
            except urllib.error.HTTPError as error:
                if self._ending.is_set() and error.code == 503:
                    return
                raise
            except (OSError, http.client.HTTPException):
                if self._ending.is_set():
                    return
                time.sleep(0.02)  # it starts
                continue
            self.accepted.append(order)
            time.sleep(0.002)

    def wait_for(self, count, service):
        """Until so many were accepted."""
        while len(self.accepted) < count:
            assert service.process.poll() is None, service.err[-4000:]
            for client in self._clients:
                if client.done():
                    client.result()
            time.sleep(0.005)

    def ends(self):
        """The service was told to end: whoever is refused stops."""
        self._ending.set()
        # Not all are refused: a socket that a parent still holds takes connections, and nobody answers.
        concurrent.futures.wait(self._clients, 0.5)

    def is_over(self):
        for client in self._clients:
            client.result()


@pytest.fixture(scope="session")
def packages():
    """The frameworks for Node, and ours beside them as npm would link it."""
    packages = Path(__file__).parent / "node_modules"
    ours = packages / "durstream"
    if not ours.is_symlink():
        ours.symlink_to(ROOT / "bindings-node", target_is_directory=True)
    return packages


@pytest.fixture(scope="session")
def base():
    url = os.environ.get("DURABLE_STREAMS_URL")
    if not url:
        pytest.fail("DURABLE_STREAMS_URL is not set: run `cargo xtask test ends`")
    return url.rstrip("/")


@pytest.fixture
def ends(base, request):
    """What a test needs; the stream is new."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(
            urllib.request.Request(f"{base}{STREAM}", method="DELETE"), timeout=20
        ).close()
    folder = BUILD / re.sub(r"\W+", "-", request.node.name)
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    front = Front(base)
    ends = Ends(base, front, folder)
    yield ends
    ends.end()
    front.end()


#: A line of the log at an end, which an exception may repeat.
GIVEN_UP = re.compile(r"(?<!TimeoutError: )\b(\d+) writes? (?:was|were) still pending after")


@pytest.fixture
def gives_up(ends):
    """Starts a service, and ends it while the server is away: it says how much is given up."""

    def run(start, accepted=None, count=40):
        ends.environment["DRAIN_SECONDS"] = "0.4"
        ends.front.away()
        port = free_port()
        service = start(port)
        load = None
        if accepted is None:
            load = Load(port)
            load.wait_for(40, service)
        else:
            accepted(service)
        service.send(signal.SIGTERM)
        if load is not None:
            load.ends()
        service.wait()
        if load is not None:
            load.is_over()
        said = sum(int(count) for count in GIVEN_UP.findall(ends.said()))
        if load is not None:
            count = len(load.accepted)
        assert count is None or said == count, ends.said()[-4000:]
        return service

    return run


@pytest.fixture
def serves(ends):
    """Starts a service, ends it under load while its writes are held back, and looks at its stream."""

    def run(start, status=0, patience=0.3):
        """`patience`: a service that waits for nothing has ended by then."""
        ends.front.hold()
        port = free_port()
        service = start(port)
        load = Load(port)
        load.wait_for(40, service)
        service.send(signal.SIGTERM)
        load.ends()
        time.sleep(patience)
        ends.front.let_go()
        assert service.wait() == status, service.err[-4000:]
        load.is_over()
        ends.holds_once(load.accepted)
        return service

    return run
