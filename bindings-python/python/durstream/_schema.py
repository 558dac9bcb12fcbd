"""The schema of a stream of entity state: its collections, and how their values are validated."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import _check, _durstream, _json
from ._errors import invalid

if TYPE_CHECKING:
    from typing_extensions import NoReturn, TypedDict

    class Collection(TypedDict):
        """A collection of entities."""

        #: How its values are validated: a JSON Schema as a dict, a pydantic model, a msgspec
        #: struct, a dataclass, a ``TypedDict``, or a callable.
        schema: Any
        #: The ``type`` of its events.
        type: str
        #: The field that holds the primary key.
        primary_key: str

else:
    Collection = Dict[str, Any]

#: Returns the value to publish, or raises ``Refused``.
Validate = Callable[[Any], Any]
Issues = List[Tuple[str, str]]


class Refused(Exception):
    """A validator refused a value."""

    def __init__(self, issues: Issues) -> None:
        super().__init__(issues)
        self.issues = issues


class _Kept(NamedTuple):
    primary_key: str
    #: None where the core validates.
    validate: Optional[Validate]


class StreamSchema:
    """The collections of a stream, by name. Made by ``define_stream_schema``."""

    __slots__ = ("_native", "_collections")

    def __init__(self, collections: Mapping[str, Collection]) -> None:
        self._native = _durstream.Schema()
        self._collections: Dict[str, _Kept] = {}
        for name, collection in collections.items():
            schema, entity_type, primary_key = _fields(name, collection)
            if isinstance(schema, Mapping):
                validate, text = None, _schema_text(name, schema)
            else:
                validate, text = _validator(name, schema), None
            self._native.add(name, entity_type, primary_key, text)
            self._collections[name] = _Kept(primary_key, validate)
        if not self._collections:
            raise invalid("schema", "the schema has no collections")

    @property
    def collections(self) -> Tuple[str, ...]:
        """The names of the collections."""
        return tuple(self._collections)

    def __repr__(self) -> str:
        return f"StreamSchema({', '.join(self._collections)})"


def define_stream_schema(
    collections: Optional[Mapping[str, Collection]] = None, /, **named: Collection
) -> StreamSchema:
    """Declares the collections of a stream, by keyword or as a dict by name.

    Each has ``schema``, ``type`` and ``primary_key``. A ``schema`` is a JSON Schema as a dict, a
    pydantic model, a msgspec struct, a dataclass, a ``TypedDict``, or a callable. Values are then
    dicts or instances; models, structs and dataclasses publish what they made of a dict. A
    callable returns the value to publish, or None to take it as it is; raising ``ValueError`` or
    ``TypeError``, or returning False, refuses it.
    """
    if collections is not None and not isinstance(collections, Mapping):
        raise invalid("schema", "collections are given by keyword, or as a dict by name")
    return StreamSchema({**(collections or {}), **named})


def _fields(name: object, collection: object) -> Tuple[Any, str, str]:
    if not isinstance(name, str):
        raise invalid("schema", f"a collection's name is text, not {name!r:.60}")
    if not isinstance(collection, Mapping):
        raise invalid("schema", f"collection `{name}` takes `schema`, `type` and `primary_key`")
    known = ("schema", "type", "primary_key")
    for field in known:
        if collection.get(field) is None:
            raise invalid("schema", f"collection `{name}` has no `{field}`")
    for field in collection:
        if field not in known:
            raise invalid("schema", f"collection `{name}` takes no `{field}`")
    for field in known[1:]:
        if not isinstance(collection[field], str):
            raise invalid("schema", f"`{field}` of collection `{name}` takes text")
    return collection["schema"], collection["type"], collection["primary_key"]


def _schema_text(name: str, schema: Mapping[str, Any]) -> str:
    try:
        return _json.encode(dict(schema)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("schema", f"collection `{name}` has no valid JSON Schema: {error}") from None


def _validator(name: str, schema: Any) -> Validate:
    """The validator of a schema that the core does not validate."""
    if isinstance(schema, type):
        if hasattr(schema, "model_validate") and hasattr(schema, "model_fields"):
            return _pydantic(schema)
        if hasattr(schema, "__struct_fields__") and "msgspec" in sys.modules:
            return _msgspec(schema)
        try:
            if dataclasses.is_dataclass(schema):
                return _dataclass(schema)
            if _check.is_typed_dict(schema):
                return _typed_dict(schema)
        except (NameError, TypeError) as error:
            text = f"the types of `{schema.__name__}` in collection `{name}` cannot be resolved"
            raise invalid("schema", f"{text}: {error}") from None
    elif callable(schema):
        return _function(schema)
    raise invalid(
        "schema",
        f"`schema` of collection `{name}` is a JSON Schema as a dict, a pydantic model, a msgspec "
        f"struct, a dataclass, a TypedDict or a callable, not {schema!r:.60}",
    )


def _pydantic(model: Any) -> Validate:
    def validate(value: Any) -> Any:
        try:
            return model.model_validate(value)
        except ValueError as error:
            found = error.errors(include_url=False) if hasattr(error, "errors") else ()
            _refuse([(_pointer(f["loc"]), f["msg"]) for f in found], error)

    return validate


def _msgspec(struct: Any) -> Validate:
    msgspec = sys.modules["msgspec"]

    def validate(value: Any) -> Any:
        try:
            if isinstance(value, struct):  # its constructor checks no types
                msgspec.convert(msgspec.to_builtins(value), type=struct)
                return value
            return msgspec.convert(value, type=struct)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            # "Expected `int`, got `str` - at `$.size`"
            text, _, path = str(error).partition(" - at ")
            parts = re.findall(r"[^.\[\]`$]+", path)
            _refuse([(_pointer(parts), text)], error)

    return validate


def _dataclass(kind: Any) -> Validate:
    hints = _check.hints(kind)

    def validate(value: Any) -> Any:
        issues = _check.dataclass_issues(value, kind, hints)
        if issues:
            raise Refused(issues)
        if isinstance(value, kind):
            return value
        try:
            return kind(**value)
        except (TypeError, ValueError) as error:
            _refuse([], error)

    return validate


def _typed_dict(kind: Any) -> Validate:
    hints = _check.hints(kind)

    def validate(value: Any) -> Any:
        issues = _check.typed_dict_issues(value, kind, hints)
        if issues:
            raise Refused(issues)
        return value

    return validate


def _function(function: Callable[[Any], Any]) -> Validate:
    def validate(value: Any) -> Any:
        try:
            returned = function(value)
        except (TypeError, ValueError) as error:
            _refuse([], error)
        if returned is False:
            raise Refused([("", "the validator refused it")])
        return value if returned is None or returned is True else returned

    return validate


def _refuse(issues: Issues, error: BaseException) -> NoReturn:
    raise Refused(issues or [("", str(error) or type(error).__name__)]) from error


def _pointer(parts: Any) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
