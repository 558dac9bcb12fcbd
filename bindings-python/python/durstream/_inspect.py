"""``inspect``: what a state producer would write, and where."""

from __future__ import annotations

from . import _durstream, _options
from . import _typing as typing
from ._state import check
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._dicts import Inspection
    from ._json import Default
    from ._option_types import StateOptions
    from ._options import Headers, Params
    from ._producer import OnDelivery, OnError, OnState
    from ._schema import StreamSchema


def inspect(
    *,
    schema: StreamSchema,
    producer_id: str,
    url: typing.Optional[str] = None,
    on_error: typing.Optional[OnError] = None,
    on_delivery: typing.Optional[OnDelivery] = None,
    on_state: typing.Optional[OnState] = None,
    headers: typing.Optional[Headers] = None,
    params: typing.Optional[Params] = None,
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
    import json

    told: Inspection = json.loads(_durstream.inspect(schema._native, pairs, *own))
    return told
