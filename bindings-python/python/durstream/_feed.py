"""Appending what a source yields: in order, with bounded memory."""

from __future__ import annotations

import time
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Deque,
    Iterable,
    Iterator,
    Mapping,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from . import _wait
from ._errors import (
    BufferFullError,
    DeliveryError,
    DurstreamError,
    InvalidArgumentError,
    invalid,
)
from ._types import FlushReport

if TYPE_CHECKING:
    from ._durstream import Pending
    from ._types import Outcome

#: What may be under way of one source: enough to fill the requests in flight and the next ones.
_MAX_PENDING_BYTES = 16 * 1024 * 1024
_MAX_PENDING_MESSAGES = 4096
#: The pause where others fill the buffer: the room they give back comes without a sign.
_PAUSE = 0.005
#: How long a source that never waits may keep an event loop's others waiting.
_SLICE = 0.005

T = TypeVar("T")
_Append = Callable[[Any, Optional[str]], "Pending[Outcome]"]


def iterator(source: Iterable[Any]) -> AsyncIterator[Any]:
    """What a source yields; text, bytes and mappings are one message, not a source."""
    if isinstance(source, (str, bytes, bytearray, memoryview, Mapping)):
        raise invalid("source", "`source` takes an iterable of messages: `append` takes one")
    try:
        return _Awaited(iter(source))
    except TypeError:
        other = "; `aappend_stream` takes an async one" if _is_async(source) else ""
        text = f"`source` takes an iterable of messages, not {source!r:.60}{other}"
        raise invalid("source", text) from None


def async_iterator(source: Union[Iterable[Any], AsyncIterable[Any]]) -> AsyncIterator[Any]:
    """The same for asyncio, where the source may be of either kind."""
    return source.__aiter__() if isinstance(source, AsyncIterable) else iterator(source)


def _is_async(source: object) -> bool:
    return isinstance(source, AsyncIterable)


class _Awaited:
    """A plain iterator as an async one that never waits."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source

    def __aiter__(self) -> _Awaited:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._source)
        except StopIteration:
            raise StopAsyncIteration from None


class Blocking:
    """Waits that block the thread: what awaits them never suspends."""

    GIVES_WAY = False

    @staticmethod
    async def result(pending: Pending[T]) -> T:
        return pending.wait()

    @staticmethod
    async def sleep(seconds: float) -> None:
        time.sleep(seconds)


class Awaiting:
    """Waits of asyncio."""

    GIVES_WAY = True

    @staticmethod
    async def result(pending: Pending[T]) -> T:
        return await _wait.result(pending)

    @staticmethod
    async def sleep(seconds: float) -> None:
        import asyncio  # whoever awaits has it already

        await asyncio.sleep(seconds)


def blocking(work: Coroutine[Any, Any, T]) -> T:
    """Runs what has only waits that block."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it suspended")


class Feed:
    """Messages of one source on their way."""

    def __init__(
        self,
        append: _Append,
        waits: Union[Type[Blocking], Type[Awaiting]],
        url: str,
        seq: Optional[str],
    ) -> None:
        self._append = append
        self._waits = waits
        self._url = url
        self._seq = seq
        self._pending: Deque[Tuple[Pending[Outcome], int]] = deque()
        self._bytes = 0
        self._delivered = self._duplicates = self._uncertain = self._undelivered = 0
        self._cause: Optional[DurstreamError] = None

    async def run(
        self, source: AsyncIterator[Any], payload: Callable[[Any], Tuple[Any, int]]
    ) -> FlushReport:
        """Appends everything a source yields: what ``payload`` makes of it, unless that has no
        size. Once one failed, or the source did, no more is taken from it, and what is under way
        is waited for.
        """
        failure: Optional[Exception] = None
        due = time.monotonic() + _SLICE
        while self._is_well():
            if self._waits.GIVES_WAY and time.monotonic() >= due:
                await self._waits.sleep(0)
                due = time.monotonic() + _SLICE
            if self._is_full():
                await self._oldest()
                continue
            try:
                message = await source.__anext__()
            except StopAsyncIteration:
                break
            except Exception as error:
                failure = error
                break
            try:
                await self._push(*payload(message))
            except DurstreamError as refusal:
                self._fail(refusal)
        while self._pending:
            await self._oldest()
        if self._cause is not None:
            raise self._lost(self._cause, failure)
        if failure is not None:
            raise failure
        return FlushReport(self._delivered, self._duplicates, self._uncertain)

    async def _push(self, message: Any, size: int) -> None:
        if not size:
            return
        while not self._offer(message, size):
            if self._pending:
                await self._oldest()
            else:
                await self._waits.sleep(_PAUSE)
            if self._cause is not None:
                self._undelivered += 1  # it was not even tried
                return
        if self._seq is not None:
            while self._pending:
                await self._oldest()  # the others follow once it was taken
            self._seq = None

    def _offer(self, message: Any, size: int) -> bool:
        """Hands a message over, if there is room for it."""
        pending = self._append(message, self._seq)
        ready = pending.poll()  # what the core refuses, it refuses at once
        if ready is None:
            self._pending.append((pending, size))
            self._bytes += size
        elif isinstance(ready[1], BufferFullError):
            return False
        else:
            self._settle(*ready)
        return True

    def _is_full(self) -> bool:
        """Whether the source is not asked for more: what it gives once it is has its place."""
        return self._bytes >= _MAX_PENDING_BYTES or len(self._pending) >= _MAX_PENDING_MESSAGES

    def _is_well(self) -> bool:
        """Whether nothing failed, as far as is known by now."""
        while self._pending:
            ready = self._pending[0][0].poll()
            if ready is None:
                break
            self._forget_oldest()
            self._settle(*ready)
        return self._cause is None

    async def _oldest(self) -> None:
        pending = self._forget_oldest()
        try:
            outcome = await self._waits.result(pending)
        except DurstreamError as error:
            self._fail(error)
        else:
            self._settle(outcome, None)

    def _forget_oldest(self) -> Pending[Outcome]:
        pending, size = self._pending.popleft()
        self._bytes -= size
        return pending

    def _settle(self, outcome: Optional[Outcome], error: Optional[BaseException]) -> None:
        if isinstance(error, DurstreamError):
            self._fail(error)
        elif error is not None:
            raise error
        elif outcome is not None:
            self._delivered += 1
            self._duplicates += outcome.duplicate
            self._uncertain += outcome.maybe_duplicate

    def _fail(self, error: DurstreamError) -> None:
        if isinstance(error, InvalidArgumentError) or error.reason == "would-deadlock":
            raise error  # of the call, not of a message
        self._undelivered += 1
        self._cause = self._cause or error

    def _lost(self, cause: DurstreamError, failure: Optional[Exception]) -> DeliveryError:
        if failure is not None:
            cause.__cause__ = failure  # the source's would have been raised
        counts = {"delivered": self._delivered, "undelivered": self._undelivered}
        text = "{delivered} messages were delivered, {undelivered} were not".format(**counts)
        return DeliveryError(f"{text}: {cause.message}", cause=cause, url=self._url, **counts)
