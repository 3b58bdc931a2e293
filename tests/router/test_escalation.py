"""What a cascade does with real answers: who is asked, what is charged, what the client is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.answer_marks import MARK_NAMES, marks_of
from router.calibration import Adjustment, Calibrations, Match
from router.cascade import checks_for
from router.chat import Finish, Sampling, StreamStart, Text, TextDelta, Thinking, ThinkingDelta, ToolCall, ToolCallDelta
from router.errors import LedgerUnavailableError, ProviderError, ProviderRejectedError, ProviderUnavailableError
from router.policy import Cascade
from router.stores.encoding import encode_line
from router.tokens import TokenUsage, Usage
from router.verifier import NO_VERIFIER, Verifier
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import (
    ANY,
    CHEAP,
    DEAR,
    NOBODY,
    PREMIUM,
    USAGE_COST,
    ScriptedStream,
    Stage,
    after,
    leap,
    policy_with,
    read_all,
    reply_of,
)

if TYPE_CHECKING:
    from router.gateway import Answer
    from router.policy import Policy

NET = Cascade(("refusal", "truncation", "empty"))
DEAR_COST = 120 * 1_000 + 55 * 5_500
REFUSED = "I can't help with that request."
MIDDLE = "middle"


def cascading(cascade: Cascade = NET, **upstream: Any) -> Policy:
    return replace(policy_with(**upstream), cascade=cascade)


def staged(*cheap: Any, dear: Any = (), cascade: Cascade = NET, **upstream: Any) -> Stage:
    return Stage({CHEAP: list(cheap), DEAR: list(dear)}, policy=cascading(cascade, **upstream))


def three(*, cheap: Any, middle: Any, dear: Any, cascade: Cascade) -> Stage:
    policy = policy_of(
        model_of(CHEAP, input_usd="1", output_usd="5", tier="economy"),
        model_of(MIDDLE, input_usd="1", output_usd="5.2"),
        model_of(DEAR, input_usd="1", output_usd="5.5", tier="premium"),
        premium=DEAR,
        cascade=cascade,
    )
    losses: dict[str, float | None] = {
        f"anthropic/{CHEAP}": 0.03,
        f"anthropic/{MIDDLE}": 0.01,
        f"anthropic/{DEAR}": 0.0,
    }
    return Stage({CHEAP: list(cheap), MIDDLE: list(middle), DEAR: list(dear)}, policy=policy, losses=losses)


def answered(stage: Stage, **changes: Any) -> Answer:
    async def ask() -> Answer:
        answer = await stage.gateway.answer(request_of(**changes), NOBODY, ANY)
        await stage.ledger.require_whole()
        (row,) = await stage.rows()
        assert answer.bill.cost_nanousd == row.cost_nanousd == sum(each.cost_nanousd for each in stage.seen.attempts)
        assert (row.outcome, row.model) == ("answered", answer.bill.model)
        premium = answer.bill.premium_cost
        assert premium is not None
        assert row.premium_point_nanousd == premium.point_nanousd
        ((_, told),) = stage.seen.finished
        assert told == row.cost_nanousd
        return answer

    return leap(ask())


def outcomes(stage: Stage) -> list[tuple[int, str, str | None]]:
    return sorted((each.attempt, each.outcome, each.error_code) for each in stage.ledger.settlements())


def failing(**changes: Any) -> ProviderError:
    return ProviderError("odd", is_billed=False, **changes)


# --- checks and escalation -------------------------------------------------------------------------------------------


def test_an_answer_that_passes_is_given_and_nobody_else_is_asked() -> None:
    stage = staged(reply_of())
    answer = answered(stage)
    assert stage.vendor.asked == [CHEAP]
    assert (answer.bill.cascade, answer.bill.cost_nanousd) == ("passed", USAGE_COST)


def test_without_a_cascade_nothing_is_checked_and_nothing_said() -> None:
    stage = Stage({CHEAP: [reply_of(REFUSED)]})
    assert answered(stage).bill.cascade is None


def test_a_failed_check_asks_the_better_model_and_both_answers_are_charged() -> None:
    stage = staged(after(2.0, reply_of(REFUSED, vendor_id="msg_cheap")), dear=[after(5.0, reply_of("Paris."))])
    answer = answered(stage)
    assert answer.reply.parts == (Text("Paris."),)
    assert (answer.bill.model, answer.bill.cascade) == (DEAR, "escalated:refusal")
    assert answer.bill.cost_nanousd == USAGE_COST + DEAR_COST
    assert answer.bill.savings_nanousd == -USAGE_COST, "premium answered: what the first answer cost is lost"
    assert answer.bill.attempts == 2
    assert outcomes(stage) == [(1, "escalated", "check_failed:refusal"), (2, "answered", None)]
    first = next(each for each in stage.ledger.settlements() if each.attempt == 1)
    assert (first.latency_ms, first.vendor_id, first.premium_cost) == (2_000, "msg_cheap", None)
    (row,) = leap(stage.rows())
    assert (row.failed_cost_nanousd, row.attempts, row.latency_ms) == (USAGE_COST, 2, 7_000)


def test_the_last_answer_is_given_even_when_it_fails_too() -> None:
    stage = staged(reply_of(REFUSED), dear=[reply_of("")])
    answer = answered(stage)
    assert answer.reply.parts == (Text(""),)
    assert (answer.bill.model, answer.bill.cascade) == (DEAR, "escalated:refusal, failed:empty")


@pytest.mark.parametrize(("attempts", "asked"), [(2, [CHEAP, MIDDLE]), (3, [CHEAP, MIDDLE, DEAR])])
def test_no_more_answers_than_the_policy_allows(attempts: int, asked: list[str]) -> None:
    refused = [reply_of(REFUSED)]
    stage = three(cheap=refused, middle=refused, dear=refused, cascade=replace(NET, max_attempts=attempts))
    said = answered(stage).bill.cascade
    assert stage.vendor.asked == asked
    assert said == ", ".join(["escalated:refusal"] * (attempts - 1) + ["failed:refusal"])


def test_a_model_that_may_not_serve_alone_is_asked_first_where_its_catch_rate_is_stated() -> None:
    losses: dict[str, float | None] = {f"anthropic/{CHEAP}": 0.1, f"anthropic/{DEAR}": 0.0}
    policy = policy_of(
        model_of(CHEAP, input_usd="0.1", output_usd="0.5", tier="economy"),
        model_of(DEAR, input_usd="1", output_usd="5.5", tier="premium"),
        premium=DEAR,
        cascade=replace(NET, catch_rate={CHEAP: 0.6}),
    )
    stage = Stage({CHEAP: [reply_of(REFUSED), reply_of()], DEAR: [reply_of()]}, policy=policy, losses=losses)

    async def story() -> None:
        first = await stage.gateway.answer(request_of(), NOBODY, ANY)
        second = await stage.gateway.answer(request_of(), NOBODY, ANY)
        assert [each.bill.reason for each in (first, second)] == ["cascade", "cascade"]
        assert [each.bill.model for each in (first, second)] == [DEAR, CHEAP]
        assert first.bill.expected_loss == 0.0
        assert second.bill.expected_loss == pytest.approx(0.04), "with its checks, not 0.1"
        assert [row.expected_loss for row in await stage.rows()] == pytest.approx([0.04, 0.04])

    leap(story())


def test_a_pinned_model_answers_as_it_is() -> None:
    stage = staged(reply_of(REFUSED))
    answer = answered(stage, model=CHEAP)
    assert (answer.bill.reason, answer.bill.cascade) == ("pinned", None)


def test_an_answer_without_usage_that_is_passed_over_is_charged_by_estimate() -> None:
    stage = staged(reply_of(REFUSED, usage=None), dear=[reply_of()])
    bill = answered(stage).bill
    (row,) = leap(stage.rows())
    assert bill.usage_source == row.usage_source == "estimated", "a part of what it cost is"
    first = next(each for each in stage.ledger.settlements() if each.attempt == 1)
    assert first.usage_source == "estimated"
    assert first.cost_nanousd > 0


# --- vendors that fail in the middle ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [failing(), ProviderRejectedError("no"), ProviderUnavailableError("busy", is_billed=False)], ids=repr
)
def test_where_the_better_model_fails_the_answer_in_hand_is_given(error: ProviderError) -> None:
    stage = staged(reply_of(REFUSED), dear=[error], retries_max=0)
    answer = answered(stage)
    assert (answer.bill.model, answer.bill.cascade) == (CHEAP, "failed:refusal")
    assert answer.bill.cost_nanousd == USAGE_COST
    assert outcomes(stage)[0] == (1, "answered", None)
    assert [each[1] for each in outcomes(stage)] == ["answered", "failed"]


def test_the_better_model_is_retried_as_any_and_a_retry_is_no_attempt_of_the_cascade() -> None:
    busy = ProviderUnavailableError("busy", is_billed=False)
    stage = staged(reply_of(REFUSED), dear=[busy, reply_of()])
    assert answered(stage).bill.cascade == "escalated:refusal"
    assert stage.vendor.asked == [CHEAP, DEAR, DEAR]


def test_where_the_next_model_fails_another_better_one_is_asked() -> None:
    stage = three(cheap=[reply_of(REFUSED)], middle=[failing()], dear=[reply_of()], cascade=NET)
    assert answered(stage).bill.model == DEAR
    assert [each[1] for each in outcomes(stage)] == ["escalated", "failed", "answered"]


def test_a_first_model_that_fails_is_replaced_and_the_fallbacks_answer_is_checked() -> None:
    stage = three(cheap=[failing()], middle=[reply_of(REFUSED)], dear=[reply_of()], cascade=NET)
    answer = answered(stage)
    assert (answer.bill.model, answer.bill.cascade) == (DEAR, "escalated:refusal")
    assert [each[1] for each in outcomes(stage)] == ["failed", "escalated", "answered"]


def test_a_better_model_that_rests_is_not_asked() -> None:
    stage = staged(reply_of(REFUSED), reply_of(REFUSED), dear=[failing()], cooldown_failures=1, retries_max=0)

    async def story() -> str | None:
        await stage.gateway.answer(request_of(), NOBODY, ANY)
        return (await stage.gateway.answer(request_of(), NOBODY, ANY)).bill.cascade

    assert leap(story()) == "failed:refusal"
    assert stage.vendor.asked == [CHEAP, DEAR, CHEAP]


def test_after_the_deadline_nobody_else_is_asked() -> None:
    stage = staged(after(10.0, reply_of(REFUSED)), deadline_s=10.0)
    assert answered(stage).bill.cascade == "failed:refusal"
    assert stage.vendor.asked == [CHEAP]


def test_the_better_model_waits_no_longer_than_the_deadline_has_left() -> None:
    stage = staged(after(30.0, reply_of(REFUSED)), dear=[reply_of()], deadline_s=40.0)
    answered(stage)
    waits = stage.vendor.calls[1].upstream
    assert waits.connect_timeout_s + waits.first_byte_timeout_s == pytest.approx(10.0)


# --- a client that leaves, a ledger that goes ------------------------------------------------------------------------


def test_a_client_that_leaves_while_the_better_model_works_pays_for_both() -> None:
    stage = staged(after(1.0, reply_of(REFUSED)), dear=[after(50.0, reply_of())])

    async def story() -> None:
        task = asyncio.ensure_future(stage.gateway.answer(request_of(), NOBODY, ANY))
        await asyncio.sleep(5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await stage.ledger.require_whole()

    leap(story())
    by_attempt = {each.attempt: each for each in stage.ledger.settlements()}
    assert (by_attempt[1].outcome, by_attempt[1].cost_nanousd) == ("client_left", USAGE_COST)
    assert (by_attempt[2].outcome, by_attempt[2].usage_source) == ("client_left", "estimated")
    ((_, told),) = stage.seen.finished
    assert told == sum(each.cost_nanousd for each in by_attempt.values())


def test_where_the_second_intent_cannot_be_written_the_answer_in_hand_is_given() -> None:
    stage = staged(reply_of(REFUSED))
    intents = 0

    async def second_fails() -> None:
        nonlocal intents
        intents += 1
        if intents == 2:
            raise LedgerUnavailableError("the disk does not take the ledger")

    stage.ledger.before_append = second_fails
    assert answered(stage).bill.cascade == "failed:refusal"
    assert stage.vendor.asked == [CHEAP]
    assert stage.seen.rejected == []


# --- streams ---------------------------------------------------------------------------------------------------------


def test_streams_pass_unchecked_unless_the_policy_holds_them_back() -> None:
    stage = staged(ScriptedStream())

    async def ask() -> None:
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert stream.decision.cascade is not None
        assert (stream.decision.cascade.why, stream.cascade) == ("streamed", None)
        await read_all(stream)

    leap(ask())


def test_a_stream_that_is_held_back_is_the_better_models_answer_and_its_bill_covers_both() -> None:
    usage = Usage(TokenUsage(input_uncached=100, cache_read=20, output_text=50, output_reasoning=5))
    parts = (Thinking("hm"), Text("Paris."), ToolCall("c1", "clock", "{}"), ToolCall("c2", "clock", "[]"))
    stage = staged(
        reply_of(REFUSED), dear=[reply_of(parts=parts, usage=usage)], cascade=replace(NET, buffers_streams=True)
    )

    async def ask() -> None:
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert (stream.model, stream.cascade) == (DEAR, "escalated:refusal")
        events = await read_all(stream)
        assert events[:-1] == [
            StreamStart("msg_1", "x"),
            ThinkingDelta("hm"),
            TextDelta("Paris."),
            ToolCallDelta(0, "{}", "c1", "clock"),
            ToolCallDelta(1, "[]", "c2", "clock"),
            Finish("stop"),
        ]
        assert stream.bill is not None
        assert stream.bill.cost_nanousd == USAGE_COST + DEAR_COST
        assert stream.bill.cascade == "escalated:refusal"
        await stage.ledger.require_whole()
        (row,) = await stage.rows()
        assert (row.cost_nanousd, row.outcome, row.is_streamed) == (USAGE_COST + DEAR_COST, "answered", True)

    leap(ask())


def test_a_client_that_leaves_a_held_back_stream_is_charged_what_the_vendors_reported() -> None:
    stage = staged(reply_of(REFUSED), dear=[reply_of()], cascade=replace(NET, buffers_streams=True))

    async def ask() -> None:
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        await anext(stream)
        await stream.aclose()
        await stage.background.aclose(100.0)
        await stage.ledger.require_whole()

    leap(ask())
    assert [each.cost_nanousd for each in stage.ledger.settlements()] == [USAGE_COST, DEAR_COST]
    assert [each.outcome for each in stage.ledger.settlements()] == ["escalated", "client_left"]


# --- how sure the vendor was -----------------------------------------------------------------------------------------


def test_only_a_model_that_says_how_sure_it_is_is_asked_for_it_and_an_unsure_answer_goes_to_nobody() -> None:
    policy = policy_of(
        model_of(CHEAP, tier="economy", capabilities=frozenset({"system", "logprobs"})),
        model_of(DEAR, input_usd="10", output_usd="60", tier="premium"),
        premium=DEAR, cascade=Cascade(("logprobs",), confidence_min=0.8),
    )  # fmt: skip
    losses: dict[str, float | None] = {f"anthropic/{CHEAP}": 0.03, f"anthropic/{DEAR}": 0.0}
    sure = Stage({CHEAP: [reply_of("42", mean_logprob=-0.1)], DEAR: []}, policy=policy, losses=losses)
    assert answered(sure).bill.cascade == "passed"
    cheap = [reply_of("42", mean_logprob=-0.5)]
    stage = Stage({CHEAP: cheap, DEAR: [reply_of("43")]}, policy=policy, losses=losses)
    assert answered(stage).bill.cascade == "escalated:logprobs"
    assert [each.error_code for each in stage.seen.attempts] == ["check_failed:logprobs", None]
    assert [call.wants_logprobs for call in stage.vendor.calls] == [True, False]


# --- what labels taught ----------------------------------------------------------------------------------------------

LEARNING = Cascade(("refusal", "verifier"), verifier_min=0.6)
TAUGHT = Verifier(None, 120, 0, 0.2, 0.1, 0.0, {name: -0.9 if name == "asks_back" else 0.0 for name in MARK_NAMES})
ASKS_BACK = "Which of the two capitals of that country do you mean?"


def taught(*cheap: Any, dear: Any = (), verifier: Verifier = TAUGHT, cascade: Cascade = LEARNING) -> Stage:
    stage = staged(*cheap, dear=dear, cascade=cascade)
    learned = Adjustment(Match("all"), {}, 120, 1, version=7, verifier=verifier)
    now = stage.gateway.in_force()
    calibrations = Calibrations({}, {learned.match: learned})
    stage.gateway = replace(stage.gateway, in_force=lambda: replace(now, calibrations=calibrations))
    return stage


def test_an_answer_that_labels_leave_too_little_chance_goes_to_nobody() -> None:
    stage = taught(reply_of(ASKS_BACK), dear=[reply_of("Paris.")])
    answer = answered(stage)
    assert (answer.bill.model, answer.bill.cascade) == (DEAR, "escalated:verifier")
    assert outcomes(stage) == [(1, "escalated", "check_failed:verifier"), (2, "answered", None)]
    passes = taught(reply_of("Paris is the capital of France."))
    assert answered(passes).bill.cascade == "passed"
    unproven = taught(reply_of(ASKS_BACK), verifier=TAUGHT._replace(why_not="not_proven"))
    assert answered(unproven).bill.cascade == "passed"
    nobody_better = taught(reply_of(ASKS_BACK), dear=[failing()])
    assert answered(nobody_better).bill.cascade == "failed:verifier"


def test_marks_are_written_of_whole_answers_and_only_where_labels_may_teach_by_them() -> None:
    stage = taught(reply_of(ASKS_BACK), dear=[reply_of("Paris.")])
    answered(stage)
    receipt: Any = stage.ledger.intents()[0].receipt
    tokens = {each["model"]: each["output_tokens"] for each in receipt["candidates"]}
    said = {CHEAP: ASKS_BACK, DEAR: "Paris."}
    expected = [marks_of(reply_of(text), request_of(), tokens[model]) for model, text in said.items()]
    assert [each.marks for each in sorted(stage.ledger.settlements(), key=lambda each: each.attempt)] == expected
    for plain in (staged(reply_of()), Stage({CHEAP: [reply_of()]})):
        answered(plain)
        assert [each.marks for each in plain.ledger.settlements()] == [None]
    # Before anything was taught there is nothing to check, and all the same something to learn.
    alone = taught(reply_of(), verifier=NO_VERIFIER, cascade=replace(LEARNING, verify=("verifier",)))
    assert answered(alone).bill.cascade is None
    assert [each.marks is None for each in alone.ledger.settlements()] == [False]


@pytest.mark.parametrize("buffers", [False, True])
def test_a_stream_leaves_marks_where_it_is_held_back(buffers: bool) -> None:
    stage = taught(ScriptedStream() if not buffers else reply_of(), cascade=replace(LEARNING, buffers_streams=buffers))

    async def story() -> None:
        await read_all(await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY))

    leap(story())
    assert [each.marks is not None for each in stage.ledger.settlements()] == [buffers]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=3, max_size=80))
def test_no_word_of_an_answer_or_a_question_is_in_the_lines_that_marks_are_in(text: str) -> None:
    stage = taught(reply_of(f"{text}?"), dear=[reply_of(text)])
    answered(stage, messages=request_of(text).messages)
    written = b"".join(encode_line(line).payload for line in stage.ledger.written)
    assert b'"marks":[' in written
    assert text.encode() not in written


# --- a second answer to compare with ---------------------------------------------------------------------------------

TWICE = Cascade(("refusal", "agreement"))
FAR_COST = 120 * 10_000 + 55 * 60_000


def asked_twice(*cheap: Any, dear: Any = (), cascade: Cascade = TWICE) -> Stage:
    """Where premium is dear enough for a second cheap answer to pay."""
    policy = policy_of(
        model_of(CHEAP, tier="economy"), model_of(DEAR, input_usd="10", output_usd="60", tier="premium"), premium=DEAR,
        cascade=cascade,
    )  # fmt: skip
    losses: dict[str, float | None] = {f"anthropic/{CHEAP}": 0.03, f"anthropic/{DEAR}": 0.0}
    return Stage({CHEAP: list(cheap), DEAR: list(dear)}, policy=policy, losses=losses)


def test_two_answers_that_agree_are_both_paid_for_and_the_first_is_given() -> None:
    stage = asked_twice(reply_of("42"), reply_of("42."), dear=[reply_of("43")])
    answer = answered(stage)
    assert answer.reply.parts == (Text("42"),)
    assert answer.bill.cascade == "passed"
    assert answer.bill.cost_nanousd == 2 * USAGE_COST
    assert [each.outcome for each in stage.seen.attempts] == ["sampled", "answered"]
    assert stage.vendor.asked == [CHEAP, CHEAP]


def test_two_answers_that_differ_ask_the_better_model() -> None:
    stage = asked_twice(reply_of("42"), reply_of("41"), dear=[reply_of("43")])
    answer = answered(stage)
    assert answer.reply.parts == (Text("43"),)
    assert answer.bill.cascade == "escalated:agreement"
    assert answer.bill.cost_nanousd == 2 * USAGE_COST + FAR_COST
    assert [each.outcome for each in stage.seen.attempts] == ["sampled", "escalated", "answered"]
    assert [each.error_code for each in stage.seen.attempts] == [None, "check_failed:agreement", None]


def test_an_answer_that_fails_by_itself_is_not_asked_for_again() -> None:
    stage = asked_twice(reply_of(REFUSED), dear=[reply_of("43")])
    assert answered(stage).bill.cascade == "escalated:refusal"
    assert stage.vendor.asked == [CHEAP, DEAR]


def test_where_the_second_would_be_the_first_once_more_none_is_asked() -> None:
    sampling = Sampling(temperature=0)
    assert checks_for(TWICE.verify, request_of(sampling=Sampling(seed=7))) == ("refusal",)
    stage = asked_twice(reply_of("42"), dear=[reply_of("43")])
    assert answered(stage, sampling=sampling).bill.cascade == "passed"
    alone = asked_twice(reply_of("42"), cascade=Cascade(("agreement",)))
    assert answered(alone, sampling=sampling).bill.cascade is None


def test_a_second_answer_that_never_comes_says_nothing() -> None:
    stage = asked_twice(reply_of("42"), ProviderRejectedError("no", is_billed=False), dear=[reply_of("43")])
    answer = answered(stage)
    assert answer.reply.parts == (Text("42"),)
    assert answer.bill.cascade == "passed"


def test_premium_is_not_asked_twice() -> None:
    stage = asked_twice(dear=[reply_of("43")])

    async def run() -> None:
        answer = await stage.gateway.answer(request_of(), NOBODY, PREMIUM)
        assert answer.reply.parts == (Text("43"),)
        assert len(stage.vendor.asked) == 1

    leap(run())


def test_a_client_that_leaves_while_the_second_is_asked_pays_for_both() -> None:
    stage = asked_twice(reply_of("42"), after(5.0, reply_of("42")), dear=[reply_of("43")])

    async def run() -> None:
        work = asyncio.ensure_future(stage.gateway.answer(request_of(), NOBODY, ANY))
        await asyncio.sleep(1.0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await stage.ledger.require_whole()
        assert sorted(each.outcome for each in stage.seen.attempts) == ["client_left", "client_left"]

    leap(run())
