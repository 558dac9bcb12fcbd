"""What calls return: small values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, TypedDict


@dataclass(frozen=True)
class Metadata:
    """Whether a stream is there, what it is, and where it ends."""

    #: Whether there is one; if not, nothing else is known either.
    exists: bool
    #: Its content type, where the server says it.
    content_type: Optional[str] = None
    #: The offset of its tail, opaque: where the next message will begin. Every stream has one.
    offset: Optional[str] = None
    #: Whether it has ended.
    stream_closed: bool = False
    #: Its lifetime in seconds since the last read or write, if it has one.
    ttl_seconds: Optional[int] = None
    #: When it expires (RFC 3339), if that is fixed.
    expires_at: Optional[str] = None


@dataclass(frozen=True)
class FlushReport:
    """What a flush found."""

    #: Writes delivered since the last flush.
    delivered: int = 0
    #: Of these, the ones the server said it had already.
    duplicates: int = 0
    #: Of the delivered, the ones that may be there twice.
    uncertain: int = 0


@dataclass(frozen=True)
class CloseResult:
    """How a stream was ended."""

    #: The stream's final offset, where the server said it.
    final_offset: Optional[str] = None


class Stats(TypedDict):
    """What a producer has done so far. At every instant
    ``accepted = delivered + rejected + cancelled + unknown + pending``."""

    accepted: int
    delivered: int
    duplicates: int
    uncertain: int
    rejected: int
    cancelled: int
    unknown: int
    pending: int
    refused_invalid: int
    refused: int
    buffered_bytes: int
    requests: int
    retries: int
    sessions: int
