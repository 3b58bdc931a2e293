from __future__ import annotations

import base64
import json
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import jsonschema
import pytest

from router.simulator import Behaviour, Simulator
from tests.router.simulator.conftest import HAIKU, HAIKU_OLD, OPUS, Wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {
    "name": "get_time",
    "input_schema": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]},
}
SAY = [{"role": "user", "content": "Say something about lighthouses."}]


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return base64.b64encode(head + b"\x08\x02\x00\x00\x00").decode()


@pytest.fixture
async def client(wires: Wires) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="k", base_url=wires.sim.anthropic_url, max_retries=0) as made:
        yield made


async def test_the_sdk_gets_a_message_and_the_bill_agrees(client: anthropic.AsyncAnthropic, wires: Wires) -> None:
    message = await client.messages.create(
        model=OPUS, max_tokens=4000, messages=SAY, system="Be brief.", extra_headers={"x-client-request-id": "mine"}
    )
    assert message.stop_reason == "end_turn"
    assert [block.type for block in message.content] == ["thinking", "text"], "opus-5-5 always thinks"
    (line,) = await wires.bill("anthropic")
    assert line["client_request_id"] == "mine"
    assert line["request_id"] == message._request_id
    assert line["usage"]["output_tokens"] == message.usage.output_tokens
    assert message.usage.output_tokens_details is not None
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens
    expected = (4 * message.usage.input_tokens + 20 * message.usage.output_tokens) / Decimal(1_000_000)
    assert Decimal(line["cost_usd"]) == expected


async def test_the_sdk_streams_text_with_final_usage(client: anthropic.AsyncAnthropic, wires: Wires) -> None:
    async with client.messages.stream(model=HAIKU, max_tokens=4000, messages=SAY) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    (line,) = await wires.bill("anthropic")
    assert line["streamed"] is True
    assert line["usage"]["output_tokens"] == final.usage.output_tokens
    assert line["usage"]["input_tokens"] == final.usage.input_tokens
    assert len(final.content[0].text) > 20


@pytest.mark.parametrize("is_stream", [False, True])
async def test_tools_are_called_in_parallel_with_arguments_of_their_schema(
    client: anthropic.AsyncAnthropic, is_stream: bool
) -> None:
    asked: dict[str, Any] = {
        "model": HAIKU,
        "max_tokens": 1000,
        "tools": [WEATHER, TIME],
        "messages": [{"role": "user", "content": "What are the weather and the time in Oslo?"}],
    }
    if is_stream:
        async with client.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
    else:
        message = await client.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    for call, tool in zip(calls, (WEATHER, TIME), strict=True):
        jsonschema.validate(call.input, tool["input_schema"])
    assert len({call.id for call in calls}) == 2
    single = await client.messages.create(**asked, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert len([block for block in single.content if block.type == "tool_use"]) == 1
    named = await client.messages.create(**asked, tool_choice={"type": "tool", "name": "get_time"})
    assert {block.name for block in named.content} == {"get_time"}
    never = await client.messages.create(**asked, tool_choice={"type": "none"})
    assert never.content[0].type == "text"


async def test_a_tool_result_is_answered(client: anthropic.AsyncAnthropic) -> None:
    turns = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "4 degrees"}]},
    ]
    message = await client.messages.create(model=HAIKU, max_tokens=500, tools=[WEATHER], messages=turns)
    assert message.content


