"""``inspect``: what a state producer would write, and where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, List, Optional, TypedDict, cast

from . import _durstream, _options
from ._state import check

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._json import Default
    from ._options import Headers, Params, StateOptions
    from ._producer import OnDelivery, OnError, OnState
    from ._schema import StreamSchema

#: Where something is ``from``: ``given``, ``function``, ``environment`` (then with its
#: ``variable``) or ``default``; of an option also its ``value``, where None is none.
Origin = TypedDict("Origin", {"from": str, "variable": str, "value": Any}, total=False)


class InspectedCollection(TypedDict):
    """A collection as the core knows it."""

    #: The ``type`` of its events.
    type: str
    #: The field that holds the primary key.
    primary_key: str
    #: ``json-schema``, or ``external`` for what Python validates.
    validator: str


class InspectionWarning(TypedDict):
    """Something that may be a mistake."""

    #: ``numeric-primary-key`` or ``credentials-in-clear``; later versions may have more.
    code: str
    #: The text, for people.
    message: str


class Inspection(TypedDict):
    """What a state producer would write, and where. No secret is in it."""

    #: The stream, without user info and query.
    url: str
    #: The stream at each endpoint, in the order in which they are tried.
    urls: List[str]
    content_type: str
    producer_id: str
    #: Whether each producer adds a random suffix to the id (``shared``).
    producer_id_suffix: bool
    #: The names of the headers, and where their values come from.
    headers: Dict[str, Origin]
    #: The names of the query parameters.
    params: List[str]
    #: Each option as it will be used, and where it comes from.
    options: Dict[str, Origin]
    collections: Dict[str, InspectedCollection]
    warnings: List[InspectionWarning]


def inspect(
    *,
    schema: StreamSchema,
    producer_id: str,
    url: Optional[str] = None,
    on_error: Optional[OnError] = None,
    on_delivery: Optional[OnDelivery] = None,
    on_state: Optional[OnState] = None,
    headers: Optional[Headers] = None,
    params: Optional[Params] = None,
    default: Default = None,
    **options: Unpack[StateOptions],
) -> Inspection:
    """Tells what ``create_durable_stream`` would open with the same arguments, and opens nothing.
    The same JSON in every language.

    Raises as opening does, but does not look whether the stream is open already with other options.
    """
    check(schema, producer_id)
    _options.function("default", default)
    _options.callbacks(on_error, on_delivery, on_state)
    pairs = _options.texts({"url": url, "producer_id": producer_id, **options})
    own = _options.header_pairs(headers), _options.param_pairs(params)
    return cast(Inspection, json.loads(_durstream.inspect(schema._native, pairs, *own)))
