"""What an OpenAI-compatible host answers: parts, usage, and a stream's frames, parsed only where it must be."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING

import orjson

from router.chat import (
    Finish,
    RawFrames,
    StreamStart,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from router.errors import ProviderError
from router.prompt import encode_text
from router.providers.counts import count_in, count_or_zero_in, list_in, object_in, text_in
from router.providers.json_text import json_bytes
from router.providers.refusals import event_error
from router.providers.sse import data_of, parse_data
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from router.chat import FinishReason, Part, StreamEvent

DONE = b"[DONE]"
FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# A frame holds at least a token, and a token is about four bytes of text.
FRAME_OUTPUT_BYTES = 4
FRAME_END = b"\n\n"
EMPTY_DELTA = b'{"content":""}'
# One pattern a mark: each begins with a literal, which is searched for as fast as memory is read.
MUST_PARSE = tuple(
    re.compile(mark) for mark in (rb'"usage"(?!: ?null)', rb'"finish_reason"(?!: ?null)', rb'"error"', rb"\[DONE\]")
)


def finish_of(word: object) -> FinishReason:
    """The vendor's finish reason in ours; an unknown one is a plain stop."""
    return FINISH.get(word, "stop") if isinstance(word, str) else "stop"


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets of a `usage` object; None where it does not add up: unknown is not zero.

    Prompt tokens include cache reads. Completion tokens include reasoning, but for hosts (xAI, Gemini's compatible
    endpoint) whose total says that it stands outside.
    """
    prompt, completion = count_in(usage, "prompt_tokens"), count_in(usage, "completion_tokens")
    details = object_in(usage, "prompt_tokens_details")
    # DeepSeek's own name for the same count.
    cached = count_or_zero_in(details, "cached_tokens") or count_or_zero_in(usage, "prompt_cache_hit_tokens")
    if count_or_zero_in(details, "cached_tokens") is None:
        return None
    reasoning = count_or_zero_in(object_in(usage, "completion_tokens_details"), "reasoning_tokens")
    total = count_or_zero_in(usage, "total_tokens")
    if prompt is None or completion is None or cached is None or reasoning is None or total is None or cached > prompt:
        return None
    is_outside = total and total == prompt + completion + reasoning
    visible = completion if is_outside else completion - reasoning
    if visible < 0 or (total and total != prompt + visible + reasoning):
        return None
    return Usage(
        TokenUsage(input_uncached=prompt - cached, cache_read=cached, output_text=visible, output_reasoning=reasoning)
    )


def mean_logprob_of(choice: dict[str, object]) -> float | None:
    """The mean of what a choice says of its tokens, as OpenAI or as Together writes it; None where it says nothing."""
    found = object_in(choice, "logprobs")
    numbers = [each.get("logprob") for each in list_in(found, "content")] or found.get("token_logprobs")
    if not isinstance(numbers, list):
        return None
    known = [each for each in numbers if isinstance(each, int | float) and isfinite(each)]
    return sum(known) / len(known) if known else None


def parts_of(message: dict[str, object]) -> tuple[Part, ...]:
    """Reasoning, text (or the refusal that stands in for it) and tool calls of an answer's message."""
    parts: list[Part] = []
    thinking = text_in(message, "reasoning_content") or text_in(message, "reasoning")
    if thinking:
        parts.append(Thinking(thinking))
    content = text_in(message, "content") or "".join(text_in(each, "text") for each in list_in(message, "content"))
    content = content or text_in(message, "refusal")
    if content:
        parts.append(Text(content))
    for call in list_in(message, "tool_calls"):
        function = object_in(call, "function")
        parts.append(ToolCall(text_in(call, "id"), text_in(function, "name"), text_in(function, "arguments")))
    return tuple(parts)


def plain_end(block: bytes) -> int:
    """Where the first frame begins that must be parsed, for it holds usage, an end or an error; else the block's end.

    Inside JSON text a quote is escaped, so none of these can come from the answer's own words.
    """
    marks = [found.start() for mark in MUST_PARSE if (found := mark.search(block)) is not None]
    end = len(block)
    if marks:
        before = block.rfind(FRAME_END, 0, min(marks))
        end = before + len(FRAME_END) if before >= 0 else 0
    # A frame that was cut short on its way is no JSON: then each frame is looked at for itself.
    return end if block.count(b"}" + FRAME_END, 0, end) == block.count(FRAME_END, 0, end) else 0


def frame_bytes_of(frame: bytes, chunk: object) -> int:
    """How long a frame is without a word of answer: those of one stream name the same id and model."""
    delta = object_in(next(iter(list_in(chunk, "choices")), None), "delta")
    return len(frame) + len(FRAME_END) - len(json_bytes(delta)) + len(EMPTY_DELTA)


def carried_bytes_of(frame: bytes) -> int:
    """The bytes of every text in a frame's deltas, whatever it is called; all of a frame that cannot be read.

    A ceiling of the tokens that it carries, since a token covers at least a byte.
    """
    try:
        waiting: list[object] = [
            object_in(each, "delta") for each in list_in(orjson.loads(data_of(frame) or b""), "choices")
        ]
    except orjson.JSONDecodeError:
        return len(frame)
    size = 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            size += len(encode_text(each))
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return max(size, FRAME_OUTPUT_BYTES)


