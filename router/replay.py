"""A whole answer as the stream that was asked for: what a checked answer looks like to a streaming client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.chat import (
    Finish,
    StreamStart,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.chat import Reply, StreamEvent
    from router.tokens import TokenUsage


class ReplyEvents:
    """The events of an answer that is whole already; nothing can break, and there is nothing to close."""

    has_ready = True
    usage_so_far: TokenUsage | None = None

    def __init__(self, reply: Reply) -> None:
        self._events = _events_of(reply)

    def __aiter__(self) -> ReplyEvents:
        return self

    async def __anext__(self) -> StreamEvent:
        event = next(self._events, None)
        if event is None:
            raise StopAsyncIteration
        return event

    def pass_over(self) -> bool:
        """No event is ever unreadable."""
        return False

    async def aclose(self) -> None:
        """The connection was let go when the answer had come."""


def _events_of(reply: Reply) -> Iterator[StreamEvent]:
    yield StreamStart(reply.vendor_id, reply.vendor_model)
    calls = 0
    for part in reply.parts:
        if isinstance(part, Thinking):
            yield ThinkingDelta(part.text)
        elif isinstance(part, Text):
            yield TextDelta(part.text)
        elif isinstance(part, ToolCall):
            yield ToolCallDelta(calls, part.arguments, part.id, part.name)
            calls += 1
    yield Finish(reply.finish_reason)
    if reply.usage is not None:
        yield UsageReport(reply.usage)
