"""What makes a primary key: the core's rule, for the values of Python."""

from __future__ import annotations

from . import _durstream, _json
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime
    import decimal
    import enum
    import uuid
    from typing import Union

    #: What a primary key may be. A member of an Enum counts as its value.
    Key = Union[str, int, uuid.UUID, datetime.date, datetime.time, decimal.Decimal, enum.Enum]


class NoKey(Exception):
    """A value is no key. Why, in words that go on from "the key"."""

    def __init__(self, why: str, is_missing: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_missing = is_missing


def key_text(key: object) -> str:
    """The text of a key, where an empty one is for the core to refuse. Raises ``NoKey``."""
    if isinstance(key, str):
        try:
            key.encode()
            return key
        except UnicodeEncodeError:
            pass
    return _of_json(_as_json(key))


def key_of(entity: object, primary_key: str) -> str:
    """The key that an entity holds. Raises ``NoKey``."""
    if isinstance(entity, dict):
        key = entity.get(primary_key, _MISSING)
    else:
        key = getattr(entity, primary_key, _MISSING)
    return _of_json("" if key is _MISSING else _as_json(key))


def is_entity(value: object, primary_key: str) -> bool:
    """Whether a value that is no key is an entity, with its key or without."""
    return isinstance(value, dict) or hasattr(value, primary_key)


_MISSING = object()


def _of_json(text: str) -> str:
    try:
        return _durstream.key_of_json(text)
    except ValueError as error:
        raise NoKey(str(error), text == "") from None


def _as_json(key: object) -> str:
    """A key as JSON in ASCII; what JSON cannot say as Python writes it, or as an object."""
    import json

    try:
        return json.dumps(_json.key_of(key))
    except (TypeError, ValueError, RecursionError):
        return "{}"
