"""``Recorder``: a server of streams within the process."""

from __future__ import annotations

from typing import Any, List, Literal, Optional

from . import _durstream, _options
from ._errors import invalid


class Recorder(_durstream.Recorder):
    """A server of streams within the process, without a socket, for the tests of a service.

    Whatever is opened below its ``url`` is the real thing: producers and streams validate, batch,
    repeat, report and read as with any server. What arrived is read back with ``events``; what
    happens to requests is scripted. Streams are created as on a server, never expire, and cannot be
    forked.

    Recorders know nothing of each other: tests that run at the same time have one each. Once
    a recorder is collected nothing is opened at its URL any more; what is open goes on, with everything
    delivered. Any thread may use it; no call blocks. In a forked child they raise ``ForkedError``.
    """

    def events(self, path: str) -> List[Any]:
        """The messages that a JSON stream received since ``clear``, in their order, as Python values;
        none where there is no stream. The events of a transaction stand together and have one
        ``txid``. What was accepted is there once it is delivered: flush before.

        Raises ``NotSupportedError`` for a stream that is not JSON: it has ``content``.
        """
        values: List[Any] = self._chunk(_text("path", path)).json()
        return values

    def content(self, path: str) -> bytes:
        """The bytes that a stream received since ``clear``; of a JSON stream, its messages as the
        text of one array. Nothing where there is no stream.
        """
        return self._content(_text("path", path))

    def reject(
        self,
        containing: str = "",
        reason: Literal["refused", "too-large", "unauthorized"] = "refused",
    ) -> None:
        """From now on appends that contain a text, or all of them, are refused, and their writes are
        rejected for this reason. As with any server, a producer parts a refused batch until the writes
        that contain the text are alone. Credentials (``unauthorized``) are the whole producer's: it
        fails if no write was acknowledged so far, else it waits until they are accepted.
        """
        self._reject(_text("containing", containing), _text("reason", reason))

    def fail(self, times: Optional[int] = None) -> None:
        """The next ``times`` requests of any kind, or all of them, find nobody, as when no server
        listens. They are repeated.
        """
        if times is not None and (isinstance(times, bool) or not isinstance(times, int)):
            raise invalid("times", f"`times` takes a whole number, not {times!r:.60}")
        if times is not None and not 1 <= times < 2**64:
            raise invalid("times", "`times` takes a whole number from 1 to 2^64 - 1")
        self._fail(times)


def _text(name: str, value: str) -> str:
    text = _options.argument(name, value)
    if text is None:
        raise invalid(name, f"`{name}` takes text, not None")
    return text
