"""``DurableStream``: a stream by its URL."""

from __future__ import annotations

from . import _durstream, _options, _process, _sink, _wait
from . import _typing as typing
from ._errors import Outcome
from ._reader import StreamReader
from ._types import CloseResult, FlushReport, Metadata
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._json import Default
    from ._option_types import StreamOptions
    from ._options import Headers, Params


@_options.documented("stream")
class DurableStream:
    """A stream by its URL: create it, append to it, read it, end it, delete it.

    Any thread may use it. Appends carry a random identity, one per process and stream, so that
    retries never double them either. With ``idempotent=False`` they carry none, and are repeated
    only after a failure that stored nothing; any other failure is raised, with ``definite`` false
    where the message may be in the stream. ``DurableStream(url)`` is the same as
    ``DurableStream.connect(url)``.

    A value of ``headers`` may be a function, sync or async: a token that expires, say. It is
    called once for each request, on the library's thread for callbacks, and again after a 401 or
    403. While it raises or gives no text, writes wait as in an outage. An async function runs on
    the loop that was running when the handle was made, else on a loop of its own.

    ``default`` is called with a value whose type JSON does not know, for one to write in its place,
    as that of ``json.dumps`` is.

    Raises ``InvalidArgumentError`` for an option that is none or out of its range.

    >>> from durstream import DurableStream
    >>> stream = DurableStream.create(url, content_type="application/json")
    >>> stream.append({"orderId": "123"}).delivered
    True
    >>> [chunk.json() for chunk in stream.read()]
    [[{'orderId': '123'}]]
    """

    __slots__ = ("_native", "__weakref__")

    def __init__(
        self,
        url: typing.Optional[str] = None,
        *,
        headers: typing.Optional[Headers] = None,
        params: typing.Optional[Params] = None,
        default: Default = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _process.start()
        pairs = _options.texts({"url": url, **options})
        own = _options.header_pairs(headers), _options.param_pairs(params)
        asked = _options.function("default", default)
        self._native = _durstream.Stream.connect(pairs, *own, asked)

    @classmethod
    def _of(cls, native: _durstream.Stream) -> DurableStream:
        stream = cls.__new__(cls)
        stream._native = native
        return stream

    @classmethod
    def connect(
        cls,
        url: typing.Optional[str] = None,
        *,
        headers: typing.Optional[Headers] = None,
        params: typing.Optional[Params] = None,
        default: Default = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """A handle on a stream that exists or will exist. Sends nothing.

        ``content_type`` has to be the stream's own. Without it the server is asked for it, once,
        before something is appended.
        """
        return cls(url, headers=headers, params=params, default=default, **options)

    @classmethod
    def create(
        cls,
        url: typing.Optional[str] = None,
        *,
        body: typing.Any = None,
        headers: typing.Optional[Headers] = None,
        params: typing.Optional[Params] = None,
        default: Default = None,
        timeout: typing.Optional[float] = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """Creates the stream with ``body`` as its first content. A stream that exists with the same
        configuration is fine. With ``closed`` the stream has ended from the start; with
        ``fork_from`` it begins with another stream's content. Transient failures are repeated up
        to ``max_retries`` times. Ctrl-C interrupts the wait.
        """
        creating = lambda: _creating(url, body, headers, params, default, options)  # noqa: E731
        return cls._of(_wait.within(timeout, creating))

    @classmethod
    async def acreate(
        cls,
        url: typing.Optional[str] = None,
        *,
        body: typing.Any = None,
        headers: typing.Optional[Headers] = None,
        params: typing.Optional[Params] = None,
        default: Default = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """Creates the stream as ``create`` does, for asyncio."""
        creating = _creating(url, body, headers, params, default, options)
        return cls._of(await _wait.result(creating))

    @property
    def url(self) -> str:
        """The stream's URL, without user info and query."""
        return self._native.url

    @property
    def content_type(self) -> typing.Optional[str]:
        """The stream's content type, as given or as the server said it; ``None`` while it is
        unknown."""
        return self._native.content_type

    def head(self, timeout: typing.Optional[float] = None) -> Metadata:
        """Asks whether the stream exists, what it is and where it ends. Transient failures are
        repeated up to ``max_retries`` times; ``timeout`` is in seconds. Ctrl-C interrupts the wait.

        Raises ``StreamGoneError`` where its URL is blocked.
        """
        return _wait.within(timeout, self._native.head)

    async def ahead(self) -> Metadata:
        """Asks whether the stream exists, what it is and where it ends, as ``head`` does, for
        asyncio.
        """
        return await _wait.result(self._native.head())

    def append(
        self,
        message: typing.Any,
        timeout: typing.Optional[float] = None,
        *,
        seq: typing.Optional[str] = None,
    ) -> Outcome:
        """Appends one message and waits for its outcome. Text and bytes are taken as they are: on
        a JSON stream as one JSON value. Any other value is written as JSON there.

        With ``seq``, 1 to 256 visible ASCII characters, the server takes the message only if it
        sorts after the ``seq`` of the last such message; else the call raises
        ``SequenceConflictError``. Such a message travels in a request of its own.

        Raises the error of a message that was not delivered. ``TimeoutError`` after ``timeout``
        seconds says nothing about the message, which is still under way.
        """
        return _wait.within(timeout, lambda: self._appending(message, seq))

    async def aappend(self, message: typing.Any, *, seq: typing.Optional[str] = None) -> Outcome:
        """Appends one message and waits for its outcome, as ``append`` does, for asyncio.
        Concurrent calls travel together.
        """
        return await _wait.result(self._appending(message, seq))

    def append_json(
        self,
        value: typing.Any,
        timeout: typing.Optional[float] = None,
        *,
        seq: typing.Optional[str] = None,
    ) -> Outcome:
        """Writes a value as JSON, text too, and appends it as ``append`` does."""
        given = _options.argument("seq", seq)
        return _wait.within(timeout, lambda: self._native.append_json(value, given))

    def _appending(
        self, message: typing.Any, seq: typing.Optional[str]
    ) -> _durstream.Pending[Outcome]:
        return self._native.append(message, _options.argument("seq", seq))

    def append_stream(
        self, source: typing.Iterable[typing.Any], *, seq: typing.Optional[str] = None
    ) -> FlushReport:
        """Appends every message that an iterable yields, in order: many travel in one request, and
        the source is asked for more as fast as they are delivered. On a stream that is not JSON,
        empty messages are skipped. ``seq`` is for the first message; the others follow once the
        server took it.

        Raises ``DeliveryError`` with counts and first cause if a message was not delivered, and
        takes no more from the source then. If the source raises, its earlier messages are
        delivered, and then its error is raised. Ctrl-C interrupts it; messages already taken are
        still delivered.
        """
        seq = _options.argument("seq", seq)
        messages = _sink.iterator(source)
        sink = _durstream.AppendSink(self._native, seq)
        return _sink.blocking(_sink.run(sink, messages, _sink.Blocking))

    async def aappend_stream(
        self,
        source: typing.Union[typing.Iterable[typing.Any], typing.AsyncIterable[typing.Any]],
        *,
        seq: typing.Optional[str] = None,
    ) -> FlushReport:
        """Appends every message that an iterable yields, plain or async, as ``append_stream`` does,
        for asyncio. Cancelled, it takes no more from the source; messages already taken are still
        delivered.
        """
        seq = _options.argument("seq", seq)
        messages = _sink.async_iterator(source)
        sink = _durstream.AppendSink(self._native, seq)
        return await _sink.run(sink, messages, _sink.Awaiting)

    def read(
        self, offset: typing.Optional[str] = None, *, live: typing.Union[bool, str] = False
    ) -> StreamReader:
        """Reads from ``offset``, or from the start, to the present end. Following the stream beyond
        that, which ``live`` asks for, is not supported yet. The offset is one that this stream
        gave. Sends nothing before the first chunk is asked for.
        """
        offset = _options.argument("offset", offset)
        return StreamReader(self._native, offset, _options.live(live))

    def close(
        self, message: typing.Any = None, timeout: typing.Optional[float] = None
    ) -> CloseResult:
        """Ends the stream: nothing can be appended any more. Messages appended before are
        delivered first; a last ``message`` is appended in the same request.
        """
        return _wait.within(timeout, lambda: self._native.close(message))

    async def aclose(self, message: typing.Any = None) -> CloseResult:
        """Ends the stream as ``close`` does, for asyncio."""
        return await _wait.result(self._native.close(message))

    def delete(self, timeout: typing.Optional[float] = None) -> None:
        """Deletes the stream with everything in it. Transient failures are repeated up to
        ``max_retries`` times; ``timeout`` is in seconds. Ctrl-C interrupts the wait.

        Raises ``StreamNotFoundError`` if there is no stream.
        """
        _wait.within(timeout, self._native.delete)

    async def adelete(self) -> None:
        """Deletes the stream with everything in it, as ``delete`` does, for asyncio."""
        await _wait.result(self._native.delete())

    def __repr__(self) -> str:
        return f"DurableStream({self.url!r})"


def _creating(
    url: typing.Optional[str],
    body: typing.Any,
    headers: typing.Optional[Headers],
    params: typing.Optional[Params],
    default: Default,
    options: StreamOptions,
) -> _durstream.Pending[_durstream.Stream]:
    _process.start()
    pairs = _options.texts({"url": url, **options})
    own = _options.header_pairs(headers), _options.param_pairs(params)
    asked = _options.function("default", default)
    return _durstream.Stream.create(pairs, *own, body, asked)
