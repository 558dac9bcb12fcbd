"""Values as JSON: compact, in UTF-8, and nothing that JSON cannot say.

Usual values are written natively, byte for byte as here (``json.rs``).
"""

from __future__ import annotations

import sys

from ._typing import TYPE_CHECKING
from ._values import classes, fields, is_dataclass

if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    #: Gives what to write for a value of a type that JSON does not know, or raises TypeError.
    Default = Optional[Callable[[Any], Any]]

#: Why a value that no recursion gets to the end of is refused.
ENDLESS = "it contains itself, or is nested too deeply"

#: The usual writer, once there is one.
_write: Optional[Callable[[object], str]] = None


def encode(value: object, default: Default = None) -> bytes:
    """A value as JSON in UTF-8; ``default`` is asked about values of unknown types.

    Raises ValueError or TypeError for what JSON cannot say: NaN, bytes, sets, cycles, lone
    surrogates.
    """
    global _write
    write = _write if default is None else _writer(default)
    if write is None:
        write = _write = _writer(None)
    try:
        try:
            return write(value).encode("utf-8")
        except TypeError as error:
            if not str(error).startswith("keys must be"):
                raise
        # ``json`` asks nobody about keys.
        return write(_with_text_keys(value, default)).encode("utf-8")
    except RecursionError:
        raise ValueError(ENDLESS) from None


def text_of(value: Any) -> Optional[str]:
    """A date, time, UUID or Decimal as the text that pydantic and msgspec write; None for values of
    other types.
    """
    if isinstance(value, classes("datetime", "date", "time")):
        text: str = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    as_str = classes("uuid", "UUID") + classes("decimal", "Decimal")
    return str(value) if isinstance(value, as_str) else None


def plain(value: object, default: Default = None) -> object:
    """A value as something nearer to what ``json`` can write: an instance of a model, struct or
    dataclass as its fields, a member of an Enum as its value, a date as text.
    """
    if isinstance(value, classes("enum", "Enum")):
        return value.value
    text = text_of(value)
    if text is not None:
        return text
    dump = getattr(value, "model_dump", None)
    if dump is not None and hasattr(type(value), "model_fields"):
        return dump(mode="json", by_alias=True, **fallback(default))
    if hasattr(type(value), "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value, enc_hook=default)
    if is_dataclass(type(value)):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if default is not None:
        return default(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def fallback(default: Default) -> Dict[str, Any]:
    """How pydantic is told of a ``default``."""
    return {"fallback": default} if default is not None and pydantic_takes_names() else {}


def pydantic_takes_names() -> bool:
    """Whether pydantic, which is loaded, is 2.11 or newer: it takes fields by their names, whatever
    their aliases are, and a fallback where it writes.
    """
    version: str = sys.modules["pydantic"].VERSION
    return tuple(int(part) for part in version.split(".")[:2]) >= (2, 11)


def key_of(value: object) -> object:
    """A key of a dict as ``json`` takes it."""
    if isinstance(value, classes("enum", "Enum")) and not isinstance(value, (str, int, float)):
        return key_of(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    text = text_of(value)
    if text is None:
        raise TypeError(f"{type(value).__name__} cannot be a key of a JSON object")
    return text


def _with_text_keys(value: Any, default: Default) -> Any:
    if isinstance(value, dict):
        return {key_of(key): _with_text_keys(value[key], default) for key in value}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item, default) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _with_text_keys(plain(value, default), default)


def _writer(default: Default) -> Callable[[object], str]:
    import json

    return json.JSONEncoder(
        allow_nan=False,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda value: plain(value, default),
    ).encode
