"""An open stream over HTTP: the first event has arrived, the rest follows, closing lets the connection go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from router.chat import StreamEvent


class HttpStream:
    """A ReplyStream over one response."""

    def __init__(self, response: aiohttp.ClientResponse, events: AsyncIterator[StreamEvent]) -> None:
        self._response = response
        self._events = events
        self._first: StreamEvent | None = None

    async def begin(self) -> HttpStream:
        """Wait for the first event, so that a failure before it can fall back. Raises ProviderError."""
        try:
            self._first = await anext(self._events)
        except BaseException:
            self._response.close()
            raise
        return self

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> StreamEvent:
        if self._first is not None:
            event, self._first = self._first, None
            return event
        return await anext(self._events)

    async def aclose(self) -> None:
        """Drop the connection where the stream is not at its end; an ended one has gone back to the pool."""
        self._response.close()
