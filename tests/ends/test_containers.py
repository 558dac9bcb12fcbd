"""Programs in C and C++, and what holds for every process in a container."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BLOCKS, wait_until


def count(program):
    return program.out.count("\n")


def loop(ends):
    ends.take("loop.py", "orders.py")
    return [sys.executable, "loop.py"]


def compiled(ends, name):
    stage = Path(os.environ["DURSTREAM_TARGET"]) / "stage"
    compiler = [os.environ.get("CC", "cc")] if name.endswith(".c") else [os.environ.get("CXX", "c++")]
    compiler += ["-std=c++17"] if name.endswith(".cpp") else []
    program = ends.folder / "program"
    library = ["-L", stage / "lib", f"-Wl,-rpath,{stage}/lib", "-ldurstream"]
    command = [*compiler, "-Wall", "-I", stage / "include", ends.take(name), "-o", program, *library]
    subprocess.run([str(word) for word in command], check=True)
    return [program]


def in_c(ends):
    if not sys.platform.startswith("linux"):
        pytest.skip("there is no signalfd here")
    return compiled(ends, "signalfd.c")


def in_cpp(ends):
    return compiled(ends, "flag.cpp")


@pytest.mark.parametrize("program", [loop, in_c, in_cpp])
def test_a_loop(ends, program):
    command = program(ends)
    ends.front.hold()
    service = ends.start(*command)
    wait_until(lambda: count(service) >= 40)
    service.send(signal.SIGTERM)
    time.sleep(0.3)
    ends.front.let_go()
    assert service.wait() == 0, service.err
    ends.holds_once(service.out.split())


@pytest.mark.parametrize("program", [loop, in_c, in_cpp])
def test_a_loop_says_what_is_given_up(ends, gives_up, program):
    command = program(ends)
    service = gives_up(
        lambda port: ends.start(*command),
        accepted=lambda service: wait_until(lambda: count(service) >= 40),
        count=None,
    )
    assert f"{count(service)} writes were still pending" in service.err


@pytest.fixture
def first(ends):
    """Starts a command as number 1 of its own processes."""
    unshare = shutil.which("unshare")
    ways = [["--pid", "--fork"], ["--user", "--map-root-user", "--pid", "--fork"]]
    works = [way for way in ways if unshare and subprocess.run([unshare, *way, "true"]).returncode == 0]
    if not works:
        pytest.skip("there are no namespaces here")

    def start(*command):
        outside = ends.start(unshare, *works[0], "--kill-child", *command)
        children = f"/proc/{outside.process.pid}/task/{outside.process.pid}/children"
        wait_until(lambda: Path(children).read_text())
        return outside, int(Path(children).read_text())

    return start


def of_dockerfile():
    """The command of the page's Dockerfile."""
    [line] = re.findall(r"^CMD \[(.*)\]$", BLOCKS["Dockerfile"], re.MULTILINE)
    command = re.findall(r'"([^"]*)"', line)
    return [sys.executable if word == "python" else word for word in command]


def test_number_one_in_a_container(ends, first):
    ends.take("loop.py", "orders.py")
    ends.front.hold()
    outside, inside = first(*of_dockerfile())
    wait_until(lambda: count(outside) >= 40)
    os.kill(inside, signal.SIGTERM)
    time.sleep(0.3)
    ends.front.let_go()
    assert outside.wait() == 0, outside.err
    ends.holds_once(outside.out.split())


@pytest.mark.parametrize(
    "command",
    [
        # One that handles nothing, and a shell that hands nothing on.
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
        ["sh", "-c", f"{sys.executable} loop.py; true"],
    ],
)
def test_a_number_one_that_a_signal_does_not_reach(ends, first, command):
    ends.take("loop.py", "orders.py")
    outside, inside = first(*command)
    wait_until(lambda: count(outside) >= 1)
    os.kill(inside, signal.SIGTERM)
    time.sleep(0.5)
    assert outside.process.poll() is None


#: A second of the page in a test.
SCALE = 0.1


def of_deployment():
    """The page's pause before SIGTERM, its grace period, and its drain, as long as in a test."""
    text = BLOCKS["deployment.yaml"]
    patterns = [r'"sleep", "(\d+)"', r"terminationGracePeriodSeconds: (\d+)", r'value: "(\d+)"']
    return [SCALE * int(re.search(pattern, text)[1]) for pattern in patterns]


def ended_by_kubernetes(pod, pause, grace):
    """The pause, SIGTERM, and SIGKILL at the end of the grace period."""
    until = time.monotonic() + grace
    time.sleep(pause)
    pod.send(signal.SIGTERM)
    try:
        pod.process.wait(max(0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        pod.send(signal.SIGKILL)
    return pod.wait()


@pytest.mark.parametrize("is_long_enough", [True, False])
def test_a_grace_period(ends, is_long_enough):
    pause, grace, drain = of_deployment()
    assert pause + drain < grace / 2
    command = loop(ends)
    ends.front.away()
    # The one that takes too long is killed, whatever the machine is busy with.
    pod = ends.start(*command, DRAIN_SECONDS=str(drain if is_long_enough else 600))
    wait_until(lambda: count(pod) >= 40)
    status = ended_by_kubernetes(pod, pause, grace + (30 if is_long_enough else 0))
    assert status == (0 if is_long_enough else -signal.SIGKILL), pod.err
    said = f"{count(pod)} writes were still pending" in pod.err
    assert said == is_long_enough, pod.err
