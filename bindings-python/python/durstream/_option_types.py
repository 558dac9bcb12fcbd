"""The options of each call by name, as type checkers see them: the core's table."""

from __future__ import annotations

import os
from typing import Literal, Optional, Sequence, TypedDict, Union


class Limits(TypedDict, total=False):
    """Options of everything that sends requests."""

    request_timeout_ms: int
    retry_initial_delay_ms: int
    retry_max_delay_ms: int
    retry_multiplier: float
    retry_after_max_ms: int


class Place(TypedDict, total=False):
    """Options of everything that finds or creates a stream."""

    stream_path: Optional[str]
    endpoints: Union[str, Sequence[str]]
    path_prefix: str
    ca_pem: str
    client_cert_pem: str
    client_key_pem: str
    tls_server_name: str
    proxy: str
    max_connections: int
    ttl_seconds: int
    expires_at: str


class Writing(TypedDict, total=False):
    """Options of producers."""

    epoch: int
    auto_claim: bool
    shared: bool
    linger_ms: int
    max_batch_bytes: int
    max_batch_items: int
    max_in_flight: int
    max_write_bytes: int
    max_buffer_bytes: int
    max_buffer_items: int
    max_block_ms: int
    delivery_timeout_ms: int
    outbox_dir: Union[str, os.PathLike[str]]
    outbox_max_bytes: int
    outbox_sync: Literal["process", "batch", "write"]
    outbox_recovery: Literal["refuse", "salvage"]
    on_uncertain: str


class StreamOptions(Limits, Place, total=False):
    """Options of ``DurableStream``."""

    content_type: str
    closed: bool
    fork_from: str
    fork_offset: str
    fork_sub_offset: int
    idempotent: bool
    max_retries: int
    max_read_bytes: int


class ProducerOptions(Limits, Writing, total=False):
    """Options of ``IdempotentProducer``."""


class StateOptions(Limits, Place, Writing, total=False):
    """Options of ``create_durable_stream``."""

    timestamps: bool
    operations: Literal["upsert", "strict"]
    max_tracked_keys: int
    trace: bool
    strict: bool
