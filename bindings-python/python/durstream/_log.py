"""Where the library's log goes: the logger ``durstream``."""

from __future__ import annotations

import logging
from typing import Optional, Union

from . import _durstream

TRACE = 5
"""The level of ``logging`` for lines about single requests, below ``DEBUG``."""

_logger = logging.getLogger("durstream")
# The core's numbers from 1 on: error, warn, info, debug, trace.
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, TRACE)
_INFO = 3

Fields = tuple[Optional[str], Optional[str], Optional[int], Optional[int]]


def log(level: int, text: str, target: str, fields: Fields) -> bool:
    """Logs a line of the core, if a logger takes it.

    Nobody does without a handler. Then the core writes to standard error by itself: Python's way
    there holds a lock while it waits for somebody to read, which the interpreter's end needs too.
    """
    follow_level()
    if not _logger.hasHandlers():
        return False
    stream, producer_id, epoch, attempt = fields
    extra = {
        "target": target,
        "stream": stream,
        "producer_id": producer_id,
        "epoch": epoch,
        "attempt": attempt,
    }
    _logger.log(_LEVELS[level - 1], "%s", text, extra=extra)
    return True


def follow_level() -> None:
    """Has the core make the lines that the logger takes, and no others."""
    if _logger.level == logging.NOTSET and not _logger.hasHandlers():
        _durstream.set_log_level(_INFO)
        return
    taken = [n for n, level in enumerate(_LEVELS, 1) if _logger.isEnabledFor(level)]
    _durstream.set_log_level(max(taken, default=0))


def follow() -> None:
    """Follows the logger's own level from now on, also where it is set later."""

    def set_level(level: Union[int, str]) -> None:
        logging.Logger.setLevel(_logger, level)
        follow_level()

    _logger.setLevel = set_level  # type: ignore[method-assign]
    follow_level()
