"""What Anthropic answers: blocks, usage, and a stream's events."""

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
from router.errors import ProviderError
from router.providers.counts import count_in, count_or_zero_in, object_in, text_in
from router.providers.json_text import json_bytes
from router.providers.refusals import event_error
from router.providers.sse import datas_of, parse_data
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from router.chat import FinishReason, Part, StreamEvent

VENDOR = "anthropic"
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def finish_of(word: object) -> FinishReason:
    """The vendor's stop reason in ours; an unknown one is a plain stop."""
    return FINISH.get(word, "stop") if isinstance(word, str) else "stop"


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets; None where they do not add up.

    Input tokens leave out what the cache read and wrote; output tokens include the thinking, which newer models tell
    apart. Writes without a lifetime are the default's, five minutes.
    """
    plain, output = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    read = count_or_zero_in(usage, "cache_read_input_tokens")
    written = count_or_zero_in(usage, "cache_creation_input_tokens")
    thinking = count_or_zero_in(object_in(usage, "output_tokens_details"), "thinking_tokens")
    by_ttl = object_in(usage, "cache_creation")
    write_1h = count_or_zero_in(by_ttl, "ephemeral_1h_input_tokens")
    write_5m = count_or_zero_in(by_ttl, "ephemeral_5m_input_tokens")
    if plain is None or output is None or read is None or written is None or thinking is None:
        return None
    if write_1h is None or write_5m is None or thinking > output:
        return None
    if not by_ttl:
        write_5m = written
    elif written and write_5m + write_1h != written:
        return None
    return Usage(
        TokenUsage(
            input_uncached=plain,
            cache_read=read,
            cache_write_5m=write_5m,
            cache_write_1h=write_1h,
            output_text=output - thinking,
            output_reasoning=thinking,
        )
    )


def parts_of(content: list[dict[str, object]]) -> tuple[Part, ...]:
    """The answer's blocks in the hub's parts."""
    parts: list[Part] = []
    for block in content:
        kind = block.get("type")
        if kind == "text":
            parts.append(Text(text_in(block, "text")))
        elif kind == "thinking":
            parts.append(Thinking(text_in(block, "thinking"), text_in(block, "signature") or None, VENDOR))
        elif kind == "tool_use":
            arguments = json_bytes(block.get("input") or {}).decode()
            parts.append(ToolCall(text_in(block, "id"), text_in(block, "name"), arguments))
    return tuple(parts)


class AnthropicEvents:
    """A stream's events; tools are numbered by themselves, as Chat Completions numbers them."""

    def __init__(self, name: str = VENDOR) -> None:
        self._name = name
        self._frames: Iterator[bytes] = iter(())
        self._is_started = False
        self._usage: dict[str, object] = {}
        self._tool_index: dict[object, int] = {}
        self._silent_tools: set[object] = set()
        self.is_ended = False

    def feed(self, block: bytes, events: deque[StreamEvent]) -> None:
        """Append the events of some whole frames. Raises ProviderError when one of them says so or is no JSON."""
        self._frames = iter(datas_of(block))
        self.go_on(events)

    def go_on(self, events: deque[StreamEvent]) -> None:
        """The same for the frames behind one that could not be read."""
        for data in self._frames:
            event = parse_data(data, self._name)
            match event.get("type"):
                case "content_block_delta":
                    self._delta(event, events)
                case "content_block_start":
                    self._block_start(event, events)
                case "content_block_stop":
                    self._block_stop(event, events)
                case "message_start":
                    self._is_started = True
                    message = object_in(event, "message")
                    # The start's output is a placeholder: only the end's counts, and without it nothing does.
                    self._usage = {**object_in(message, "usage"), "output_tokens": None}
                    events.append(StreamStart(text_in(message, "id"), text_in(message, "model")))
                case "message_delta":
                    self._message_delta(event, events)
                case "message_stop":
                    self.is_ended = True
                case "error":
                    raise event_error(self._name, object_in(event, "error"), is_started=self._is_started)

    def usage_so_far(self) -> TokenUsage | None:
        """The start tells the input in its buckets; the output is counted at the end."""
        usage = usage_of({**self._usage, "output_tokens": self._usage.get("output_tokens") or 0})
        return None if usage is None else usage.tokens

    def finish(self, events: deque[StreamEvent]) -> None:
        """Raises ProviderError, billed, unless the end mark was seen."""
        del events
        if not self.is_ended:
            raise ProviderError(f"{self._name} ended its stream without an end", is_billed=True)

    def _message_delta(self, event: dict[str, object], events: deque[StreamEvent]) -> None:
        """Counts here are totals: each replaces the start's. A cache write's lifetimes are only in the start's."""
        counted = object_in(event, "usage")
        self._usage.update({name: value for name, value in counted.items() if value is not None})
        word = object_in(event, "delta").get("stop_reason")
        if word is not None:
            events.append(Finish(finish_of(word)))
        usage = usage_of(self._usage)
        if usage is not None:
            events.append(UsageReport(usage))

    def _block_start(self, event: dict[str, object], events: deque[StreamEvent]) -> None:
        block, position = object_in(event, "content_block"), event.get("index")
        if block.get("type") == "tool_use":
            index = self._tool_index.setdefault(position, len(self._tool_index))
            self._silent_tools.add(position)
            events.append(ToolCallDelta(index, "", text_in(block, "id"), text_in(block, "name")))
        elif block.get("type") == "text" and text_in(block, "text"):
            events.append(TextDelta(text_in(block, "text")))

    def _block_stop(self, event: dict[str, object], events: deque[StreamEvent]) -> None:
        """A tool without arguments streams none, where Chat Completions' clients want an empty object."""
        position = event.get("index")
        if position in self._silent_tools:
            self._silent_tools.discard(position)
            events.append(ToolCallDelta(self._tool_index[position], "{}"))

    def _delta(self, event: dict[str, object], events: deque[StreamEvent]) -> None:
        delta, position = object_in(event, "delta"), event.get("index")
        match delta.get("type"):
            case "text_delta":
                events.append(TextDelta(text_in(delta, "text")))
            case "thinking_delta":
                events.append(ThinkingDelta(text_in(delta, "thinking")))
            case "input_json_delta" if delta.get("partial_json") and position in self._tool_index:
                self._silent_tools.discard(position)
                events.append(ToolCallDelta(self._tool_index[position], text_in(delta, "partial_json")))
