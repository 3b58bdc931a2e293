"""An answer that is still being written: settles when it ends, breaks, or its client leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from router.chat import Finish, RawFrames, StreamStart, TextDelta, ThinkingDelta, ToolCallDelta, UsageReport
from router.errors import BudgetExhaustedError, ProviderError
from router.estimate import NOTHING_SEEN, Seen, call_bytes_of
from router.prompt import encode_text
from router.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from router.admission import Hold
    from router.bill import Bill
    from router.chat import FinishReason, StreamEvent
    from router.decision import Decision
    from router.guarding import Watch
    from router.job import Job
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


class _Nothing:
    """The rest of a stream that was closed."""

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> StreamEvent:
        raise StopAsyncIteration


class AnswerStream:
    """The events of one streamed answer. ``bill`` is set once the iteration has ended.

    Iterate once. When the client leaves, call ``aclose``: vendors bill on after a disconnect, so the rest is read in
    the background up to its usage, within the policy's bounds; past them the estimate is charged and marked. The same
    happens behind an event that could not be read: the client is told at once that the stream broke.

    A model that stops billing when its connection closes is held in slices: more is held before an event goes out, and
    where the budgets deny it the answer ends there, as at its limit. Of such a model nothing is read in the background.
    """

    def __init__(self, stream: ReplyStream, hold: Hold, job: Job, *, background: Background) -> None:
        self._stream = stream
        self._events: AsyncIterator[StreamEvent] = aiter(stream)
        self._hold = hold
        self._job = job
        self._background = background
        self._text_bytes = 0
        self._continuation_bytes = 0
        self._code_bytes = 0
        self._thinking_bytes = 0
        self._watch: Watch | None = hold.account.watch
        self._transcript = Transcript() if self._watch is not None else None
        self._is_left = False
        self._finish: FinishReason | None = None
        self._ended_by: str | None = None
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
    def cascade(self) -> str | None:
        """How the checks on the answers went, None where there were none."""
        return self._hold.account.cascade

    @property
    def budget_remaining_nanousd(self) -> int | None:
        """What the tightest hard budget has left beside what this answer is held at; None where none counts it."""
        return None if self._hold.cover is None else self._hold.cover.grant.headroom_nanousd

    @property
    def lineage(self) -> str | None:
        """The ticket for calls that descend from this one."""
        return None if self._watch is None else self._watch.ticket

    @property
    def guard(self) -> str | None:
        """What a guard noticed; None where nothing was."""
        return None if self._watch is None else self._watch.said

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
            if not self._is_sliced and self._stream.pass_over():
                self._read_on("broken", error)
            else:
                await self._stream.aclose()
                self._settle("broken", error)
            raise
        self._note(event)
        if self._is_sliced and not await self._is_paid_for():
            return Finish("length")
        return event

    @property
    def _is_sliced(self) -> bool:
        return self._hold.cover is not None and self._hold.cover.is_sliced

    async def _is_paid_for(self) -> bool:
        """Whether the budgets hold what was seen; where not, the connection is closed and the answer is at its end."""
        assert self._hold.cover is not None
        # Thinking that is not shown is in the vendor's count alone, where it counts as it goes.
        counted = self._stream.usage_so_far
        tokens_max = max(self._seen_bytes(), 0 if counted is None else counted.output_tokens)
        if await self._hold.cover.reaches(tokens_max):
            return True
        await self._stream.aclose()
        self._events = _Nothing()
        self._finish = "length"
        self._ended_by = BudgetExhaustedError.code
        return False

    async def aclose(self) -> None:
        """The client has left, or the answer is over; safe on every path and more than once."""
        if self._hold.is_settled or self._is_left:
            return
        if self._is_sliced:
            await self._stream.aclose()
            self._settle("client_left")
        else:
            self._read_on("client_left")

    def _read_on(self, outcome: Outcome, error: ProviderError | None = None) -> None:
        self._is_left = True
        self._background.spawn(self._drain(outcome, error))

    def _note(self, event: StreamEvent) -> None:
        if self._transcript is not None:
            self._transcript.note(event)
        match event:
            case RawFrames(output_bytes=size):
                self._text_bytes += size
            case TextDelta(text=text):
                if text.isascii():
                    self._text_bytes += len(text)
                else:
                    size = len(encode_text(text))
                    self._text_bytes += size
                    self._continuation_bytes += size - len(text)
            case ToolCallDelta(name=name, arguments=text):
                self._code_bytes += call_bytes_of(name, text)
            case ThinkingDelta(text=text):
                self._thinking_bytes += len(text) if text.isascii() else len(encode_text(text))
            case Finish(reason=reason):
                self._finish = reason
            case UsageReport(usage=usage):
                self.usage = usage
            case StreamStart(vendor_id=vendor_id):
                self._hold.vendor_id = vendor_id

    def _settle(self, outcome: Outcome, error: ProviderError | None = None) -> None:
        seen = NOTHING_SEEN if self._hold.accepts(self.usage) else self._seen()
        if self._transcript is not None and self._watch is not None:
            self._watch.parts = self._transcript.parts()
        self._hold.settle(
            self.usage, outcome, seen=seen, finish_reason=self._finish, error=error, error_code=self._ended_by
        )
        ended = self._hold.settlement
        is_estimated = ended is not None and ended.usage_source == "estimated"
        if is_estimated and (self.usage is not None or self._ended_by is not None):
            self.usage = self._hold.estimated_usage()
        self.bill = self._hold.bill()

    def _seen(self) -> Seen:
        return Seen(
            text_bytes=self._text_bytes,
            continuation_bytes=self._continuation_bytes,
            code_bytes=self._code_bytes,
            thinking_bytes=self._thinking_bytes,
            is_whole=self._finish is not None or self._is_sliced,
            is_cut=self._finish == "length",
            counted=self._stream.usage_so_far,
        )

    def _seen_bytes(self) -> int:
        return self._text_bytes + self._code_bytes + self._thinking_bytes

    async def _drain(self, outcome: Outcome, error: ProviderError | None) -> None:
        upstream = self._job.policy.upstream
        bytes_max = self._seen_bytes() + upstream.drain_bytes_max
        try:
            async with asyncio.timeout(upstream.drain_s):
                while await self._is_drained_to_a_hole(bytes_max):
                    pass
        except (ProviderError, TimeoutError):
            pass  # what was learned until now is settled below
        finally:
            self._settle(outcome, error)
            await self._stream.aclose()

    async def _is_drained_to_a_hole(self, bytes_max: int) -> bool:
        """Read on; True where it stopped at an event that cannot be read and more follows behind it."""
        try:
            async for event in self._events:
                self._note(event)
                if self._seen_bytes() > bytes_max:
                    return False
        except ProviderError:
            return self._stream.pass_over()
        return False
