"""What validators find wrong with a value."""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable

from ._errors import invalid
from ._typing import TYPE_CHECKING
from ._values import classes

if TYPE_CHECKING:
    from typing import Any, Callable, List, Tuple

    from ._json import Default

    #: Findings as (JSON Pointer, text).
    Issues = List[Tuple[str, str]]


class Refused(Exception):
    """A validator refused a value."""

    def __init__(self, issues: Issues) -> None:
        super().__init__(issues)
        self.issues = issues

    @classmethod
    def for_error(cls, issues: Issues, error: BaseException) -> Refused:
        """With the error's own text where there are no findings."""
        return cls(issues or [("", str(error) or type(error).__name__)])


class Validator:
    """Validates the values of a collection, and says what of them is published."""

    def validate(self, value: Any) -> Any:
        """The value to publish, or ``value`` itself. Raises ``Refused``."""
        raise NotImplementedError

    def plain(self, value: Any, default: Default) -> Any:
        """A validated value as what JSON can write: of models their declared fields alone."""
        raise NotImplementedError


class Function(Validator):
    """A callable that returns the value to publish."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def validate(self, value: Any) -> Any:
        try:
            returned = self._function(value)
        except (TypeError, ValueError) as error:
            raise Refused.for_error([], error) from error
        if isinstance(returned, Awaitable):
            getattr(returned, "close", lambda: None)()  # nobody awaits it
            raise invalid("schema", f"the validator {self._function!r:.60} is asynchronous")
        if returned is False:
            raise Refused([("", "the validator refused it")])
        return value if returned is None or returned is True else returned

    def plain(self, value: Any, default: Default) -> Any:
        return value


def is_async(function: Any) -> bool:
    """Whether calling this gives something to await, as far as its definition shows."""
    while isinstance(function, classes("functools", "partial")):
        function = function.func
    return _is_async(function) or _is_async(getattr(type(function), "__call__", None))


#: Of a coroutine and of an async generator: ``CO_COROUTINE`` and ``CO_ASYNC_GENERATOR``.
_ASYNC = 0x80 | 0x200


def _is_async(function: Any) -> bool:
    """As ``inspect`` says, which takes long to load."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if isinstance(code, types.CodeType) and code.co_flags & _ASYNC:
        return True
    # What ``inspect.markcoroutinefunction`` marked, from Python 3.12 on.
    mark = getattr(sys.modules.get("inspect"), "_is_coroutine_mark", None)
    return mark is not None and getattr(function, "_is_coroutine_mark", None) is mark


def pointer(parts: Any) -> str:
    """Names and indices as a JSON Pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
