"""Gemini's generateContent, plain and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from router.chat import Reply, ToolCall
from router.errors import ProviderError
from router.providers.counts import list_in, object_in, text_in
from router.providers.gemini_answer import GeminiEvents, finish_of, is_blocked, mean_logprob_of, parts_of, usage_of
from router.providers.gemini_body import body_of
from router.providers.http import ends_at_s, first_byte_at_s, headers_of, post, read_json
from router.providers.json_text import json_bytes
from router.providers.stream import HttpStream

if TYPE_CHECKING:
    import aiohttp

    from router.ports import Call, ReplyStream


@dataclass(frozen=True, slots=True)
class GeminiProvider:
    """The Provider of Gemini's own wire."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer; a blocked prompt is an answer that a filter ended."""
        until_s = ends_at_s(call)
        response = await self._post(call, "generateContent", is_streamed=False)
        _, parsed = await read_json(response, call, until_s)
        candidates = list_in(parsed, "candidates")
        if not candidates and not is_blocked(parsed):
            raise ProviderError(f"{call.deployment.name} answered without a candidate", is_billed=True)
        candidate: dict[str, object] = candidates[0] if candidates else {"finishReason": "SAFETY"}
        vendor_id = text_in(parsed, "responseId")
        parts = parts_of(list_in(object_in(candidate, "content"), "parts"), vendor_id)
        has_calls = any(isinstance(part, ToolCall) for part in parts)
        return Reply(
            vendor_id=vendor_id,
            vendor_model=text_in(parsed, "modelVersion"),
            parts=parts,
            finish_reason=finish_of(text_in(candidate, "finishReason"), has_calls=has_calls),
            usage=usage_of(parsed.get("usageMetadata")),
            mean_logprob=mean_logprob_of(candidate) if call.wants_logprobs else None,
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        limit_s, until_s = first_byte_at_s(call.upstream), ends_at_s(call)
        response = await self._post(call, "streamGenerateContent?alt=sse", is_streamed=True)
        return await HttpStream(response, GeminiEvents(call.deployment.name), call, until_s).begin(limit_s)

    async def _post(self, call: Call, method: str, *, is_streamed: bool) -> aiohttp.ClientResponse:
        headers = headers_of(call.attempt_id, {"x-goog-api-key": call.deployment.api_key}, is_streamed=is_streamed)
        model = quote(call.deployment.model.vendor_model, safe="")
        url = f"{call.deployment.api_base}/v1beta/models/{model}:{method}"
        return await post(self.session, call, url, json_bytes(body_of(call)), headers)
