"""The changes of entities, as a producer and a transaction take them."""

from __future__ import annotations

from . import _json, _trace
from . import _typing as typing
from ._event import Unfit, event
from ._keys import NoKey, is_entity, key_of, key_text
from ._refused import Refused
from ._schema import Collection, E, StreamSchema, V
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._event import Event, EventHeaders, Timestamp
    from ._json import Default
    from ._keys import Key
    from ._schema import Kept

    #: What a change returns.
    R = typing.TypeVar("R")
else:
    R = object


class Changes(typing.Generic[R, E]):
    """Validates and writes changes. The native half beside it takes them."""

    _schema: StreamSchema[typing.Any]
    _default: Default = None
    #: Whether events carry the context of their trace.
    _is_traced: bool = False

    if TYPE_CHECKING:

        def _upsert(self, collection: str, value: bytes) -> R: ...
        def _upsert_value(self, collection: str, value: object) -> typing.Optional[R]: ...
        def _delete(self, collection: str, key: str) -> R: ...
        def _change(self, operation: str, collection: str, value: bytes, event: Event) -> R: ...
        def _refuse(
            self,
            collection: str,
            reason: str,
            key: typing.Optional[str],
            issues: typing.List[typing.Tuple[str, str]],
        ) -> R: ...

    def upsert(
        self,
        collection: typing.Union[Collection[V, E], str],
        value: V,
        *,
        txid: typing.Optional[str] = None,
        timestamp: typing.Optional[Timestamp] = None,
        headers: typing.Optional[EventHeaders] = None,
        key: typing.Optional[Key] = None,
    ) -> R:
        """Publishes an entity's whole new state. Waits for nothing but room in a full buffer.

        The collection is one of the schema's, or its name. To a ``Collection`` belongs a value of its
        type, which type checkers look at; to a name a dict, an instance of the collection's model, or
        JSON as text or bytes, which reaches the stream unchanged. A write that cannot be accepted gets a rejected receipt
        (unknown collection ``invalid-entity``, missing primary key ``invalid-key``, refused by the
        schema ``invalid-value``, a full buffer, ...): nothing is sent. With ``strict`` it raises.

        ``txid`` names the transaction that the change belongs to: a reader that made the change
        before, such as a browser that shows it at once, waits for it. ``timestamp`` is when it
        happened: an aware ``datetime``, a time in RFC 3339, or True for now. ``headers`` are further
        ones, none of them the protocol's own. ``key`` is the key where the value does not hold it.
        What an event cannot say is refused (``invalid-headers``).
        """
        is_plain = txid is None and timestamp is None and headers is None and key is None
        if is_plain and not (self._is_traced and _trace.current()):
            return self._put("upsert", self._schema._name(collection), value, None)
        return self._say("upsert", collection, value, txid, timestamp, headers, key, None)

    def insert(
        self,
        collection: typing.Union[Collection[V, E], str],
        value: V,
        *,
        txid: typing.Optional[str] = None,
        timestamp: typing.Optional[Timestamp] = None,
        headers: typing.Optional[EventHeaders] = None,
        key: typing.Optional[Key] = None,
    ) -> R:
        """Publishes an entity that is new, otherwise as ``upsert`` does. Whether it is new is the
        caller's word.
        """
        return self._say("insert", collection, value, txid, timestamp, headers, key, None)

    def update(
        self,
        collection: typing.Union[Collection[V, E], str],
        value: V,
        *,
        txid: typing.Optional[str] = None,
        timestamp: typing.Optional[Timestamp] = None,
        headers: typing.Optional[EventHeaders] = None,
        key: typing.Optional[Key] = None,
        old_value: typing.Union[V, str, bytes, None] = None,
    ) -> R:
        """Publishes the whole new state of an entity that is there, otherwise as ``upsert`` does.
        Whether it is there is the caller's word. ``old_value`` is its state before.
        """
        return self._say("update", collection, value, txid, timestamp, headers, key, old_value)

    def upsert_many(
        self,
        collection: typing.Union[Collection[V, E], str],
        values: typing.Iterable[V],
        *,
        txid: typing.Optional[str] = None,
        timestamp: typing.Optional[Timestamp] = None,
        headers: typing.Optional[EventHeaders] = None,
    ) -> typing.List[R]:
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
        collection: typing.Union[Collection[typing.Any, typing.Any], str],
        value: typing.Any,
        txid: typing.Optional[str],
        timestamp: typing.Optional[Timestamp],
        headers: typing.Optional[EventHeaders],
        key: typing.Optional[Key],
        old_value: typing.Any,
    ) -> R:
        """Publishes a change with all that is said beside its entity."""
        name = self._schema._name(collection)
        try:
            told = None if key is None else key_text(key)
            said = event(txid, timestamp, headers, told, old_value, self._default)
            if self._is_traced:
                said = self._traced(said)
        except NoKey as none:
            return self._refuse(name, "invalid-key", None, [("", f"the key {none.why}")])
        except Unfit as unfit:
            return self._refuse(name, unfit.reason, None, [("", unfit.why)])
        if verb == "delete":
            return self._change(verb, name, b"", said)
        return self._put(verb, name, value, said)

    def _traced(self, said: Event) -> Event:
        """The event with the context of the trace that is current, unless it was told one."""
        txid, timestamp, headers, key, old_value = said
        if all(name != "traceparent" for name, _ in headers):
            told = [pair for pair in headers if pair[0] != "tracestate"]
            headers = told + _trace.current()
        return txid, timestamp, headers, key, old_value

    def _put(
        self, verb: str, collection: str, value: typing.Any, said: typing.Optional[Event]
    ) -> R:
        kept = self._schema._collections.get(collection)
        if kept is None:
            return self._refuse(collection, "invalid-entity", None, [])  # the core names them
        text: typing.Optional[bytes] = None
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            import json

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
            return self._invalid("invalid-value", collection, kept, value, refused.issues, told)
        except RecursionError as error:
            return self._unwritable(collection, kept, value, error)

    def _written(
        self,
        verb: str,
        collection: str,
        kept: Kept,
        value: typing.Any,
        text: typing.Optional[bytes],
        said: typing.Optional[Event],
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

    def _unwritable(self, collection: str, kept: Kept, value: typing.Any, error: Exception) -> R:
        wrong = _json.ENDLESS if isinstance(error, RecursionError) else str(error)
        return self._invalid("serialization-failed", collection, kept, value, [("", wrong)])

    def _invalid(
        self,
        reason: str,
        collection: str,
        kept: Kept,
        value: object,
        issues: typing.List[typing.Tuple[str, str]],
        told: typing.Optional[str] = None,
    ) -> R:
        """Refuses a value. What is wrong with its key comes first."""
        key = told or None
        try:
            key = key or key_of(value, kept.primary_key)
        except NoKey as none:
            # An instance may hold it under another name.
            if isinstance(value, dict) or not none.is_missing:
                wrong = f"the primary key `{kept.primary_key:.60}` {none.why}"
                return self._refuse(collection, "invalid-key", None, [("", wrong)])
        return self._refuse(collection, reason, key, issues)

    def delete(
        self,
        collection: typing.Union[Collection[V, E], str],
        key: typing.Union[Key, V],
        *,
        txid: typing.Optional[str] = None,
        timestamp: typing.Optional[Timestamp] = None,
        headers: typing.Optional[EventHeaders] = None,
        old_value: typing.Union[V, str, bytes, None] = None,
    ) -> R:
        """Publishes that an entity is gone. Refuses as ``upsert`` does. A key is what ``upsert``
        takes as one: text, an int, True or False, a UUID, a date or time, a Decimal, or a member
        of an Enum that is one of these; an entity, as a dict or an instance of its model, is taken
        by its primary key. In the stream a key is text. ``old_value`` is its state before.
        """
        name = self._schema._name(collection)
        kept = self._schema._collections.get(name)
        try:
            text = key_text(key)
        except NoKey as none:
            if kept is None or not is_entity(key, kept.primary_key):
                return self._refuse(name, "invalid-key", None, [("", f"the key {none.why}")])
            try:
                text = key_of(key, kept.primary_key)
            except NoKey as no_key:
                wrong = f"the primary key `{kept.primary_key:.60}` {no_key.why}"
                return self._refuse(name, "invalid-key", None, [("", wrong)])
        is_plain = txid is None and timestamp is None and headers is None and old_value is None
        if is_plain and not (self._is_traced and _trace.current()):
            return self._delete(name, text)
        return self._say("delete", name, None, txid, timestamp, headers, text, old_value)
