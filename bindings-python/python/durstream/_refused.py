"""What validators find wrong with a value."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, List, Tuple

from ._errors import invalid
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
        if inspect.isawaitable(returned):
            getattr(returned, "close", lambda: None)()  # nobody awaits it
            raise invalid("schema", f"the validator {self._function!r:.60} is asynchronous")
        if returned is False:
            raise Refused([("", "the validator refused it")])
        return value if returned is None or returned is True else returned

    def plain(self, value: Any, default: Default) -> Any:
        return value


def is_async(function: Any) -> bool:
    """Whether calling this gives something to await, as far as its definition shows."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(type(function), "__call__", None)
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(kind(given) for kind in kinds for given in (function, called))


def pointer(parts: Any) -> str:
    """Names and indices as a JSON Pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
