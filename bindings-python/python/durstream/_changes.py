"""The changes of entities, as a producer and a transaction take them."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from typing import TYPE_CHECKING, Any, Generic, Iterable, List, Optional, Tuple, TypeVar, Union

from . import _durstream, _json
from ._errors import invalid
from ._event import Unfit, event
from ._refused import Refused
from ._schema import StreamSchema

if TYPE_CHECKING:
    from ._event import Event, EventHeaders, Timestamp
    from ._json import Default
    from ._schema import Kept

#: What a primary key may be.
Key = Union[
    str, int, float, uuid.UUID, datetime.date, datetime.time, decimal.Decimal, enum.Enum
]

#: What a change returns.
R = TypeVar("R")


class Changes(Generic[R]):
    """Validates and writes changes. The native half beside it takes them."""

    _schema: StreamSchema
    _default: Default = None

    if TYPE_CHECKING:
        def _upsert(self, collection: str, value: bytes) -> R: ...
        def _upsert_value(self, collection: str, value: object) -> Optional[R]: ...
        def _delete(self, collection: str, key: str) -> R: ...
        def _change(
            self, operation: str, collection: str, value: bytes, event: Event
        ) -> R: ...
        def _refuse(
            self,
            collection: str,
            reason: str,
            key: Optional[str],
            issues: List[Tuple[str, str]],
        ) -> R: ...

    def upsert(
        self,
        collection: str,
        value: Any,
        *,
        txid: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        headers: Optional[EventHeaders] = None,
        key: Optional[Key] = None,
    ) -> R:
        """Publishes an entity's whole new state. Waits for nothing but room in a full buffer.

        The value is a dict, an instance of the collection's model, or JSON as text or bytes, which
        reaches the stream unchanged. A write that cannot be accepted gets a rejected receipt
        (unknown collection ``invalid-entity``, missing primary key ``invalid-key``, refused by the
        schema ``invalid-value``, a full buffer, ...): nothing is sent. With ``strict`` it raises.

        ``txid`` names the transaction that the change belongs to: a reader that made the change
        before, such as a browser that shows it at once, waits for it. ``timestamp`` is when it
        happened: an aware ``datetime``, a time in RFC 3339, or True for now. ``headers`` are further
        ones, none of them the protocol's own. ``key`` is the key where the value does not hold it.
        What an event cannot say is refused (``invalid-headers``).
        """
        if txid is None and timestamp is None and headers is None and key is None:
            return self._put("upsert", collection, value, None)
        return self._say("upsert", collection, value, txid, timestamp, headers, key, None)

    def insert(
        self,
        collection: str,
        value: Any,
        *,
        txid: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        headers: Optional[EventHeaders] = None,
        key: Optional[Key] = None,
    ) -> R:
        """Publishes an entity that is new, otherwise as ``upsert`` does. Whether it is new is the
        caller's word.
        """
        return self._say("insert", collection, value, txid, timestamp, headers, key, None)

    def update(
        self,
        collection: str,
        value: Any,
        *,
        txid: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        headers: Optional[EventHeaders] = None,
        key: Optional[Key] = None,
        old_value: Any = None,
    ) -> R:
        """Publishes the whole new state of an entity that is there, otherwise as ``upsert`` does.
        Whether it is there is the caller's word. ``old_value`` is its state before.
        """
        return self._say(
            "update", collection, value, txid, timestamp, headers, key, old_value
        )

    def upsert_many(
        self,
        collection: str,
        values: Iterable[Any],
        *,
        txid: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        headers: Optional[EventHeaders] = None,
    ) -> List[R]:
        """Publishes entities' whole new states in order, each as ``upsert`` does; their receipts.
        With ``strict``, the entities behind a refused one are not written.
        """
        return [
            self.upsert(collection, value, txid=txid, timestamp=timestamp, headers=headers)
            for value in values
        ]

    def _say(
        self,
        verb: str,
        collection: str,
        value: Any,
        txid: Optional[str],
        timestamp: Optional[Timestamp],
        headers: Optional[EventHeaders],
        key: Optional[Key],
        old_value: Any,
    ) -> R:
        """Publishes a change with all that is said beside its entity."""
        try:
            told = None if key is None else _told(key)
            said = event(txid, timestamp, headers, told, old_value, self._default)
        except Unfit as unfit:
            return self._refuse(_name(collection), unfit.reason, None, [("", unfit.why)])
        if verb == "delete":
            return self._change(verb, collection, b"", said)
        return self._put(verb, collection, value, said)

    def _put(
        self, verb: str, collection: str, value: Any, said: Optional[Event]
    ) -> R:
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
            return self._written(verb, collection, kept, published, text, said)
        except Refused as refused:
            told = None if said is None else said[3]
            return self._refused(
                collection, kept.primary_key, value, refused.issues, told
            )
        except RecursionError as error:
            return self._unwritable(collection, kept, value, error)

    def _written(
        self,
        verb: str,
        collection: str,
        kept: Kept,
        value: Any,
        text: Optional[bytes],
        said: Optional[Event],
    ) -> R:
        """Writes a valid value, or the text that it came as."""
        if text is None:
            try:
                if kept.validator is not None:
                    value = kept.validator.plain(value, self._default)
            except (TypeError, ValueError, RecursionError) as error:
                return self._unwritable(collection, kept, value, error)
            written = None if said else self._upsert_value(collection, value)
            if written is not None:
                return written
            try:
                text = _json.encode(value, self._default)
            except (TypeError, ValueError, RecursionError) as error:
                return self._unwritable(collection, kept, value, error)
        if said is None:
            return self._upsert(collection, text)
        return self._change(verb, collection, text, said)

    def _unwritable(
        self, collection: str, kept: Kept, value: Any, error: Exception
    ) -> R:
        wrong = _json.ENDLESS if isinstance(error, RecursionError) else str(error)
        key = _key_of(value, kept.primary_key)
        return self._refuse(collection, "serialization-failed", key, [("", wrong)])

    def _refused(
        self,
        collection: str,
        primary_key: str,
        value: object,
        issues: List[Tuple[str, str]],
        told: Optional[str],
    ) -> R:
        key = told or _key_of(value, primary_key)
        if isinstance(value, dict) and key is None:
            # The missing key comes first, whatever else is wrong with the entity.
            return self._refuse(collection, "invalid-key", None, [])
        return self._refuse(collection, "invalid-value", key, issues)

    def delete(
        self,
        collection: str,
        key: Any,
        *,
        txid: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        headers: Optional[EventHeaders] = None,
        old_value: Any = None,
    ) -> R:
        """Publishes that an entity is gone. Refuses as ``upsert`` does. A key is what ``upsert``
        takes as one: text, a number, True or False, a UUID, a date or time, a Decimal, or a member
        of an Enum that is one of these; an entity, as a dict or an instance of its model, is taken
        by its primary key. ``old_value`` is its state before.
        """
        kept = self._schema._collections.get(_name(collection))
        text = key if isinstance(key, str) else _key_text(key)
        if text is None and kept is not None and _is_entity(key, kept.primary_key):
            text = _key_of(key, kept.primary_key)
            if text is None:
                return self._refuse(collection, "invalid-key", None, [])
        if text is None:
            wrong = f"a key has to be text, a number, True, False, a UUID or a date, not {key!r:.60}"
            return self._refuse(collection, "invalid-key", None, [("", wrong)])
        if txid is None and timestamp is None and headers is None and old_value is None:
            return self._delete(collection, text)
        return self._say("delete", collection, None, txid, timestamp, headers, text, old_value)


def _name(collection: object) -> str:
    """A collection's name; the core knows the collections."""
    if isinstance(collection, str):
        return collection
    raise invalid("collection", f"`collection` takes text, not {collection!r:.60}")


def _is_entity(value: object, primary_key: str) -> bool:
    """Whether a value that is no key is an entity, with its key or without."""
    return isinstance(value, dict) or hasattr(value, primary_key)


def _told(key: object) -> str:
    """The key that stands beside its value."""
    text = key if isinstance(key, str) else _key_text(key)
    if text is None:
        why = f"a key has to be text, a number, True, False, a UUID or a date, not {key!r:.60}"
        raise Unfit("invalid-key", why)
    return text


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
