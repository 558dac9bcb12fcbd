"""``create_durable_stream`` and ``StateProducer``: the writer of entity state."""

from __future__ import annotations

from . import _durstream, _options, _process, _wait
from . import _typing as typing
from ._changes import Changes
from ._errors import invalid
from ._held import Held, bound
from ._schema import E, S, StreamSchema
from ._transaction import Transaction
from ._types import CloseResult, FlushReport
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._durstream import Receipt
    from ._event import Control
    from ._json import Default
    from ._option_types import StateOptions
    from ._options import Callbacks, Headers, Params
    from ._producer import OnDelivery, OnError, OnState


@_options.documented("state")
def create_durable_stream(
    *,
    schema: StreamSchema[S],
    producer_id: str,
    url: typing.Optional[str] = None,
    on_error: typing.Optional[OnError] = None,
    on_delivery: typing.Optional[OnDelivery] = None,
    on_state: typing.Optional[OnState] = None,
    headers: typing.Optional[Headers] = None,
    params: typing.Optional[Params] = None,
    default: Default = None,
    **options: Unpack[StateOptions],
) -> StateProducer[S]:
    """Opens the writer of entity state for a stream, or another handle on the open one: there is
    one per stream in a process.

    The stream is given by ``stream_path`` below a server, or by its whole ``url``. Sends nothing
    itself; the stream is created or checked in the background before the first batch, so a
    producer may start before its server does.

    Each handle's ``on_error`` is called for every write that is not delivered, whichever handle
    made it, its ``on_delivery`` for those that are, a batch at a time, and its ``on_state`` for each
    change of ``state``; each handle validates its own writes with its own ``schema``. Only the header
    functions of the first open are called.

    Raises ``InvalidArgumentError`` for an option that is none or out of its range, or that differs from
    those of the open handle.

    >>> from durstream import create_durable_stream, define_stream_schema
    >>> schema = define_stream_schema(orders={"schema": True, "type": "order", "primary_key": "id"})
    >>> with create_durable_stream(url=url, schema=schema, producer_id="order-service") as producer:
    ...     receipt = producer.upsert("orders", {"id": "1", "total": 5})
    >>> receipt.wait().delivered
    True
    """
    check(schema, producer_id)
    _process.start()
    given = {"url": url, "producer_id": producer_id, **options}
    asked = _options.function("default", default)
    called = _options.callbacks(on_error, on_delivery, on_state)
    producer: StateProducer[S] = StateProducer._open(schema, given, headers, params, called)
    producer._default = asked
    producer._is_traced = options.get("trace") is True
    return producer


def check(schema: StreamSchema, producer_id: str) -> None:
    """Refuses what is no schema, or no id."""
    if not isinstance(schema, StreamSchema):
        text = f"`schema` takes what `define_stream_schema` returns, not {schema!r:.60}"
        raise invalid("schema", text)
    if not isinstance(producer_id, str):
        raise invalid("producer_id", f"`producer_id` takes text, not {producer_id!r:.60}")


class StateProducer(Held, _durstream.State, Changes["Receipt", E]):
    """Publishes the state of entities to one stream, each change exactly once, in call order.

    Made by ``create_durable_stream``. Any thread may use it. As a context it detaches when left:
    the last handle on a stream lets its producer go. A handle that was detached writes no more, and
    ends nothing that others hold; its ``on_error`` is called for the writes accepted before, and
    for no later ones.
    """

    @classmethod
    def _open(
        cls,
        schema: StreamSchema[typing.Any],
        options: typing.Any,
        headers: typing.Optional[Headers],
        params: typing.Optional[Params],
        called: Callbacks,
    ) -> Self:
        own = _options.header_pairs(headers), _options.param_pairs(params)
        self = cls(schema._native, _options.texts(options), *own, called)
        self._schema = schema
        self._bound = bound(options)
        return self

    def control(self, control: Control, *, offset: typing.Optional[str] = None) -> Receipt:
        """Publishes a message about the stream, in order with the changes: ``snapshot-start``,
        ``snapshot-end`` or ``reset``. ``offset`` is the place in the stream that it speaks of.
        """
        if not isinstance(control, str):
            raise invalid("control", f"`control` takes text, not {control!r:.60}")
        if offset is not None and not isinstance(offset, str):
            raise invalid("offset", f"`offset` takes text, not {offset!r:.60}")
        return self._control(control, offset)

    def transaction(self, txid: typing.Optional[str] = None) -> Transaction[E]:
        """Begins a transaction: its changes reach the stream together, or not at all. Use it as a
        context: it is committed at the end, and rolled back where the block raises.

            with producer.transaction() as changes:
                changes.upsert("orders", order)
                changes.delete("carts", cart_id)

        ``txid`` is its id, a new UUID unless given: a reader that made the changes before waits for it.
        Nothing else of this producer stands between the changes in the stream. It belongs to the thread
        that began it, and a producer has one on a thread at a time.
        """
        if txid is not None and not isinstance(txid, str):
            raise invalid("txid", f"`txid` takes text, not {txid!r:.60}")
        return Transaction(self, txid)

    @typing.overload
    def close(
        self, *, end_stream: typing.Literal[False] = False, timeout: typing.Optional[float] = None
    ) -> FlushReport: ...
    @typing.overload
    def close(
        self, *, end_stream: typing.Literal[True], timeout: typing.Optional[float] = None
    ) -> CloseResult: ...
    def close(
        self, *, end_stream: bool = False, timeout: typing.Optional[float] = None
    ) -> typing.Union[FlushReport, CloseResult]:
        """Flushes and stops the producer, for all holders. The stream itself goes on: it outlives a
        deploy. ``end_stream=True`` ends it for everybody.

        Raises as ``flush`` does; the stream is then not ended. Ctrl-C interrupts the wait.
        """
        if end_stream:
            return _wait.within(timeout, self._close_stream)
        return _wait.within(timeout, self._close)

    @typing.overload
    async def aclose(self, *, end_stream: typing.Literal[False] = False) -> FlushReport: ...
    @typing.overload
    async def aclose(self, *, end_stream: typing.Literal[True]) -> CloseResult: ...
    async def aclose(self, *, end_stream: bool = False) -> typing.Union[FlushReport, CloseResult]:
        """Flushes and stops the producer, for all holders, as ``close`` does, for asyncio."""
        if end_stream:
            return await _wait.result(self._close_stream())
        pending = self._close()
        return await _wait.reported(pending, self._last())
