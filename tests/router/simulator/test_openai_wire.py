from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jsonschema
import openai
import pytest

from tests.router.simulator.conftest import LLAMA, Wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SAY = [{"role": "user", "content": "Say something about lighthouses."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MINIMAX = "MiniMaxAI/MiniMax-M3"


@pytest.fixture
async def client(wires: Wires) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="k", base_url=wires.sim.openai_url, max_retries=0) as made:
        yield made


async def test_the_sdk_gets_a_completion_and_the_bill_agrees(client: openai.AsyncOpenAI, wires: Wires) -> None:
    made = await client.chat.completions.create(model=LLAMA, messages=SAY, extra_headers={"Idempotency-Key": "once"})
    assert made.choices[0].finish_reason == "stop"
    assert made.usage is not None
    (line,) = await wires.bill("openai")
    assert line["client_request_id"] == "once"
    assert Decimal(line["cost_usd"]) == made.usage.total_tokens * Decimal("1.04") / 1_000_000
    assert line["usage"]["completion_tokens"] == made.usage.completion_tokens


async def test_the_sdk_streams_and_usage_comes_to_who_asked(client: openai.AsyncOpenAI, wires: Wires) -> None:
    stream = await client.chat.completions.create(
        model=LLAMA, messages=SAY, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text) > 20
    assert chunks[-1].choices == []
    (line,) = await wires.bill("openai")
    assert chunks[-1].usage is not None
    assert line["usage"]["completion_tokens"] == chunks[-1].usage.completion_tokens
    plain = await client.chat.completions.create(model=LLAMA, messages=SAY, stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in plain])


async def test_tools_plain_and_streamed(client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {
        "model": LLAMA,
        "tools": [WEATHER],
        "messages": [{"role": "user", "content": "the weather in both Oslo and Lima?"}],
    }
    made = await client.chat.completions.create(**asked)
    calls = made.choices[0].message.tool_calls
    assert made.choices[0].finish_reason == "tool_calls"
    assert calls is not None
    assert len(calls) == 2
    for call in calls:
        jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])
    one = await client.chat.completions.create(**asked, parallel_tool_calls=False, tool_choice="required")
    assert len(one.choices[0].message.tool_calls or []) == 1
    stream = await client.chat.completions.create(**asked, stream=True)
    arguments: dict[int, str] = {}
    async for chunk in stream:
        for part in chunk.choices[0].delta.tool_calls or []:
            arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
    assert len(arguments) == 2
    for text in arguments.values():
        jsonschema.validate(json.loads(text), WEATHER["function"]["parameters"])
    history = [
        *asked["messages"],
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "4 degrees"},
    ]
    answered = await client.chat.completions.create(model=LLAMA, messages=history, tools=[WEATHER], tool_choice="none")
    assert answered.choices[0].message.content


async def test_structured_output_choices_stops_and_limits(client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    made = await client.chat.completions.create(model=LLAMA, messages=SAY, response_format=form)
    jsonschema.validate(json.loads(made.choices[0].message.content or ""), schema)
    free = await client.chat.completions.create(model=LLAMA, messages=SAY, response_format={"type": "json_object"})
    assert isinstance(json.loads(free.choices[0].message.content or ""), dict)
    many = await client.chat.completions.create(model=LLAMA, messages=SAY, n=3)
    assert len({choice.message.content for choice in many.choices}) == 3
    cut = await client.chat.completions.create(model=LLAMA, messages=SAY, max_tokens=4)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 4
    stopped = await client.chat.completions.create(model=LLAMA, messages=SAY, stop="e")
    assert "e" not in (stopped.choices[0].message.content or "")


async def test_a_long_prefix_is_read_from_cache_where_the_model_sells_it(
    client: openai.AsyncOpenAI, wires: Wires
) -> None:
    long = [{"role": "system", "content": "Facts. " * 3000}, *SAY]
    for model, is_cached in ((MINIMAX, True), (LLAMA, False)):
        usages = [(await client.chat.completions.create(model=model, messages=long)).usage for _ in range(2)]
        reads = [usage.prompt_tokens_details.cached_tokens for usage in usages]
        assert reads[0] == 0
        assert (reads[1] > 4000) is is_cached
    line = (await wires.bill("openai"))[1]
    usage = line["usage"]
    read = usage["prompt_tokens_details"]["cached_tokens"]
    model_cost = wires.sim.openai.bill.lines[1].cost_usd
    full = wires.sim.openai.bill.lines[0]
    assert model_cost < full.cost_usd
    assert read < usage["prompt_tokens"]


async def test_the_host_lists_its_models(client: openai.AsyncOpenAI) -> None:
    assert LLAMA in [model.id for model in (await client.models.list()).data]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a"}]}, "messages[0].role"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}
                ]
            },
            "messages[0].content[0]",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 200_000}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "no space"}}]}, "tools[0].function.name"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"messages": [{"role": "user", "content": "word " * 120_000}]}, "messages"),
    ],
)
async def test_refuses_in_openais_shape(wires: Wires, changes: dict[str, Any], param: str) -> None:
    status, answer = await wires.openai({"model": LLAMA, "messages": SAY} | changes)
    assert (status, answer["error"]["param"]) == (400, param)
    assert await wires.bill("openai") == []


async def test_who_and_what_is_unknown(wires: Wires) -> None:
    status, answer = await wires.openai({"model": LLAMA, "messages": SAY}, authorization="")
    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
    status, answer = await wires.openai({"model": "llama-none", "messages": SAY})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")


async def test_a_host_in_the_path_bills_at_its_own_price(wires: Wires) -> None:
    body = {"model": LLAMA, "messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 20}
    for host in ("together_ai", "deepinfra"):
        status, _ = await wires._post(f"{wires.sim.urls.host(host)}/chat/completions", body, wires.headers["openai"])
        assert status == 200
    usages = [
        (line["usage"]["prompt_tokens"], line["usage"]["completion_tokens"]) for line in await wires.bill("openai")
    ]
    costs = [Decimal(line["cost_usd"]) for line in await wires.bill("openai")]
    (together, deep) = usages
    assert costs == [
        Decimal("1.04e-6") * sum(together),
        Decimal("1e-7") * deep[0] + Decimal("3.2e-7") * deep[1],
    ]
    missing = await wires._post(f"{wires.sim.urls.host('groq')}/chat/completions", body, wires.headers["openai"])
    assert (missing[0], missing[1]["error"]["code"]) == (404, "model_not_found")
    async with wires.http.get(f"{wires.sim.urls.host('groq')}/models") as answer:
        listed = {each["id"] for each in (await answer.json())["data"]}
    assert "llama-guard-3-8b" in listed
    assert LLAMA not in listed
