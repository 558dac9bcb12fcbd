"""To look into outboxes: ``python -m durstream.outbox list | show | export DIR``.

It reads only, and takes no lock: a producer may be at work meanwhile.
"""

from __future__ import annotations

import os
import sys

from . import _durstream

__all__ = ["main"]

_PROGRAM = "durstream-outbox"  # as the core says it
_OURS = "python -m durstream.outbox"


def main() -> int:
    """Does what the arguments say; the status to exit with."""
    arguments = sys.argv[1:]
    out = sys.stdout.buffer
    if "--help" in arguments:
        said = bytearray()
        problem = _durstream.outbox_tool(arguments, said.extend)
        out.write(said.replace(_PROGRAM.encode(), _OURS.encode()))
    else:
        problem = _durstream.outbox_tool(arguments, out.write)
    try:
        out.flush()
    except BrokenPipeError:  # a reader that went away is no failure, now and at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if problem is None:
        return 0
    print(problem.rstrip().replace(_PROGRAM, _OURS), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
