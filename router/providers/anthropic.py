"""Anthropic's Messages API, plain and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from router.chat import (
    Finish,
    Reply,
    StreamStart,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from router.errors import ProviderError, ProviderUnavailableError
from router.providers.anthropic_body import body_of
from router.providers.counts import count_in, list_in, object_in, text_in
from router.providers.http import data_of, frames_of, parse_data, post, read_json
from router.providers.stream import HttpStream
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from router.chat import FinishReason, Part, StreamEvent
    from router.ports import Call, ReplyStream

API_VERSION = "2023-06-01"
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets; input tokens exclude the cache's, reasoning is inside the output and not told apart."""
    plain, output = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    if plain is None or output is None:
        return None
    written = count_in(usage, "cache_creation_input_tokens") or 0
    by_ttl = object_in(usage, "cache_creation")
    write_1h = count_in(by_ttl, "ephemeral_1h_input_tokens") or 0
    write_5m = count_in(by_ttl, "ephemeral_5m_input_tokens")
    if write_5m is None:
        write_5m = written - write_1h
    if write_5m < 0 or (written and write_5m + write_1h != written):
        return None
    return Usage(
        TokenUsage(
            input_uncached=plain,
            cache_read=count_in(usage, "cache_read_input_tokens") or 0,
            cache_write_5m=write_5m,
            cache_write_1h=write_1h,
            output_text=output,
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
            parts.append(Thinking(text_in(block, "thinking"), text_in(block, "signature"), "anthropic"))
        elif kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            parts.append(ToolCall(text_in(block, "id"), text_in(block, "name"), arguments))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class AnthropicProvider:
    """The Provider of Anthropic's own wire."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer."""
        response = await self._post(call, is_streamed=False)
        raw, parsed = await read_json(response, "anthropic")
        if parsed.get("type") != "message" or not isinstance(parsed.get("content"), list):
            raise ProviderError("anthropic answered something that is no message", is_billed=True)
        return Reply(
            vendor_id=text_in(parsed, "id"),
            vendor_model=text_in(parsed, "model"),
            parts=parts_of(list_in(parsed, "content")),
            finish_reason=FINISH.get(text_in(parsed, "stop_reason"), "stop"),
            usage=usage_of(parsed.get("usage")),
            raw=raw if call.raw_surface == "anthropic_messages" else None,
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        response = await self._post(call, is_streamed=True)
        return await HttpStream(response, events_of(response)).begin()

    async def _post(self, call: Call, *, is_streamed: bool) -> aiohttp.ClientResponse:
        headers = {
            "Content-Type": "application/json",
            "anthropic-version": API_VERSION,
            "x-api-key": call.deployment.api_key,
            "x-client-request-id": call.attempt_id,
        }
        body = orjson.dumps(body_of(call, is_streamed=is_streamed))
        url = f"{call.deployment.api_base}/v1/messages"
        return await post(self.session, "anthropic", url, body, headers, call.upstream)


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[StreamEvent]:
    """The stream's events; usage is the start's with what later deltas correct."""
    started = stopped = False
    usage: dict[str, object] = {}
    tool_index: dict[object, int] = {}
    async for frames in frames_of(response, "anthropic"):
        for frame in frames:
            data = data_of(frame)
            if data is None:
                continue
            event = parse_data(data, "anthropic")
            kind = event.get("type")
            if kind == "error":
                raise ProviderUnavailableError("anthropic failed in its stream", is_billed=started)
            if kind == "message_start":
                started = True
                message = object_in(event, "message")
                usage.update(object_in(message, "usage"))
                yield StreamStart(text_in(message, "id"), text_in(message, "model"))
            elif kind == "message_delta":
                usage.update({name: value for name, value in object_in(event, "usage").items() if value is not None})
                yield Finish(FINISH.get(text_in(object_in(event, "delta"), "stop_reason"), "stop"))
            elif kind == "message_stop":
                stopped = True
            else:
                block = _block_event(event, tool_index)
                if block is not None:
                    yield block
    if not stopped:
        raise ProviderError("anthropic ended its stream without an end", is_billed=True)
    reported = usage_of(usage)
    if reported is not None:
        yield UsageReport(reported)


def _block_event(event: dict[str, object], tool_index: dict[object, int]) -> StreamEvent | None:
    """What a block's start or delta means; tools are numbered by themselves, as Chat Completions numbers them."""
    position = event.get("index")
    if event.get("type") == "content_block_start":
        block = object_in(event, "content_block")
        if block.get("type") != "tool_use":
            return None
        index = tool_index.setdefault(position, len(tool_index))
        return ToolCallDelta(index, "", text_in(block, "id"), text_in(block, "name"))
    delta = object_in(event, "delta")
    match delta.get("type"):
        case "text_delta":
            return TextDelta(text_in(delta, "text"))
        case "thinking_delta":
            return ThinkingDelta(text_in(delta, "thinking"))
        case "input_json_delta":
            return ToolCallDelta(tool_index.get(position, 0), text_in(delta, "partial_json"))
        case _:
            return None
