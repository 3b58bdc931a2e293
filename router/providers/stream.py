"""An open stream over HTTP: the first event has arrived, the rest follows, closing lets the connection go."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Protocol

import aiohttp

from router.errors import ProviderError, ProviderTimeoutError
from router.providers.http import wait_between_bytes
from router.providers.sse import FrameReader, MalformedEventError
from router.unforeseen import unforeseen

if TYPE_CHECKING:
    from router.chat import StreamEvent
    from router.ports import Call
    from router.tokens import TokenUsage

# Vendors close right after their end mark; one that does not costs its connection, not the client's time.
END_GRACE_S = 0.2


class EventParser(Protocol):
    """A wire's frames as events: pure, so that every split of the bytes can be tested without a network."""

    is_ended: bool

    def feed(self, block: bytes, events: deque[StreamEvent]) -> None:
        """Append the events of some whole frames. Raises ProviderError, after appending what came before."""
        ...

    def go_on(self, events: deque[StreamEvent]) -> None:
        """Append the events of the frames behind the one that ``feed`` could not read. Raises as it does."""
        ...

    def usage_so_far(self) -> TokenUsage | None:
        """The input as the vendor bills it, and the output that it has counted, where it says so before the end."""
        ...

    def finish(self, events: deque[StreamEvent]) -> None:
        """The connection is at its end. Raises ProviderError, billed, when the answer is not."""
        ...


class HttpStream:
    """A ReplyStream over one response; no task, no generator: reading happens where events are asked for."""

    def __init__(self, response: aiohttp.ClientResponse, parser: EventParser, call: Call, until_s: float = inf) -> None:
        """``until_s``: when, on the loop's clock, the stream is ended, at the next read that comes later."""
        self._response = response
        self._parser = parser
        self._vendor = vendor = call.deployment.name
        self._upstream = call.upstream
        self._until_s = until_s
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(vendor)
        self._events: deque[StreamEvent] = deque()
        self._failure: ProviderError | None = None
        self._is_over = False

    async def begin(self, first_byte_at_s: float) -> HttpStream:
        """Wait for the first event until the loop's ``first_byte_at_s``, so that a failure can fall back.

        Raises ProviderError. Comments and pings are no event: a vendor that only keeps the line open is timed out.
        """
        try:
            async with asyncio.timeout_at(first_byte_at_s):
                while not self._events and not self._is_over and self._failure is None:
                    await self._read()
        except TimeoutError as error:
            self._response.close()
            raise ProviderTimeoutError(f"{self._vendor} sent no first event in time", is_billed=True) from error
        except BaseException:
            self._response.close()
            raise
        if not self._events:
            self._response.close()
            raise self._failure or ProviderError(f"{self._vendor} ended its stream without an event", is_billed=True)
        wait_between_bytes(self._response, self._upstream)
        return self

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._events:
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                raise StopAsyncIteration
            await self._read()
        return self._events.popleft()

    @property
    def usage_so_far(self) -> TokenUsage | None:
        """What the vendor has counted up to here."""
        return self._parser.usage_so_far()

    def pass_over(self) -> bool:
        """Whether the failure was one event that could not be read; those behind it follow."""
        if not isinstance(self._failure, MalformedEventError) or self._is_over:
            return False
        self._failure = None
        try:
            self._parser.go_on(self._events)
        except ProviderError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001  # as above
            self._failure = unforeseen(self._vendor, error)
        return True

    async def _read(self) -> None:
        """One network read; a failure is kept until the events before it are taken."""
        try:
            chunk = await self._response.content.readany()
            if chunk and self._loop.time() > self._until_s:
                self._failure = ProviderTimeoutError(f"{self._vendor} did not end its stream in time", is_billed=True)
                return
            block = self._frames.feed(chunk) if chunk else self._frames.rest()
            if block:
                self._parser.feed(block, self._events)
            if self._parser.is_ended and chunk:
                await self._await_end()
            elif chunk:
                return
            self._is_over = True
            self._parser.finish(self._events)
        except ProviderError as error:
            self._failure = error
        except TimeoutError as error:
            self._failure = ProviderTimeoutError(f"{self._vendor} stopped in the middle of its stream", is_billed=True)
            self._failure.__cause__ = error
        except (aiohttp.ClientError, OSError) as error:
            self._failure = ProviderError(f"{self._vendor} broke off its stream", is_billed=True)
            self._failure.__cause__ = error
        except Exception as error:  # noqa: BLE001  # what a vendor sends has no bounds, and its stream needs an end
            self._failure = unforeseen(self._vendor, error)

    async def _await_end(self) -> None:
        """After the end mark, give the connection a moment to end too, so that it returns to the pool."""
        if self._response.content.at_eof():
            return
        try:
            async with asyncio.timeout(END_GRACE_S):
                while not self._response.content.at_eof():
                    await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            self._response.close()

    async def aclose(self) -> None:
        """Drop the connection where the stream is not at its end; an ended one has gone back to the pool."""
        self._is_over = True
        self._events.clear()
        self._response.close()
