"""The real SDKs against the real server: what people will point at it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from router.chat import Image, ToolCall, ToolResult
from router.errors import ProviderError, RateLimitedError
from router.money import usd_of
from tests.router.server.fakes import HELLO, RAW_STREAM, TOOL_STREAM, FakeGateway, parts_of, reply_of, served

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = ToolCall("call_1", "weather", '{"city":"Rome"}')
SCRIPTS = {"rendered": HELLO, "raw": RAW_STREAM}


class Capital(BaseModel):
    city: str


@pytest.fixture
def parts() -> Any:
    return parts_of()


@pytest.fixture
def fake(parts: Any) -> FakeGateway:
    return parts.gateway


@pytest.fixture
def url(parts: Any) -> Iterator[str]:
    with served(parts) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as found:
        yield found


def test_a_plain_answer_and_its_raw_response(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, extra_headers={"X-Quality-Tier": "economy"}
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello there"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 19
    assert raw.headers["x-router-cost-usd"] == usd_of(1_234)
    assert raw.headers["x-router-model"] == "haiku"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("asks", [False, True])
def test_a_stream_whose_every_chunk_is_read_as_the_examples_do(
    client: openai.OpenAI, fake: FakeGateway, name: str, asks: bool
) -> None:
    fake.script = SCRIPTS[name]
    extra: Any = {"stream_options": {"include_usage": True}} if asks else {}
    text, finishes, last = "", [], None
    for chunk in client.chat.completions.create(model="auto", messages=MESSAGES, stream=True, **extra):
        if not asks or chunk.choices:
            text += chunk.choices[0].delta.content or ""
            finishes.append(chunk.choices[0].finish_reason)
        last = chunk
    assert text == ("Hi" if name == "raw" else "Hello there")
    assert finishes[-1] == "stop"
    assert finishes.count("stop") == 1
    assert last is not None
    assert last.usage is not None
    assert last.usage.model_extra is not None
    assert last.usage.model_extra["cost_usd"] == usd_of(1_234)
    assert last.usage.model_extra["decision_id"] == fake.streams[0].decision.decision_id


async def test_the_async_client_plain_and_streamed(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello there"
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["Hello ", "there", None]


@pytest.mark.parametrize("asks", [False, True])
def test_the_stream_helper_accumulates_text_and_usage(client: openai.OpenAI, asks: bool) -> None:
    extra: Any = {"stream_options": {"include_usage": True}} if asks else {}
    with client.chat.completions.stream(model="auto", messages=MESSAGES, **extra) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("content.done") == 1
    assert final.choices[0].message.content == "Hello there"
    assert final.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert final.usage.model_extra is not None
    assert final.usage.model_extra["cost_usd"] == usd_of(1_234)


def test_tools_there_and_back(client: openai.OpenAI, fake: FakeGateway) -> None:
    fake.reply = reply_of("", CALL)
    first = client.chat.completions.create(
        model="auto",
        messages=MESSAGES,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    )
    message = first.choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == CALL.arguments  # type: ignore[union-attr]
    request = fake.requests[0][0]
    assert request.tools[0].name == "weather"
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.allows_parallel_tools) == ("named", False)
    fake.reply = reply_of("It rains.")
    history: Any = [*MESSAGES, message, {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
    assert client.chat.completions.create(model="auto", messages=history, tools=[WEATHER]).choices
    sent = fake.requests[1][0].messages
    assert sent[1].parts == (CALL,)
    assert isinstance(sent[2].parts[0], ToolResult)


def test_tool_calls_stream_through_the_helper(client: openai.OpenAI, fake: FakeGateway) -> None:
    fake.script = TOOL_STREAM
    with client.chat.completions.stream(model="auto", messages=MESSAGES, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert (calls[0].id, calls[0].function.name, calls[0].function.arguments) == ("call_1", "weather", CALL.arguments)


def test_vision(client: openai.OpenAI, fake: FakeGateway) -> None:
    data = base64.b64encode(b"\x89PNG not really").decode()
    client.chat.completions.create(
        model="auto",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                ],
            }
        ],
    )
    assert fake.requests[0][0].images == (
        Image("image/png", data, None, "low"),
        Image(None, None, "https://example.com/a.png", None),
    )


def test_structured_output_is_parsed(client: openai.OpenAI, fake: FakeGateway) -> None:
    fake.reply = reply_of('{"city": "Paris"}')
    answer = client.chat.completions.parse(model="auto", messages=MESSAGES, response_format=Capital)
    assert answer.choices[0].message.parsed == Capital(city="Paris")
    wanted = fake.requests[0][0].response_format
    assert wanted is not None
    assert (wanted.kind, wanted.name, wanted.is_strict) == ("json_schema", "Capital", True)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["auto", "auto:premium", "auto:high", "auto:balanced", "auto:economy", "opus", "haiku"]
    assert client.models.retrieve("auto:economy").owned_by == "tollgate"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-1")


def test_errors_arrive_as_the_sdk_names_them(client: openai.OpenAI, fake: FakeGateway) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="auto", messages=[])
    assert (bad.value.code, bad.value.param) == ("invalid_request", "messages")
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-1", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    fake.failure = RateLimitedError("slow down")
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="auto", messages=MESSAGES)


def test_a_broken_stream_raises_in_the_sdk(client: openai.OpenAI, fake: FakeGateway) -> None:
    fake.script = (*HELLO[:2], ProviderError("the vendor broke", is_billed=True))
    stream = client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="the vendor broke"):
        list(stream)


def test_refusals_are_not_retried_and_outages_are(url: str, fake: FakeGateway) -> None:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=1) as client:
        fake.failure = ProviderError("broke")
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="auto", messages=MESSAGES)
        assert len(fake.requests) == 2
        fake.failure = None
        key: Any = {"Idempotency-Key": "one"}
        client.chat.completions.create(model="auto", messages=MESSAGES, extra_headers=key)
        with pytest.raises(openai.ConflictError):
            client.chat.completions.create(model="haiku", messages=MESSAGES, extra_headers=key)
        assert len(fake.rejections) == 1


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("asks", [None, True])
def test_langchain_streams_and_invokes(url: str, fake: FakeGateway, name: str, asks: bool | None) -> None:
    fake.script = SCRIPTS[name]
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        model = ChatOpenAI(model="auto", api_key="any", base_url=url, client=client.chat.completions, stream_usage=asks)
        whole: Any = None
        for chunk in model.stream([HumanMessage("Hi")]):
            whole = chunk if whole is None else whole + chunk
        assert whole.content == ("Hi" if name == "raw" else "Hello there")
        assert whole.response_metadata["finish_reason"] == "stop"
        assert whole.usage_metadata["total_tokens"] == 19
        answer = model.invoke([HumanMessage("Hi")])
        assert answer.content == "Hello there"
        assert answer.response_metadata["token_usage"]["total_tokens"] == 19


def test_langchain_calls_tools_and_structures(url: str, fake: FakeGateway) -> None:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        model = ChatOpenAI(model="auto", api_key="any", base_url=url, client=client.chat.completions)
        fake.reply = reply_of("", CALL)
        called: Any = model.bind_tools([WEATHER]).invoke([HumanMessage("Hi")])
        assert called.tool_calls[0]["args"] == {"city": "Rome"}
        fake.reply = reply_of("", ToolCall("call_2", "Capital", '{"city": "Paris"}'))
        structured = model.with_structured_output(Capital, method="function_calling")
        assert structured.invoke([HumanMessage("Hi")]) == Capital(city="Paris")
