"""What Gemini answers: parts, usage, and a stream's frames, each a whole small response."""

from __future__ import annotations

import hashlib
import secrets
from math import isfinite
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
from router.errors import ProviderError
from router.providers.counts import count_in, count_or_zero_in, list_in, object_in, text_in
from router.providers.json_text import json_bytes
from router.providers.refusals import event_error
from router.providers.sse import datas_of, parse_data
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from router.chat import FinishReason, Part, StreamEvent

VENDOR = "gemini"
FINISH: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
BLOCKED = frozenset(
    {
        *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "OTHER"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "MODEL_ARMOR"),
    }
)


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets; None where they do not add up.

    Prompt tokens include the cache's, the results of tools that Gemini itself ran stand beside them, and thoughts
    stand outside the candidates.
    """
    prompt, answer = count_in(usage, "promptTokenCount"), count_in(usage, "candidatesTokenCount")
    of_tools = count_or_zero_in(usage, "toolUsePromptTokenCount")
    cached = count_or_zero_in(usage, "cachedContentTokenCount")
    thoughts = count_or_zero_in(usage, "thoughtsTokenCount")
    total = count_or_zero_in(usage, "totalTokenCount")
    if prompt is None or of_tools is None or cached is None or thoughts is None or total is None or cached > prompt:
        return None
    prompt += of_tools
    if answer is None:
        # The field is left out where the limit was spent on thoughts alone: the total then says what it was.
        is_absent = isinstance(usage, dict) and usage.get("candidatesTokenCount") is None
        answer = total - prompt - thoughts if is_absent and total else -1
    if answer < 0 or (total and total != prompt + answer + thoughts):
        return None
    return Usage(
        TokenUsage(input_uncached=prompt - cached, cache_read=cached, output_text=answer, output_reasoning=thoughts)
    )


def mean_logprob_of(candidate: dict[str, object]) -> float | None:
    """What the candidate says of its tokens on average; None where it says nothing."""
    found = candidate.get("avgLogprobs")
    return float(found) if isinstance(found, int | float) and isfinite(found) else None


def finish_of(word: str, *, has_calls: bool) -> FinishReason:
    """The vendor's finish reason in ours; a turn of calls ends with STOP there."""
    if word in BLOCKED:
        return "content_filter"
    found = FINISH.get(word, "stop")
    return "tool_calls" if has_calls and found == "stop" else found


def is_blocked(chunk: dict[str, object]) -> bool:
    """Whether a filter stopped the prompt, so that there is no candidate."""
    return bool(object_in(chunk, "promptFeedback").get("blockReason"))


def call_id_of(vendor_id: str, index: int) -> str:
    """An id for a call that came without one: two calls of one conversation must never share theirs."""
    seed = f"{vendor_id}:{index}" if vendor_id else secrets.token_hex(16)
    return f"call_{hashlib.blake2b(seed.encode(), digest_size=12).hexdigest()}"


def parts_of(parts: list[dict[str, object]], vendor_id: str, first_call: int = 0) -> tuple[Part, ...]:
    """The answer's parts, without what is empty."""
    found: list[Part] = []
    calls = first_call
    for part in parts:
        function = object_in(part, "functionCall")
        if function:
            arguments = json_bytes(function.get("args") or {}).decode()
            call_id = text_in(function, "id") or call_id_of(vendor_id, calls)
            found.append(ToolCall(call_id, text_in(function, "name"), arguments))
            calls += 1
        elif text_in(part, "text"):
            text = text_in(part, "text")
            found.append(Thinking(text, None, VENDOR) if part.get("thought") is True else Text(text))
    return tuple(found)


class GeminiEvents:
    """A stream's events. There is no end mark: a finish reason, then the connection's end."""

    is_ended = False

    def __init__(self, name: str = VENDOR) -> None:
        self._name = name
        self._frames: Iterator[bytes] = iter(())
        self._vendor_id: str | None = None
        self._finish = ""
        self._calls = 0
        self._usage: Usage | None = None

    def feed(self, block: bytes, events: deque[StreamEvent]) -> None:
        """Append the events of some whole frames. Raises ProviderError when one of them says so or is no JSON."""
        self._frames = iter(datas_of(block))
        self.go_on(events)

    def go_on(self, events: deque[StreamEvent]) -> None:
        """The same for the frames behind one that could not be read."""
        for data in self._frames:
            chunk = parse_data(data, self._name)
            if "error" in chunk:
                raise event_error(self._name, object_in(chunk, "error"), is_started=self._vendor_id is not None)
            if self._vendor_id is None:
                self._vendor_id = text_in(chunk, "responseId")
                events.append(StreamStart(self._vendor_id, text_in(chunk, "modelVersion")))
            if "usageMetadata" in chunk:
                # Every frame counts anew; what the last one says, or fails to say, is what holds.
                self._usage = usage_of(chunk["usageMetadata"])
            if is_blocked(chunk):
                self._finish = "SAFETY"
            for candidate in list_in(chunk, "candidates")[:1]:
                parts = list_in(object_in(candidate, "content"), "parts")
                for part in parts_of(parts, self._vendor_id, self._calls):
                    events.append(self._delta(part))
                self._finish = text_in(candidate, "finishReason") or self._finish

    def usage_so_far(self) -> TokenUsage | None:
        """Every frame counts what was generated up to its end."""
        return None if self._usage is None else self._usage.tokens

    def finish(self, events: deque[StreamEvent]) -> None:
        """Raises ProviderError, billed, unless a finish reason was seen."""
        if not self._finish:
            raise ProviderError(f"{self._name} ended its stream without an end", is_billed=True)
        events.append(Finish(finish_of(self._finish, has_calls=self._calls > 0)))
        if self._usage is not None:
            events.append(UsageReport(self._usage))

    def _delta(self, part: Part) -> StreamEvent:
        if isinstance(part, ToolCall):
            self._calls += 1
            return ToolCallDelta(self._calls - 1, part.arguments, part.id, part.name)
        if isinstance(part, Thinking):
            return ThinkingDelta(part.text)
        assert isinstance(part, Text), part
        return TextDelta(part.text)
