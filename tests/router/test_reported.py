"""What a vendor reports is charged as it is, unless no call can have used it: then the estimate is charged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budgets import Budget, Claim
from router.budgets.windows import ENDLESS
from router.catalog import cost_nanousd, hold_nanousd
from router.chat import Finish, StreamStart, Text, TextDelta, UsageReport
from router.cover import input_tokens_max_of
from router.estimate import Seen
from router.providers.counts import COUNT_MAX
from router.reported import THINKING_ROOM_TOKENS, is_possible
from router.tokens import TokenUsage, Usage
from tests.builders import card_of, model_of, request_of
from tests.router.scripted import ANY, CHEAP, NOBODY, ScriptedStream, Stage, leap, policy_with, read_all, reply_of

if TYPE_CHECKING:
    from router.policy import PolicyModel

LIMIT = 100
ABSURD = Usage(TokenUsage(input_uncached=10, output_text=10**12 - 100))
EACH = Budget(name="all", scope="all", window="total", limit_nanousd=100_000_000)
THINKER = model_of("thinker")
PLAIN = replace(THINKER, card=card_of(capabilities=frozenset({"system"})))


async def settled_and_held(stage: Stage) -> tuple[int, int]:
    await stage.background.aclose(100.0)
    await stage.treasury.aclose(100.0)
    (balance,) = await stage.store.balances([Claim(EACH.name, "", EACH.limit_nanousd, EACH.is_hard, (ENDLESS,))])
    return balance.settled_nanousd, balance.held_nanousd


@pytest.mark.parametrize(
    "usage",
    [
        ABSURD,
        Usage(TokenUsage(input_uncached=10**12)),
        Usage(TokenUsage(input_uncached=10, cache_read=10**9, output_text=5)),
        Usage(TokenUsage(input_uncached=10, output_text=5, output_reasoning=10**7)),
    ],
)
def test_an_absurd_count_is_charged_as_the_estimate_and_told_in_numbers_alone(
    usage: Usage, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        stage = Stage({CHEAP: [reply_of("Paris.", usage=usage)]}, policy=replace(policy_with(), budgets=(EACH,)))
        request = request_of("a secret question", model=CHEAP, output_tokens_max=LIMIT)
        answer = await stage.gateway.answer(request, NOBODY, ANY)
        (intent,), (settlement,) = stage.ledger.intents(), stage.ledger.settlements()
        assert answer.bill.usage_source == settlement.usage_source == "estimated"
        assert 0 < settlement.cost_nanousd <= settlement.charged_nanousd <= intent.hold_nanousd
        assert await settled_and_held(stage) == (settlement.charged_nanousd, 0)

    leap(story())
    (record,) = [each for each in caplog.records if each.message == "usage that cannot be"]
    fields = record.__dict__["fields"]
    assert fields.pop("model") == CHEAP
    assert fields["input_tokens"] == usage.tokens.input_tokens
    assert fields["output_tokens"] == usage.tokens.output_tokens
    assert fields["output_tokens_max"] == LIMIT
    assert all(isinstance(value, int) for value in fields.values())


def test_of_a_stream_the_client_the_ledger_and_the_budgets_are_told_the_same() -> None:
    async def story() -> None:
        source = ScriptedStream([StreamStart("m", "x"), TextDelta("Paris."), Finish("stop"), UsageReport(ABSURD)])
        stage = Stage({CHEAP: [source]}, policy=replace(policy_with(), budgets=(EACH,)))
        request = request_of(model=CHEAP, is_streamed=True, output_tokens_max=LIMIT)
        stream = await stage.gateway.open_stream(request, NOBODY, ANY)
        await read_all(stream)
        (settlement,) = stage.ledger.settlements()
        assert stream.usage is not None
        assert stream.usage == Usage(settlement.tokens or TokenUsage(), "estimated")
        assert stream.usage.tokens.output_tokens <= LIMIT
        assert await settled_and_held(stage) == (settlement.charged_nanousd, 0)

    leap(story())


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_host_that_does_not_keep_to_the_limit_is_believed_what_its_answer_shows(is_streamed: bool) -> None:
    async def story() -> None:
        usage = Usage(TokenUsage(input_uncached=10, output_text=5_000))
        text = "word " * 5_000
        script = [StreamStart("m", "x"), TextDelta(text), Finish("stop"), UsageReport(usage)]
        reply = reply_of(usage=usage)
        whole = replace(reply, parts=(Text(text),))
        stage = Stage({CHEAP: [ScriptedStream(script) if is_streamed else whole]}, policy=replace(policy_with()))
        models = {**stage.policy.models}
        models[CHEAP] = replace(models[CHEAP], card=PLAIN.card)
        stage.policy = replace(stage.policy, models=models)
        request = request_of(model=CHEAP, is_streamed=is_streamed, output_tokens_max=LIMIT)
        if is_streamed:
            await read_all(await stage.gateway.open_stream(request, NOBODY, ANY))
        else:
            await stage.gateway.answer(request, NOBODY, ANY)
        (settlement,) = stage.ledger.settlements()
        assert (settlement.usage_source, settlement.tokens) == ("reported", usage.tokens)

    leap(story())


NO_OUTPUT, NO_INPUT, NOTHING = TokenUsage(input_uncached=10), TokenUsage(output_text=5), TokenUsage()


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("tokens", [NO_OUTPUT, NO_INPUT, NOTHING])
def test_zeros_of_a_host_that_did_not_count_are_no_free_answer(tokens: TokenUsage, *, is_streamed: bool) -> None:
    async def story() -> None:
        usage = Usage(tokens)
        script = [StreamStart("m", "x"), TextDelta("word " * 100), Finish("stop"), UsageReport(usage)]
        whole = replace(reply_of(usage=usage), parts=(Text("word " * 100),))
        stage = Stage({CHEAP: [ScriptedStream(script) if is_streamed else whole]}, policy=policy_with())
        request = request_of(model=CHEAP, is_streamed=is_streamed)
        if is_streamed:
            await read_all(await stage.gateway.open_stream(request, NOBODY, ANY))
        else:
            await stage.gateway.answer(request, NOBODY, ANY)
        (settlement,) = stage.ledger.settlements()
        assert settlement.usage_source == "estimated"
        assert settlement.tokens is not None
        assert settlement.tokens.input_tokens > 0
        assert settlement.tokens.output_tokens >= 100

    leap(story())


def test_an_answer_that_showed_nothing_may_have_cost_nothing() -> None:
    """A prompt that a filter stopped has input and no output."""
    request = request_of()
    for tokens in (NO_OUTPUT, NOTHING):
        assert is_possible(tokens, PLAIN, request, LIMIT, Seen(is_whole=True))
        assert not is_possible(tokens, PLAIN, request, LIMIT, Seen(is_whole=True, code_bytes=9))
        assert not is_possible(tokens, PLAIN, request, LIMIT, Seen()), "it may have had more"


@given(st.data(), st.sampled_from([THINKER, PLAIN]), st.integers(1, 128_000), st.integers(0, 64_000))
def test_no_honest_report_is_doubted(data: st.DataObject, model: PolicyModel, limit: int, chars: int) -> None:
    """Within the ceilings of a hold, with a vendor's own prompts on top, and thinking beside the limit."""
    request = request_of(body_bytes=data.draw(st.integers(0, 2_000_000)))
    most = input_tokens_max_of(request, model) + data.draw(st.integers(0, 100_000))
    read = data.draw(st.integers(0, most - 1))
    reported = TokenUsage(
        input_uncached=data.draw(st.integers(1, most - read)),
        cache_read=read,
        output_text=data.draw(st.integers(1, max(limit, chars))),
        output_reasoning=data.draw(st.integers(0, THINKING_ROOM_TOKENS)),
    )
    assert is_possible(reported, model, request, limit, Seen(text_bytes=chars))


