"""The outbox: what was accepted survives the process, whatever ended it."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import durstream
import pytest
from conftest import SHIPMENTS, read_json, run_python, start_python, wait_until
from durstream import (
    DeliveryError,
    DurableStream,
    IdempotentProducer,
    InvalidArgumentError,
    OutboxDamagedError,
    OutboxFailedError,
    OutboxInUseError,
    ProducerClosedError,
)

ALL = 200
#: The server is away; it has what was sent, and nobody hears of it.
AWAY = {"fault": "reset-before", "times": 0}
SILENT = {"fault": "stall", "forward": True, "method": "POST", "times": 0}

#: Accepts writes and waits for its end.
MESSAGES = """
import os, sys, durstream
stream = durstream.DurableStream(sys.argv[1], content_type="application/json")
producer = durstream.IdempotentProducer(stream, "kept", outbox_dir=sys.argv[2])
for n in range(int(sys.argv[3])): producer.append({"n": n})
"""
ENTITIES = """
import os, sys, durstream
schema = durstream.define_stream_schema(a={"schema": {}, "type": "a", "primary_key": "n"})
producer = durstream.create_durable_stream(
    url=sys.argv[1], schema=schema, producer_id="kept", outbox_dir=sys.argv[2])
for n in range(int(sys.argv[3])): producer.upsert("a", {"n": n})
"""
WAIT = "print(producer.stats()['accepted'], flush=True)\nsys.stdin.read()\n"


@pytest.fixture
def kept_url(base, faults):
    """A JSON stream, reached through the proxy; and how it is called without."""
    path = f"/v1/stream/outbox-{os.urandom(8).hex()}"
    DurableStream.create(base + path, content_type="application/json")
    return faults.base + path


def content(url, base):
    """What the stream has, asked without the proxy."""
    return read_json(base + url[url.index("/v1/stream") :])


def killed(program, *arguments):
    """Runs a program until it has accepted its writes, and kills it: what it was."""
    run = start_python(program + WAIT, *map(str, arguments), stdin=subprocess.PIPE)
    accepted = run.stdout.readline()
    run.kill()
    _, err = run.communicate()
    assert accepted.strip() == str(arguments[2]), err
    return run


def opened(url, folder, **options):
    """The same producer, once more."""
    stream = DurableStream(url, content_type="application/json")
    return IdempotentProducer(stream, "kept", outbox_dir=folder, **options)


def entities(url, folder, **options):
    """The same producer of entities, once more."""
    schema = durstream.define_stream_schema(a={**SHIPMENTS, "schema": {}, "primary_key": "n"})
    more = {"outbox_dir": folder, **options}
    return durstream.create_durable_stream(url=url, schema=schema, producer_id="kept", **more)


@pytest.mark.parametrize("fault", [AWAY, SILENT], ids=["away", "silent"])
@pytest.mark.parametrize(
    "program, again, value",
    [
        (MESSAGES, opened, lambda message: message["n"]),
        (ENTITIES, entities, lambda event: event["value"]["n"]),
    ],
    ids=["messages", "entities"],
)
def test_what_a_killed_process_accepted_is_delivered(
    base, faults, kept_url, tmp_path, fault, program, again, value
):
    faults.add(fault)
    killed(program, kept_url, tmp_path, ALL)
    faults.clear()
    with again(kept_url, tmp_path) as producer:
        assert producer.stats()["recovered"] == ALL
        assert producer.stats()["recovered_bytes"] > ALL
        producer.flush()
        stats = producer.stats()
    assert [value(one) for one in content(kept_url, base)] == list(range(ALL))
    assert stats["delivered"] == stats["accepted"] == ALL
    assert stats["kept"] == 0


def test_an_exit_that_gives_up_keeps_what_is_left(base, faults, kept_url, tmp_path):
    faults.add(AWAY)
    run_python(
        MESSAGES + "durstream.set_exit_timeout(0.05)\n", kept_url, str(tmp_path / "a"), str(ALL)
    )
    faults.clear()
    with opened(kept_url, tmp_path / "a") as producer:
        assert producer.stats()["recovered"] == ALL
        producer.append({"n": ALL})
    assert [message["n"] for message in content(kept_url, base)] == list(range(ALL + 1))


@pytest.mark.parametrize("again", [opened, entities])
def test_stop_keeps_and_says_so(faults, kept_url, tmp_path, again):
    faults.add(AWAY)
    told = []
    producer = again(kept_url, tmp_path, on_error=told.append)
    if again is opened:
        receipts = [producer.append({"n": n}) for n in range(3)]
    else:
        receipts = [producer.upsert("a", {"n": n}) for n in range(3)]
    producer.stop()
    outcomes = [receipt.wait(30) for receipt in receipts]
    assert [outcome.status for outcome in outcomes] == ["kept"] * 3
    assert {outcome.reason for outcome in outcomes} == {"producer-stopped"}
    assert not outcomes[0].delivered
    with pytest.raises(DeliveryError) as caught:
        producer.flush(30)
    error = caught.value
    assert (error.delivered, error.undelivered, error.kept) == (0, 3, 3)
    assert "outbox" in str(error.cause)
    stats = producer.stats()
    assert (stats["kept"], stats["cancelled"], stats["pending"]) == (3, 0, 0)
    wait_until(lambda: len(told) == 3)
    assert {error.failure.outcome.status for error in told} == {"kept"}


def test_a_second_process_is_told_who_has_it(faults, kept_url, tmp_path):
    faults.add(AWAY)
    first = start_python(MESSAGES + WAIT, kept_url, str(tmp_path), "3", stdin=subprocess.PIPE)
    try:
        assert first.stdout.readline().strip() == "3"
        with pytest.raises(OutboxInUseError) as caught:
            opened(kept_url, tmp_path)
        assert str(first.pid) in str(caught.value)
        assert caught.value.code == "OUTBOX_IN_USE"
    finally:
        first.kill()
        first.communicate()
    producer = opened(kept_url, tmp_path)
    assert producer.stats()["recovered"] == 3
    with pytest.raises(OutboxInUseError, match="this process has it"):
        opened(kept_url, tmp_path)
    assert producer.discard_outbox(30) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forks_child_writes_nothing_and_the_parent_goes_on(base, faults, kept_url, tmp_path):
    faults.add(AWAY)
    code = (
        MESSAGES
        + """
