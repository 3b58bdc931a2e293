"""What a request's input is made of, and the bounds that a policy puts on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Message, Request, Text, Tool, ToolCall, ToolResult
from router.context import PARTS, context_of, require_within
from router.decide import decide
from router.errors import ContextLengthExceededError
from router.policy import Caller, Condition, ContextBound, Policy, Requirement, Rule, Terms
from router.prompt import sizes_of
from router.receipt import choice_of_receipt, receipt_of
from router.server.openai_render import bill_headers, decision_headers
from tests.builders import model_of, policy_of
from tests.router.scripted import CHEAP, DEAR, NOBODY, ScriptedQuality, ScriptedStream, Stage, leap, read_all, reply_of

MODEL = model_of("premium")
WORDS = "The committee considered the minutes of the meeting. "
LAX = Terms(tolerance=0.05)


def turn(role: Any, text: str) -> Message:
    return Message(role, (Text(text),))


def request_of(*messages: Message, tools: tuple[Tool, ...] = (), is_streamed: bool = False) -> Request:
    return Request("openai_chat", "auto", messages, {}, body_bytes=100, tools=tools, is_streamed=is_streamed)


def parts_of(request: Request, tokens: int = 10_000) -> dict[str, int]:
    return dict(context_of(MODEL, sizes_of(request), tokens))


def test_each_part_is_told_by_its_share_of_the_text() -> None:
    call = Message("assistant", (ToolCall("c1", "find", "{}"),))
    result = Message("tool", (ToolResult("c1", (Text(WORDS * 400),)),))
    request = request_of(
        turn("system", WORDS * 100), turn("user", WORDS * 50), turn("assistant", WORDS * 50), call, result,
        turn("user", WORDS * 200),
    )  # fmt: skip
    found = parts_of(request)
    assert sum(found.values()) == 10_000
    assert found["results"] == pytest.approx(4 * found["system"], rel=0.02)
    assert found["question"] == pytest.approx(2 * found["system"], rel=0.02)
    assert found["history"] == pytest.approx(found["system"], rel=0.02)
    assert found["tools"] == 0


def test_tools_and_an_empty_request_have_their_parts() -> None:
    tool = Tool("find", "Finds. " * 400, {"type": "object"})
    found = parts_of(request_of(turn("user", "Hi."), tools=(tool,)), 800)
    assert found["tools"] > 0.9 * sum(found[part] for part in PARTS if part != "other")
    assert parts_of(request_of(), 7)["other"] == 7


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])


@given(st.lists(st.tuples(ROLES, st.text(max_size=60)), max_size=8), st.integers(0, 10**6))
def test_the_parts_sum_to_the_whole_and_none_is_below_zero(turns: list[tuple[str, str]], tokens: int) -> None:
    messages = [
        Message("tool", (ToolResult("c", (Text(text),)),)) if role == "tool" else turn(role, text)
        for role, text in turns
    ]
    found = parts_of(request_of(*messages), tokens)
    assert sum(found.values()) == tokens
    assert min(found.values()) >= 0


def test_the_lowest_bound_that_rejects_wins_over_one_that_warns() -> None:
    context = {"question": 700, "other": 50}
    warn, reject = ContextBound(100, "warn"), ContextBound(600, "reject", "the rule short")
    assert require_within((), context) is None
    assert require_within((ContextBound(750),), context) is None
    over = require_within((ContextBound(500, "warn"), warn), context)
    assert over is not None
    assert (over.input_tokens, over.input_tokens_max) == (750, 100)
    with pytest.raises(ContextLengthExceededError) as caught:
        require_within((warn, reject), context)
    assert caught.value.message == "about 750 input tokens; the rule short allows 600 (question 700, other 50)"
    assert caught.value.data["input_tokens_max"] == 600


def policy(when: Any, rules: tuple[Rule, ...] = ()) -> Policy:
    return policy_of(
        model_of(CHEAP, tier="economy"), model_of(DEAR, output_usd="6", tier="premium"), premium=DEAR, rules=rules,
        context=ContextBound(200, when),
    )  # fmt: skip


LOSSES = {f"anthropic/{CHEAP}": 0.01, f"anthropic/{DEAR}": 0.0}


def decided(request: Request, policy: Policy) -> Any:
    quality: Any = ScriptedQuality(dict(LOSSES))
    return decide(request, Caller(team="search"), LAX, policy, quality, decision_id="dec_1")


def test_the_receipt_has_the_parts_and_decides_again() -> None:
    decision = decided(request_of(turn("user", WORDS * 40)), policy("warn"))
    receipt: Any = receipt_of(decision)
    assert receipt["context"]["question"] > 200
    assert receipt["context_over"]["input_tokens_max"] == 200
    assert choice_of_receipt(receipt) is not None
    assert WORDS.strip() not in str(receipt)


def test_a_rule_bounds_the_requests_that_it_applies_to() -> None:
    short = Rule("short", Condition(team=("search",)), Requirement(), ContextBound(50, "reject", "the rule short"))
    other = Rule("other", Condition(team=("legal",)), Requirement(), ContextBound(1, "reject", "the rule other"))
    request = request_of(turn("user", WORDS * 12))
    with pytest.raises(ContextLengthExceededError, match="the rule short allows 50"):
        decided(request, policy("warn", (short, other)))
    assert decided(request, policy("warn", (other,))).context_over is None


def test_what_is_over_a_bound_is_refused_before_any_vendor_or_said_in_a_header() -> None:
    long = request_of(turn("user", WORDS * 40))
    stage = Stage({CHEAP: [reply_of()]}, policy=policy("reject"))

    async def refused() -> None:
        with pytest.raises(ContextLengthExceededError):
            await stage.gateway.answer(long, NOBODY, LAX)
        assert [line.error_code for line in stage.ledger.rejections()] == ["context_length_exceeded"]
        assert stage.vendor.asked == []

    leap(refused())
    warned = Stage({CHEAP: [reply_of(), ScriptedStream()]}, policy=policy("warn"))

    async def said() -> None:
        bill = (await warned.gateway.answer(long, NOBODY, LAX)).bill
        (header,) = [value for name, value in bill_headers(bill) if name == b"x-router-context"]
        assert header.endswith(b" input tokens of 200")
        streamed = request_of(turn("user", WORDS * 41), is_streamed=True)
        stream = await warned.gateway.open_stream(streamed, NOBODY, LAX)
        assert b"x-router-context" in dict(decision_headers(stream.decision, stream.model, ()))
        await read_all(stream)

    leap(said())
