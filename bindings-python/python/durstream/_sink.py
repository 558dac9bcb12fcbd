"""Appending what a source yields: in order, with bounded memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Mapping

from . import _wait
from ._errors import DeliveryError, invalid
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import (
        Any,
        AsyncIterator,
        Coroutine,
        Iterable,
        Iterator,
        Optional,
        Type,
        TypeVar,
        Union,
    )

    from ._durstream import AppendSink, Pending
    from ._types import FlushReport

    T = TypeVar("T")

#: How long a source that never waits may keep an event loop's others waiting, in seconds.
_SLICE = 0.005


def iterator(source: Iterable[Any]) -> AsyncIterator[Any]:
    """The iterator of a source; text, bytes and mappings are one message, not a source."""
    if isinstance(source, (str, bytes, bytearray, memoryview, Mapping)):
        text = "`source` takes an iterable of messages; a single one is for `append`"
        raise invalid("source", text)
    try:
        return _Awaited(iter(source))
    except TypeError:
        other = "; `aappend_stream` takes an async one" if _is_async(source) else ""
        text = f"`source` takes an iterable of messages, not {source!r:.60}{other}"
        raise invalid("source", text) from None


def async_iterator(source: Union[Iterable[Any], AsyncIterable[Any]]) -> AsyncIterator[Any]:
    """The iterator of a plain or async source, for asyncio."""
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
    """Waits that block the thread: a coroutine that awaits them never suspends."""

    @staticmethod
    async def result(pending: Pending[T]) -> T:
        return pending.wait()

    @staticmethod
    async def give_way() -> None:
        pass

    @staticmethod
    def asking(sink: AppendSink, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return source


class Awaiting:
    """Waits of asyncio."""

    @staticmethod
    async def result(pending: Pending[T]) -> T:
        return await _wait.result(pending)

    @staticmethod
    def asking(sink: AppendSink, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        # A plain iterator never waits.
        return source if isinstance(source, _Awaited) else _Watched(sink, source)

    @staticmethod
    async def give_way() -> None:
        import asyncio  # a caller that awaits has it already

        await asyncio.sleep(0)


class _Watched:
    """A source whose wait is cancelled once a message failed, as by a timeout, and which ends then:
    the failure must show even while the source gives nothing.
    """

    def __init__(self, sink: AppendSink, source: AsyncIterator[Any]) -> None:
        import asyncio  # a caller that awaits has it already

        self._sink = sink
        self._source = source
        self._cancelled = asyncio.CancelledError
        self._loop = asyncio.get_running_loop()
        self._task: Any = asyncio.current_task()
        #: Held: a wait that is dropped wakes nobody.
        self._watch: Optional[Pending[None]] = None
        self._waiting = False
        self._let_go = False
        self._before = 0

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        if self._is_stopped():
            raise StopAsyncIteration
        others = False
        try:
            try:
                self._waiting = True
                return await self._source.__anext__()
            finally:
                self._waiting = False
                others = self._let_go and self._uncancel()
        except self._cancelled:
            if self._let_go and not others:
                raise StopAsyncIteration from None
            raise

    def _uncancel(self) -> bool:
        """Takes its own cancelling back; whether others cancelled the task, too."""
        if not hasattr(self._task, "uncancel"):
            return False  # before Python 3.11 nobody can say
        left: int = self._task.uncancel()
        return left > self._before

    def _is_stopped(self) -> bool:
        """Whether a message was not delivered; if all were, `_woken` checks again when one is not."""
        if self._watch is None:
            watch = self._sink.stopped()
            if watch.watch(self._wake) is None:
                self._watch = watch
        return self._watch is None and self._sink.state() == "failed"

    def _wake(self) -> None:
        """Called on the library's thread."""
        try:
            self._loop.call_soon_threadsafe(self._woken)
        except RuntimeError:
            pass  # the loop is closed: no wait is left

    def _woken(self) -> None:
        self._watch = None
        if self._waiting and self._is_stopped():
            self._before = self._task.cancelling() if hasattr(self._task, "cancelling") else 0
            self._let_go = True
            self._task.cancel()


def blocking(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that has only waits that block."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it suspended")


async def run(
    sink: AppendSink, source: AsyncIterator[Any], waits: Union[Type[Blocking], Type[Awaiting]]
) -> FlushReport:
    """Appends everything a source yields. Once a message or the source failed, takes no more from
    it, and waits for the messages under way.
    """
    source = waits.asking(sink, source)
    failure: Optional[Exception] = None
    due = time.monotonic() + _SLICE
    while (step := sink.state()) != "failed":
        if time.monotonic() >= due:
            await waits.give_way()
            due = time.monotonic() + _SLICE
        if step == "full":
            await waits.result(sink.ready())
            continue
        try:
            message = await source.__anext__()
        except StopAsyncIteration:
            break
        except Exception as error:
            failure = error
            break
        try:
            while not sink.start_send(message):
                await waits.result(sink.ready())
        except Exception as error:  # of the message itself
            failure = error
            break
    try:
        report = await waits.result(sink.close())
    except DeliveryError as error:
        if failure is not None and error.cause is not None:
            error.cause.__cause__ = failure  # it would have been raised
        raise
    if failure is not None:
        raise failure
    return report
