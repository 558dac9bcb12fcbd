"""Where the library's log goes."""

from __future__ import annotations

import logging

_logger = logging.getLogger("durstream")


def log(is_info: bool, line: str) -> bool:
    """Logs a line of the core, if a logger takes it.

    Nobody does without a handler. Then the core writes to standard error by itself: Python's way
    there holds a lock while it waits for somebody to read, which the interpreter's end needs too.
    """
    if not _logger.hasHandlers():
        return False
    _logger.log(logging.INFO if is_info else logging.WARNING, "%s", line)
    return True