async def test_structured_output_satisfies_the_schema(client: anthropic.AsyncAnthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["yes", "no"]}, "reasons": {"type": "array", "items": {"type": "string"}}},
        "required": ["verdict", "reasons"],
        "additionalProperties": False,
    }
    message = await client.messages.create(
        model=OPUS, max_tokens=4000, messages=SAY, output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    jsonschema.validate(json.loads(message.content[-1].text), schema)


async def test_counting_equals_what_is_billed_and_is_free(client: anthropic.AsyncAnthropic, wires: Wires) -> None:
    counted = await client.messages.count_tokens(model=HAIKU, messages=SAY, tools=[WEATHER], system="Short.")
    message = await client.messages.create(model=HAIKU, max_tokens=50, messages=SAY, tools=[WEATHER], system="Short.")
    assert counted.input_tokens == message.usage.input_tokens
    assert len(await wires.bill("anthropic")) == 1


async def test_the_limit_cuts_and_a_stop_sequence_stops(client: anthropic.AsyncAnthropic) -> None:
    cut = await client.messages.create(model=HAIKU, max_tokens=3, messages=SAY)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    thought = await client.messages.create(model=OPUS, max_tokens=5, messages=SAY)
    assert (thought.stop_reason, thought.usage.output_tokens) == ("max_tokens", 5)
    stopped = await client.messages.create(model=HAIKU, max_tokens=3000, messages=SAY, stop_sequences=["the"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "the")
    assert "the" not in "".join(block.text for block in stopped.content)


async def test_the_cache_is_written_read_and_expires() -> None:
    now_s = [0.0]
    long, short = "Facts. " * 1500, "More facts. " * 400
    system = [
        {"type": "text", "text": long, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": short, "cache_control": {"type": "ephemeral"}},
    ]
    async with (
        Simulator(behaviour=Behaviour(clock=lambda: now_s[0])) as sim,
        anthropic.AsyncAnthropic(api_key="k", base_url=sim.anthropic_url) as client,
    ):

        async def usage() -> tuple[int, int, int]:
            made = await client.messages.create(model=HAIKU, max_tokens=10, messages=SAY, system=system)
            written = made.usage.cache_creation
            assert written is not None
            return (
                made.usage.cache_read_input_tokens or 0,
                written.ephemeral_5m_input_tokens,
                written.ephemeral_1h_input_tokens,
            )

        read, write_5m, write_1h = await usage()
        assert read == 0 < write_5m < write_1h
        assert await usage() == (write_5m + write_1h, 0, 0)
        now_s[0] = 301.0  # five minutes after the last read
        assert await usage() == (write_1h, write_5m, 0)
        now_s[0] = 4000.0
        assert await usage() == (0, write_5m, write_1h)
        first = sim.anthropic.bill.lines[0]
        rest = first.usage["input_tokens"]
        micro = rest * Decimal("0.1") + write_5m * Decimal("0.125") + write_1h * Decimal("0.2")
        assert first.cost_usd == (micro + first.usage["output_tokens"] * Decimal("0.5")) / 1_000_000


async def test_a_prefix_below_the_models_minimum_is_not_cached(client: anthropic.AsyncAnthropic) -> None:
    system = [{"type": "text", "text": "Short.", "cache_control": {"type": "ephemeral"}}]
    message = await client.messages.create(model=HAIKU, max_tokens=10, messages=SAY, system=system)
    assert message.usage.cache_creation_input_tokens == 0


async def test_images_are_counted_by_their_size(wires: Wires) -> None:
    async def tokens(source: dict[str, str]) -> int:
        content = [{"type": "image", "source": source}, {"type": "text", "text": "what is it?"}]
        status, answer = await wires.anthropic(
            {"model": HAIKU, "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
        )
        assert status == 200, answer
        return int(answer["usage"]["input_tokens"])

    small = await tokens({"type": "base64", "media_type": "image/png", "data": png(75, 100)})
    large = await tokens({"type": "base64", "media_type": "image/png", "data": png(750, 1000)})
    assert large - small == 990
    assert await tokens({"type": "url", "url": "https://example.com/x.png"}) > small


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]}
OPEN = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (HAIKU, {"max_tokens": None}, "max_tokens"),
        (HAIKU, {"max_tokens": 0}, "max_tokens"),
        (HAIKU, {"max_tokens": 128_001}, "128001 > 128000"),
        (OPUS, {"temperature": 0.5}, "`temperature` is not supported"),
        (OPUS, {"top_k": 3}, "`top_k` is not supported"),
        (HAIKU_OLD, {"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
        (HAIKU_OLD, {"temperature": 1.5}, "temperature"),
        (OPUS, {"tools": [WEATHER], "tool_choice": {"type": "any"}}, "tool_choice.type: 'any'"),
        (OPUS, {"messages": [*SAY, {"role": "assistant", "content": "Well"}]}, "prefill"),
        (HAIKU_OLD, {"messages": [*SAY, {"role": "assistant", "content": "Well "}]}, "trailing whitespace"),
        (OPUS, {"thinking": {"type": "disabled"}}, "'disabled' is not supported"),
        (OPUS, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "use 'adaptive'"),
        (HAIKU, {"presence_penalty": 1}, "presence_penalty: Extra inputs are not permitted"),
        (HAIKU, {"messages": []}, "at least one message"),
        (HAIKU, {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
        (HAIKU, {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-whitespace"),
        (HAIKU, {"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages.0.name"),
        (HAIKU, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (HAIKU, {"messages": [{"role": "assistant", "content": "x"}, *SAY]}, "first message"),
        (HAIKU, {"messages": [*SAY, RESULT]}, "unexpected `tool_use_id`"),
        (HAIKU, {"messages": [*SAY, CALL, *SAY]}, "without `tool_result` blocks"),
        (HAIKU, {"messages": [*SAY, CALL, RESULT, CALL, RESULT, RESULT], "tools": [WEATHER]}, None),
        (HAIKU, {"tools": [WEATHER, WEATHER]}, "unique"),
        (HAIKU, {"tool_choice": {"type": "auto"}}, "while providing tools"),
        (HAIKU, {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "no"}}, "not found"),
        (HAIKU, {"stop_sequences": [" "]}, "non-whitespace"),
        (HAIKU, {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}}, "additionalProperties"),
        (
            HAIKU,
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
            "maximum of 4",
        ),
        (HAIKU_OLD, {"messages": [{"role": "user", "content": "word " * 150_000}]}, "prompt is too long"),
    ],
)
async def test_refuses_what_the_vendor_refuses(
    wires: Wires, model: str, changes: dict[str, Any], said: str | None
) -> None:
    body = {"model": model, "max_tokens": 100, "messages": SAY} | changes
    status, answer = await wires.anthropic({key: value for key, value in body.items() if value is not None})
    if said is None:
        assert status == 200, answer
        return
    assert status == 400
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert said in answer["error"]["message"]
    assert await wires.bill("anthropic") == []


async def test_who_and_what_is_unknown(wires: Wires) -> None:
    body = {"model": HAIKU, "max_tokens": 5, "messages": SAY}
    assert (await wires.anthropic(body, **{"x-api-key": ""}))[0] == 401
    assert (await wires.anthropic(body, **{"anthropic-version": ""}))[0] == 400
    assert (await wires.anthropic(body | {"model": "claude-none"}))[0] == 404
    assert (await wires.anthropic(body | {"model": "gemini-3.8-flash"}))[0] == 404
    assert (await wires.anthropic(b"{"))[0] == 400
    assert (await wires.anthropic(b"[]"))[0] == 400
    status, answer = await wires.anthropic(body, path="/v1/complete")
    assert (status, answer["error"]["type"]) == (404, "not_found_error")
