from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from router.chat import Finish, StreamStart, Text, TextDelta, ToolCall, ToolCallDelta, UsageReport
from router.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from router.providers import long_tail
from router.providers.long_tail import LongTailProvider, LongTailStream, error_of
from router.simulator import Simulator
from router.simulator.faults import parse_fault
from tests.router.providers.calls import LLAMA, QUICK, call_of, user
from tests.router.providers.corpus import WEATHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "prompt 4711"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(seed=3) as simulator:
        yield simulator


def tail_call(sim: Simulator, body: Any = None, **changes: Any) -> Any:
    """A call that litellm makes: its own client for an OpenAI-compatible host, pointed at the simulator."""
    from dataclasses import replace

    call = call_of(LLAMA, body, base=sim.openai_url, is_raw=False, **changes)
    model = replace(call.deployment.model, api_base=sim.openai_url, wire="litellm")
    return replace(call, deployment=replace(call.deployment, model=model))


def test_the_package_is_imported_without_litellm() -> None:
    code = "import sys, router.providers; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.filterwarnings("ignore")
async def test_a_whole_answer(sim: Simulator) -> None:
    reply = await LongTailProvider().complete(tail_call(sim))
    (line,) = sim.openai.bill.lines
    assert any(isinstance(part, Text) for part in reply.parts)
    assert reply.raw is None
    assert reply.usage is not None
    assert reply.usage.tokens.input_tokens == line.usage["prompt_tokens"]
    assert reply.usage.tokens.output_tokens == line.usage["completion_tokens"]
    assert line.client_request_id == "dec_1-1"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_callers_fields_are_no_arguments_of_litellms(sim: Simulator, *, is_streamed: bool) -> None:
    """They could send the key elsewhere, ask and bill another model, or answer without a vendor."""
    async with Simulator(seed=4) as elsewhere:
        body = {
            "model": "tail",
            "messages": [user("What is 2 + 2?")],
            "api_base": elsewhere.openai_url,
            "base_url": elsewhere.openai_url,
            "api_key": "theirs",
            "custom_llm_provider": "openai",
            "fallbacks": [{"model": "together_ai/dear", "api_base": elsewhere.openai_url, "api_key": "theirs"}],
            "mock_response": "no vendor was asked",
            "mock_testing_fallbacks": True,
            "num_retries": 5,
            "extra_headers": {"x-client-request-id": "theirs"},
            "extra_body": {"max_tokens": 100_000},
        }
        call = tail_call(sim, body)
        if is_streamed:
            stream = await LongTailProvider().open_stream(call)
            assert [event async for event in stream]
            await stream.aclose()
        else:
            await LongTailProvider().complete(call)
        assert not elsewhere.openai.bill.lines
    (line,) = sim.openai.bill.lines
    assert line.client_request_id == "dec_1-1"


@pytest.mark.filterwarnings("ignore")
async def test_tools(sim: Simulator) -> None:
    body = {"messages": [user("weather in Paris?")], "tools": [WEATHER]}
    reply = await LongTailProvider().complete(tail_call(sim, body))
    assert reply.finish_reason == "tool_calls"
    assert any(isinstance(part, ToolCall) for part in reply.parts)
    stream = await LongTailProvider().open_stream(tail_call(sim, body))
    events = [event async for event in stream]
    await stream.aclose()
    assert any(isinstance(event, ToolCallDelta) and event.id for event in events)


@pytest.mark.filterwarnings("ignore")
async def test_a_stream(sim: Simulator) -> None:
    stream = await LongTailProvider().open_stream(tail_call(sim))
    events = [event async for event in stream]
    await stream.aclose()
    assert isinstance(events[0], StreamStart)
    assert any(isinstance(event, TextDelta) for event in events)
    assert sum(isinstance(event, Finish) for event in events) == 1
    (line,) = sim.openai.bill.lines
    reports = [event.usage.tokens for event in events if isinstance(event, UsageReport)]
    assert reports[-1].output_tokens == line.usage["completion_tokens"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("429", ProviderUnavailableError), ("500", ProviderUnavailableError), ("529", ProviderUnavailableError)],
)
async def test_one_call_is_one_attempt(sim: Simulator, fault: str, kind: type) -> None:
    rule = parse_fault({"fault": fault, "retry_after_s": 3})
    sim.openai.faults.rules.append(rule)
    with pytest.raises(ProviderError) as caught:
        await LongTailProvider().complete(tail_call(sim))
    assert type(caught.value) is kind
    assert not caught.value.is_billed
    assert rule.fired == 1
    if fault == "429":
        assert caught.value.retry_after_s == 3.0


