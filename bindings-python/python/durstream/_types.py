"""The results of calls: small values without behaviour."""

from __future__ import annotations

from . import _typing as typing
from ._values import dataclass


@dataclass(frozen=True)
class Metadata:
    """Whether a stream exists, what it is, and where it ends."""

    #: Whether the stream exists; if not, nothing else is known either.
    exists: bool
    #: Its content type, if the server says it.
    content_type: typing.Optional[str] = None
    #: The offset of its tail, opaque: the next message will begin there. Every stream has one.
    offset: typing.Optional[str] = None
    #: Whether it has ended.
    stream_closed: bool = False
    #: Its lifetime in seconds since the last read or write, if it has one.
    ttl_seconds: typing.Optional[int] = None
    #: When it expires (RFC 3339), if that is fixed.
    expires_at: typing.Optional[str] = None


@dataclass(frozen=True)
class FlushReport:
    """The report of a flush."""

    #: Writes delivered since the last flush.
    delivered: int = 0
    #: Of these, the writes that the server said it had already.
    duplicates: int = 0
    #: Of the delivered writes, those that may be in the stream twice.
    uncertain: int = 0
    #: Calls turned away for their value: nothing was accepted, and no flush fails of it.
    refused: int = 0


@dataclass(frozen=True)
class CloseResult:
    """The result of ending a stream."""

    #: The stream's final offset, if the server said it.
    final_offset: typing.Optional[str] = None
