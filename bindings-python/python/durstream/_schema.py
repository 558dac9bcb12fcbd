"""The schema of a stream of entity state: its collections, and how their values are validated."""

from __future__ import annotations

from collections.abc import Mapping

from . import _durstream, _json, _later
from . import _typing as typing
from ._errors import invalid
from ._typing import TYPE_CHECKING
from ._values import dataclass

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from ._refused import Validator

    class CollectionDict(typing.TypedDict):
        """A collection of entities as a dict. Its values have no type that a checker knows."""

        schema: typing.Any
        type: str
        primary_key: str

    #: The type of a collection's values.
    V = TypeVar("V", default=typing.Any)
    #: The types of the values of a schema's collections. Without one anything goes.
    E = TypeVar("E", contravariant=True, default=typing.Any)
    #: The type of a collection's values once more, by which a schema has it among its own.
    Own = TypeVar("Own", covariant=True, default=V)
    #: As ``E``, where a schema is declared.
    S = TypeVar("S", default=typing.Any)
else:
    CollectionDict = dict
    V = E = Own = S = object  # for whoever resolves a type


class Collection(typing.Generic[V, Own]):
    """A collection of entities, whose values have a type. Made once, it declares a schema and is named
    in writes, where type checkers compare its values with it:

        shipments = Collection(Shipment, type="shipment", primary_key="id")
        schema = define_stream_schema(shipments=shipments)
        ...
        producer.upsert(shipments, Shipment("ship_123", "in_transit"))

    ``schema`` says how its values are validated, as ``define_stream_schema`` tells; ``type`` is the type
    of its events, ``primary_key`` the field that holds the primary key. Values of a class have its type,
    those of any other schema any. What cannot be is refused where the schema is defined.
    """

    __slots__ = ("schema", "type", "primary_key")

    @typing.overload
    def __init__(
        self: Collection[V, V], schema: typing.Type[V], *, type: str, primary_key: str
    ) -> None: ...
    @typing.overload
    def __init__(
        self: Collection[typing.Any, typing.Any],
        schema: typing.Union[
            typing.Mapping[str, typing.Any], bool, typing.Callable[[typing.Any], typing.Any], object
        ],
        *,
        type: str,
        primary_key: str,
    ) -> None: ...
    def __init__(self, schema: typing.Any, *, type: str, primary_key: str) -> None:
        self.schema: typing.Any = schema
        self.type: str = type
        self.primary_key: str = primary_key

    def __class_getitem__(cls, values: typing.Any) -> typing.Any:
        # Its users name one type; the second is the checkers' alone.
        own: typing.Any = super()
        return own.__class_getitem__(values if isinstance(values, tuple) else (values, values))

    def __repr__(self) -> str:
        shown = getattr(self.schema, "__name__", None) or f"{self.schema!r:.60}"
        return f"Collection({shown}, {self.type})"


@dataclass(frozen=True)
class Kept:
    """A collection as its writers need it."""

    primary_key: str
    #: None where the core validates.
    validator: typing.Optional[Validator]


class StreamSchema(typing.Generic[S]):
    """The collections of a stream, by name. Made by ``define_stream_schema``.

    Of several collections pyright infers the types of their values, mypy none: with ``schema:
    StreamSchema[Union[Shipment, Order]] = define_stream_schema(...)`` mypy knows them too, and a
    collection of another schema is a type error.
    """

    __slots__ = ("_native", "_collections", "_names")

    def __init__(
        self,
        collections: typing.Mapping[
            str, typing.Union[Collection[typing.Any, typing.Any], CollectionDict]
        ],
    ) -> None:
        _later.load()
        from ._validators import validator

        self._native = _durstream.Schema()
        self._collections: typing.Dict[str, Kept] = {}
        self._names: typing.Dict[Collection[typing.Any, typing.Any], str] = {}
        for name, collection in collections.items():
            schema, entity_type, primary_key = _fields(name, collection)
            if isinstance(schema, (Mapping, bool)):
                own, text = None, _schema_text(name, schema)
            else:
                own, text = validator(name, schema), None
            self._native.add(name, entity_type, primary_key, text)
            self._collections[name] = Kept(primary_key, own)
            if isinstance(collection, Collection):
                self._names[collection] = name
        if not self._collections:
            raise invalid("schema", "the schema has no collections")

    def _name(self, collection: object) -> str:
        """The name of a collection as a write gives it; the core knows whether there is one."""
        if isinstance(collection, str):
            return collection
        if isinstance(collection, Collection):
            return self._names.get(collection) or repr(collection)
        text = f"`collection` takes a Collection or its name, not {collection!r:.60}"
        raise invalid("collection", text)

    @property
    def collections(self) -> typing.Tuple[str, ...]:
        """The names of the collections."""
        return tuple(self._collections)

    def __repr__(self) -> str:
        return f"StreamSchema({', '.join(self._collections)})"


@typing.overload
def define_stream_schema(**named: Collection[typing.Any, S]) -> StreamSchema[S]: ...
@typing.overload
def define_stream_schema(
    collections: typing.Optional[
        typing.Mapping[str, typing.Union[Collection[typing.Any, typing.Any], CollectionDict]]
    ] = None,
    /,
    **named: typing.Union[Collection[typing.Any, typing.Any], CollectionDict],
) -> StreamSchema[typing.Any]: ...
def define_stream_schema(
    collections: typing.Optional[
        typing.Mapping[str, typing.Union[Collection[typing.Any, typing.Any], CollectionDict]]
    ] = None,
    /,
    **named: typing.Union[Collection[typing.Any, typing.Any], CollectionDict],
) -> StreamSchema[typing.Any]:
    """Declares the collections of a stream, by keyword or as a dict by name.

    Each is a ``Collection``, or a dict with ``schema``, ``type`` and ``primary_key``. A ``schema`` is a JSON Schema as a dict, True
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


def _fields(name: object, collection: object) -> typing.Tuple[typing.Any, str, str]:
    if not isinstance(name, str):
        raise invalid("schema", f"a collection's name has to be text, not {name!r:.60}")
    known = ("schema", "type", "primary_key")
    if isinstance(collection, Collection):
        collection = {field: getattr(collection, field) for field in known}
    if not isinstance(collection, Mapping):
        text = f"collection `{name}` takes a Collection or a dict, not {collection!r:.60}"
        raise invalid("schema", text)
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


def _schema_text(name: str, schema: typing.Union[typing.Mapping[str, typing.Any], bool]) -> str:
    try:
        return _json.encode(schema if isinstance(schema, bool) else dict(schema)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("schema", f"collection `{name}` has no valid JSON Schema: {error}") from None
