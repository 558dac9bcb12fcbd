"""Headers whose values are functions, sync or async."""

from __future__ import annotations

from collections.abc import Awaitable

from . import _wait
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from typing import Any, Callable, Coroutine, Optional, Union

    from ._durstream import HeaderAnswer

    #: Gives a header's value for one request.
    HeaderFunction = Callable[[], Union[str, Awaitable[str]]]


def asked(function: HeaderFunction) -> Callable[[HeaderAnswer], None]:
    """The function as it is called on the library's thread for callbacks. Its coroutine runs on
    the loop that runs now.
    """
    loop = _wait.running_loop()

    def ask(answer: HeaderAnswer) -> None:
        try:
            value = function()
        except Exception as error:
            return answer.fail(_said(error))
        if isinstance(value, Awaitable):
            _run(_settle(value, answer), loop)
        else:
            _give(answer, value)

    return ask


def _run(settling: Coroutine[Any, Any, None], loop: Optional[asyncio.AbstractEventLoop]) -> None:
    """Runs it on that loop while there is one, else on a loop of its own."""
    import asyncio

    if loop is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(settling, loop)
    else:
        asyncio.run(settling)


async def _settle(value: Awaitable[str], answer: HeaderAnswer) -> None:
    try:
        given = await value
    except BaseException as error:
        answer.fail(_said(error))
        if not isinstance(error, Exception):
            raise
    else:
        _give(answer, given)


def _give(answer: HeaderAnswer, value: object) -> None:
    if not isinstance(value, str):
        return answer.fail(f"it gave {type(value).__name__}, not text")
    try:
        answer.give(value)
    except UnicodeEncodeError as error:
        answer.fail(_said(error))


def _said(error: BaseException) -> str:
    # An error may quote what no text can hold.
    text = str(error).encode("utf-8", "replace").decode()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
