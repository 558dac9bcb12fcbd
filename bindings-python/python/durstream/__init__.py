"""Publishes data to durable streams, exactly once, and reads it.

``DurableStream`` is a stream by its URL, ``IdempotentProducer`` writes bytes or JSON,
``create_durable_stream`` writes the state of entities. Importing does nothing: threads start with
the first open, and pending writes are delivered before the process ends.
"""

from __future__ import annotations

from . import _loading as _loading  # before what an old Python cannot load
from . import _interpreter as _interpreter  # before anything native
from . import _typing as typing  # of annotations, which are resolved here
from ._durstream import Chunk as Chunk
from ._durstream import Receipt as Receipt
from ._durstream import __version__ as __version__
from ._errors import (
    BufferFullError,
    ConflictError,
    Delivery,
    DeliveryError,
    DurstreamError,
    Failure,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    Issue,
    NotSupportedError,
    OutboxDamagedError,
    OutboxFailedError,
    OutboxInUseError,
    Outcome,
    ProducerClosedError,
    ProtocolError,
    SequenceConflictError,
    SequenceGapError,
    StaleEpochError,
    StateChange,
    StreamClosedError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
    TimeoutError,
    TooLargeError,
    TransportError,
    UnauthorizedError,
    ValidationError,
)
from ._inspect import inspect
from ._process import (
    flush_all,
    pending_count,
    set_buffer_budget,
    set_exit_timeout,
    shutdown,
    stats_prometheus,
)
from ._producer import IdempotentProducer
from ._reader import StreamReader
from ._schema import Collection, StreamSchema, define_stream_schema
from ._state import StateProducer, create_durable_stream
from ._transaction import Transaction
from ._stream import DurableStream
from ._types import CloseResult, FlushReport, Metadata
from ._typing import TYPE_CHECKING

__all__ = [
    "BufferFullError",
    "Chunk",
    "CloseResult",
    "Collection",
    "ConflictError",
    "Delivery",
    "DeliveryError",
    "Distribution",
    "DurableStream",
    "DurstreamError",
    "Failure",
    "FlushReport",
    "ForkedError",
    "IdempotentProducer",
    "Inspection",
    "InternalError",
    "InvalidArgumentError",
    "Issue",
    "Metadata",
    "NotSupportedError",
    "OutboxDamagedError",
    "OutboxFailedError",
    "OutboxInUseError",
    "Outcome",
    "ProducerClosedError",
    "ProtocolError",
    "Receipt",
    "SequenceConflictError",
    "SequenceGapError",
    "StaleEpochError",
    "StateChange",
    "StateProducer",
    "Stats",
    "StreamClosedError",
    "StreamExistsError",
    "StreamGoneError",
    "StreamNotFoundError",
    "StreamReader",
    "StreamSchema",
    "TimeoutError",
    "TooLargeError",
    "TransportError",
    "UnauthorizedError",
    "ValidationError",
    "create_durable_stream",
    "define_stream_schema",
    "flush_all",
    "inspect",
    "pending_count",
    "set_buffer_budget",
    "set_exit_timeout",
    "shutdown",
    "stats_prometheus",
]

if TYPE_CHECKING:
    from ._dicts import Distribution, Inspection, Stats
else:

    def __getattr__(name):
        """Types that need ``typing``, once somebody asks for one."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import _dicts

        return globals().setdefault(name, _named_as_imported(getattr(_dicts, name)))

    def __dir__():
        return sorted({*globals(), *__all__})


def _named_as_imported(public: typing.Any) -> typing.Any:
    """Has tracebacks, pickles and documentation name what is public as users import it."""
    if public.__module__.startswith("durstream."):
        public.__module__ = "durstream"
    return public


for _name in set(__all__).intersection(globals()):
    _named_as_imported(globals()[_name])
