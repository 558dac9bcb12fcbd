"""The server for development: real servers, found as a user has them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from durstream import DurableStream

ROOT = Path(__file__).resolve().parents[2]
OFFICIAL = sorted((ROOT / "target" / "tools").glob("durable-streams-*/bin"))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start(*arguments, **environment):
    command = [sys.executable, "-m", "durstream.dev_server", *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_until_it_answers(url, server):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url + "/v1/stream/none")
        except urllib.error.HTTPError:
            return None
        except OSError:
            assert server.poll() is None, server.stdout.read()
            time.sleep(0.1)
    pytest.fail("no answer")


@pytest.mark.skipif(os.name == "nt", reason="it is ended by signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_the_official_server_until_it_is_ended(tmp_path, end):
    assert OFFICIAL, "`cargo xtask` installs it"
    port = free_port()
    path = os.pathsep.join([str(OFFICIAL[-1]), os.environ["PATH"]])
    server = start("--port", port, "--data", tmp_path / "data", PATH=path)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(url, server)
        stream = DurableStream.create(f"{url}/v1/stream/tried", content_type="text/plain")
        stream.append("hello")
        assert "".join(chunk.text() for chunk in stream.read()) == "hello"
        assert any((tmp_path / "data").iterdir())
    finally:
        server.send_signal(end)
    output, _ = server.communicate(timeout=20)
    assert server.returncode == 0, output
    assert output.startswith("durable-streams-server on") and url in output
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_without_any_it_says_what_to_install(tmp_path):
    server = start(PATH=str(tmp_path), HOME=str(tmp_path), CARGO_HOME=str(tmp_path))
    output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert "install Node.js" in output and "cargo install durable-streams" in output
