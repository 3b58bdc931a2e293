"""An answer that is still being written: settles when it ends, breaks, or its client leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from router.chat import Finish, RawFrames, StreamStart, TextDelta, ThinkingDelta, ToolCallDelta, UsageReport
from router.errors import ProviderError
from router.prompt import encode_text

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from router.admission import Hold
    from router.bill import Bill
    from router.chat import FinishReason, StreamEvent
    from router.decision import Decision
    from router.dispatch import Job
    from router.ledger import Outcome
    from router.ports import ReplyStream
    from router.tokens import Usage


class Background:
    """Work that outlives its request, kept so that shutdown can wait for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run the work on this loop."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` seconds, then cancel what still runs and wait for its end."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(tuple(self._tasks), timeout=grace_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class AnswerStream:
    """The events of one streamed answer. ``bill`` is set once the iteration has ended.

    Iterate once. When the client leaves, call ``aclose``: vendors bill on after a disconnect, so the rest is read in
    the background up to its usage, within the policy's bounds; past them the estimate is charged and marked.
    """

    def __init__(self, stream: ReplyStream, hold: Hold, job: Job, *, background: Background) -> None:
        self._stream = stream
        self._events = aiter(stream)
        self._hold = hold
        self._job = job
        self._background = background
        self._output_bytes = 0
        self._is_left = False
        self._finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.bill: Bill | None = None

    @property
    def decision(self) -> Decision:
        """Why this model answers."""
        return self._job.decision

    @property
    def model(self) -> str:
        """The policy's id of the model that answers, a fallback's where the first choice failed."""
        return self._hold.intent.model

    @property
    def dropped(self) -> tuple[str, ...]:
        """The settings that were left out because the model refuses them."""
        return self._hold.candidate.dropped

    @property
    def has_ready(self) -> bool:
        """Whether the next event has arrived already, so that one write can carry it along with the last."""
        return bool(getattr(self._stream, "has_ready", False))

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> StreamEvent:
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            await self._stream.aclose()
            self._settle("answered")
            raise
        except ProviderError as error:
            await self._stream.aclose()
            self._settle("broken", error)
            raise
        self._note(event)
        return event

    async def aclose(self) -> None:
        """The client has left, or the answer is over; safe on every path and more than once."""
        if not self._hold.is_settled and not self._is_left:
            self._is_left = True
            self._background.spawn(self._drain())

    def _note(self, event: StreamEvent) -> None:
        match event:
            case RawFrames(output_bytes=size):
                self._output_bytes += size
            case TextDelta(text=text) | ThinkingDelta(text=text) | ToolCallDelta(arguments=text):
                self._output_bytes += len(text) if text.isascii() else len(encode_text(text))
            case Finish(reason=reason):
                self._finish = reason
            case UsageReport(usage=usage):
                self.usage = usage
            case StreamStart(vendor_id=vendor_id):
                self._hold.vendor_id = vendor_id

    def _settle(self, outcome: Outcome, error: ProviderError | None = None) -> None:
        self._hold.settle(self.usage, outcome, output_bytes=self._output_bytes, finish_reason=self._finish, error=error)
        self.bill = self._hold.bill()

    async def _drain(self) -> None:
        upstream = self._job.policy.upstream
        left_at = self._output_bytes
        try:
            async with asyncio.timeout(upstream.drain_s):
                async for event in self._events:
                    self._note(event)
                    if self._output_bytes - left_at > upstream.drain_bytes_max:
                        break
        except (ProviderError, TimeoutError):
            pass  # what was learned until now is settled below
        finally:
            self._settle("client_left")
            await self._stream.aclose()
