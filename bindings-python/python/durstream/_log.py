"""Where the library's log goes: the logger ``durstream``, in a program that has loaded ``logging``."""

from __future__ import annotations

import sys

from . import _durstream
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from typing import Any, Optional, Tuple, Union

    Fields = Tuple[Optional[str], Optional[str], Optional[int], Optional[int]]

TRACE = 5
"""The level of ``logging`` for lines about single requests, below ``DEBUG``."""

# The core's numbers from 1 on, as levels of ``logging``: error, warn, info, debug, trace.
_LEVELS = (40, 30, 20, 10, TRACE)
_INFO = 3

_logger: Optional[logging.Logger] = None


def log(level: int, text: str, target: str, fields: Fields) -> bool:
    """Logs a line of the core, if a logger takes it.

    Nobody does without a handler. Then the core writes to standard error by itself: Python's way
    there holds a lock while it waits for somebody to read, which the interpreter's end needs too.
    """
    follow_level()
    if _logger is None or not _logger.hasHandlers():
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
    if _logger is None:
        _follow()
    if _logger is None or not (_logger.level or _logger.hasHandlers()):
        _durstream.set_log_level(_INFO)
        return
    taken = [n for n, level in enumerate(_LEVELS, 1) if _logger.isEnabledFor(level)]
    _durstream.set_log_level(max(taken, default=0))


def _follow() -> None:
    """Follows the logger's own level once the program has loaded ``logging``: there is no handler before."""
    global _logger
    module: Any = sys.modules.get("logging")
    if not hasattr(module, "getLogger"):  # missing also while another thread still loads it
        return
    logger: logging.Logger = module.getLogger("durstream")

    def set_level(level: Union[int, str]) -> None:
        module.Logger.setLevel(logger, level)
        follow_level()

    logger.setLevel = set_level  # type: ignore[method-assign]
    _logger = logger
