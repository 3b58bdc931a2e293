"""The context bill of a request, from the gateway to the ledger's line."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.catalog import contract_schedule
from router.chat import Message, Request, Text
from router.context import PARTS
from router.context_bill import CACHED_TOKENS_MIN, CONTEXT_TOKENS_MIN, ContextSeen, context_use_of
from router.ledger import ContextUse, RequestQuery
from router.policy import Caller, Terms
from router.repeats import CacheBreak, Repeated
from router.tokens import TokenUsage, Usage
from tests.builders import model_of, policy_of
from tests.lines import intent_line
from tests.router.scripted import CHEAP, DEAR, ScriptedStream, Stage, leap, read_all, reply_of

TEAM = Caller(team="search", key_id="key-1")
LAX = Terms(tolerance=0.05, tags={"app": "web"})
MODEL = model_of("m", input_usd="2", output_usd="10")
SYSTEM = " ".join(
    f"Rule {chr(97 + i % 26)} of chapter {chr(97 + i // 26)} binds every office of the firm." for i in range(150)
)


def turn(role: Any, text: str) -> Message:
    return Message(role, (Text(text),))


def long_request(second: int, *, is_streamed: bool = False) -> Request:
    messages = (turn("system", f"It is 2026-11-25 21:40:{second:02d}. {SYSTEM}"), turn("user", f"What of {second}?"))
    return Request("openai_chat", "auto", messages, {}, body_bytes=100, is_streamed=is_streamed)


async def bills(stage: Stage) -> list[ContextUse]:
    found = [use async for use in stage.ledger.contexts(RequestQuery())]
    return sorted(found, key=lambda use: use.again_tokens)  # of one moment, and ids are of chance


def stage_of(*replies: Any) -> Stage:
    cheap = model_of(CHEAP, tier="economy")
    cached = replace(cheap, prices=contract_schedule(input=Decimal(1), output=Decimal(5), cache_read=Decimal("0.1")))
    policy = policy_of(cached, model_of(DEAR, output_usd="6", tier="premium"), premium=DEAR)
    return Stage({CHEAP: list(replies)}, policy=policy)


def test_a_long_input_has_a_bill_in_the_receipt_and_in_the_ledger() -> None:
    usage = Usage(TokenUsage(input_uncached=2_000, cache_read=500, output_text=9))
    stage = stage_of(reply_of(usage=usage), reply_of(usage=usage))

    async def run() -> None:
        for second in (1, 2):
            await stage.gateway.answer(long_request(second), TEAM, LAX)
        first, second_bill = await bills(stage)
        assert (first.team, first.key_id, dict(first.tags), first.model) == ("search", "key-1", {"app": "web"}, CHEAP)
        assert sum(first.parts.values()) == first.input_tokens == 2_500
        assert first.parts["system"] > 2_000
        assert (first.prefix_tokens, first.again_tokens, first.break_part) == (0, 0, None)
        assert first.input_cost_nanousd == 2_000 * 1_000 + 500 * 100
        assert (second_bill.break_part, second_bill.break_why) == ("system", "time")
        assert second_bill.lost_tokens == second_bill.again_tokens > 2_000
        assert 0 < second_bill.lost_nanousd < second_bill.again_nanousd
        found = await stage.ledger.request(second_bill.decision_id)
        assert found is not None
        receipt: Any = found[1][0].receipt  # type: ignore[union-attr]
        assert receipt["repeats"]["cache_break"]["why"] == "time"
        assert "office" not in str(receipt)

    leap(run())


def test_a_short_input_has_none() -> None:
    stage = stage_of(reply_of())

    async def run() -> None:
        request = Request("openai_chat", "auto", (turn("user", "What is it?"),), {}, body_bytes=100)
        await stage.gateway.answer(request, TEAM, LAX)
        assert await bills(stage) == []

    leap(run())


def test_a_stream_has_one_when_it_ends() -> None:
    stage = stage_of(ScriptedStream())

    async def run() -> None:
        stream = await stage.gateway.open_stream(long_request(1, is_streamed=True), TEAM, LAX)
        assert await bills(stage) == []
        await read_all(stream)
        (bill,) = await bills(stage)
        assert bill.input_tokens == 120, "as the vendor counts, not as it was expected"
        assert sum(bill.parts.values()) == 120

    leap(run())


def seen_of(
    chars: int, prefix: int, again: int, twice: int, broken: CacheBreak | None, parts: list[int]
) -> ContextSeen:
    return ContextSeen(dict(zip(PARTS, parts, strict=True)), Repeated(chars, prefix, again, twice, broken))


@given(
    st.integers(1, 10**6), st.lists(st.integers(0, 10**6), min_size=len(PARTS), max_size=len(PARTS)),
    st.integers(0, 10**6), st.integers(0, 10**6),
)  # fmt: skip
def test_parts_and_costs_sum_whatever_the_vendor_counts(chars: int, parts: list[int], uncached: int, read: int) -> None:
    seen = seen_of(chars, chars // 3, chars // 3, chars // 4, CacheBreak("system", "time", 3, chars // 2), parts)
    use = context_use_of(
        intent_line(), seen, TokenUsage(input_uncached=uncached, cache_read=read, output_text=7), MODEL
    )
    assert sum(use.parts.values()) == use.input_tokens == uncached + read
    assert min(use.parts.values()) >= 0
    assert use.prefix_tokens + use.again_tokens + use.twice_tokens <= use.input_tokens
    assert use.input_cost_nanousd <= (uncached + read) * 2_000
    assert use.lost_nanousd <= use.lost_tokens * 2_000


def test_what_stands_behind_a_beginning_too_short_for_any_cache_is_not_lost() -> None:
    parts = [0] * len(PARTS)
    broken = CacheBreak("system", "time", 3, 500)
    usage = TokenUsage(input_uncached=CONTEXT_TOKENS_MIN)
    short = context_use_of(intent_line(), seen_of(1_000, 100, 500, 0, broken, parts), usage, MODEL)
    assert (short.break_part, short.lost_tokens, short.lost_nanousd) == (None, 0, 0)
    long = context_use_of(
        intent_line(), seen_of(1_000, 100, 500, 0, broken, parts),
        TokenUsage(input_uncached=2 * CACHED_TOKENS_MIN), MODEL,
    )  # fmt: skip
    assert (long.break_part, long.lost_tokens) == ("system", CACHED_TOKENS_MIN)
    asks_for_more = replace(MODEL, card=replace(MODEL.card, prompt_cache_min_tokens=4_096))
    usage = TokenUsage(input_uncached=2 * CACHED_TOKENS_MIN)
    assert (
        context_use_of(intent_line(), seen_of(1_000, 100, 500, 0, broken, parts), usage, asks_for_more).lost_tokens == 0
    )
