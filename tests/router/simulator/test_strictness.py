from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.simulator.answers import drawn_answer
from router.simulator.anthropic_wire import AnthropicWire
from router.simulator.catalogue import load_catalogue
from router.simulator.gemini_wire import GeminiWire
from router.simulator.openai_wire import OpenAIWire
from router.simulator.prefixes import PrefixCache
from router.simulator.refusals import RefusedError
from router.simulator.wire import Head, Ticket, Wire
from tests.router.simulator.conftest import FLASH_OLD, HAIKU, LLAMA

if TYPE_CHECKING:
    from random import Random

CATALOGUE = load_catalogue()
HEAD = Head(
    {"x-api-key": "k", "anthropic-version": "1", "authorization": "Bearer k", "x-goog-api-key": "k"}, {}, FLASH_OLD
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
BODIES: dict[str, dict[str, Any]] = {
    "anthropic": {
        "model": HAIKU,
        "max_tokens": 500,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": "b"}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}],
            },
        ],
        "tools": [{"name": "f", "input_schema": OPEN}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "stream": True,
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "q"}, {"inlineData": {"mimeType": "image/png", "data": "eA=="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": OPEN}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "temperature": 0.3,
            "maxOutputTokens": 50,
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "responseSchema": OPEN,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    },
    "openai": {
        "model": LLAMA,
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": OPEN}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": OPEN}},
        "stop": ["x"],
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
    },
}
WIRES: dict[str, Wire] = {"anthropic": AnthropicWire(), "gemini": GeminiWire(), "openai": OpenAIWire()}
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.just(1e9),
    st.sampled_from(["", " ", "x", "any"]),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just(["x"]),
    st.just({"type": "x"}),
    st.just({"type": None}),
    st.just([[]]),
    st.just([{}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, sub in inner for place in places(sub, (*path, key)))]


def head_of(name: str) -> Head:
    return Head(
        HEAD.headers, HEAD.query, HEAD.model, "generateContent" if name == "gemini" else "messages", b"cache_control"
    )


def served(name: str, body: dict[str, Any], draw: Random) -> bytes:
    wire = WIRES[name]
    ask = wire.read(head_of(name), body, CATALOGUE)
    answers = [drawn_answer(ask, draw, 0) for _ in range(ask.choices)]
    usage = wire.usage_of(ask, answers, PrefixCache(lambda: 0.0))
    assert ask.model.cost_usd_of(usage) >= 0
    assert usage.output_tokens <= ask.output_tokens_max * ask.choices
    ticket = Ticket("req", "0" * 48, 0)
    return b"".join(wire.events_of(ask, answers, usage, ticket, None)) + wire.body_of(ask, answers, usage, ticket)


@pytest.mark.parametrize("name", sorted(WIRES))
@given(data=st.data(), draw=st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_spoilt_request_is_served_or_refused_never_a_crash(name: str, data: st.DataObject, draw: Random) -> None:
    body = copy.deepcopy(BODIES[name])
    path = data.draw(st.sampled_from(places(body)))
    target: Any = body
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = data.draw(junk)
    try:
        assert served(name, body, draw)
    except RefusedError as caught:
        refused = caught
    else:
        return
    rejection = WIRES[name].rejection_of(refused, "req")
    assert 400 <= rejection.status < 500
    assert refused.message


@pytest.mark.parametrize("name", sorted(WIRES))
@given(draw=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_unspoilt_request_is_served(name: str, draw: Random) -> None:
    assert served(name, copy.deepcopy(BODIES[name]), draw)
