"""The vendors' answers as we read them, against litellm's own readers: parts, finish reason, tokens."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from router.chat import Text, Thinking, ToolCall
from router.providers import anthropic_answer, gemini_answer, long_tail
from router.providers.counts import list_in, object_in, text_in

if TYPE_CHECKING:
    from router.tokens import TokenUsage

CLAUDE_USAGE = {"input_tokens": 10, "output_tokens": 20}
CACHED = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_read_input_tokens": 300,
    "cache_creation_input_tokens": 70,
    "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 20},
    "output_tokens_details": {"thinking_tokens": 5},
}
TEXT = {"type": "text", "text": "Four."}
THINKING = {"type": "thinking", "thinking": "2 + 2", "signature": "s"}
WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
BARE = {"type": "tool_use", "id": "toolu_2", "name": "ping", "input": {}}
CLAUDE: dict[str, tuple[list[Any], str, Any]] = {
    "text": ([TEXT], "end_turn", CLAUDE_USAGE),
    "stop sequence": ([TEXT], "stop_sequence", CLAUDE_USAGE),
    "cut": ([TEXT], "max_tokens", CLAUDE_USAGE),
    "two texts": ([TEXT, TEXT], "end_turn", CLAUDE_USAGE),
    "thinking": ([THINKING, TEXT], "end_turn", CACHED),
    "call": ([TEXT, WEATHER], "tool_use", CLAUDE_USAGE),
    "two calls": ([WEATHER, BARE], "tool_use", CACHED),
    "refusal": ([], "refusal", CLAUDE_USAGE),
    "zeros": ([TEXT], "end_turn", {"input_tokens": 0, "output_tokens": 0}),
}
GOOGLE_USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 20, "totalTokenCount": 30}
GOOGLE_CACHED = {
    "promptTokenCount": 400,
    "cachedContentTokenCount": 300,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 425,
}
G_CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}
GEMINI: dict[str, tuple[list[Any], str, Any]] = {
    "text": ([{"text": "Four."}], "STOP", GOOGLE_USAGE),
    "cut": ([{"text": "Four."}], "MAX_TOKENS", GOOGLE_USAGE),
    "two texts": ([{"text": "Four."}, {"text": " Five."}], "STOP", GOOGLE_USAGE),
    "thoughts": ([{"text": "2 + 2", "thought": True}, {"text": "Four."}], "STOP", GOOGLE_CACHED),
    "call": ([G_CALL], "STOP", GOOGLE_CACHED),
    "text and call": ([{"text": "Look:"}, G_CALL], "STOP", GOOGLE_USAGE),
    "two calls": ([G_CALL, {"functionCall": {"name": "ping", "args": {}}}], "STOP", GOOGLE_USAGE),
    # litellm drops what was said before a filter stopped it, ours keeps it: so nothing is said here.
    "safety": ([], "SAFETY", GOOGLE_USAGE),
    "recitation": ([], "RECITATION", GOOGLE_USAGE),
}


def claude_body(content: list[Any], stop: str, usage: Any) -> dict[str, Any]:
    named = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5"}
    return orjson.loads(orjson.dumps({**named, "content": content, "stop_reason": stop, "usage": usage}))


def gemini_body(parts: list[Any], finish: str, usage: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}
    body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3.8-flash", "responseId": "r1"}
    return orjson.loads(orjson.dumps(body))


def raw_response() -> Any:
    import httpx

    return httpx.Response(200, json={})


def same(parts: tuple[Any, ...], finish: str, theirs: Any) -> None:
    """Text, thoughts, calls and the finish reason, as an OpenAI client would see them."""
    choice = theirs.choices[0]
    assert "".join(part.text for part in parts if isinstance(part, Text)) == (choice.message.content or "")
    thoughts = "".join(part.text for part in parts if isinstance(part, Thinking))
    assert thoughts == (getattr(choice.message, "reasoning_content", None) or "")
    ours = [(part.name, orjson.loads(part.arguments)) for part in parts if isinstance(part, ToolCall)]
    calls = choice.message.tool_calls or []
    assert ours == [(call.function.name, orjson.loads(call.function.arguments)) for call in calls]
    assert finish == choice.finish_reason


def buckets(usage: Any) -> TokenUsage | None:
    found = long_tail.usage_of(usage.model_dump())
    return found and found.tokens


@pytest.mark.parametrize("name", CLAUDE)
def test_claude(name: str) -> None:
    from litellm import ModelResponse
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    body = claude_body(*CLAUDE[name])
    theirs = AnthropicConfig().transform_parsed_response(
        completion_response=body, raw_response=raw_response(), model_response=ModelResponse()
    )
    parts = anthropic_answer.parts_of(list_in(body, "content"))
    same(parts, anthropic_answer.finish_of(body["stop_reason"]), theirs)
    ids = [part.id for part in parts if isinstance(part, ToolCall)]
    assert ids == [call.id for call in theirs.choices[0].message.tool_calls or []]
    usage = anthropic_answer.usage_of(body["usage"])
    assert usage is not None
    assert usage.tokens == buckets(theirs.usage)


@pytest.mark.parametrize("name", GEMINI)
def test_gemini(name: str) -> None:
    from litellm import ModelResponse
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    body = gemini_body(*GEMINI[name])
    logging = SimpleNamespace(optional_params={}, post_call=lambda **_: None)
    theirs = VertexGeminiConfig()._transform_google_generate_content_to_openai_model_response(
        completion_response=body,
        model_response=ModelResponse(),
        model="gemini-3.8-flash",
        logging_obj=logging,  # type: ignore[arg-type]
        raw_response=raw_response(),
    )
    (candidate,) = list_in(body, "candidates")
    parts = gemini_answer.parts_of(list_in(object_in(candidate, "content"), "parts"), "r1")
    has_calls = any(isinstance(part, ToolCall) for part in parts)
    same(parts, gemini_answer.finish_of(text_in(candidate, "finishReason"), has_calls=has_calls), theirs)
    usage = gemini_answer.usage_of(body["usageMetadata"])
    assert usage is not None
    assert usage.tokens == buckets(theirs.usage)
