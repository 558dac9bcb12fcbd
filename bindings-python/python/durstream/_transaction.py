"""``Transaction``: changes that reach the stream together, or not at all."""

from __future__ import annotations

from . import _durstream
from . import _typing as typing
from ._changes import Changes
from ._schema import E
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._durstream import Receipt
    from ._event import Event
    from ._state import StateProducer


class Transaction(_durstream.Transaction, Changes[None, E]):
    """Changes of entities that become one group, with one ``txid``. Made by
    ``StateProducer.transaction``.

    Its ``upsert``, ``insert``, ``update``, ``delete`` and ``upsert_many`` take what the producer's do,
    and return nothing. A change that is refused makes the commit fail.
    """

    #: The receipt of the last change once it is committed, whose outcome is that of all: the others have
    #: the ids before it, without a gap. None before, and where there were no changes.
    receipt: typing.Optional[Receipt] = None

    def __new__(cls, producer: StateProducer[E], txid: typing.Optional[str]) -> Self:
        self = super().__new__(cls, producer, txid)
        self._schema = producer._schema
        self._default = producer._default
        self._is_traced = producer._is_traced
        return self

    def commit(self) -> typing.Optional[Receipt]:
        """Sends the changes as one group, and ends the transaction. Waits for nothing but room in a full
        buffer.

        Returns the receipt of the last change, None where there were none. Raises what was refused, and
        nothing is sent: ``ValidationError`` with all refused changes, ``TooLargeError`` for a group that
        is larger than ``max_write_bytes``, ``max_batch_items`` or the buffer, ``BufferFullError``, after
        which it may be committed again, ``ProducerClosedError``, or the error that the producer failed
        with.
        """
        receipt = self._commit()
        if receipt is not None and not receipt.accepted:
            outcome = receipt.wait(0)
            if outcome.error is not None:
                raise outcome.error
        self.receipt = receipt
        return receipt

    def rollback(self) -> None:
        """Forgets the changes: nothing is sent."""
        self._rollback()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: typing.Optional[typing.Type[BaseException]],
        error: typing.Optional[BaseException],
        traceback: typing.Optional[TracebackType],
    ) -> None:
        try:
            if error_type is None and not self._ended:
                self.commit()
        finally:
            self.rollback()

    def _upsert(self, collection: str, value: bytes) -> None:
        self._change("upsert", collection, value, _NOTHING)

    def _upsert_value(self, collection: str, value: object) -> None:
        return None  # it is written in Python

    def _delete(self, collection: str, key: str) -> None:
        self._change("delete", collection, b"", (None, None, [], key, None))


#: An event that says nothing beside its entity.
_NOTHING: Event = (None, None, [], None, None)