@pytest.mark.filterwarnings("ignore")
async def test_a_rejection_quotes_nothing(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderRejectedError) as caught:
        await LongTailProvider().complete(tail_call(sim, {"messages": [user(SECRET)]}, output_tokens_max=10**9))
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.filterwarnings("ignore")
async def test_nobody_there(sim: Simulator) -> None:
    from dataclasses import replace

    call = tail_call(sim)
    model = replace(call.deployment.model, api_base="http://127.0.0.1:9/v1")
    call = replace(call, deployment=replace(call.deployment, model=model, api_base="http://127.0.0.1:9/v1"))
    with pytest.raises(ProviderUnavailableError) as caught:
        await LongTailProvider().complete(call)
    assert not caught.value.is_billed


class LitellmError(Exception):
    def __init__(self, status: int | None) -> None:
        super().__init__(SECRET)
        if status is not None:
            self.status_code = status


class ReadTimeoutError(LitellmError):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "is_billed"),
    [
        (LitellmError(400), ProviderRejectedError, False),
        (LitellmError(401), ProviderError, False),
        (LitellmError(404), ProviderError, False),
        (LitellmError(429), ProviderUnavailableError, False),
        (LitellmError(503), ProviderUnavailableError, False),
        (LitellmError(None), ProviderError, False),
        (ReadTimeoutError(408), ProviderTimeoutError, True),
        (TimeoutError(), ProviderTimeoutError, True),
    ],
)
def test_exceptions_by_the_status_that_they_carry(error: Exception, kind: type, is_billed: bool) -> None:
    found = error_of("vendor", error, is_started=False)
    assert type(found) is kind
    assert found.is_billed is is_billed
    assert SECRET not in found.message
    assert error_of("vendor", error, is_started=True).is_billed


class Chunk:
    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body

    def model_dump(self) -> dict[str, Any]:
        return self.body


async def chunks(*bodies: Any) -> AsyncIterator[Chunk]:
    for body in bodies:
        if isinstance(body, Exception):
            raise body
        yield Chunk(body)


async def test_a_stream_that_breaks_gives_what_came_and_then_an_error_that_may_be_billed() -> None:
    first = {"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}]}
    stream = await LongTailStream(chunks(first, LitellmError(500)), "vendor", QUICK).begin()
    events = aiter(stream)
    assert [await anext(events), await anext(events)] == [StreamStart("c", "m"), TextDelta("a")]
    with pytest.raises(ProviderUnavailableError) as caught:
        await anext(events)
    assert caught.value.is_billed


async def test_a_stream_without_an_end_is_torn() -> None:
    first = {"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}]}
    stream = await LongTailStream(chunks(first), "vendor", QUICK).begin()
    with pytest.raises(ProviderError, match="without an end") as caught:
        [event async for event in stream]
    assert caught.value.is_billed


async def test_a_stream_that_never_pauses_is_ended_in_time() -> None:
    async def endless() -> AsyncIterator[Chunk]:
        while True:
            await asyncio.sleep(0.01)
            yield Chunk({"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}]})

    until_s = asyncio.get_running_loop().time() + 0.1
    stream = await LongTailStream(endless(), "vendor", QUICK, until_s).begin()
    with pytest.raises(ProviderTimeoutError) as caught:
        [event async for event in stream]
    assert caught.value.is_billed


async def test_a_stream_that_breaks_our_code_is_the_vendors_failure_and_billed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(delta: object) -> Any:
        raise KeyError(SECRET)

    monkeypatch.setattr(long_tail, "delta_events", broken)
    first = {"id": "c", "model": "m", "choices": [{"delta": {"content": "a"}}]}
    stream = await LongTailStream(chunks(first), "vendor", QUICK).begin()
    with pytest.raises(ProviderError, match="cannot read") as caught:
        [event async for event in stream]
    assert caught.value.is_billed
    assert SECRET not in caplog.text + repr([each.__dict__ for each in caplog.records])


async def test_a_stream_that_fails_before_its_first_event_fails_at_opening() -> None:
    for bodies in ((), (LitellmError(500),)):
        with pytest.raises(ProviderError):
            await LongTailStream(chunks(*bodies), "vendor", QUICK).begin()


def test_litellm_fetches_no_tokenizer_and_its_loggers_that_quote_vendors_are_off() -> None:
    assert long_tail._litellm().disable_hf_tokenizer_download
    assert all(logging.getLogger(name).disabled for name in long_tail.LOGGERS)
