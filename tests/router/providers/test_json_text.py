"""JSON that is deeper than its usual writer writes, on every way that it can come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import ToolCall, ToolCallDelta
from router.providers import json_text, open_session
from router.providers.anthropic import AnthropicProvider
from router.providers.gemini import GeminiProvider
from router.providers.json_text import json_bytes
from router.providers.openai import OpenAiProvider
from tests.router.providers.calls import FLASH, FLASH_25, HAIKU, LLAMA, call_of, user
from tests.router.providers.servers import STREAM_END, STREAM_HEAD, Request, piece, plain, serving

if TYPE_CHECKING:
    import asyncio

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
PROVIDERS: dict[str, Any] = {
    HAIKU: AnthropicProvider,
    FLASH: GeminiProvider,
    FLASH_25: GeminiProvider,
    LLAMA: OpenAiProvider,
}


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@given(VALUES)
def test_by_hand_is_written_what_the_usual_writer_writes(value: Any) -> None:
    assert json_text._deep_bytes(value) == orjson.dumps(value)


@pytest.mark.parametrize("levels", [254, 255, 300, 1_000, 1_023])
def test_what_can_be_read_can_be_written(levels: int) -> None:
    assert json_bytes(orjson.loads(deep(levels))) == deep(levels)
    lists = b"[" * levels + b"]" * levels
    assert json_bytes(orjson.loads(lists)) == lists


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1: 2}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        json_bytes(value)


def anthropic(arguments: bytes) -> bytes:
    return (
        b'{"id":"msg_1","type":"message","model":"claude","content":[{"type":"tool_use","id":"t1","name":"f","input":'
        + arguments
        + b'}],"stop_reason":"tool_use","usage":{"input_tokens":30,"output_tokens":700}}'
    )


def gemini(arguments: bytes) -> bytes:
    return (
        b'{"responseId":"r1","modelVersion":"gemini","candidates":[{"content":{"parts":[{"functionCall":{"name":"f",'
        b'"args":' + arguments + b'}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":30,'
        b'"candidatesTokenCount":700,"totalTokenCount":730}}'
    )


def openai(arguments: bytes) -> bytes:
    return (
        b'{"id":"c1","model":"m","choices":[{"finish_reason":"tool_calls","logprobs":{"content":[]},"message":{"role":'
        b'"assistant","content":null,"more":' + arguments + b',"tool_calls":[{"id":"t1","type":"function","function":'
        b'{"name":"f","arguments":"{}"}}]}}],"usage":{"prompt_tokens":30,"completion_tokens":700}}'
    )


@pytest.mark.parametrize(
    ("model", "answer", "arguments"),
    [(HAIKU, anthropic, deep(900)), (FLASH, gemini, deep(900)), (LLAMA, openai, b"{}")],
)
async def test_deep_arguments_of_a_vendor_are_an_answer_with_its_usage(
    model: str, answer: Any, arguments: bytes
) -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        del request
        writer.write(plain(answer(deep(900))))

    async with open_session() as session, serving(handle) as server:
        reply = await PROVIDERS[model](session).complete(call_of(model, base=server.url, wants_logprobs=model == LLAMA))
    (call,) = reply.parts
    assert isinstance(call, ToolCall)
    assert call.arguments.encode() == arguments
    assert reply.usage is not None
    assert reply.usage.tokens.output_tokens == 700


async def test_deep_arguments_of_a_stream_are_forwarded() -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        del request
        writer.write(STREAM_HEAD + piece(b"data: " + gemini(deep(900)) + b"\n\n") + STREAM_END)

    async with open_session() as session, serving(handle) as server:
        stream = await GeminiProvider(session).open_stream(call_of(FLASH, base=server.url))
        (called,) = [event async for event in stream if isinstance(event, ToolCallDelta)]
    assert called.arguments.encode() == deep(900)


@pytest.mark.parametrize("model", [HAIKU, FLASH, FLASH_25, LLAMA])
async def test_deep_arguments_and_results_of_a_client_reach_the_vendor(model: str) -> None:
    text = deep(1_000).decode()
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": text}}
    messages = [
        user("go"),
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
    ]

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        del request
        writer.write(plain({HAIKU: anthropic, LLAMA: openai}.get(model, gemini)(b"{}")))

    async with open_session() as session, serving(handle) as server:
        await PROVIDERS[model](session).complete(call_of(model, {"messages": messages}, base=server.url))
    (request,) = server.requests
    assert request.body.replace(b'\\"', b'"').count(deep(1_000)) == 2
