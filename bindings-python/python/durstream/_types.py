"""The results of calls: small values without behaviour."""

from __future__ import annotations

from typing import Dict, Optional, TypedDict

from ._values import dataclass


@dataclass(frozen=True)
class Metadata:
    """Whether a stream exists, what it is, and where it ends."""

    #: Whether the stream exists; if not, nothing else is known either.
    exists: bool
    #: Its content type, if the server says it.
    content_type: Optional[str] = None
    #: The offset of its tail, opaque: the next message will begin there. Every stream has one.
    offset: Optional[str] = None
    #: Whether it has ended.
    stream_closed: bool = False
    #: Its lifetime in seconds since the last read or write, if it has one.
    ttl_seconds: Optional[int] = None
    #: When it expires (RFC 3339), if that is fixed.
    expires_at: Optional[str] = None


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
    final_offset: Optional[str] = None


class Distribution(TypedDict):
    """What a distribution comes to. Each number but the sum is known to 3.2 %; 0 where there are none."""

    count: int
    sum: int
    #: As large as half of them, or larger.
    p50: int
    p90: int
    p99: int
    max: int


class Stats(TypedDict):
    """The counters, gauges and distributions of a producer; ``docs/metrics.md`` says what each means.
    At every instant ``accepted = delivered + rejected + cancelled + unknown + kept + pending``. A name that
    ends in ``_us`` is in microseconds, ``_ms`` in milliseconds."""

    accepted: int
    recovered: int
    recovered_bytes: int
    delivered: int
    duplicates: int
    uncertain: int
    rejected: int
    cancelled: int
    unknown: int
    kept: int
    pending: int
    refused_invalid: int
    refused: int
    buffered_bytes: int
    requests: int
    retries: int
    sessions: int
    expired: int
    batches: int
    delivered_bytes: int
    sent_bytes: int
    answers_2xx: int
    answers_3xx: int
    answers_4xx: int
    answers_5xx: int
    unanswered: int
    reconciliations: int
    fenced: int
    in_flight: int
    buffer_limit_bytes: int
    oldest_pending_ms: int
    since_acknowledgement_ms: int
    delivery_latency_us: Distribution
    queue_latency_us: Distribution
    request_latency_us: Distribution
    batch_writes: Distribution
    batch_bytes: Distribution
    #: Of the accepted writes that were not delivered, how many for each reason that there was.
    undelivered: Dict[str, int]
