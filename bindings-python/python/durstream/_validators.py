"""Which validator a collection's ``schema`` asks for."""

from __future__ import annotations

from typing import Any, Literal, Optional, Union, get_args, get_origin

from . import _check
from ._errors import InvalidArgumentError, invalid
from ._models import Msgspec, Pydantic, is_pydantic, is_struct, model
from ._refused import Function, Validator, is_async
from ._values import is_dataclass


def validator(name: str, schema: Any) -> Validator:
    """The validator of a schema that the core does not validate.

    Raises ``InvalidArgumentError`` for what can be none.
    """
    if hasattr(schema, "__supertype__"):
        return validator(name, schema.__supertype__)
    origin: Any = get_origin(schema)
    is_class = isinstance(schema, type) and origin is None
    if is_class or _is_own(origin):
        found = _class(name, schema)
        if found is not None:
            return found
    elif origin is not None or type(schema).__name__ in ("TypeAliasType", "TypeAdapter"):
        return _typed(name, schema)
    elif callable(schema) and type(schema).__module__ not in ("typing", "typing_extensions"):
        if is_async(schema):
            text = f"the validator of collection `{name}` is asynchronous"
            raise invalid("schema", f"{text}; it has to be a plain function")
        return Function(schema)
    raise invalid(
        "schema",
        f"`schema` of collection `{name}` takes a JSON Schema, a pydantic model, a msgspec struct, "
        f"a dataclass, a TypedDict, another type of objects or a callable, not {schema!r:.60}",
    )


def _class(name: str, kind: Any) -> Optional[Validator]:
    try:
        found = model(kind)
        if found is not None:
            return found
        if not _is_own(get_origin(kind) or kind):
            return None
        return _check.Own(kind)
    except (NameError, TypeError) as error:
        raise _unresolved(name, f"{getattr(kind, '__name__', kind)!s:.60}", error) from None


def _is_own(kind: Any) -> bool:
    """Whether this is a class that is checked without another library."""
    if is_pydantic(kind) or is_struct(kind):
        return False
    return is_dataclass(kind) or _check.is_typed_dict(kind)


def _typed(name: str, hint: Any) -> Validator:
    """The validator of a type that is no class: ``Union``, ``Annotated``, ``dict[str, int]``."""
    shown = f"`schema` of collection `{name}`, {hint!r:.60},"
    if not _has_objects(hint):
        raise invalid("schema", f"{shown} has no objects as values, and an entity is one")
    try:
        found: Union[Msgspec, Pydantic] = Msgspec(hint) if _has_structs(hint) else Pydantic(hint)
        found.resolve()
        return found
    except ImportError:
        text = f"{shown} takes pydantic 2 or newer, which is not installed"
        raise invalid("schema", text) from None
    except Exception as error:  # the libraries' own, for what they do not take
        raise _unresolved(name, f"{hint!r:.60}", error) from None


def _unresolved(name: str, shown: str, error: Exception) -> InvalidArgumentError:
    why = str(error).partition("\n")[0]
    text = f"`{shown}`, the schema of collection `{name}`, cannot be used: {why}"
    return invalid("schema", text)


def _has_objects(hint: Any) -> bool:
    """Whether a value of a type may be an object, as far as the type shows."""
    hint = _check.unwrapped(hint)
    origin = get_origin(hint)
    if origin in _check.UNIONS:
        return any(_has_objects(choice) for choice in get_args(hint))
    if origin is Literal or (origin or hint) in (*_check.LISTS, *_check.SETS):
        return False
    return hint not in (None, type(None), str, bytes, int, float, bool)


def _has_structs(hint: Any) -> bool:
    hint = _check.unwrapped(hint)
    parts = (get_origin(hint), *get_args(hint)) if get_args(hint) else ()
    return is_struct(hint) or any(_has_structs(part) for part in parts if part is not None)
