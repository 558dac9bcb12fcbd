"""``StreamReader``: the content of a stream, chunk by chunk."""

from __future__ import annotations

from . import _durstream, _wait
from . import _typing as typing
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._durstream import Chunk


class StreamReader(_durstream.Reader):
    """Reads a stream from an offset to its present end, a chunk at a time: ``for chunk in reader``
    or ``async for chunk in reader``.

    Made by ``DurableStream.read``. Transient failures are repeated up to ``max_retries`` times;
    after any error the reader keeps its place, and reading may be tried again. At the end an
    iteration ends; a new one asks the server for more. Any thread may use it, calls take turns. A
    chunk that no call took, as when a wait was interrupted or cancelled, is the next call's.

    On a JSON stream the messages of a chunk are whole, wherever the server ends its answers. A
    ``StreamGoneError`` says by its ``reason`` whether the stream was deleted (``gone``) or the server
    no longer keeps what was at the offset (``offset-gone``).
    """

    async def anext_chunk(self) -> typing.Optional[Chunk]:
        """The next chunk, or None at the present end, as ``next_chunk`` gives it, for asyncio. May
        be cancelled.
        """
        return await _wait.kept(self._next())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self.anext_chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
