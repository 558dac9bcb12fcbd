"""The errors, one class per kind, and the outcomes of the writes they are about.

Each error is built from what the core says about itself.
"""

from __future__ import annotations

import builtins

from . import _typing as typing
from ._typing import TYPE_CHECKING
from ._values import dataclass

if TYPE_CHECKING:
    from ._durstream import Receipt

#: How many characters a text of an error has, whatever name is in it.
_MAX_TEXT = 600


@dataclass(frozen=True)
class Issue:
    """One finding of a validator."""

    #: Where in the value, as a JSON Pointer (``/address/city``); empty for the whole value.
    path: str
    #: The text: what is wrong there.
    message: str


class DurstreamError(Exception):
    """The base of every error of this library."""

    #: The kind, e.g. ``STALE_EPOCH``; the same in every language.
    code: str = "INTERNAL"
    #: The text without the URL.
    message: str
    #: Whether the same call may succeed later.
    retryable: bool = False
    #: Whether it is certain that the data is *not* in the stream.
    definite: bool = True
    #: The HTTP status, where there was an answer.
    status: typing.Optional[int] = None
    #: The stream's URL, without user info and query.
    url: typing.Optional[str] = None
    #: Why a write was refused at the call, e.g. ``invalid-key``.
    reason: typing.Optional[str] = None
    #: The write that was not delivered, where ``on_error`` receives this error.
    failure: typing.Optional[Failure] = None
    #: The failure behind this one, if there is one.
    __cause__: typing.Optional[BaseException]
    #: The receipts of the messages that ``append_many`` accepted before this error.
    receipts: typing.Sequence[Receipt] = ()

    def __init__(self, message: str = "", **details: typing.Any) -> None:
        super().__init__(message)
        self.message = message
        self._details = details
        for name, value in details.items():
            setattr(self, name, value)
        if isinstance(details.get("cause"), BaseException):
            self.__cause__ = details["cause"]

    def __str__(self) -> str:
        return f"{self.message} ({self.url})" if self.url else self.message

    def __reduce__(self) -> typing.Tuple[typing.Any, ...]:
        # Receipts are of this process.
        added = {name: value for name, value in vars(self).items() if name != "receipts"}
        return _rebuilt, (type(self), self.message, self._details), added


def _rebuilt(
    kind: typing.Type[DurstreamError], message: str, details: typing.Dict[str, typing.Any]
) -> DurstreamError:
    return kind(message, **details)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one write."""

    #: ``delivered``, ``delivery-unknown``, ``rejected``, ``cancelled``, ``forgotten``, or ``kept``: still
    #: in the outbox, and delivered once the producer is opened again.
    status: str
    #: Why it was not delivered, e.g. ``invalid-key`` or ``expired``; None if it was.
    reason: typing.Optional[str] = None
    #: Delivered, and the server said that it had the write already.
    duplicate: bool = False
    #: Delivered, and possibly twice: see ``on_uncertain``.
    maybe_duplicate: bool = False
    #: Requests sent for it; 0 if no caller waited before it settled.
    attempts: int = 0
    #: An offset behind the write, if it was delivered: that after its own batch where it is still
    #: known, else a later one. A reader that has come that far has the write.
    offset: typing.Optional[str] = None
    #: The error; None if it was delivered.
    error: typing.Optional[DurstreamError] = None

    @property
    def delivered(self) -> bool:
        """Whether the write is in the stream."""
        return self.status == "delivered"


@dataclass(frozen=True)
class Failure:
    """A write that was not delivered, as ``error.failure`` in ``on_error``."""

    #: The write's receipt id; 0 for failures that are not about one write.
    id: int
    #: Its bytes as the library would have sent them.
    payload: bytes
    #: Its outcome.
    outcome: Outcome


@dataclass(frozen=True)
class Delivery:
    """Consecutive writes that were delivered in one batch, as ``on_delivery`` receives them."""

    #: The receipt id of the first write; the others follow it without a gap.
    first_id: int
    #: How many writes there are.
    count: int
    #: The outcome they share.
    outcome: Outcome


@dataclass(frozen=True)
class StateChange:
    """A producer went from one state to another, as ``on_state`` receives it."""

    #: The state before.
    from_: str
    #: The state from here on.
    to: str
    #: The failure that is the reason; None where none is.
    error: typing.Optional[DurstreamError] = None


class InvalidArgumentError(DurstreamError, ValueError):
    """An option, URL, schema or argument is missing or wrong. The error names it."""

    code = "INVALID_ARGUMENT"
    #: The option or argument.
    option: typing.Optional[str] = None


class ValidationError(DurstreamError, ValueError):
    """A value was refused before it was accepted: by the schema, for its key, or as no JSON."""

    code = "VALIDATION"
    #: The collection, empty for plain appends.
    collection: str = ""
    #: The entity's key, where it was known.
    key: typing.Optional[str] = None
    #: The findings of the validator.
    issues: typing.Tuple[Issue, ...] = ()


class TooLargeError(DurstreamError):
    """A write is larger than the producer or the server takes."""

    code = "TOO_LARGE"


class BufferFullError(DurstreamError):
    """The producer's buffer has no room for the write now."""

    code = "BUFFER_FULL"
    retryable = True


class ProducerClosedError(DurstreamError):
    """The producer is closed, detached or stopped."""

    code = "PRODUCER_CLOSED"


