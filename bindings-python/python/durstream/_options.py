"""Options by name: values on their way to the core's table as text."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _durstream, _headers
from ._errors import invalid
from ._refused import is_async
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple, TypeVar, Union

    from ._durstream import HeaderAnswer
    from ._producer import OnDelivery, OnError, OnState

    Callbacks = Tuple[Optional[OnError], Optional[OnDelivery], Optional[OnState]]
    Headers = Mapping[str, Union[str, _headers.HeaderFunction]]
    Params = Mapping[str, str]
    Pairs = List[Tuple[str, str]]
    F = TypeVar("F", bound=Callable[..., Any])

_TABLE = _durstream.options_table()
_KINDS = {name: kind for name, kind, *_ in _TABLE}


def default(name: str) -> str:
    """The default of an option, as text."""
    return next(default for known, _, default, *_ in _TABLE if known == name)


def documented(scope: str) -> Callable[[F], F]:
    """Adds the options of a scope to the help of what takes them, from the core's table."""

    def add(target: F) -> F:
        if target.__doc__ is not None:  # it is with -OO
            rows = [row for row in _TABLE if scope in row[3]]
            lines = [
                f"``{name}``" + (f" ({default})" if default else "") + f": {meaning}"
                for name, _, default, _, meaning in rows
            ]
            head = "Options are keyword arguments, each with its default:"
            text = [target.__doc__.rstrip(), "", head, "", *(f"- {line}" for line in lines), ""]
            target.__doc__ = "\n    ".join(text)
        return target

    return add


def texts(options: Mapping[str, object]) -> Pairs:
    """Options as text for the core, which checks them; ``None`` is an option not given."""
    return [(name, _text(name, value)) for name, value in options.items() if value is not None]


def _text(name: str, value: object) -> str:
    kind = _KINDS.get(name)
    if name == "outbox_dir" and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if name == "endpoints" and isinstance(value, (list, tuple)):
        return ",".join(_text(name, item) for item in value)
    if isinstance(value, str) and kind not in ("number", "factor", "flag"):
        return _encodable(name, value)
    if isinstance(value, bool):
        text = "true" if value else "false"
        return text if kind in (None, "flag") else _not_taken(name, value)
    if isinstance(value, (int, float)):
        return _digits(value) if kind in (None, "number", "factor") else _not_taken(name, value)
    # An unknown option is the core's to refuse.
    return _not_taken(name, value) if kind is not None else "?"


def _digits(value: float) -> str:
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python does not write


def _not_taken(name: str, value: object) -> str:
    words = {"number": "a whole number", "factor": "a number", "flag": "True or False"}
    takes = words.get(_KINDS[name])
    if takes is None:  # a URL or a key, which may be a secret
        raise invalid(name, f"`{name}` takes text, not {type(value).__name__}")
    raise invalid(name, f"`{name}` takes {takes}, not {value!r:.60}")


def _encodable(name: str, text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise invalid(name, f"`{name}` is not Unicode text: {error.reason}") from None
    return text


def argument(name: str, value: Optional[str]) -> Optional[str]:
    """A text that is no option, for the core, which checks it."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(name, f"`{name}` takes text, not {value!r:.60}")
    return _encodable(name, value)


def function(name: str, given: Optional[F]) -> Optional[F]:
    """A function that the library calls and does not await."""
    if given is not None and not callable(given):
        raise invalid(name, f"`{name}` takes a callable, not {given!r:.60}")
    if given is not None and is_async(given):
        raise invalid(name, f"`{name}` takes a plain function, not an async one")
    return given


def callbacks(
    on_error: Optional[OnError],
    on_delivery: Optional[OnDelivery],
    on_state: Optional[OnState],
) -> Callbacks:
    """The callbacks of a producer, each a function that the library calls and does not await."""
    return (
        function("on_error", on_error),
        function("on_delivery", on_delivery),
        function("on_state", on_state),
    )


def live(value: object) -> str:
    """The word for ``live``, for the core, which checks it."""
    if isinstance(value, bool):
        return "auto" if value else "off"
    return _encodable("live", value if isinstance(value, str) else repr(value))


def header_pairs(
    headers: Optional[Headers],
) -> List[Tuple[str, Union[str, Callable[[HeaderAnswer], None]]]]:
    """Headers for the core, which checks them."""
    taken = _items("headers", headers)
    return [(name, _headers.asked(v) if callable(v) else _header(name, v)) for name, v in taken]


def _header(name: str, value: object) -> str:
    if not isinstance(value, str):
        # The type alone: the value may be a secret.
        text = f"header {name!r:.60} takes text, or a function that gives it, not {_type(value)}"
        raise invalid("headers", text)
    return _encodable("headers", value)


def param_pairs(params: Optional[Params]) -> Pairs:
    """Query parameters for the core, which checks them."""
    return [(name, _param(name, value)) for name, value in _items("params", params)]


def _param(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise invalid("params", f"query parameter {name!r:.60} takes text, not {_type(value)}")
    return _encodable("params", value)


def _type(value: object) -> str:
    return type(value).__name__


def _items(option: str, given: Optional[Mapping[str, Any]]) -> List[Tuple[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise invalid(option, f"`{option}` takes a mapping of names to values, not {_type(given)}")
    for name in given:
        if not isinstance(name, str):
            raise invalid(option, f"`{option}` takes names as text, not {name!r:.60}")
        _encodable(option, name)
    return list(given.items())
