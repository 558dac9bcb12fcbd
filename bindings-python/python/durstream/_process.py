"""The process around the producers: its start at the first open, and its bounded end."""

from __future__ import annotations

import atexit
import math
import os
import sys

from . import _durstream, _later, _log, _wait
from . import _typing as typing
from ._errors import DurstreamError, invalid

_exit_timeout = 3.0
_started_in: typing.Optional[int] = None
_told_of_children = False


def start() -> None:
    """Prepares the process for its first open, and a forked child for its own."""
    global _started_in
    _later.load()
    _log.follow_level()
    pid = os.getpid()
    if _started_in == pid:
        return
    if _started_in is None:
        _durstream.start()
        atexit.register(end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_durstream.in_forked_child)
    _started_in = pid
    _at_ends_of_children()


def _at_ends_of_children() -> None:
    """Has the writes of children delivered that end with ``os._exit``, without ``atexit``. What
    makes such children is loaded in them already: nothing is imported for it.
    """
    global _told_of_children
    # Missing, as Celery's signal, also while another thread still loads them.
    util: typing.Any = sys.modules.get("multiprocessing.util")
    if hasattr(util, "Finalize"):
        _at_end_of_child()
        if not _told_of_children:
            # One that opens while it is still being prepared, by an import, is a child only later,
            # and forgets then what was to be done at its end. Children inherit this.
            util.register_after_fork(_at_end_of_child, lambda at_end: at_end())
            _told_of_children = True
    ending = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if ending is not None:
        ending.connect(end, weak=False, dispatch_uid="durstream")


def _at_end_of_child() -> None:
    process, util = (sys.modules[f"multiprocessing.{name}"] for name in ("process", "util"))
    if process.parent_process() is not None and _started_in == os.getpid():
        util.Finalize(None, end, exitpriority=0)


def end(**_: object) -> None:
    try:
        _durstream.shutdown(_exit_timeout)
    except DurstreamError:
        pass  # the log says how many writes were given up
    _durstream.end()


def set_exit_timeout(seconds: float) -> None:
    """Sets how long the end of the process waits for pending writes: 3 seconds unless set; with 0
    it does not wait. The end of a worker of ``multiprocessing`` or Celery is one too.
    """
    global _exit_timeout
    _exit_timeout = _wait.seconds_of("seconds", seconds)


def shutdown(timeout: float = 3.0) -> None:
    """Stops everything: no new writes, accepted ones get ``timeout`` seconds (3 unless given) to be
    delivered, the rest settles as ``producer-stopped``, and the library's threads end.

    Handles stay safe to use and answer with ``ProducerClosedError``. A later open starts afresh.
    Must not be called from ``on_error``.
    """
    _durstream.shutdown(_wait.seconds_of("timeout", timeout))


def flush_all(timeout: typing.Optional[float] = None) -> None:
    """Waits until every write accepted so far, by any producer of this process, is settled, or for
    ``timeout`` seconds: then it raises ``TimeoutError``.

    Use it at process exit, not in place of ``flush``: it does not report undelivered writes.
    """
    limit = math.inf if timeout is None else _wait.seconds_of("timeout", timeout)
    _durstream.flush_all(limit).wait()


def set_buffer_budget(bytes: int) -> None:
    """Bounds the bytes that all producers of this process together may buffer: 512 MiB unless set.
    Each producer has room for one batch (``max_batch_bytes``) whatever the others hold.
    """
    if isinstance(bytes, bool) or not isinstance(bytes, int) or not 0 <= bytes < 2**64:
        raise invalid("bytes", f"`bytes` takes a whole number from 0 on, not {bytes!r:.60}")
    _durstream.set_buffer_budget(bytes)


def pending_count() -> int:
    """Writes of this process accepted and not settled, over all producers."""
    return _durstream.pending_count()


def stats_prometheus(openmetrics: bool = False) -> str:
    """The text for Prometheus about all producers of this process: to be answered as
    ``text/plain; version=0.0.4``, or with ``openmetrics`` as
    ``application/openmetrics-text; version=1.0.0``.

    Producers of one stream and one id are one series. A producer is in it as long as it is held.
    """
    return _durstream.stats_prometheus(openmetrics)
