"""``StreamReader``: what is in a stream, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from . import _durstream, _wait

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._durstream import Chunk


class StreamReader(_durstream.Reader):
    """Reads a stream from an offset to its present end, a chunk at a time: ``for chunk in reader``
    or ``async for chunk in reader``.

    Made by ``DurableStream.read``. Transient failures are repeated up to ``max_retries`` times;
    after any error the place is kept, and reading may be tried again. At the end an iteration
    ends; a new one looks whether there is more by now. Any thread may use it, calls take turns. A
    chunk nobody took, as when a wait was interrupted or cancelled, is the next call's.
    """

    async def anext_chunk(self) -> Optional[Chunk]:
        """The same as ``next_chunk`` for asyncio. May be cancelled."""
        return await _wait.kept(self._next())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self.anext_chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