class StaleEpochError(DurstreamError):
    """Another producer with the same id took over."""

    code = "STALE_EPOCH"
    #: The epoch the server has now.
    current_epoch: int = 0


class SequenceGapError(DurstreamError):
    """The server expects another sequence number of this producer."""

    code = "SEQUENCE_GAP"
    #: The sequence number the server expects.
    expected_seq: int = 0
    #: The sequence number that was sent.
    received_seq: int = 0


class SequenceConflictError(DurstreamError):
    """A ``Stream-Seq`` was not greater than the last one."""

    code = "SEQUENCE_CONFLICT"


class StreamClosedError(DurstreamError):
    """The stream has ended; nothing can be appended."""

    code = "STREAM_CLOSED"
    #: Where the stream ended, if the server said so.
    final_offset: typing.Optional[str] = None


class StreamNotFoundError(DurstreamError):
    """There is no stream at this URL."""

    code = "STREAM_NOT_FOUND"


class StreamGoneError(DurstreamError):
    """The stream was deleted (of a read: ``reason`` is ``gone``), or the server no longer keeps what a
    read asked for (``offset-gone``)."""

    code = "STREAM_GONE"
    #: The earliest offset that can still be read, if the server said so.
    earliest_offset: typing.Optional[str] = None


class StreamExistsError(DurstreamError):
    """A stream with another configuration is at this URL."""

    code = "STREAM_EXISTS"


class ConflictError(DurstreamError):
    """The server refused the request as conflicting, e.g. for its content type."""

    code = "CONFLICT"


class UnauthorizedError(DurstreamError):
    """The server did not accept the credentials."""

    code = "UNAUTHORIZED"


class NotSupportedError(DurstreamError):
    """The server or this library does not do what was asked."""

    code = "NOT_SUPPORTED"


class ProtocolError(DurstreamError):
    """The server's answer breaks the protocol."""

    code = "PROTOCOL"


class TransportError(DurstreamError, ConnectionError):
    """No usable answer: connection refused or cut, or a server-side failure that persisted."""

    code = "TRANSPORT"
    retryable = True
    definite = False


class TimeoutError(DurstreamError, builtins.TimeoutError):
    """A time limit ran out."""

    code = "TIMEOUT"
    retryable = True
    definite = False
    #: The failure that the producer is in, if it is in one; ``__cause__`` too.
    cause: typing.Optional[DurstreamError] = None


class DeliveryError(DurstreamError):
    """Some writes since the last flush were not delivered: counts and first cause."""

    code = "DELIVERY"
    definite = False
    #: Writes delivered.
    delivered: int = 0
    #: Writes refused, cancelled, unknown, kept, or turned away by a full buffer.
    undelivered: int = 0
    #: Of these, the writes that stay in the outbox: they are delivered once the producer is opened again.
    kept: int = 0
    #: The first failure; ``__cause__`` too.
    cause: typing.Optional[DurstreamError] = None


class ForkedError(DurstreamError):
    """The handle was inherited through ``fork``; open another one in the child."""

    code = "FORKED"


class InternalError(DurstreamError):
    """A bug in this library, caught at the boundary."""

    code = "INTERNAL"
    definite = False


class OutboxInUseError(DurstreamError):
    """Another process, or another producer of this one, has the outbox open. The error names it."""

    code = "OUTBOX_IN_USE"


class OutboxDamagedError(DurstreamError):
    """A file of the outbox does not say what it should. The error names the file and the place."""

    code = "OUTBOX_DAMAGED"


class OutboxFailedError(DurstreamError):
    """The outbox cannot be made, opened, written or made durable, or a newer version made it."""

    code = "OUTBOX_FAILED"


LEAVES: typing.Dict[str, typing.Type[DurstreamError]] = {
    leaf.__name__: leaf
    for leaf in (
        InvalidArgumentError,
        ValidationError,
        TooLargeError,
        BufferFullError,
        ProducerClosedError,
        StaleEpochError,
        SequenceGapError,
        SequenceConflictError,
        StreamClosedError,
        StreamNotFoundError,
        StreamGoneError,
        StreamExistsError,
        ConflictError,
        UnauthorizedError,
        NotSupportedError,
        ProtocolError,
        TransportError,
        TimeoutError,
        DeliveryError,
        ForkedError,
        InternalError,
        OutboxInUseError,
        OutboxDamagedError,
        OutboxFailedError,
    )
}


def from_json(text: str) -> DurstreamError:
    """The exception of an error of the core, given in its JSON form."""
    import json

    return _from_fields(json.loads(text))


def _from_fields(fields: typing.Dict[str, typing.Any]) -> DurstreamError:
    kind = LEAVES.get(fields.pop("name"), DurstreamError)
    message = fields.pop("message")
    if "cause" in fields:
        fields["cause"] = _from_fields(fields["cause"])
    if "issues" in fields:
        issues: typing.List[typing.Dict[str, str]] = fields["issues"]
        fields["issues"] = tuple(Issue(issue["path"], issue["message"]) for issue in issues)
    return kind(message, **fields)


def invalid(option: str, text: str) -> InvalidArgumentError:
    """The error of an argument that the Python half refuses, its texts as short as the core's."""
    return InvalidArgumentError(_bounded(text), option=_bounded(option))


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
