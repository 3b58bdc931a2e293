"""Chat Completions as OpenAI and every compatible host speak it (Together, Groq, DeepInfra, vLLM, Ollama, ...)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from router.chat import (
    Finish,
    RawFrames,
    Reply,
    StreamStart,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from router.errors import ProviderError, ProviderUnavailableError
from router.providers.counts import count_in, list_in, object_in, text_in
from router.providers.http import data_of, frames_of, parse_data, post, read_json
from router.providers.openai_body import body_of
from router.providers.stream import HttpStream
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import aiohttp

    from router.chat import FinishReason, Part, StreamEvent
    from router.ports import Call, ReplyStream

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def finish_of(word: object) -> FinishReason:
    """The vendor's finish reason in ours; an unknown one is a plain stop."""
    return FINISH.get(word, "stop") if isinstance(word, str) else "stop"


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets of a `usage` object; None where it does not add up: unknown is not zero.

    Prompt tokens include cache reads, completion tokens include reasoning.
    """
    prompt, completion = count_in(usage, "prompt_tokens"), count_in(usage, "completion_tokens")
    cached = count_in(object_in(usage, "prompt_tokens_details"), "cached_tokens") or 0
    reasoning = count_in(object_in(usage, "completion_tokens_details"), "reasoning_tokens") or 0
    if prompt is None or completion is None or cached > prompt or reasoning > completion:
        return None
    return Usage(
        TokenUsage(
            input_uncached=prompt - cached,
            cache_read=cached,
            output_text=completion - reasoning,
            output_reasoning=reasoning,
        )
    )


def parts_of(message: dict[str, object]) -> tuple[Part, ...]:
    """Text and tool calls of an answer's message."""
    parts: list[Part] = []
    content = text_in(message, "content")
    if content:
        parts.append(Text(content))
    for call in list_in(message, "tool_calls"):
        function = object_in(call, "function")
        parts.append(ToolCall(text_in(call, "id"), text_in(function, "name"), text_in(function, "arguments")))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class OpenAiProvider:
    """The Provider of OpenAI-compatible hosts."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer; the body passes on untouched to a caller of the same surface."""
        response = await self._post(call, is_streamed=False)
        vendor = call.deployment.model.vendor
        raw, parsed = await read_json(response, vendor)
        choices = parsed.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise ProviderError(f"{vendor} answered without a choice", is_billed=True)
        return Reply(
            vendor_id=str(parsed.get("id", "")),
            vendor_model=str(parsed.get("model", "")),
            parts=parts_of(choice["message"]),
            finish_reason=finish_of(choice.get("finish_reason")),
            usage=usage_of(parsed.get("usage")),
            raw=raw if call.raw_surface == "openai_chat" else None,
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        response = await self._post(call, is_streamed=True)
        vendor = call.deployment.model.vendor
        events = events_of(response, vendor, is_raw=call.raw_surface == "openai_chat")
        return await HttpStream(response, events).begin()

    async def _post(self, call: Call, *, is_streamed: bool) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", "x-client-request-id": call.attempt_id}
        if call.deployment.api_key:
            headers["Authorization"] = f"Bearer {call.deployment.api_key}"
        body = orjson.dumps(body_of(call, is_streamed=is_streamed))
        url = f"{call.deployment.api_base}/chat/completions"
        return await post(self.session, call.deployment.model.vendor, url, body, headers, call.upstream)


async def events_of(response: aiohttp.ClientResponse, vendor: str, *, is_raw: bool) -> AsyncIterator[StreamEvent]:
    """The stream's events. Raw frames are forwarded as bytes; only those that may hold usage or an end are parsed."""
    started = ended = False
    async for frames in frames_of(response, vendor):
        raw: list[bytes] = []
        for frame in frames:
            data = data_of(frame)
            if data is None or data == b"[DONE]":
                ended = ended or data is not None
                continue
            if started and is_raw and _is_plain(data):
                raw.append(frame)
                continue
            chunk = parse_data(data, vendor)
            if "error" in chunk and not chunk.get("choices"):
                raise ProviderUnavailableError(f"{vendor} failed in its stream", is_billed=started)
            if not started:
                started = True
                yield StreamStart(text_in(chunk, "id"), text_in(chunk, "model"))
            if raw:
                yield _raw(raw)
                raw = []
            for event in _chunk_events(chunk, frame, is_raw=is_raw):
                ended = ended or isinstance(event, Finish)
                yield event
        if raw:
            yield _raw(raw)
    if not ended:
        raise ProviderError(f"{vendor} ended its stream without an end", is_billed=True)


def _is_plain(data: bytes) -> bool:
    """Whether a frame holds neither usage, nor an end, nor an error, so that it need not be parsed."""
    if b'"usage":{' in data or b'"usage": {' in data or data.startswith(b'{"error"'):
        return False
    return b'"finish_reason":"' not in data and b'"finish_reason": "' not in data


def _raw(frames: list[bytes]) -> RawFrames:
    # Hosts send about a token a frame, and a token is about four bytes of text.
    return RawFrames(b"\n\n".join(frames) + b"\n\n", 4 * len(frames))


def _chunk_events(chunk: dict[str, object], frame: bytes, *, is_raw: bool) -> Iterator[StreamEvent]:
    usage = usage_of(chunk.get("usage"))
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        word = choice.get("finish_reason")
        # A frame that carries usage is not forwarded: the last chunk, with its money, is the surface's to write.
        if is_raw and chunk.get("usage") is None:
            yield RawFrames(frame + b"\n\n", 0)
        else:
            delta = choice.get("delta")
            yield from delta_events(delta if isinstance(delta, dict) else {})
        if word is not None:
            yield Finish(finish_of(word), is_forwarded=is_raw and chunk.get("usage") is None)
    if usage is not None:
        yield UsageReport(usage)


def delta_events(delta: dict[str, object]) -> Iterator[StreamEvent]:
    """What one delta of a Chat Completions chunk adds."""
    thinking = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thinking, str):
        yield ThinkingDelta(thinking)
    content = delta.get("content")
    if isinstance(content, str) and content:
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
