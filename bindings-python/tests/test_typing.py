"""The types that users see, with the type checkers that they use."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import durstream
import pytest
from conftest import EXAMPLES

ROOT = EXAMPLES.parent.parent
SOURCES = Path(durstream.__file__).parent.parent


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The examples, and every block of the READMEs and of ``docs`` as a program."""
    folder = tmp_path_factory.mktemp("programs")
    pages = [ROOT / "bindings-python" / "README.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    pages = [page for page in pages if page.name != "shutdown.md"]  # of frameworks: tests/ends
    for number, page in enumerate(pages):
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
        for n, block in enumerate(blocks):
            (folder / f"page_{number}_{page.stem}_{n}.py").write_text(block)
    assert len(list(folder.glob("page_*"))) > 10
    for example in EXAMPLES.glob("*.py"):
        (folder / example.name).write_text(example.read_text())
    # Its mistakes are marked, and a mark without a mistake is an error to both.
    (folder / "mistakes.py").write_text((Path(__file__).parent / "typed" / "mistakes.py").read_text())
    config = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.9",
        "extraPaths": [str(SOURCES)],
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    return folder


def check(*arguments, **more):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)  # a dozen programs, some with the types of other packages
def test_mypy(programs, tmp_path):
    # An installed package is found by itself, and must not be named.
    installed = SOURCES.name == "site-packages"
    environment = {**os.environ, "MYPYPATH": "" if installed else str(SOURCES)}
    for program in sorted(programs.glob("*.py")):
        check("mypy", "--strict", "--cache-dir", tmp_path, program, env=environment, cwd=programs)


def test_pyright(programs):
    check("pyright", "--project", programs, "--pythonpath", sys.executable)


def test_all_that_is_public_is_typed():
    arguments = ["--verifytypes", "durstream", "--ignoreexternal", "--pythonpath", sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    assert "Type completeness score: 100%" in check("pyright", *arguments, env=environment)


def test_the_types_of_what_is_native_and_public_are_those_at_runtime(tmp_path):
    # A module in Python is its own stub: of the private ones the comparison says only what it thinks of
    # `typing` in each of them.
    allowed = tmp_path / "allowed"
    # What is for RQ can be imported only where that is.
    allowed.write_text("durstream\\._(?!durstream\\b).*\ndurstream\\.rq.*")
    arguments = ["durstream", "--allowlist", allowed, "--ignore-unused-allowlist"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "MYPYPATH": ""}
    assert "no issues" in check("mypy.stubtest", *arguments, env=environment, cwd=tmp_path)
