"""What calls return as dicts."""

from __future__ import annotations

from typing import Any, Dict, List, TypedDict


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