class FrameScale:
    """How many bytes of answer raw frames carry: about so many by their length, or exactly where they are read.

    What a frame holds beside its answer is the least that was measured, since hosts put more into their first frames
    (`x_groq`, `prompt_filter_results`): of the events, the first, second, fourth, eighth and so on are measured, and
    each that is shorter than it could be.
    """

    def __init__(self, *, is_exact: bool) -> None:
        self._is_exact = is_exact
        self._frame_bytes: int | None = None
        self._events = 0

    def frames(self, data: bytes, count: int) -> RawFrames:
        """``count`` frames as one event."""
        if self._is_exact:
            return RawFrames(data, sum(carried_bytes_of(frame) for frame in data.split(FRAME_END) if frame))
        floor = FRAME_OUTPUT_BYTES * count
        self._events += 1
        if not self._events & (self._events - 1) or len(data) - (self._frame_bytes or 0) * count < floor:
            self._measure_last(data)
        return RawFrames(data, max(floor, len(data) - (self._frame_bytes or 0) * count))

    def _measure_last(self, data: bytes) -> None:
        """Learn from the last of some frames; one without a choice, or that cannot be read, says nothing."""
        end = len(data) - len(FRAME_END)
        before = data.rfind(FRAME_END, 0, end)
        frame = data[0 if before < 0 else before + len(FRAME_END) : end]
        try:
            chunk = orjson.loads(data_of(frame) or b"")
        except orjson.JSONDecodeError:
            return
        if list_in(chunk, "choices"):
            found = frame_bytes_of(frame, chunk)
            self._frame_bytes = found if self._frame_bytes is None else min(found, self._frame_bytes)


class OpenAiEvents:
    """A stream's events. With ``is_raw``, plain frames are forwarded as bytes, several to an event.

    With ``is_exact`` each of these is read to count what it carries, since money hangs on it while the stream flows.
    """

    def __init__(self, vendor: str, *, is_raw: bool, is_exact: bool = False) -> None:
        self._vendor = vendor
        self._is_raw = is_raw
        self._is_started = False
        self._has_finish = False
        self._frames: Iterator[bytes] = iter(())
        self._scale = FrameScale(is_exact=is_exact)
        self._counted: Usage | None = None
        self._is_reported = False
        self.is_ended = False

    def feed(self, block: bytes, events: deque[StreamEvent]) -> None:
        """Append the events of some whole frames. Raises ProviderError when one of them says so or is no JSON."""
        if self._is_raw and not self._is_started:
            first, _, block = block.partition(FRAME_END)
            self._feed_each(first, events)
            if block and not self._is_started:
                self.feed(block, events)
                return
        if self._is_raw and block:
            end = plain_end(block)
            if end:
                events.append(self._scale.frames(block[:end], block.count(FRAME_END, 0, end)))
                block = block[end:]
        self._feed_each(block, events)

    def _feed_each(self, block: bytes, events: deque[StreamEvent]) -> None:
        self._frames = iter(block.split(FRAME_END))
        self.go_on(events)

    def go_on(self, events: deque[StreamEvent]) -> None:
        """Append the events of the frames behind one that could not be read. Raises as ``feed`` does."""
        for frame in self._frames:
            data = data_of(frame) if frame else None
            if data is None:
                continue
            if data == DONE:
                self.is_ended = True
            elif self._is_raw and self._is_started and plain_end(frame + FRAME_END):
                events.append(self._scale.frames(frame + FRAME_END, 1))
            else:
                self._parse(frame, data, events)

    def finish(self, events: deque[StreamEvent]) -> None:
        """Raises ProviderError, billed, unless an end mark or a finish reason was seen: some hosts send only one."""
        if self.is_ended and not self._has_finish:
            events.append(Finish("stop"))
        elif not self._has_finish:
            raise ProviderError(f"{self._vendor} ended its stream without an end", is_billed=True)
        if self._counted is not None and not self._is_reported:
            events.append(UsageReport(self._counted))

    def usage_so_far(self) -> TokenUsage | None:
        """Most hosts count at the end alone; some count in every frame."""
        return None if self._counted is None else self._counted.tokens

    def _parse(self, frame: bytes, data: bytes, events: deque[StreamEvent]) -> None:
        chunk = parse_data(data, self._vendor)
        error = chunk.get("error")
        if error:
            said = error if isinstance(error, dict) else {}
            raise event_error(self._vendor, said, is_started=self._is_started)
        if not self._is_started:
            self._is_started = True
            events.append(StreamStart(text_in(chunk, "id"), text_in(chunk, "model")))
        # A frame that carries usage is not forwarded: the last chunk, with its money, is the surface's to write.
        is_forwarded = self._is_raw and chunk.get("usage") is None
        choices = list_in(chunk, "choices")
        if choices:
            if is_forwarded:
                events.append(self._scale.frames(frame + FRAME_END, 1))
            else:
                events.extend(delta_events(object_in(choices[0], "delta")))
            word = choices[0].get("finish_reason")
            if word:
                self._has_finish = True
                events.append(Finish(finish_of(word), is_forwarded=is_forwarded))
        usage = usage_of(chunk.get("usage") or object_in(chunk, "x_groq").get("usage"))
        if usage is not None:
            self._counted = usage
            # Some hosts count in every frame: until the answer ends, what they say is no final count.
            if self._has_finish or not choices:
                self._is_reported = True
                events.append(UsageReport(usage))


def delta_events(delta: dict[str, object]) -> Iterator[StreamEvent]:
    """What one delta of a Chat Completions chunk adds."""
    thinking = text_in(delta, "reasoning_content") or text_in(delta, "reasoning")
    if thinking:
        yield ThinkingDelta(thinking)
    content = text_in(delta, "content") or text_in(delta, "refusal")
    if content:
        yield TextDelta(content)
    for position, call in enumerate(list_in(delta, "tool_calls")):
        function = object_in(call, "function")
        index = count_in(call, "index")
        yield ToolCallDelta(
            index=position if index is None else index,
            arguments=text_in(function, "arguments"),
            id=text_in(call, "id") or None,
            name=text_in(function, "name") or None,
        )
