"""Real clients against a real gateway, each vendor behind it."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stack import GatewayProcess

MODELS = ("claude-haiku", "gemini-flash", "llama-70b")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_every_vendor_answers_plain_streamed_tools_schema_and_pictures(client: OpenAI) -> None:
    for model in MODELS:
        plain = client.chat.completions.create(model=model, messages=user("Name a colour."), max_tokens=2_000)
        assert plain.choices[0].message.content, model
        assert plain.usage is not None

        chunks = list(
            client.chat.completions.create(model=model, messages=user("Name a city."), max_tokens=2_000, stream=True)
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text, model
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert {"cost_usd", "premium_cost_usd", "savings_usd", "decision_id"} <= set(chunks[-1].usage.model_extra or {})

        forced: Any = {"type": "function", "function": {"name": "weather"}}
        called = client.chat.completions.create(
            model=model, messages=user("Weather in Paris?"), tools=[TOOL], tool_choice=forced, max_tokens=2_000
        )
        call: Any = (called.choices[0].message.tool_calls or [None])[0]
        assert call is not None, model
        assert call.function.name == "weather"
        assert "city" in json.loads(call.function.arguments)
        history = [
            *user("Weather in Paris?"),
            called.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"},
        ]
        after = client.chat.completions.create(model=model, messages=history, tools=[TOOL], max_tokens=2_000)
        assert after.choices[0].finish_reason in ("stop", "tool_calls")

        shaped = client.chat.completions.create(
            model=model, messages=user("A person."), response_format=SCHEMA, max_tokens=2_000
        )
        assert {"name", "age"} == set(json.loads(shaped.choices[0].message.content or "")), model

        if model == "llama-70b":
            continue  # the host's own card says that it sees nothing
        picture: Any = [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ]
        seen = client.chat.completions.create(model=model, messages=picture, max_tokens=2_000)
        assert seen.choices[0].message.content, model


def test_async_raw_response_and_langchain(gateway: GatewayProcess) -> None:
    async def asked() -> Any:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as made:
            return await made.chat.completions.with_raw_response.create(
                model="auto", messages=user("Name a river."), extra_headers={"X-Quality-Tolerance": "0.2"}
            )

    raw = asyncio.run(asked())
    for name in ("decision-id", "model", "reason", "complexity", "cost-usd", "premium-cost-usd", "savings-usd"):
        assert raw.headers[f"x-router-{name}"], name
    chat = ChatOpenAI(base_url=f"{gateway.url}/v1", api_key="any", model="auto:economy", max_retries=0)
    assert chat.invoke("Name a mountain.").content
    assert "".join(str(chunk.content) for chunk in chat.stream("Name a lake."))


def fetch(url: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_receipt_feedback_report_and_route(gateway: GatewayProcess, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=user("Name a tree."))
    raw.parse()
    decision_id = raw.headers["x-router-decision-id"]
    status, receipt = fetch(f"{gateway.url}/v1/decisions/{decision_id}")
    assert status == 200
    assert receipt["cost_usd"] == raw.headers["x-router-cost-usd"]
    assert {each["model"] for each in receipt["receipt"]["candidates"]} == {
        "claude-opus", "claude-haiku", "gemini-flash", "llama-70b",
    }  # fmt: skip
    assert fetch(f"{gateway.url}/v1/feedback", {"decision_id": decision_id, "ok": True})[0] == 201
    assert fetch(f"{gateway.url}/v1/feedback", {"decision_id": decision_id, "score": 7})[1]["error"]["param"] == "score"
    assert fetch(f"{gateway.url}/v1/decisions/dec_unknown")[0] == 404
    status, report = fetch(f"{gateway.url}/v1/reports/savings?group_by=model")
    assert status == 200
    assert report["totals"]["realized_cost_usd"] == raw.headers["x-router-cost-usd"]
    assert [each["requests"] for each in report["groups"]] == [1]
    status, routed = fetch(f"{gateway.url}/v1/route", {"model": "auto", "messages": user("Name a tree.")})
    assert status == 200
    assert routed["model"] == raw.headers["x-router-model"]
    assert fetch(f"{gateway.url}/readyz")[1]["status"] == "ready"


def test_idempotency_answers_the_same_and_charges_once(gateway: GatewayProcess, client: OpenAI) -> None:
    def once(text: str) -> Any:
        return client.chat.completions.with_raw_response.create(
            model="auto", messages=user(text), extra_headers={"Idempotency-Key": "order-1"}
        )

    first, second = once("Name a bird."), once("Name a bird.")
    assert first.content == second.content
    assert first.headers["x-router-decision-id"] == second.headers["x-router-decision-id"]
    with pytest.raises(openai.ConflictError):
        once("Name a fish.")
    assert fetch(f"{gateway.url}/v1/reports/savings")[1]["totals"]["answered"] == 1


BAD: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"messages": []}, 400, "invalid_request", "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_request", "messages[0].role"),
    ({"messages": user("x"), "n": 5}, 400, "invalid_request", "n"),
    ({"messages": user("x"), "max_tokens": 0}, 400, "invalid_request", "max_tokens"),
    ({"messages": user("x"), "model": "gpt-9"}, 404, "model_not_found", "model"),
    ({"messages": user("x"), "model": "auto:luxury"}, 400, "unknown_quality_tier", "quality_tier"),
    ({"messages": user("x"), "metadata": {"quality_tolerance": 7}}, 400, "invalid_quality_tolerance", None),
    ({"messages": user("x"), "metadata": {"quality_tolerance": "abc"}}, 400, "invalid_quality_tolerance", None),
    (
        {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
        400, "invalid_request", "messages[0].tool_call_id",
    ),
    ({"messages": user("word " * 400_000), "model": "llama-70b"}, 400, "context_length_exceeded", "messages"),
]  # fmt: skip


def test_bad_input_gets_its_code_and_leaves_the_gateway_sound(gateway: GatewayProcess) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    for body, status, code, param in BAD:
        found, error = fetch(url, body)
        assert (found, error["error"]["code"]) == (status, code), body
        if param is not None:
            assert error["error"]["param"] == param
    for raw in (
        b"{",
        b"[1]",
        b'{"messages": NaN}',
        b"\xff\xfe",
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b'{"a":"\\ud800"}',
    ):
        request = urllib.request.Request(url, raw, {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as error:
            assert error.code == 400
            assert json.loads(error.read())["error"]["code"] == "invalid_request"
            assert error.headers["x-should-retry"] == "false"
    for tolerance in ("7", "-0.1", "abc", "nan"):
        request = urllib.request.Request(
            url, json.dumps({"messages": user("x")}).encode(), {"X-Quality-Tolerance": tolerance}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as error:
            assert json.loads(error.read())["error"]["code"] == "invalid_quality_tolerance"
    assert fetch(f"{gateway.url}/readyz")[0] == 200
