"""Gemini's generateContent, plain and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from router.chat import Finish, Reply, StreamStart, Text, TextDelta, Thinking, ThinkingDelta, ToolCall, ToolCallDelta
from router.chat import UsageReport as Report
from router.errors import ProviderError, ProviderUnavailableError
from router.providers.counts import count_in, list_in, object_in, text_in
from router.providers.gemini_body import body_of
from router.providers.http import data_of, frames_of, parse_data, post, read_json
from router.providers.stream import HttpStream
from router.tokens import TokenUsage, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from router.chat import FinishReason, Part, StreamEvent
    from router.ports import Call, ReplyStream

FINISH: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
BLOCKED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE", "OTHER"}
)


def usage_of(usage: object) -> Usage | None:
    """Disjoint buckets: prompt tokens include the cache's, thoughts stand outside the candidates."""
    prompt = count_in(usage, "promptTokenCount")
    if prompt is None:
        return None
    prompt += count_in(usage, "toolUsePromptTokenCount") or 0
    cached = count_in(usage, "cachedContentTokenCount") or 0
    answer = count_in(usage, "candidatesTokenCount")
    thoughts = count_in(usage, "thoughtsTokenCount") or 0
    total = count_in(usage, "totalTokenCount")
    if answer is None:
        # Gemini leaves the field out where a limit was spent on thoughts alone: the total then says what it was.
        answer = None if total is None else total - prompt - thoughts
    if answer is None or answer < 0 or cached > prompt:
        return None
    return Usage(
        TokenUsage(input_uncached=prompt - cached, cache_read=cached, output_text=answer, output_reasoning=thoughts)
    )


def finish_of(word: str, *, has_calls: bool) -> FinishReason:
    """The vendor's finish reason in ours; a turn of calls ends with STOP there."""
    if word in BLOCKED:
        return "content_filter"
    found = FINISH.get(word, "stop")
    return "tool_calls" if has_calls and found == "stop" else found


def parts_of(parts: list[dict[str, object]], first_call: int = 0) -> tuple[Part, ...]:
    """The answer's parts; calls, which have no id there, are numbered."""
    found: list[Part] = []
    calls = first_call
    for part in parts:
        function = object_in(part, "functionCall")
        if function:
            call_id = text_in(function, "id") or f"call_{calls}_{text_in(function, 'name')}"
            found.append(
                ToolCall(call_id, text_in(function, "name"), orjson.dumps(function.get("args") or {}).decode())
            )
            calls += 1
        elif part.get("thought") is True:
            found.append(Thinking(text_in(part, "text"), None, "google"))
        elif text_in(part, "text"):
            found.append(Text(text_in(part, "text")))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class GeminiProvider:
    """The Provider of Gemini's own wire."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer; a blocked prompt is an answer that a filter ended."""
        response = await self._post(call, "generateContent")
        _, parsed = await read_json(response, "gemini")
        candidates = list_in(parsed, "candidates")
        is_blocked = bool(object_in(parsed, "promptFeedback").get("blockReason"))
        if not candidates and not is_blocked:
            raise ProviderError("gemini answered without a candidate", is_billed=True)
        candidate = candidates[0] if candidates else {"finishReason": "SAFETY"}
        parts = parts_of(list_in(object_in(candidate, "content"), "parts"))
        has_calls = any(isinstance(part, ToolCall) for part in parts)
        return Reply(
            vendor_id=text_in(parsed, "responseId"),
            vendor_model=text_in(parsed, "modelVersion"),
            parts=parts,
            finish_reason=finish_of(text_in(candidate, "finishReason"), has_calls=has_calls),
            usage=usage_of(parsed.get("usageMetadata")),
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        response = await self._post(call, "streamGenerateContent?alt=sse")
        return await HttpStream(response, events_of(response)).begin()

    async def _post(self, call: Call, method: str) -> aiohttp.ClientResponse:
        headers = {
            "Content-Type": "application/json",
            "x-goog-api-key": call.deployment.api_key,
            "x-client-request-id": call.attempt_id,
        }
        model = quote(call.deployment.model.vendor_model, safe="")
        url = f"{call.deployment.api_base}/v1beta/models/{model}:{method}"
        return await post(self.session, "gemini", url, orjson.dumps(body_of(call)), headers, call.upstream)


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[StreamEvent]:
    """The stream's events: each frame is a whole small response, the last usage counts."""
    started = False
    finish = ""
    calls = 0
    usage: Usage | None = None
    async for frames in frames_of(response, "gemini"):
        for frame in frames:
            data = data_of(frame)
            if data is None:
                continue
            chunk = parse_data(data, "gemini")
            if "error" in chunk:
                raise ProviderUnavailableError("gemini failed in its stream", is_billed=started)
            if not started:
                started = True
                yield StreamStart(text_in(chunk, "responseId"), text_in(chunk, "modelVersion"))
            usage = usage_of(chunk.get("usageMetadata")) or usage
            if object_in(chunk, "promptFeedback").get("blockReason"):
                finish = "SAFETY"
            for candidate in list_in(chunk, "candidates")[:1]:
                for part in parts_of(list_in(object_in(candidate, "content"), "parts"), calls):
                    yield _delta_of(part, calls)
                    calls += isinstance(part, ToolCall)
                finish = text_in(candidate, "finishReason") or finish
    if not finish:
        raise ProviderError("gemini ended its stream without an end", is_billed=True)
    yield Finish(finish_of(finish, has_calls=calls > 0))
    if usage is not None:
        yield Report(usage)


def _delta_of(part: Part, index: int) -> StreamEvent:
    match part:
        case ToolCall():
            return ToolCallDelta(index, part.arguments, part.id, part.name)
        case Thinking():
            return ThinkingDelta(part.text)
        case Text():
            return TextDelta(part.text)
    raise AssertionError(part)
