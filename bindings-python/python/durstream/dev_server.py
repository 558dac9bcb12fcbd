"""A server to try things with: ``python -m durstream.dev_server``.

It starts the official server where cargo has installed it, else the reference server, which npm
fetches. Neither is a part of this package.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn, Optional

_PACKAGE = "@durable-streams/server"
_RANGE = "^0.3.7"
_GRACE_SECONDS = 2

_SCRIPT = """
const [folder, options] = process.argv.slice(1);
const { DurableStreamTestServer } = require(folder);
new DurableStreamTestServer(JSON.parse(options)).start().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
"""


def _official() -> Optional[str]:
    """The program of the crate ``durable-streams``."""
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "bin"
    return shutil.which("durable-streams-server") or shutil.which(
        "durable-streams-server", path=str(cargo)
    )


def _reference() -> Optional[Path]:
    """The folder of npm's server, which npm puts into its cache; it tells where by PATH."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    say = "echo %PATH%" if os.name == "nt" else 'echo "$PATH"'
    fetch = [npm, "exec", "--yes", f"--package={_PACKAGE}@{_RANGE}", "-c", say]
    done = subprocess.run(fetch, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    for path in done.stdout.strip().split(os.pathsep):
        folder = Path(path).parent / _PACKAGE
        if Path(path).name == ".bin" and folder.is_dir():
            return folder
    return None


def _command(host: str, port: int, data: Optional[str], scratch: str) -> list[str]:
    official = _official()
    if official is not None:
        place = ["--data-dir", data] if data else ["--data-dir", scratch, "--durability", "memory"]
        return [official, "--host", host, "--port", str(port), *place]
    folder = _reference()
    if folder is None:
        _fail(
            "there is neither the official server nor npm to fetch the reference server with: "
            "install Node.js, or Rust and then `cargo install durable-streams`"
        )
    options = {"host": host, "port": port, **({"dataDir": data} if data else {})}
    return ["node", "-e", _SCRIPT, str(folder), json.dumps(options)]


def _end(server: subprocess.Popen[bytes]) -> None:
    """Asks it to end; it would wait for the connections that clients keep open."""
    server.terminate()
    try:
        server.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _fail(text: str) -> NoReturn:
    sys.exit(f"durstream.dev_server: {text}")


def main() -> int:
    """Runs a server until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m durstream.dev_server",
        description="Starts a durable streams server for development, until Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=4437)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data", metavar="DIR", help="keeps the streams there; else in memory")
    given = parser.parse_args()
    data = os.path.abspath(given.data) if given.data else None
    # So that the server ends with this process then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="durstream-") as scratch:
        command = _command(given.host, given.port, data, scratch)
        url = f"http://{given.host}:{given.port}"
        print(f"{Path(command[0]).name} on\n\n  export DURABLE_STREAMS_URL={url}\n", flush=True)
        server = subprocess.Popen(command)
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end(server)


if __name__ == "__main__":
    sys.exit(main())
