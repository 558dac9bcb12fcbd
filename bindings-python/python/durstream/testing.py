"""Tests of a service without a server: a ``Recorder`` takes a server's place within the process.

    recorder = Recorder()
    monkeypatch.setenv("DURABLE_STREAMS_URL", recorder.url)
    ... the code under test opens its producers as ever, writes and flushes ...
    assert recorder.events("/shipments") == [...]
"""

from ._recorder import Recorder

__all__ = ["Recorder"]

Recorder.__module__ = "durstream.testing"  # as users import it
