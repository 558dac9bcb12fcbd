"""Results of the core for asyncio, on any of its loops."""

from __future__ import annotations

import math
import sys

from ._errors import DurstreamError, Outcome, invalid
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from typing import Any, Callable, Optional, Tuple, TypeVar

    from ._durstream import Pending

    T = TypeVar("T")


def running_loop() -> Optional[asyncio.AbstractEventLoop]:
    """The event loop this thread runs."""
    # Missing also while another thread still loads it.
    running: Any = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def in_event_loop() -> bool:
    """Whether this thread runs an event loop, which must not be blocked."""
    return running_loop() is not None


def within(timeout: Optional[float], start: Callable[[], Pending[T]]) -> T:
    """Starts something and waits for it for so many seconds. Where those are none, nothing is
    started.
    """
    seconds = None if timeout is None else seconds_of("timeout", timeout)
    return start().wait(seconds)


def seconds_of(name: str, given: float) -> float:
    """An argument that is a number of seconds, checked."""
    try:
        # Text is no number, whatever it says.
        seconds = math.nan if isinstance(given, (str, bytes, bytearray)) else float(given)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not seconds >= 0:
        raise invalid(name, f"`{name}` takes seconds from 0 on, not {given!r:.60}")
    return seconds


async def result(pending: Pending[T]) -> T:
    """Waits for a result. Cancelling the wait cancels nothing else."""
    ready = pending.poll()
    if ready is not None:
        return _taken(ready)
    import asyncio  # a caller that awaits has it already

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Tuple[Optional[T], Optional[BaseException]]] = loop.create_future()

    def hand_over(value: Optional[T], error: Optional[BaseException]) -> None:
        try:
            loop.call_soon_threadsafe(_settle, future, (value, error))
        except RuntimeError:
            pass  # the loop is closed: no wait is left

    pending.notify(hand_over)
    return _taken(await future)


async def kept(pending: Pending[T]) -> T:
    """Waits for a result that must not be lost: it is taken when there is a caller to give it to,
    and a wait that is cancelled leaves it where it comes from.
    """
    import asyncio  # a caller that awaits has it already

    loop = asyncio.get_running_loop()
    there: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(_settle, there, None)
        except RuntimeError:
            pass  # the loop is closed: no wait is left

    ready = pending.watch(wake)
    if ready is None:
        try:
            await there
        except BaseException:
            pending.abandon()  # now: a traceback may hold on to it
            raise
        ready = pending.poll()
        assert ready is not None
    return _taken(ready)


async def reported(pending: Pending[T], last: Optional[Pending[Outcome]]) -> T:
    """Waits for the report of a flush.

    A wait that is cancelled must leave the report to the next flush, and a report that is waited
    for is given out. So this waits for the last write, and takes the report when it is there:
    then, unless an earlier write settles later.
    """
    ready = pending.poll()
    if ready is None and last is not None:
        try:
            await result(last)
        except DurstreamError:
            pass  # the report says it too
        ready = pending.poll()
    pause = 0.001
    while ready is None:
        import asyncio  # a caller that awaits has it already

        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)
        ready = pending.poll()
    return _taken(ready)


async def settled(pending: Optional[Pending[Outcome]], refusal: Optional[Outcome]) -> Outcome:
    """The outcome of a receipt: there already, or to be waited for."""
    if refusal is not None:
        return refusal
    assert pending is not None
    return await result(pending)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _taken(ready: Tuple[Optional[T], Optional[BaseException]]) -> T:
    value, error = ready
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # one of the two is there
