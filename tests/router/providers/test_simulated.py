"""The adapters against the simulated vendors, which refuse what the real ones refuse and keep a bill of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from router.chat import (
    Finish,
    RawFrames,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.estimate import Expected, estimate_of, seen_in_reply
from router.policy import Upstream
from router.providers import gemini_body, open_session, openai_answer, openai_body, providers_of
from router.providers.sse import MalformedEventError
from router.simulator import Simulator
from router.simulator.faults import parse_fault
from router.tokens import TokenUsage
from router.wires import wire_gaps
from tests.router.providers.calls import FLASH, FLASH_25, HAIKU, HAIKU_45, LLAMA, OPUS, call_of, model_of, user
from tests.router.providers.corpus import CORPUS, WEATHER, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.ports import Provider, ReplyStream
    from router.simulator.vendor import Vendor

MODELS = (OPUS, HAIKU_45, FLASH, FLASH_25, LLAMA)
ONE_OF_EACH = (HAIKU, FLASH, LLAMA)
IMPATIENT = Upstream(connect_timeout_s=0.5, first_byte_timeout_s=0.3, between_bytes_timeout_s=0.3)
LONG_QUESTION = {"messages": [user("Tell me the whole story of the city of Paris, please.")]}


class World:
    """A simulator, and adapters that point at it."""

    def __init__(self, sim: Simulator, providers: dict[Any, Provider]) -> None:
        self.sim = sim
        self.providers = providers

    def vendor(self, provider_model: str) -> Vendor:
        wire = model_of(provider_model).wire
        return {"anthropic": self.sim.anthropic, "gemini": self.sim.gemini, "openai": self.sim.openai}[wire]

    def call(self, provider_model: str, body: Any = None, **changes: Any) -> Any:
        wire = model_of(provider_model).wire
        base = {"anthropic": self.sim.anthropic_url, "gemini": self.sim.gemini_url, "openai": self.sim.openai_url}[wire]
        return call_of(provider_model, body, base=base, **changes)

    async def complete(self, provider_model: str, body: Any = None, **changes: Any) -> Reply:
        call = self.call(provider_model, body, **changes)
        return await self.providers[call.deployment.model.wire].complete(call)

    async def stream(self, provider_model: str, body: Any = None, **changes: Any) -> list[Any]:
        call = self.call(provider_model, body, **changes)
        opened = await self.providers[call.deployment.model.wire].open_stream(call)
        try:
            return [event async for event in opened]
        finally:
            await opened.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Simulator(seed=3) as sim, open_session() as session:
        yield World(sim, dict(providers_of(session)))


def billed_tokens(usage: dict[str, Any]) -> TokenUsage:
    """A bill line in buckets, read by hand and not by the code under test."""
    if "promptTokenCount" in usage:
        cached = usage.get("cachedContentTokenCount", 0)
        return TokenUsage(
            input_uncached=usage["promptTokenCount"] - cached,
            cache_read=cached,
            output_text=usage.get("candidatesTokenCount", 0),
            output_reasoning=usage.get("thoughtsTokenCount", 0),
        )
    if "input_tokens" in usage:
        thinking = usage["output_tokens_details"]["thinking_tokens"]
        return TokenUsage(
            input_uncached=usage["input_tokens"],
            cache_read=usage["cache_read_input_tokens"],
            cache_write_5m=usage["cache_creation"]["ephemeral_5m_input_tokens"],
            cache_write_1h=usage["cache_creation"]["ephemeral_1h_input_tokens"],
            output_text=usage["output_tokens"] - thinking,
            output_reasoning=thinking,
        )
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return TokenUsage(
        input_uncached=usage["prompt_tokens"] - cached, cache_read=cached, output_text=usage["completion_tokens"]
    )


def dropped_for(provider_model: str) -> frozenset[str]:
    return frozenset(model_of(provider_model).card.refuses) & {"sampling_params", "forced_tool_use"}


@pytest.mark.parametrize("model", MODELS)
async def test_every_request_of_the_corpus_is_accepted_or_has_a_gap(world: World, model: str) -> None:
    """What `wire_gaps` lets through, the vendor takes; bill and reply agree on each."""
    taken = 0
    for name, body in CORPUS.items():
        call = world.call(model, body, dropped=dropped_for(model), attempt_id=name, output_tokens_max=2_048)
        if wire_gaps(call.request, call.deployment.model.wire) or (call.request.images and model == LLAMA):
            continue
        reply = await world.providers[call.deployment.model.wire].complete(call)
        taken += 1
        line = world.vendor(model).bill.lines[-1]
        assert line.client_request_id == name
        assert reply.usage is not None, name
        assert reply.usage.tokens == billed_tokens(line.usage), name
    assert taken >= 40


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["plain", "turns", "two_tools", "parallel_results", "json_schema", "cached_hour"])
async def test_a_stream_is_billed_as_it_reports(world: World, model: str, name: str) -> None:
    events = await world.stream(model, CORPUS[name], output_tokens_max=2_048)
    reports = [event.usage.tokens for event in events if isinstance(event, UsageReport)]
    assert reports[-1] == billed_tokens(world.vendor(model).bill.lines[-1].usage)
    assert sum(isinstance(event, Finish) for event in events) == 1


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_a_plain_answer_and_a_streamed_one_have_the_same_parts(world: World, model: str) -> None:
    both = [tool("get_weather"), tool("get_time")]
    for body in (LONG_QUESTION, {"messages": [user("weather and time in Paris?")], "tools": both}):
        reply = await world.complete(model, body, is_raw=False)
        events = await world.stream(model, body, is_raw=False)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert bool(text) == any(isinstance(part, Text) for part in reply.parts)
        arguments: dict[int, str] = {}
        for event in events:
            if isinstance(event, ToolCallDelta):
                arguments[event.index] = arguments.get(event.index, "") + event.arguments
        calls = [part for part in reply.parts if isinstance(part, ToolCall)]
        assert bool(arguments) == bool(calls)
        assert all(value.startswith("{") and value.endswith("}") for value in arguments.values())
        assert (reply.finish_reason == "tool_calls") == bool(calls)


@pytest.mark.parametrize("model", [OPUS, HAIKU, FLASH, LLAMA])
async def test_a_whole_tool_conversation(world: World, model: str) -> None:
    """The calls of an answer go back with their results, under the ids that the answer gave them."""
    body: dict[str, Any] = {"messages": [user("weather in Paris?")], "tools": [WEATHER]}
    first = await world.complete(model, body, output_tokens_max=4_096)
    calls = [part for part in first.parts if isinstance(part, ToolCall)]
    assert calls
    made = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    answered = [{"role": "tool", "tool_call_id": call.id, "content": "18 C"} for call in calls]
    more = [*body["messages"], {"role": "assistant", "content": None, "tool_calls": made}, *answered]
    second = await world.complete(model, {**body, "messages": more}, output_tokens_max=4_096)
    assert any(isinstance(part, Text) for part in second.parts)


async def test_thoughts_are_parts_of_their_own(world: World) -> None:
    reply = await world.complete(OPUS, {**LONG_QUESTION, "reasoning_effort": "high"}, output_tokens_max=4_096)
    assert isinstance(reply.parts[0], Thinking)
    assert reply.usage is not None
    assert reply.usage.tokens.output_reasoning > 0
    events = await world.stream(OPUS, LONG_QUESTION, output_tokens_max=4_096)
    assert not any(isinstance(event, ThinkingDelta) and event.text for event in events)


async def test_the_hosts_own_bytes_reach_a_caller_of_its_surface(world: World) -> None:
    reply = await world.complete(LLAMA)
    assert reply.raw is not None
    assert reply.raw.startswith(b"{")
    assert any(isinstance(event, RawFrames) for event in await world.stream(LLAMA))
    for model in (HAIKU, FLASH):
        assert (await world.complete(model)).raw is None
        assert not any(isinstance(event, RawFrames) for event in await world.stream(model))


@pytest.mark.parametrize("model", ONE_OF_EACH)
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "is_billed"),
    [
        ("429", ProviderUnavailableError, False),
        ("500", ProviderUnavailableError, False),
        ("529", ProviderUnavailableError, False),
        ("html", ProviderUnavailableError, False),
        ("timeout_connect", ProviderUnavailableError, True),  # broken before a byte: nobody can know
        ("timeout_first_byte", ProviderTimeoutError, True),
        ("stall_mid_stream", ProviderTimeoutError, True),
        ("torn_stream", ProviderError, True),
        ("malformed_json", ProviderError, True),
    ],
)
async def test_faults(world: World, model: str, is_streamed: bool, fault: str, kind: type, is_billed: bool) -> None:
    world.vendor(model).faults.rules.append(parse_fault({"fault": fault, "hold_s": 20, "retry_after_s": 3}))
    ask = world.stream if is_streamed else world.complete
    with pytest.raises(ProviderError) as caught:
        await ask(model, LONG_QUESTION, upstream=IMPATIENT if kind is ProviderTimeoutError else Upstream())
    is_one_event = is_streamed and fault == "malformed_json"
    assert type(caught.value) is (MalformedEventError if is_one_event else kind)
    is_answer_begun = not is_streamed and fault in ("stall_mid_stream", "torn_stream", "malformed_json")
    assert (caught.value.seen_bytes > 100) == is_answer_begun
    assert caught.value.is_billed is is_billed
    if fault == "429":
        assert caught.value.retry_after_s == 3.0
    if not is_billed:
        assert world.vendor(model).bill.lines == []


async def to_the_break(stream: ReplyStream) -> list[Any]:
    events: list[Any] = []
    try:
        async for event in stream:
            events.append(event)  # noqa: PERF401  # what came before the break is wanted
    except ProviderError:
        return events
    pytest.fail("the stream did not break")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_raw", [False, True])
async def test_behind_an_event_that_cannot_be_read_stands_the_usage(world: World, model: str, is_raw: bool) -> None:
    world.vendor(model).faults.rules.append(parse_fault({"fault": "malformed_json"}))
    call = world.call(model, LONG_QUESTION, is_raw=is_raw, output_tokens_max=2_048)
    stream = await world.providers[call.deployment.model.wire].open_stream(call)
    before = await to_the_break(stream)
    assert not any(isinstance(event, UsageReport | Finish) for event in before)
    assert stream.pass_over()
    behind = [event async for event in stream]
    (report,) = [event.usage for event in behind if isinstance(event, UsageReport)]
    assert report.tokens == billed_tokens(world.vendor(model).bill.lines[-1].usage)
    assert sum(isinstance(event, Finish) for event in behind) == 1
    await stream.aclose()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["plain", "cached_hour"])
async def test_of_a_torn_stream_the_input_is_known_where_the_vendor_says_it_early(
    world: World, model: str, name: str
) -> None:
    world.vendor(model).faults.rules.append(parse_fault({"fault": "torn_stream"}))
    call = world.call(model, CORPUS[name], output_tokens_max=2_048)
    stream = await world.providers[call.deployment.model.wire].open_stream(call)
    await to_the_break(stream)
    assert not stream.pass_over(), "nothing follows"
    counted, billed = stream.usage_so_far, billed_tokens(world.vendor(model).bill.lines[-1].usage)
    await stream.aclose()
    if model == LLAMA:
        assert counted is None
    else:
        assert counted is not None
        assert replace(counted, output_text=0, output_reasoning=0) == replace(billed, output_text=0, output_reasoning=0)
        assert counted.output_tokens <= billed.output_tokens


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_an_answer_without_usage_is_estimated_near_the_bill(world: World, model: str) -> None:
    """The simulated vendors count with tokenizers of their own; thinking is hidden, and left out here."""
    world.vendor(model).faults.rules.append(parse_fault({"fault": "usage_missing"}))
    seen = seen_in_reply(await world.complete(model, LONG_QUESTION, output_tokens_max=2_048))
    expected = Expected(100, 0, 5, input_tokens_max=9_000, output_tokens_max=2_048)
    tokens = estimate_of(model_of(model), expected, seen)
    billed = billed_tokens(world.vendor(model).bill.lines[-1].usage)
    assert billed.output_text > 40
    assert abs(tokens.output_text - billed.output_text) <= 0.1 * billed.output_text


@pytest.mark.parametrize("is_sliced", [False, True])
async def test_the_hosts_own_frames_weigh_what_they_carry(world: World, is_sliced: bool) -> None:
    """Raw frames weigh their size without the frame; each is read only where money is held in slices."""
    body = {"messages": LONG_QUESTION["messages"]}
    events = await world.stream(LLAMA, body, output_tokens_max=2_048, is_sliced=is_sliced)
    texts = [
        "".join(
            choice["delta"].get("content") or "" for choice in orjson.loads(frame.removeprefix(b"data: "))["choices"]
        )
        for event in events
        if isinstance(event, RawFrames)
        for frame in event.data.split(b"\n\n")
        if frame
    ]
    carried = sum(event.output_bytes for event in events if isinstance(event, RawFrames))
    length = len("".join(texts))
    assert length > 200
    assert length <= carried <= 1.1 * length
    roles = len("assistant") - 4
    assert not is_sliced or carried == sum(max(4, len(text)) for text in texts) + roles


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_an_answer_without_usage_has_none(world: World, model: str) -> None:
    world.vendor(model).faults.rules.append(parse_fault({"fault": "usage_missing"}))
    assert (await world.complete(model, LONG_QUESTION)).usage is None
    events = await world.stream(model, LONG_QUESTION)
    assert not any(isinstance(event, UsageReport) for event in events)
    assert sum(isinstance(event, Finish) for event in events) == 1


@pytest.mark.parametrize("model", ONE_OF_EACH)
@pytest.mark.parametrize(("fault", "reason"), [("refusal", "content_filter"), ("truncation", "length")])
async def test_why_an_answer_ended(world: World, model: str, fault: str, reason: str) -> None:
    if model == LLAMA and fault == "refusal":
        reason = "stop"  # an open model refuses in words
    world.vendor(model).faults.rules.append(parse_fault({"fault": fault}))
    assert (await world.complete(model, LONG_QUESTION)).finish_reason == reason
    (finish,) = [event for event in await world.stream(model, LONG_QUESTION) if isinstance(event, Finish)]
    assert finish.reason == reason


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_a_request_that_the_vendor_refuses_is_a_rejection_that_names_the_field(world: World, model: str) -> None:
    with pytest.raises(ProviderRejectedError) as caught:
        await world.complete(model, output_tokens_max=10**9)
    assert caught.value.status == 400
    assert "2 + 2" not in caught.value.message


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_a_model_that_the_vendor_does_not_know_is_no_fault_of_the_request(world: World, model: str) -> None:
    call = world.call(model)
    unknown = replace(call.deployment.model, provider_model="x/no-such-model")
    call = replace(call, deployment=replace(call.deployment, model=unknown))
    with pytest.raises(ProviderError) as caught:
        await world.providers[model_of(model).wire].complete(call)
    assert type(caught.value) is ProviderError
    assert caught.value.status == 404


@pytest.mark.parametrize("model", ONE_OF_EACH)
async def test_a_missing_key_is_no_fault_of_the_request(world: World, model: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await world.complete(model, key="")
    assert type(caught.value) is ProviderError
    assert not caught.value.is_billed


@pytest.mark.parametrize("provider_model", [FLASH, LLAMA])
async def test_how_sure_a_vendor_was_is_asked_for_where_it_is_wanted_and_not_shown_unasked(
    world: World, provider_model: str
) -> None:
    unasked = await world.complete(provider_model)
    assert unasked.mean_logprob is None
    reply = await world.complete(provider_model, wants_logprobs=True)
    assert reply.mean_logprob is not None
    assert 0.5 <= math.exp(reply.mean_logprob) <= 1
    assert reply.raw is None or orjson.loads(reply.raw)["choices"][0]["logprobs"] is None


async def test_a_client_that_asks_for_probabilities_keeps_them(world: World) -> None:
    body = {"messages": [user("What is 2 + 2?")], "logprobs": True}
    reply = await world.complete(LLAMA, body, wants_logprobs=True)
    assert reply.raw is not None
    tokens = orjson.loads(reply.raw)["choices"][0]["logprobs"]["content"]
    assert reply.mean_logprob == pytest.approx(sum(each["logprob"] for each in tokens) / len(tokens))


@pytest.mark.parametrize(
    ("logprobs", "mean"),
    [
        ({"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2}]}, -1.5),
        ({"tokens": ["a", "b"], "token_logprobs": [None, -0.5]}, -0.5),
        ({"content": []}, None),
        ({"content": [{"token": "a"}]}, None),
        ({"token_logprobs": "all"}, None),
        (None, None),
        ([], None),
    ],
)
def test_probabilities_are_read_as_hosts_write_them(logprobs: object, mean: float | None) -> None:
    assert openai_answer.mean_logprob_of({"logprobs": logprobs}) == mean


def test_each_host_is_asked_for_probabilities_in_its_own_way() -> None:
    asked = {name: call_of(name, wants_logprobs=True) for name in (LLAMA, "openai/gpt-4.1", FLASH)}
    assert openai_body.body_of(asked[LLAMA], is_streamed=False)["logprobs"] == 1
    assert openai_body.body_of(asked["openai/gpt-4.1"], is_streamed=False)["logprobs"] is True
    own = call_of(LLAMA, {"messages": [user("What is 2 + 2?")], "logprobs": 5}, wants_logprobs=True)
    assert openai_body.body_of(own, is_streamed=False)["logprobs"] == 5
    config = gemini_body.body_of(asked[FLASH])["generationConfig"]
    assert isinstance(config, dict)
    assert config["responseLogprobs"] is True