@given(
    model=st.sampled_from([THINKER, PLAIN]),
    limit=st.integers(1, 128_000),
    counts=st.lists(st.integers(0, 100_000) | st.integers(0, COUNT_MAX), min_size=5, max_size=5),
)
def test_what_is_believed_costs_no_more_than_its_bounds(model: PolicyModel, limit: int, counts: list[int]) -> None:
    request = request_of()
    assert not is_possible(TokenUsage(output_text=COUNT_MAX), model, request, limit)
    reported = TokenUsage(*counts[:3], output_text=counts[3], output_reasoning=counts[4])
    if not is_possible(reported, model, request, limit):
        return
    inputs, outputs = 2 * input_tokens_max_of(request, model) + 100_000, 4 * limit + 2 * THINKING_ROOM_TOKENS
    most = hold_nanousd(model.prices, inputs, outputs, may_write_cache=True)
    assert cost_nanousd(model.prices, reported) <= most


@pytest.mark.parametrize("model", [THINKER, PLAIN])
def test_the_bounds_are_near_enough_to_matter(model: PolicyModel) -> None:
    request = request_of()
    for reported in (
        TokenUsage(input_uncached=2 * input_tokens_max_of(request, model) + 100_001),
        TokenUsage(output_text=2 * LIMIT + (THINKING_ROOM_TOKENS if model is THINKER else 1_024) + 1),
        TokenUsage(output_reasoning=2 * LIMIT + THINKING_ROOM_TOKENS + 1),
    ):
        assert not is_possible(reported, model, request, LIMIT)
