"""Where the library's warnings go."""

from __future__ import annotations

import logging

_logger = logging.getLogger("durstream")


def warn(line: str) -> None:
    """Logs what the core has to say."""
    _logger.warning("%s", line)
