"""Anthropic's Messages API, plain and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.chat import Reply
from router.errors import ProviderError
from router.providers.anthropic_answer import AnthropicEvents, finish_of, parts_of, usage_of
from router.providers.anthropic_body import body_of
from router.providers.counts import list_in, text_in
from router.providers.http import ends_at_s, first_byte_at_s, headers_of, post, read_json
from router.providers.json_text import json_bytes
from router.providers.stream import HttpStream

if TYPE_CHECKING:
    import aiohttp

    from router.ports import Call, ReplyStream

API_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class AnthropicProvider:
    """The Provider of Anthropic's own wire."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer."""
        until_s = ends_at_s(call)
        response = await self._post(call, is_streamed=False)
        raw, parsed = await read_json(response, call, until_s)
        if parsed.get("type") != "message" or not isinstance(parsed.get("content"), list):
            raise ProviderError(f"{call.deployment.name} answered something that is no message", is_billed=True)
        return Reply(
            vendor_id=text_in(parsed, "id"),
            vendor_model=text_in(parsed, "model"),
            parts=parts_of(list_in(parsed, "content")),
            finish_reason=finish_of(parsed.get("stop_reason")),
            usage=usage_of(parsed.get("usage")),
            raw=raw if call.raw_surface == "anthropic_messages" else None,
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        limit_s, until_s = first_byte_at_s(call.upstream), ends_at_s(call)
        response = await self._post(call, is_streamed=True)
        return await HttpStream(response, AnthropicEvents(call.deployment.name), call, until_s).begin(limit_s)

    async def _post(self, call: Call, *, is_streamed: bool) -> aiohttp.ClientResponse:
        own = {"anthropic-version": API_VERSION, "x-api-key": call.deployment.api_key}
        headers = headers_of(call.attempt_id, own, is_streamed=is_streamed)
        body = json_bytes(body_of(call, is_streamed=is_streamed))
        return await post(self.session, call, f"{call.deployment.api_base}/v1/messages", body, headers)
