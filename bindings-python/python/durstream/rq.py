"""Workers of RQ whose jobs' writes are delivered: ``rq worker --worker-class durstream.rq.Worker``.

A work horse of RQ ends with ``os._exit`` after its job, where no ``atexit`` runs. These end the
library's part of it first, as the normal end of a process does (``set_exit_timeout``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _process

__all__ = ["Delivers", "Worker"]

if TYPE_CHECKING:
    _Worker = object  # unknown where RQ is not installed
else:
    from rq import Worker as _Worker


class Delivers:
    """To be the first base of a worker class of one's own."""

    _is_horse: bool

    def perform_job(self, *arguments: Any, **named: Any) -> bool:
        """Performs a job, and delivers what it wrote if the process ends with it."""
        try:
            done: bool = super().perform_job(*arguments, **named)  # type: ignore[misc]
            return done
        finally:
            if self._is_horse:
                _process.end()


class Worker(Delivers, _Worker):
    """RQ's worker."""
