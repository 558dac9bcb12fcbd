"""``create_durable_stream`` and ``StateProducer``: the writer of entity state."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from typing import TYPE_CHECKING, Any, List, Literal, Optional, Tuple, Union, overload

from . import _durstream, _json, _options, _process, _wait
from ._errors import invalid
from ._held import Held, bound
from ._refused import Refused
from ._schema import StreamSchema
from ._types import CloseResult, FlushReport

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._durstream import Receipt
    from ._options import Headers, Params, StateOptions
    from ._json import Default
    from ._producer import OnError
    from ._schema import Kept


def create_durable_stream(
    *,
    schema: StreamSchema,
    producer_id: str,
    url: Optional[str] = None,
    on_error: Optional[OnError] = None,
    headers: Optional[Headers] = None,
    params: Optional[Params] = None,
    default: Default = None,
    **options: Unpack[StateOptions],
) -> StateProducer:
    """Opens the writer of entity state for a stream, or another handle on the open one: there is
    one per stream in a process.

    The stream is given by ``stream_path`` below a server, or by its whole ``url``. Sends nothing
    itself; the stream is created or checked in the background before the first batch, so a
    producer may start before its server does.

    Each handle's ``on_error`` is called for every write that is not delivered, whichever handle
    made it, and each handle validates its own writes with its own ``schema``. Only the header
    functions of the first open are called.
    """
    if not isinstance(schema, StreamSchema):
        text = f"`schema` takes what `define_stream_schema` returns, not {schema!r:.60}"
        raise invalid("schema", text)
    if not isinstance(producer_id, str):
        raise invalid("producer_id", f"`producer_id` takes text, not {producer_id!r:.60}")
    _process.start()
    given = {"url": url, "producer_id": producer_id, **options}
    asked = _options.function("default", default)
    on_error = _options.function("on_error", on_error)
    producer = StateProducer._open(schema, given, headers, params, on_error)
    producer._default = asked
    return producer


#: What a primary key may be.
Key = Union[
    str, int, float, uuid.UUID, datetime.date, datetime.time, decimal.Decimal, enum.Enum
]


class StateProducer(Held, _durstream.State):
    """Publishes the state of entities to one stream, each change exactly once, in call order.

    Made by ``create_durable_stream``. Any thread may use it. As a context it detaches when left:
    the last handle on a stream lets its producer go. A handle that was detached writes no more, and
    ends nothing that others hold; its ``on_error`` is called for the writes accepted before, and
    for no later ones.
    """

    _schema: StreamSchema
    _default: Default = None

    @classmethod
    def _open(
        cls,
        schema: StreamSchema,
        options: Any,
        headers: Optional[Headers],
        params: Optional[Params],
        on_error: Optional[OnError],
    ) -> Self:
        own = _options.header_pairs(headers), _options.param_pairs(params)
        self = cls(schema._native, _options.texts(options), *own, on_error)
        self._schema = schema
        self._bound = bound(options)
        return self

    def upsert(self, collection: str, value: Any) -> Receipt:
        """Publishes an entity's whole new state. Waits for nothing but room in a full buffer.

        The value is a dict, an instance of the collection's model, or JSON as text or bytes, which
        reaches the stream unchanged. A write that cannot be accepted gets a rejected receipt
        (unknown collection ``invalid-entity``, missing primary key ``invalid-key``, refused by the
        schema ``invalid-value``, a full buffer, ...): nothing is sent. With ``strict`` it raises.
        """
        kept = self._schema._collections.get(_name(collection))
        if kept is None:
            return self._refuse(collection, "invalid-entity", None, [])  # the core names them
        text: Optional[bytes] = None
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            try:
                text = value.encode() if isinstance(value, str) else bytes(value)
                value = json.loads(text) if kept.validator is not None else None
            except (ValueError, RecursionError) as error:
                # In the words of the core, which may read text that `json` does not.
                reason, wrong = "invalid-value", f"the value is not one JSON value: {error}"
                if text is None:
                    reason, wrong = "serialization-failed", str(error)
                return self._refuse(collection, reason, None, [("", wrong)])
        try:
            published = value if kept.validator is None else kept.validator.validate(value)
            text = text if published is value else None
            return self._written(collection, kept, published, text)
        except Refused as refused:
            return self._refused(collection, kept.primary_key, value, refused.issues)
        except RecursionError as error:
            return self._unwritable(collection, kept, value, error)

    def _written(
        self, collection: str, kept: Kept, value: Any, text: Optional[bytes]
    ) -> Receipt:
        """Writes a valid value, or the text that it came as."""
        if text is not None:
            return self._upsert(collection, text)
        try:
            if kept.validator is not None:
                value = kept.validator.plain(value, self._default)
        except (TypeError, ValueError, RecursionError) as error:
            return self._unwritable(collection, kept, value, error)
        written = self._upsert_value(collection, value)
        if written is not None:
            return written
        try:
            text = _json.encode(value, self._default)
        except (TypeError, ValueError, RecursionError) as error:
            return self._unwritable(collection, kept, value, error)
        return self._upsert(collection, text)

    def _unwritable(
        self, collection: str, kept: Kept, value: Any, error: Exception
    ) -> Receipt:
        wrong = _json.ENDLESS if isinstance(error, RecursionError) else str(error)
        key = _key_of(value, kept.primary_key)
        return self._refuse(collection, "serialization-failed", key, [("", wrong)])

    def _refused(
        self,
        collection: str,
        primary_key: str,
        value: object,
        issues: List[Tuple[str, str]],
    ) -> Receipt:
        key = _key_of(value, primary_key)
        if isinstance(value, dict) and key is None:
            # The missing key comes first, whatever else is wrong with the entity.
            return self._refuse(collection, "invalid-key", None, [])
        return self._refuse(collection, "invalid-value", key, issues)

    def delete(self, collection: str, key: Key) -> Receipt:
        """Publishes that an entity is gone. Refuses as ``upsert`` does. A key is what ``upsert``
        takes as one: text, a number, True or False, a UUID, a date or time, a Decimal, or a member
        of an Enum that is one of these.
        """
        _name(collection)
        if isinstance(key, str):
            return self._delete(collection, key)
        text = _key_text(key)
        if text is not None:
            return self._delete(collection, text)
        wrong = f"a key has to be text, a number, True, False, a UUID or a date, not {key!r:.60}"
        return self._refuse(collection, "invalid-key", None, [("", wrong)])

    @overload
    def close(
        self, *, end_stream: Literal[False] = False, timeout: Optional[float] = None
    ) -> FlushReport: ...
    @overload
    def close(
        self, *, end_stream: Literal[True], timeout: Optional[float] = None
    ) -> CloseResult: ...
    def close(
        self, *, end_stream: bool = False, timeout: Optional[float] = None
    ) -> Union[FlushReport, CloseResult]:
        """Flushes and stops the producer, for all holders. The stream itself goes on: it outlives a
        deploy. ``end_stream=True`` ends it for everybody.

        Raises as ``flush`` does; the stream is then not ended. Ctrl-C interrupts the wait.
        """
        if end_stream:
            return _wait.within(timeout, self._close_stream)
        return _wait.within(timeout, self._close)

    @overload
    async def aclose(self, *, end_stream: Literal[False] = False) -> FlushReport: ...
    @overload
    async def aclose(self, *, end_stream: Literal[True]) -> CloseResult: ...
    async def aclose(self, *, end_stream: bool = False) -> Union[FlushReport, CloseResult]:
        """Flushes and stops the producer, for all holders, as ``close`` does, for asyncio."""
        if end_stream:
            return await _wait.result(self._close_stream())
        pending = self._close()
        return await _wait.reported(pending, self._last())


def _name(collection: object) -> str:
    """A collection's name; the core knows the collections."""
    if isinstance(collection, str):
        return collection
    raise invalid("collection", f"`collection` takes text, not {collection!r:.60}")


def _key_of(value: object, primary_key: str) -> Optional[str]:
    """The key of a value as far as it can be seen without serialising it."""
    if isinstance(value, dict):
        key = value.get(primary_key)
    else:
        key = getattr(value, primary_key, None)
    return _key_text(key)


def _key_text(key: object) -> Optional[str]:
    """The key as text, as the core reads it from an entity's JSON."""
    try:
        key = _json.key_of(key)
        return None if key is None else _durstream.key_of_json(_json.encode(key).decode())
    except (TypeError, ValueError, RecursionError):
        return None
