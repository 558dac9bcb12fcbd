"""The examples and the README run, and do what they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import durstream
from conftest import EXAMPLES, is_closed, read_bytes, read_json

README = Path(__file__).resolve().parent.parent / "README.md"


def run(example, *arguments, **environment):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_shipments(path, url, tmp_path):
    ledger = tmp_path / "ledger"
    summaries = [
        json.loads(
            run(
                "shipments.py",
                SHIPMENT_STREAM_PATH=path,
                SHIPMENT_PRODUCER_ID="shipments-python",
                SHIPMENT_LEDGER=str(ledger),
                SHIPMENT_COUNT="50",
                SHIPMENT_RUN=number,
            )
        )
        for number in "12"
    ]
    assert [s["accepted"] for s in summaries] == [s["delivered"] for s in summaries] == [100, 75]
    written = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert read_json(url) == written and len(written) == 175


def test_publish_state(path, url):
    assert run("publish_state.py", path).strip() == "2 writes delivered"
    upsert, delete = read_json(url)
    assert upsert["key"] == delete["key"] == "ship_123"
    assert upsert["value"]["status"] == "in_transit"
    assert delete["headers"] == {"operation": "delete"}


def test_writing_data(path, url):
    run("writing_data.py", path)
    created = [{"type": "order.created", "orderId": str(n)} for n in range(3)]
    assert read_json(f"{url}/my-stream") == created and is_closed(f"{url}/my-stream")
    assert [e["type"] for e in read_json(f"{url}/events")] == ["order.created", "order.paid"]
    assert read_bytes(f"{url}/tokens") == b"Durable streams keep their order."
    assert read_bytes(f"{url}/source") == b"Durable streams keep their order."
    assert read_json(f"{url}/closed") == [{"type": "stream.complete"}]
    assert is_closed(f"{url}/closed")
    lines = read_bytes(f"{url}/logs").decode().splitlines()
    assert [json.loads(line)["msg"] for line in lines] == ["started", "failed"]
    event = {"event": "user.created"}
    assert read_json(f"{url}/values") == [event, event, "user.created"]
    written_by = [value["written by"] for value in read_json(f"{url}/fenced")]
    assert written_by == ["the first", "the second"]


def test_the_readmes_blocks_run(base, path, url):
    readme = README.read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(blocks) >= 3
    for block in blocks:
        code = block.replace("http://localhost:4437", base).replace("/v1/stream/", f"/v1/stream{path}-")
        code = code.replace('stream_path="/', f'stream_path="{path}-')
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, block + done.stderr
    said = re.search(r"\n(\[\{.*\}\])\n```", readme)
    assert read_json(f"{url}-first") == json.loads(said.group(1))


def test_the_errors_that_pages_name_are_some():
    docs = README.parent.parent / "docs"
    pages = "".join((docs / name).read_text() for name in ("python.md", "faq.md", "workers.md"))
    names = set(re.findall(r"`(\w+Error)`", pages)) - {"ValueError"}
    assert len(names) > 5
    assert {name for name in names if not hasattr(durstream, name)} == set()