import signal
child = os.fork()
if child == 0:
    signal.alarm(25)
    try: producer.append({"n": "child"})
    except durstream.ForkedError: pass
    else: os._exit(1)
    try: durstream.IdempotentProducer(stream, "kept", outbox_dir=sys.argv[2])
    except durstream.OutboxInUseError as error: assert str(os.getppid()) in str(error), error
    else: os._exit(2)
    if sys.argv[4] == "_exit": os._exit(0)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
producer.append({"n": int(sys.argv[3])})
"""
    )
    for ending in ("_exit", "exit"):
        folder = str(tmp_path / ending)
        first = start_python(code + WAIT, kept_url, folder, "3", ending, stdin=subprocess.PIPE)
        try:
            line = first.stdout.readline()
            assert line.strip() == "4", first.communicate()
            with pytest.raises(OutboxInUseError):  # the child took no lock along
                opened(kept_url, folder)
        finally:
            first.kill()
            first.communicate()
        producer = opened(kept_url, folder)
        assert producer.stats()["recovered"] == 4
        if ending == "_exit":
            producer.discard_outbox(30)
    faults.clear()
    producer.flush()
    producer.detach()
    assert [message["n"] for message in content(kept_url, base)] == [0, 1, 2, 3]


def test_what_is_discarded_is_counted_and_gone(base, faults, kept_url, tmp_path):
    faults.add(AWAY)
    killed(MESSAGES, kept_url, tmp_path, 5)
    first = opened(kept_url, tmp_path)
    receipt = first.append({"n": 5})
    assert first.discard_outbox(30) == 6
    assert receipt.wait(30).status == "cancelled"
    assert first.stats()["kept"] == 0
    with pytest.raises(ProducerClosedError):
        first.discard_outbox(30)
    second = entities(kept_url, tmp_path / "state")
    second.upsert("a", {"n": 1})
    assert asyncio.run(second.adiscard_outbox()) == 1
    faults.clear()
    with opened(kept_url, tmp_path) as producer:
        assert producer.stats()["recovered"] == 0
        producer.append({"n": "new"})
    assert content(kept_url, base) == [{"n": "new"}]


def test_without_an_outbox_there_is_nothing_to_discard(nowhere):
    producer = IdempotentProducer(DurableStream(nowhere), "a")
    with pytest.raises(InvalidArgumentError) as caught:
        producer.discard_outbox()
    assert caught.value.option == "outbox_dir"
    producer.append(b"x")  # and it goes on
    producer.stop()


def test_the_folder_is_made_or_said_to_be_wrong(nowhere, tmp_path):
    def refused(folder):
        with pytest.raises(OutboxFailedError) as caught:
            opened(nowhere, folder)
        assert str(folder) in str(caught.value)
        return caught.value

    within = tmp_path / "a" / "b" / "c"
    opened(nowhere, within).stop()
    assert [entry.is_dir() for entry in within.iterdir()] == [True]
    taken = tmp_path / "file"
    taken.write_text("mine")
    refused(taken)
    assert taken.read_text() == "mine"
    if sys.platform == "linux":
        refused(pathlib.Path("/proc/durstream"))
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        refused(closed / "more")


def test_the_options_of_an_outbox_are_checked(nowhere, tmp_path):
    class Bytes:
        def __fspath__(self):
            return b"/tmp/outbox"

    wrong = [
        ("outbox_dir", {"outbox_dir": 5}),
        ("outbox_dir", {"outbox_dir": b"/tmp/outbox"}),
        ("outbox_dir", {"outbox_dir": Bytes()}),
        ("outbox_dir", {"outbox_dir": pathlib.Path("/tmp/\udcff")}),
        ("outbox_dir", {"outbox_dir": "/tmp/\udcff"}),
        ("outbox_sync", {"outbox_dir": tmp_path, "outbox_sync": "always"}),
        ("outbox_recovery", {"outbox_dir": tmp_path, "outbox_recovery": True}),
        ("outbox_max_bytes", {"outbox_dir": tmp_path, "outbox_max_bytes": 0}),
    ]
    for option, options in wrong:
        with pytest.raises(InvalidArgumentError) as caught:
            IdempotentProducer(DurableStream(nowhere), "a", **options)
        assert caught.value.option == option, options
    with pytest.raises(InvalidArgumentError):
        IdempotentProducer(DurableStream(nowhere), "a", outbox_dir=tmp_path, epoch=1)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_found_and_what_is_readable_salvaged(base, faults, kept_url, tmp_path):
    faults.add(AWAY)
    killed(MESSAGES, kept_url, tmp_path, ALL)
    [segment] = tmp_path.rglob("*.seg")
    whole = segment.read_bytes()
    at = whole.index(b'{"n":100}')
    damaged = bytearray(whole)
    damaged[at + 6] ^= 1
    segment.write_bytes(damaged)
    with pytest.raises(OutboxDamagedError) as caught:
        opened(kept_url, tmp_path)
    text = str(caught.value)
    assert segment.name in text and "salvage" in text
    offsets = [int(word) for word in text.replace(":", " ").replace(",", " ").split() if word.isdigit()]
    assert any(at - 64 <= offset <= at for offset in offsets), (text, at)
    assert segment.read_bytes() == damaged  # nothing was touched
    faults.clear()
    with opened(kept_url, tmp_path, outbox_recovery="salvage") as producer:
        producer.flush()
    left = [message["n"] for message in content(kept_url, base)]
    assert left == [n for n in range(ALL) if n != 100]


def test_a_full_outbox_says_so(faults, kept_url, tmp_path):
    faults.add(AWAY)
    producer = opened(kept_url, tmp_path, outbox_max_bytes=4096, max_block_ms=0)
    with pytest.raises(durstream.BufferFullError) as caught:
        for n in range(1000):
            producer.append({"n": n})
    assert caught.value.reason == "outbox-full"
    assert producer.discard_outbox(30) > 0


def test_a_write_that_waits_for_the_disk_lets_others_run(base, kept_url, tmp_path):
    """Without switches by time, another thread runs only where this one lets go of the GIL."""
    ticks, ended = [0], threading.Event()

    def tick():
        while not ended.is_set():
            ticks[0] += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    state = entities(kept_url + "-state", tmp_path, outbox_sync="write")
    producer = opened(kept_url, tmp_path, outbox_sync="write")

    def change(n):
        with state.transaction() as changes:
            changes.upsert("a", {"n": n})

    writes = [
        lambda n: producer.append({"n": n}),
        lambda n: producer.append(str(n)),
        lambda n: producer.append_json({"n": n}),
        lambda n: producer.try_append({"n": n}),
        lambda n: producer.append_group([{"n": n}]),
        lambda n: state.upsert("a", {"n": n}),
        lambda n: state.insert("a", {"n": n}),
        lambda n: state.delete("a", n),
        lambda n: state.control("snapshot-start"),
        change,
    ]
    other = threading.Thread(target=tick)
    other.start()
    sys.setswitchinterval(1000)
    try:
        for write in writes:
            for n in range(500):
                before = ticks[0]
                write(n)
                if ticks[0] != before:
                    break
            else:
                pytest.fail(f"write {writes.index(write)} kept the GIL")
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        other.join()
    producer.detach()
    state.close()


def test_threads_that_wait_for_the_disk_write_each_message_once(base, kept_url, tmp_path):
    with opened(kept_url, tmp_path, outbox_sync="write") as producer:
        many = range(25)
        body = lambda t: [producer.append({"t": t, "n": n}) for n in many]  # noqa: E731
        threads = [threading.Thread(target=body, args=(t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = content(kept_url, base)
    for t in range(8):
        assert [message["n"] for message in found if message["t"] == t] == list(many)


def taken_over(program, url, folder):
    """Has another process take the id over, with one write."""
    run_python(program + "producer.flush(30)\n", url, str(folder), "1")


@pytest.mark.parametrize("ending", ["restart", "discard"])
def test_what_a_fence_leaves_waits_for_what_is_decided(base, kept_url, tmp_path, ending):
    with opened(kept_url, tmp_path / "a") as producer:
        assert producer.append({"n": 1}).wait(30).delivered
        taken_over(MESSAGES, kept_url, tmp_path / "b")
        outcome = producer.append({"n": 2}).wait(30)
        assert (outcome.status, outcome.reason) == ("kept", "fenced")
        with pytest.raises(DeliveryError) as caught:
            producer.flush(30)
        assert caught.value.kept == 1
        if ending == "restart":
            producer.restart(30)
            producer.flush(30)
        else:
            assert producer.discard_outbox(30) == 1
    found = [message["n"] for message in content(kept_url, base)]
    assert found == ([1, 0, 2] if ending == "restart" else [1, 0])


@pytest.mark.parametrize("ending", ["restart", "discard"])
def test_what_a_fence_leaves_of_entities_waits_for_another_life(base, kept_url, tmp_path, ending):
    first = entities(kept_url, tmp_path / "a")
    assert first.upsert("a", {"n": 1}).wait(30).delivered
    taken_over(ENTITIES, kept_url, tmp_path / "b")
    assert first.upsert("a", {"n": 2}).wait(30).status == "kept"
    with pytest.raises(DeliveryError):
        first.close(timeout=30)
    again = entities(kept_url, tmp_path / "a")
    assert again.stats()["recovered"] == 1
    with pytest.raises(DeliveryError) as caught:
        again.flush(30)
    assert caught.value.kept == 1
    if ending == "restart":
        again.restart(30)
        again.flush(30)
    else:
        assert again.discard_outbox(30) == 1
    found = [event["value"]["n"] for event in content(kept_url, base)]
    assert found == ([1, 0, 2] if ending == "restart" else [1, 0])


def shared(program):
    """The same, by a worker of several, whose writes say who made them."""
    program = program.replace("outbox_dir", "shared=True, outbox_dir")
    return program.replace('"n": n', '"n": n, "by": os.getpid()')


SHARED = shared(MESSAGES)
SHARED_ENTITIES = shared(ENTITIES)


def ids_in(folder):
    return {json.loads(about.read_text())["producer_id"] for about in folder.glob("*/outbox.json")}


@pytest.mark.parametrize(
    "program, again, value",
    [
        (SHARED, opened, lambda message: message),
        (SHARED_ENTITIES, entities, lambda event: event["value"]),
    ],
    ids=["messages", "entities"],
)
def test_the_next_worker_delivers_what_others_left_that_died(
    base, faults, kept_url, tmp_path, program, again, value
):
    faults.add(AWAY)
    workers = [
        start_python(program + WAIT, kept_url, str(tmp_path), str(ALL), stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout.readline().strip() == str(ALL)
    for worker in workers:
        worker.kill()
        worker.communicate()
    died = ids_in(tmp_path)
    assert len(died) == 3
    told = []
    with again(kept_url, tmp_path, shared=True, on_delivery=told.append) as first:
        assert first.producer_id in died
        faults.clear()
        first.flush(60)
        found = [value(one) for one in content(kept_url, base)]
        for worker in workers:
            assert [one["n"] for one in found if one["by"] == worker.pid] == list(range(ALL))
        assert len(found) == 3 * ALL
        wait_until(lambda: sum(delivery.count for delivery in told) == 3 * ALL)
        # All others are free again; of entities the first one is opened once more.
        with again(kept_url, tmp_path, shared=True) as second:
            free = died - {first.producer_id} if again is opened else {first.producer_id}
            assert second.producer_id in free
    assert ids_in(tmp_path) == died


def test_a_worker_takes_no_outbox_of_one_that_lives_or_shares_nothing(faults, kept_url, tmp_path):
    faults.add(AWAY)
    killed(MESSAGES, kept_url, tmp_path, 3)
    worker = start_python(SHARED + WAIT, kept_url, str(tmp_path), "3", stdin=subprocess.PIPE)
    assert worker.stdout.readline().strip() == "3"
    try:
        others = ids_in(tmp_path)
        own = opened(kept_url, tmp_path, shared=True)
        assert own.producer_id not in others
        assert own.stats()["recovered"] == 0
        own.stop()
    finally:
        worker.kill()
        worker.communicate()


def test_a_damaged_outbox_of_a_worker_that_died_is_named(faults, kept_url, tmp_path):
    faults.add(AWAY)
    killed(SHARED, kept_url, tmp_path, 3)
    segment = next(tmp_path.glob("*/*.seg"))
    content = bytearray(segment.read_bytes())
    content[content.index(b'{"n"')] ^= 1
    segment.write_bytes(content)
    with pytest.raises(OutboxDamagedError) as caught:
        opened(kept_url, tmp_path, shared=True)
    assert segment.name in str(caught.value)


def tool(*arguments):
    """Runs the tool that looks into outboxes."""
    command = [sys.executable, "-m", "durstream.outbox", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)


def test_the_tool_looks_into_an_outbox_while_its_producer_is_at_work(faults, kept_url, tmp_path):
    faults.add(AWAY)
    with opened(kept_url, tmp_path) as producer:
        for n in range(3):
            producer.append({"n": n, "text": "\u2192"})
        listed = tool("list", tmp_path)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "waiting    3 writes" in listed.stdout
        assert f"process {os.getpid()} on" in listed.stdout
        shown = json.loads(tool("show", tmp_path, "--json").stdout)
        assert (shown["producer_id"], shown["writes"]) == ("kept", 3)
        exported = tool("export", tmp_path).stdout.splitlines()
        assert [json.loads(line)["n"] for line in exported] == [0, 1, 2]
        assert exported[0].endswith('"\u2192"}')
        faults.clear()


def test_a_large_export_arrives_whole_and_a_reader_may_leave(faults, kept_url, tmp_path):
    faults.add(AWAY)
    producer = opened(kept_url, tmp_path)
    for n in range(5000):
        producer.append({"n": n, "text": "x" * 50})
    producer.stop()
    assert len(tool("export", tmp_path).stdout.splitlines()) == 5000
    command = [sys.executable, "-m", "durstream.outbox", "export", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stderr is not None
        assert run.stdout.readline().startswith(b'{"n":0')
        run.stdout.close()
        said = run.stderr.read()
        assert (run.wait(60), said) == (0, b"")


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "python -m durstream.outbox list DIR"),
        (["look", "."], "there is no command look"),
        (["list", "/nowhere"], "/nowhere"),
    ],
)
def test_the_tool_says_what_is_wrong(arguments, said):
    run = tool(*arguments)
    assert (run.returncode, run.stdout) == (1, "")
    assert said in run.stderr and "durstream-outbox" not in run.stderr
    helped = tool("--help")
    assert helped.returncode == 0 and "python -m durstream.outbox export DIR" in helped.stdout
