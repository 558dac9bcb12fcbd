"""What a change says beside its entity: its transaction, time, further headers, key and old value."""

from __future__ import annotations

from collections.abc import Mapping

from . import _json
from ._typing import TYPE_CHECKING
from ._values import classes

if TYPE_CHECKING:
    import datetime
    from typing import Any, List, Literal, Optional, Tuple, Union

    from ._json import Default

    #: When a change happened: an aware ``datetime``, a time in RFC 3339, or True for now.
    Timestamp = Union[str, datetime.datetime, bool]

    #: Further headers by name.
    EventHeaders = Mapping[str, str]

    #: A message about the stream.
    Control = Literal["snapshot-start", "snapshot-end", "reset"]

    #: As the native half takes it: txid, timestamp, headers, key, old value.
    Event = Tuple[
        Optional[str], Optional[str], List[Tuple[str, str]], Optional[str], Optional[bytes]
    ]


class Unfit(Exception):
    """An event cannot say this. Its reason, and why."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why


def event(
    txid: Optional[str],
    timestamp: Optional[Timestamp],
    headers: Optional[EventHeaders],
    key: Optional[str] = None,
    old_value: Any = None,
    default: Default = None,
) -> Event:
    """The event as the native half takes it. Raises ``Unfit``; the core checks the rest."""
    if txid is not None:
        txid = _text("a `txid`", txid)
    pairs = [] if headers is None else _pairs(headers)
    return txid, _time(timestamp), pairs, key, _old(old_value, default)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("invalid-headers", f"the event has {what} that is no text: {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        why = f"the event has {what} that holds half of a surrogate pair"
        raise Unfit("invalid-headers", why) from error
    return value


def _pairs(headers: object) -> List[Tuple[str, str]]:
    if not isinstance(headers, Mapping):
        why = f"the event has `headers` that are no mapping: {headers!r:.60}"
        raise Unfit("invalid-headers", why)
    return [
        (_text("a header's name", name), _text(f"a header `{name:.60}`", value))
        for name, value in headers.items()
    ]


def _time(timestamp: Any) -> Optional[str]:
    if timestamp is None or timestamp is False:
        return None
    if timestamp is True:
        return "now"
    if isinstance(timestamp, classes("datetime", "datetime")):
        if timestamp.tzinfo is None:
            why = "the event has a `timestamp` without a time zone"
            raise Unfit("invalid-headers", why)
        return _json.text_of(timestamp)
    time = _text("a `timestamp`", timestamp)
    # Only True is the time of the call.
    return "`now`" if time == "now" else time


def _old(value: Any, default: Default) -> Optional[bytes]:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        return _json.encode(value, default)
    except (TypeError, ValueError, RecursionError) as error:
        wrong = _json.ENDLESS if isinstance(error, RecursionError) else str(error)
        raise Unfit("serialization-failed", f"the old value: {wrong}") from error
