"""``IdempotentProducer``: the exactly-once writer of bytes or JSON."""

from __future__ import annotations

from . import _durstream, _options, _process, _wait
from . import _typing as typing
from ._errors import Delivery, DurstreamError, StateChange, invalid
from ._held import Held, bound
from ._stream import DurableStream
from ._types import CloseResult
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._json import Default
    from ._option_types import ProducerOptions
    from ._options import Headers, Params

    #: Called on the library's thread for callbacks with the error of a write that was not delivered;
    #: the write itself is the error's ``failure``.
    OnError = typing.Callable[[DurstreamError], typing.Any]
    #: Called on that thread with writes that were delivered, a batch at a time in the order of the calls.
    #: Reports that wait count against the buffer.
    OnDelivery = typing.Callable[[Delivery], typing.Any]
    #: Called on that thread with each change of the producer's state, in their order.
    OnState = typing.Callable[[StateChange], typing.Any]


@_options.documented("producer")
class IdempotentProducer(Held, _durstream.Producer):
    """Writes messages to a stream, each exactly once, in the order of the calls.

    Messages gather while requests are under way and go out in batches, repeated through failures
    under the same identity. The id stays the same over restarts: a new producer takes over from
    an older one, everything the older one wrote stays, and nothing is written twice. Any thread
    may use it.

    ``default`` is called with a value whose type JSON does not know, for one to write in its place,
    as that of ``json.dumps`` is; the stream's own is, if none is given.

    Each accepted write is reported once, to ``on_error`` or to ``on_delivery``; ``on_state`` is called
    for each change of ``state``, as long as the handle is held. They run on a thread of the library's.

    As a context it detaches when left. A producer that is only dropped still delivers its writes in
    the background, with a ``ResourceWarning``.

    Raises ``InvalidArgumentError`` for an option that is none or out of its range. Sends nothing before
    the first write.

    >>> from durstream import DurableStream, IdempotentProducer
    >>> stream = DurableStream.create(url, content_type="application/json")
    >>> with IdempotentProducer(stream, "order-service", linger_ms=5) as producer:
    ...     receipt = producer.append({"orderId": "123"})
    >>> receipt.wait().delivered
    True
    """

    def __new__(
        cls,
        stream: DurableStream,
        producer_id: str,
        *,
        on_error: typing.Optional[OnError] = None,
        on_delivery: typing.Optional[OnDelivery] = None,
        on_state: typing.Optional[OnState] = None,
        headers: typing.Optional[Headers] = None,
        params: typing.Optional[Params] = None,
        default: Default = None,
        **options: Unpack[ProducerOptions],
    ) -> Self:
        if not isinstance(stream, DurableStream):
            raise invalid("stream", f"`stream` takes a DurableStream, not {stream!r:.60}")
        if not isinstance(producer_id, str):
            raise invalid("producer_id", f"`producer_id` takes text, not {producer_id!r:.60}")
        _options.argument("producer_id", producer_id)
        _process.start()
        pairs = _options.texts(options)
        called = _options.callbacks(on_error, on_delivery, on_state)
        functions = called, _options.function("default", default)
        own = _options.header_pairs(headers), _options.param_pairs(params)
        self = super().__new__(cls, stream._native, producer_id, pairs, *own, functions)
        self._bound = bound(options)
        return self

    def append_many(self, messages: typing.Iterable[typing.Any]) -> typing.List[_durstream.Receipt]:
        """Appends messages in order, each as ``append`` does.

        If a message is refused, those behind it are not appended and those before it stay accepted:
        the error carries their ``receipts``.
        """
        try:
            each = iter(messages)
        except TypeError:
            text = f"`messages` takes an iterable, not {messages!r:.60}"
            raise invalid("messages", text) from None
        receipts: typing.List[_durstream.Receipt] = []
        try:
            for message in each:
                receipts.append(self.append(message))
        except DurstreamError as error:
            error.receipts = receipts
            raise
        return receipts

    def append_group(
        self, messages: typing.Iterable[typing.Any]
    ) -> typing.Optional[_durstream.Receipt]:
        """Accepts messages as one group: they travel in one request, nothing else of this producer
        stands between them, and all of them are stored or none is. Each is taken as ``append`` takes
        it.

        Returns the receipt of the last one, whose outcome is that of all: the others have the ids
        before it, without a gap. None where there are no messages. If a message is refused, or the
        group is larger than ``max_write_bytes``, ``max_batch_items`` or the buffer
        (``TooLargeError``), nothing is appended.
        """
        try:
            group = list(messages)
        except TypeError:
            text = f"`messages` takes an iterable, not {messages!r:.60}"
            raise invalid("messages", text) from None
        return self._append_group(group)

    def close(
        self, message: typing.Any = None, timeout: typing.Optional[float] = None
    ) -> CloseResult:
        """Flushes, then ends the *stream* for everybody, a last message in the same request.

        If the flush fails, the stream is not ended, and close may be called again. Repeats return
        the first result. Ctrl-C interrupts the wait.
        """
        return _wait.within(timeout, lambda: self._close(message))

    async def aclose(self, message: typing.Any = None) -> CloseResult:
        """Flushes, then ends the *stream* for everybody, as ``close`` does, for asyncio."""
        return await _wait.result(self._close(message))
