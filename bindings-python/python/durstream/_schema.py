"""The schema of a stream of entity state: its collections, and how their values are validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from . import _durstream, _json
from ._errors import invalid
from ._validators import validator

if TYPE_CHECKING:
    from typing import TypedDict

    from ._refused import Validator

    class Collection(TypedDict):
        """A collection of entities."""

        #: How its values are validated: a JSON Schema as a dict, True or False, a pydantic model, a
        #: msgspec struct, a dataclass, a ``TypedDict``, another type of objects, or a callable.
        schema: Any
        #: The ``type`` of its events.
        type: str
        #: The field that holds the primary key.
        primary_key: str

else:
    Collection = Dict[str, Any]


class Kept(NamedTuple):
    """A collection as its writers need it."""

    primary_key: str
    #: None where the core validates.
    validator: Optional[Validator]


class StreamSchema:
    """The collections of a stream, by name. Made by ``define_stream_schema``."""

    __slots__ = ("_native", "_collections")

    def __init__(self, collections: Mapping[str, Collection]) -> None:
        self._native = _durstream.Schema()
        self._collections: Dict[str, Kept] = {}
        for name, collection in collections.items():
            schema, entity_type, primary_key = _fields(name, collection)
            if isinstance(schema, (Mapping, bool)):
                own, text = None, _schema_text(name, schema)
            else:
                own, text = validator(name, schema), None
            self._native.add(name, entity_type, primary_key, text)
            self._collections[name] = Kept(primary_key, own)
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

    Each has ``schema``, ``type`` and ``primary_key``. A ``schema`` is a JSON Schema as a dict, True
    or False, a pydantic model, a msgspec struct, a dataclass, a ``TypedDict``, or a callable; with
    pydantic, or msgspec for its structs, any other type of objects, as ``Union[A, B]``.

    Values are then dicts or instances; models, structs and dataclasses publish what they made of a
    dict. Of an instance the fields of the declared class are published, not those of a subclass.
    Instances are validated, those of pydantic's once more. A callable returns the value to publish,
    or None to take it as it is; raising ``ValueError`` or ``TypeError``, or returning False,
    refuses it. It must not be an async one.

    Raises ``InvalidArgumentError`` for what is no schema.
    """
    if collections is not None and not isinstance(collections, Mapping):
        text = f"collections have to be given by keyword, or as a dict, not {collections!r:.60}"
        raise invalid("schema", text)
    return StreamSchema({**(collections or {}), **named})


def _fields(name: object, collection: object) -> Tuple[Any, str, str]:
    if not isinstance(name, str):
        raise invalid("schema", f"a collection's name has to be text, not {name!r:.60}")
    if not isinstance(collection, Mapping):
        raise invalid("schema", f"collection `{name}` takes a dict, not {collection!r:.60}")
    known = ("schema", "type", "primary_key")
    for field in known:
        if collection.get(field) is None:
            raise invalid("schema", f"collection `{name}` has no `{field}`")
    for field in collection:
        if field not in known:
            raise invalid("schema", f"collection `{name}` takes no `{field}`")
    for field in known[1:]:
        if not isinstance(collection[field], str):
            text = f"`{field}` of collection `{name}` takes text, not {collection[field]!r:.60}"
            raise invalid("schema", text)
    return collection["schema"], collection["type"], collection["primary_key"]


def _schema_text(name: str, schema: Union[Mapping[str, Any], bool]) -> str:
    try:
        return _json.encode(schema if isinstance(schema, bool) else dict(schema)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("schema", f"collection `{name}` has no valid JSON Schema: {error}") from None
