"""Values as JSON: compact, in UTF-8, and nothing that JSON cannot say.

Usual values are written natively, byte for byte as here (``json.rs``).
"""

from __future__ import annotations

import dataclasses
import json
import sys


def encode(value: object) -> bytes:
    """A value as JSON in UTF-8.

    Raises ValueError or TypeError for what JSON cannot say: NaN, bytes, sets, cycles, lone
    surrogates.
    """
    return _write(value).encode("utf-8")


def plain(value: object) -> object:
    """An instance of a model, struct or dataclass as what ``json`` can write."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and hasattr(type(value), "model_fields"):
        return dump(mode="json", by_alias=True)
    if hasattr(type(value), "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_write = json.JSONEncoder(
    allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=plain
).encode
