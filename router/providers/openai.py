"""Chat Completions as OpenAI and every compatible host speak it (Together, Groq, DeepInfra, vLLM, Ollama, ...)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.chat import Reply
from router.errors import ProviderError
from router.providers.counts import object_in, text_in
from router.providers.http import ends_at_s, first_byte_at_s, headers_of, post, read_json
from router.providers.json_text import json_bytes
from router.providers.openai_answer import OpenAiEvents, finish_of, mean_logprob_of, parts_of, usage_of
from router.providers.openai_body import body_of
from router.providers.stream import HttpStream

if TYPE_CHECKING:
    import aiohttp

    from router.ports import Call, ReplyStream


@dataclass(frozen=True, slots=True)
class OpenAiProvider:
    """The Provider of OpenAI-compatible hosts."""

    session: aiohttp.ClientSession

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer; the body passes on untouched to a caller of the same surface."""
        until_s = ends_at_s(call)
        response = await self._post(call, is_streamed=False)
        raw, parsed = await read_json(response, call, until_s)
        choices = parsed.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise ProviderError(f"{call.deployment.name} answered without a choice", is_billed=True)
        logprob = mean_logprob_of(choice) if call.wants_logprobs else None
        if call.wants_logprobs and not call.request.body.get("logprobs"):
            choice["logprobs"] = None  # the caller did not ask for them
            raw = json_bytes(parsed)
        return Reply(
            vendor_id=text_in(parsed, "id"),
            vendor_model=text_in(parsed, "model"),
            parts=parts_of(object_in(choice, "message")),
            finish_reason=finish_of(choice.get("finish_reason")),
            usage=usage_of(parsed.get("usage")),
            raw=raw if call.raw_surface == "openai_chat" else None,
            mean_logprob=logprob,
        )

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns at its first event."""
        name, limit_s, until_s = call.deployment.name, first_byte_at_s(call.upstream), ends_at_s(call)
        response = await self._post(call, is_streamed=True)
        parser = OpenAiEvents(name, is_raw=call.raw_surface == "openai_chat", is_exact=call.is_sliced)
        return await HttpStream(response, parser, call, until_s).begin(limit_s)

    async def _post(self, call: Call, *, is_streamed: bool) -> aiohttp.ClientResponse:
        key = call.deployment.api_key
        own = {"Authorization": f"Bearer {key}"} if key else {}
        headers = headers_of(call.attempt_id, own, is_streamed=is_streamed)
        body = json_bytes(body_of(call, is_streamed=is_streamed))
        url = f"{call.deployment.api_base}/chat/completions"
        return await post(self.session, call, url, body, headers)
