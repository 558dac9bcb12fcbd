"""Loads what ``import durstream`` leaves out, since it takes longer than all of this package.

A child that is forked in the middle of an import would wait for its end for ever. So all of it is loaded
where something is opened or a schema is made, and before a fork: no write loads anything, and no child.
"""

from __future__ import annotations

import _thread
import os

#: How long a fork waits at most, in seconds: a lock of the program's may be taken by both in another order.
_LONGEST = 5

_loading = _thread.RLock()
_is_loaded = False


def load() -> None:
    """Loads all of it, once."""
    global _is_loaded
    if _is_loaded:
        return
    with _loading:
        import json
        import threading

        from . import _durstream, _validators

        _durstream.prepare()
        _is_loaded = True


def _before_fork() -> None:
    """Another thread may be in the middle of it, or the program's own in that of a module of it."""
    if _loading.acquire(timeout=_LONGEST):
        try:
            load()
        except Exception:
            pass  # who opens something is told


def _in_parent() -> None:
    try:
        _loading.release()
    except RuntimeError:
        pass  # it waited in vain


def _in_child() -> None:
    global _loading
    _loading = _thread.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
