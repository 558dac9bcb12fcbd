"""The methods of every producer's handle: flush, let go, and be a context."""

from __future__ import annotations

import warnings

from . import _options, _wait
from . import _typing as typing
from ._errors import DurstreamError, Outcome
from ._types import FlushReport
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._durstream import Pending

#: How long leaving a context waits beyond the time every write has, in seconds.
_GRACE = 5.0
#: How long leaving a context waits where writes have no limit, in seconds.
_WITHOUT_LIMIT = 120.0


def bound(options: typing.Mapping[str, object]) -> float:
    """How long leaving a context may wait."""
    given = options.get("delivery_timeout_ms")
    if given is None and options.get("outbox_dir") is not None:
        return _WITHOUT_LIMIT  # the core's default with an outbox
    limit = int(str(given)) if given is not None else int(_options.default("delivery_timeout_ms"))
    return limit / 1000 + _GRACE if limit else _WITHOUT_LIMIT


class Held:
    """A handle that holds a producer of the core."""

    _bound: float

    if TYPE_CHECKING:

        def _flush(self) -> Pending[FlushReport]: ...
        def _detach(self) -> Pending[FlushReport]: ...
        def _ready(self) -> Pending[None]: ...
        def _restart(self) -> Pending[None]: ...
        def _discard_outbox(self) -> Pending[int]: ...
        def _last(self) -> typing.Optional[Pending[Outcome]]: ...
        def _left_pending(self) -> int: ...

    def flush(self, timeout: typing.Optional[float] = None) -> FlushReport:
        """Waits until everything accepted before this call is settled, not for later writes.

        Raises ``DeliveryError`` with counts and first cause if any call since the last flush
        ended undelivered, and ``TimeoutError`` after ``timeout`` seconds. A wait that was given
        up cancels no write, and leaves its report to the next flush. Ctrl-C interrupts it.
        """
        return _wait.within(timeout, self._flush)

    async def aflush(self) -> FlushReport:
        """Waits until everything accepted before this call is settled, as ``flush`` does, for
        asyncio. May be cancelled.
        """
        pending = self._flush()
        return await _wait.reported(pending, self._last())

    def detach(self, timeout: typing.Optional[float] = None) -> FlushReport:
        """Flushes and lets the producer go without ending the stream. Raises as ``flush`` does."""
        return _wait.within(timeout, self._detach)

    async def adetach(self) -> FlushReport:
        """Flushes and lets the producer go without ending the stream, as ``detach`` does, for
        asyncio. May be cancelled.
        """
        pending = self._detach()
        return await _wait.reported(pending, self._last())

    def wait_ready(self, timeout: typing.Optional[float] = None) -> None:
        """Waits until writes are taken at once: the buffer has room for the write that last found
        none, or for any other. A ``StateProducer`` also waits until its stream exists.

        Raises the error that the producer ended with, if it has, and ``TimeoutError`` after
        ``timeout`` seconds. Ctrl-C interrupts it.
        """
        _wait.within(timeout, self._ready)

    async def aready(self) -> None:
        """Waits until writes are taken at once, as ``wait_ready`` does, for asyncio. May be
        cancelled.
        """
        await _wait.result(self._ready())

    def restart(self, timeout: typing.Optional[float] = None) -> None:
        """Begins a fresh session, which may claim the id, once everything accepted so far is
        settled; what is in the outbox of a fenced producer is delivered then. It is the way back after
        another producer took over (``StaleEpochError``).

        Raises ``ProducerClosedError``, of a ``StateProducer`` also where another one of its stream was
        opened since; the error that the producer failed with; and ``TimeoutError`` after ``timeout``
        seconds; the restart then goes on. Ctrl-C interrupts the wait.
        """
        _wait.within(timeout, self._restart)

    async def arestart(self) -> None:
        """Begins a fresh session once everything accepted so far is settled, as ``restart`` does,
        for asyncio.
        """
        await _wait.result(self._restart())

    def discard_outbox(self, timeout: typing.Optional[float] = None) -> int:
        """Ends now, for all holders, and drops what the outbox holds: how many writes that were. They
        settle as ``cancelled``, or as ``delivery-unknown`` if they were under way. It is the other way
        out, beside ``restart``, for a producer that was fenced.

        Raises ``InvalidArgumentError`` without ``outbox_dir``, ``ProducerClosedError`` where the producer
        has ended and its outbox is closed, ``OutboxFailedError``, and ``TimeoutError`` after ``timeout``
        seconds; the dropping then goes on. Ctrl-C interrupts the wait.
        """
        return _wait.within(timeout, self._discard_outbox)

    async def adiscard_outbox(self) -> int:
        """Ends now and drops what the outbox holds, as ``discard_outbox`` does, for asyncio."""
        return await _wait.result(self._discard_outbox())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: typing.Optional[typing.Type[BaseException]],
        error: typing.Optional[BaseException],
        trace: typing.Optional[TracebackType],
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self._detach()  # Ctrl-C and exits are not held up
            return
        try:
            self.detach(self._bound)
        except DurstreamError:
            if error is None:
                raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: typing.Optional[typing.Type[BaseException]],
        error: typing.Optional[BaseException],
        trace: typing.Optional[TracebackType],
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self._detach()
            return
        pending = self._detach()
        import asyncio

        try:
            await asyncio.wait_for(_wait.reported(pending, self._last()), self._bound)
        except (DurstreamError, asyncio.TimeoutError):
            if error is None:
                raise

    def __del__(self) -> None:
        left = self._left_pending()
        if left:
            writes = "1 write" if left == 1 else f"{left} writes"
            text = f"{self!r} was let go of with {writes} pending: flush() or detach() it"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
