"""What is known of prompt caches, and what it does to the choice."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from router.catalog import contract_schedule, cost_nanousd
from router.chat import Image, Message, Text, Tool, ToolCall, ToolResult
from router.decide import decide
from router.policy import Caller, Terms
from router.receipt import choice_of_receipt, receipt_of
from router.tokens import TokenUsage, Usage
from router.warmth import KEPT_LONG_S, KEPT_S, WarmCaches, beginnings_of
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import ANY, CHEAP, NOBODY, ScriptedQuality, Stage, leap, reply_of

QUALITY = ScriptedQuality({"anthropic/opus": 0.0, "anthropic/near": 0.0, "anthropic/dear": 0.0})

SYSTEM = Message("system", (Text("You are a careful clerk. " * 40),))
FIRST = Message("user", (Text("What stands in clause four?"),))
ANSWER = Message("assistant", (Text("A notice period of three months."),))
SECOND = Message("user", (Text("And in clause five?"),))


def turn(*messages: Message, **changes: Any) -> Any:
    return beginnings_of(request_of(messages=messages, **changes))


def written(tokens: int, *, total: int = 300) -> TokenUsage:
    return TokenUsage(input_uncached=total - tokens, cache_write_5m=tokens, output_text=10)


def test_the_next_turn_of_a_conversation_finds_what_the_last_one_left() -> None:
    caches = WarmCaches()
    caches.learned(turn(SYSTEM, FIRST), "opus", written(280), 0.0)
    assert caches.known(turn(SYSTEM, FIRST, ANSWER, SECOND), 1.0) == {"opus": 280}
    assert caches.known(turn(SYSTEM, FIRST), 1.0) == {"opus": 280}


def test_another_conversation_shares_the_system_prompt_as_far_as_it_was_cached() -> None:
    caches = WarmCaches()
    caches.learned(turn(SYSTEM, FIRST), "opus", written(300), 0.0)
    (tokens,) = caches.known(turn(SYSTEM, SECOND), 1.0).values()
    assert 270 < tokens < 300  # the system prompt's share of the text
    short = WarmCaches()
    short.learned(turn(SYSTEM, FIRST), "opus", written(100), 0.0)
    assert short.known(turn(SYSTEM, SECOND), 1.0) == {}  # what was cached ends within the system prompt


def test_nothing_reported_is_nothing_known() -> None:
    caches = WarmCaches()
    caches.learned(turn(SYSTEM, FIRST), "opus", TokenUsage(input_uncached=300, output_text=5), 0.0)
    assert caches.known(turn(SYSTEM, FIRST, ANSWER, SECOND), 1.0) == {}


@pytest.mark.parametrize(
    ("usage", "kept_s"),
    [
        (TokenUsage(cache_write_5m=200, output_text=1), KEPT_S),
        (TokenUsage(cache_write_1h=200, output_text=1), KEPT_LONG_S),
        (TokenUsage(cache_read=200, output_text=1), KEPT_S),
    ],
)
def test_a_cache_cools_down_unless_it_is_read(usage: TokenUsage, kept_s: float) -> None:
    caches = WarmCaches()
    here = turn(FIRST)
    caches.learned(here, "opus", usage, 0.0)
    assert caches.known(here, kept_s - 0.1) == {"opus": 200}
    assert caches.known(here, kept_s) == {}
    caches.learned(here, "opus", TokenUsage(cache_read=200), kept_s)
    assert caches.known(here, kept_s + 1) == {"opus": 200}


def test_a_read_does_not_shorten_an_hour() -> None:
    caches = WarmCaches()
    here = turn(FIRST)
    caches.learned(here, "opus", TokenUsage(cache_write_1h=200), 0.0)
    caches.learned(here, "opus", TokenUsage(cache_read=200), 10.0)
    assert caches.known(here, KEPT_S + 20) == {"opus": 200}


@pytest.mark.parametrize(
    "other",
    [
        turn(SYSTEM, SECOND),
        turn(Message("user", FIRST.parts)),
        turn(Message("system", (Text("another"),)), FIRST),
        turn(SYSTEM, FIRST, tools=(Tool("look", None, {}),)),
        turn(SYSTEM, Message("user", (*FIRST.parts, Image(url="https://example.org/a.png")))),
        turn(SYSTEM, Message("user", (ToolResult("1", FIRST.parts), Text("x")))),
        turn(SYSTEM, Message("assistant", (ToolCall("1", "look", "{}"),))),
    ],
)
def test_what_differs_before_the_end_is_another_beginning(other: Any) -> None:
    caches = WarmCaches()
    caches.learned(turn(SYSTEM, FIRST), "opus", written(100), 0.0)
    assert caches.known(other, 1.0) == {}


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    caches = WarmCaches(beginnings_max=3)
    turns = [turn(Message("user", (Text(str(number)),))) for number in range(5)]
    for each in turns:
        caches.learned(each, "opus", written(50), 0.0)
    assert [bool(caches.known(each, 1.0)) for each in turns] == [False, False, True, True, True]


def test_a_warm_cache_keeps_a_conversation_where_it_is() -> None:
    prices = contract_schedule(input=Decimal(1), output=Decimal(1), cache_read=Decimal("0.1"))
    near = replace(model_of("near"), prices=prices)
    dear = model_of("dear", input_usd="0.9", output_usd="1", vendor="google")
    policy = policy_of(model_of("opus", input_usd="5", output_usd="25", tier="premium"), near, dear)
    request = request_of("Read this. " * 400)

    def chosen(warm: dict[str, int]) -> Any:
        return decide(request, Caller(), Terms(tolerance=0.5), policy, QUALITY, decision_id="dec_1", warm=warm)

    cold, warm = chosen({}), chosen({"near": 10**9})
    assert (cold.model, cold.candidate("near").cached_tokens) == ("dear", 0)
    assert warm.model == "near"
    mine = warm.candidate("near")
    assert mine.cached_tokens == mine.input_tokens, "no more is read than the request has"
    usage = TokenUsage(cache_read=mine.input_tokens, output_text=mine.output_tokens)
    assert mine.expected_cost_nanousd == cost_nanousd(near.prices, usage)
    assert choice_of_receipt(json.loads(json.dumps(receipt_of(warm)))).order == warm.order


def test_the_gateway_learns_from_what_vendors_report_and_from_nothing_else() -> None:
    cached = Usage(TokenUsage(input_uncached=5, cache_read=40, output_text=9))
    stage = Stage({CHEAP: [reply_of(usage=None), reply_of(usage=cached), reply_of()]})

    async def story() -> None:
        first = request_of(messages=(SYSTEM, FIRST))
        then = request_of(messages=(SYSTEM, FIRST, ANSWER, SECOND))
        await stage.gateway.answer(first, NOBODY, ANY)
        assert stage.gateway.route(then, NOBODY, ANY).candidate(CHEAP).cached_tokens == 0, "an estimate is no report"
        await stage.gateway.answer(first, NOBODY, ANY)
        assert stage.gateway.route(then, NOBODY, ANY).candidate(CHEAP).cached_tokens == 40
        assert stage.gateway.route(request_of(), NOBODY, ANY).candidate(CHEAP).cached_tokens == 0

    leap(story())
