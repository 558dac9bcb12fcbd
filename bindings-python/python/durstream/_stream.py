"""``DurableStream``: a stream by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from . import _durstream, _json, _options, _process, _wait
from ._errors import unserialisable
from ._types import CloseResult, Outcome

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import Headers, StreamOptions


class DurableStream:
    """A stream by its URL: create it, append to it, end it.

    Any thread may use it. Appending opens a writer of its own with a random identity, so that
    even plain appends are not doubled by retries. ``DurableStream(url)`` is the same as
    ``DurableStream.connect(url)``.
    """

    __slots__ = ("_native", "__weakref__")

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        headers: Optional[Headers] = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _process.start()
        pairs = _options.texts({"url": url, **options})
        self._native = _durstream.Stream.connect(pairs, _options.header_pairs(headers))

    @classmethod
    def _of(cls, native: _durstream.Stream) -> DurableStream:
        stream = cls.__new__(cls)
        stream._native = native
        return stream

    @classmethod
    def connect(
        cls,
        url: Optional[str] = None,
        *,
        headers: Optional[Headers] = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """A handle on a stream that exists or will exist. Sends nothing.

        ``content_type`` has to be the stream's own; without it bytes are assumed.
        """
        return cls(url, headers=headers, **options)

    @classmethod
    def create(
        cls,
        url: Optional[str] = None,
        *,
        body: Any = None,
        headers: Optional[Headers] = None,
        timeout: Optional[float] = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """Creates the stream with ``body`` as its first content. One with the same configuration
        that is there already is fine. Transient failures are repeated up to ``max_retries``
        times. Ctrl-C interrupts the wait.
        """
        return cls._of(_creating(url, body, headers, options).wait(timeout))

    @classmethod
    async def acreate(
        cls,
        url: Optional[str] = None,
        *,
        body: Any = None,
        headers: Optional[Headers] = None,
        **options: Unpack[StreamOptions],
    ) -> DurableStream:
        """The same as ``create`` for asyncio."""
        return cls._of(await _wait.result(_creating(url, body, headers, options)))

    @property
    def url(self) -> str:
        """The stream's URL, without user info and query."""
        return self._native.url

    @property
    def content_type(self) -> str:
        """The stream's content type, as given."""
        return self._native.content_type

    def append(self, message: Any, timeout: Optional[float] = None) -> Outcome:
        """Appends one message and waits for its outcome. Text and bytes are taken as they are: on
        a JSON stream as one JSON value. Any other value is written as JSON there.

        Raises what it was not delivered for. ``TimeoutError`` after ``timeout`` seconds says
        nothing about the message, which is still under way.
        """
        return self._native.append(message).wait(timeout)

    async def aappend(self, message: Any) -> Outcome:
        """The same as ``append`` for asyncio. Concurrent calls travel together."""
        return await _wait.result(self._native.append(message))

    def append_json(self, value: Any, timeout: Optional[float] = None) -> Outcome:
        """Writes a value as JSON, text too, and appends it as ``append`` does."""
        return self.append(_encoded(value), timeout)

    def close(self, message: Any = None, timeout: Optional[float] = None) -> CloseResult:
        """Ends the stream: nothing can be appended any more. Messages appended before are
        delivered first; a last ``message`` is appended in the same request.
        """
        return self._native.close(message).wait(timeout)

    async def aclose(self, message: Any = None) -> CloseResult:
        """The same as ``close`` for asyncio."""
        return await _wait.result(self._native.close(message))

    def __repr__(self) -> str:
        return f"DurableStream({self.url!r})"


def _creating(
    url: Optional[str], body: Any, headers: Optional[Headers], options: StreamOptions
) -> _durstream.Pending[_durstream.Stream]:
    _process.start()
    pairs = _options.texts({"url": url, **options})
    return _durstream.Stream.create(pairs, _options.header_pairs(headers), body)


def _encoded(value: Any) -> bytes:
    try:
        return _json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise unserialisable(str(error)) from None
