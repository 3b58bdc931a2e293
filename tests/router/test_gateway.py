from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from router.chat import Message, Text
from router.errors import (
    LedgerUnavailableError,
    ModelNotFoundError,
    NoEligibleModelError,
    ProviderError,
    ProviderUnavailableError,
    RouterError,
    TierNotAllowedError,
    UnknownQualityTierError,
)
from router.gateway import InForce, new_decision_id
from router.ledger import Intent, RequestQuery
from router.policy import Caller, Condition, Requirement, Rule, Terms
from router.stores.encoding import encode_line
from router.telemetry import request_fields_of
from tests.builders import request_of
from tests.lines import StillClock
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

SECRET = "the-merger-with-Initech-is-on-friday"
TEAM = Caller(key_id="k1", team="search", project="web", tags={"env": "prod", "app": "find"})


def test_the_bill_is_the_ledgers_row() -> None:
    stage = Stage({CHEAP: [reply_of()]})

    async def story() -> None:
        answer = await stage.gateway.answer(request_of(), TEAM, Terms(tags={"app": "mail"}))
        (row,) = await stage.rows()
        assert answer.bill.decision_id == row.decision_id
        assert answer.bill.cost_nanousd == row.cost_nanousd == USAGE_COST
        assert answer.bill.premium_cost is not None
        assert answer.bill.premium_cost.point_nanousd == row.premium_point_nanousd
        assert (row.outcome, row.model, row.team, row.project, row.key_id) == ("answered", CHEAP, "search", "web", "k1")
        assert row.tags == {"env": "prod", "app": "mail"}, "the request's tags win over the key's"
        assert row.session_id is not None
        assert row.session_id.startswith("inferred-")

    leap(story())


def test_an_answer_without_usage_is_charged_by_estimate_and_marked() -> None:
    stage = Stage({CHEAP: [reply_of(usage=None)]})
    answer = leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    assert answer.bill.usage_source == "estimated"
    assert answer.bill.cost_nanousd > 0


@pytest.mark.parametrize(("text", "output_tokens"), [("Paris.", 2), ("word " * 1_000, 1_250)])
def test_an_answer_without_usage_is_charged_at_the_length_that_it_has(text: str, output_tokens: int) -> None:
    stage = Stage({CHEAP: [reply_of(text, usage=None)]})
    leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    (settlement,) = stage.ledger.settlements()
    assert settlement.tokens is not None
    assert settlement.tokens.output_tokens == output_tokens


def test_premium_compared_with_itself_saves_exactly_nothing() -> None:
    stage = Stage({DEAR: [reply_of()]})
    answer = leap(stage.gateway.answer(request_of(), NOBODY, PREMIUM))
    assert answer.bill.savings_nanousd == 0
    assert answer.bill.premium_cost is not None
    assert answer.bill.premium_cost.low_nanousd == answer.bill.premium_cost.high_nanousd == answer.bill.cost_nanousd


@pytest.mark.parametrize("forbidden", [False, True])
def test_nothing_is_saved_against_a_premium_that_cannot_do_what_is_asked(forbidden: bool) -> None:
    """A window that is too small saves nobody premium's price; a rule against premium does."""
    policy = policy_with()
    dear = policy.models[DEAR]
    small = replace(dear, card=replace(dear.card, context_window=1))
    rule = Rule("cheap-only", Condition(), Requirement(models=frozenset({CHEAP})))
    changed = replace(policy, rules=(rule,)) if forbidden else replace(policy, models={**policy.models, DEAR: small})
    stage = Stage({CHEAP: [reply_of()]}, policy=changed)
    answer = leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    (row,) = leap(stage.rows())
    assert answer.bill.savings_nanousd == row.premium_point_nanousd - row.cost_nanousd
    if forbidden:
        assert row.premium_low_nanousd < row.cost_nanousd < row.premium_high_nanousd
    else:
        assert row.premium_low_nanousd == row.premium_high_nanousd == row.cost_nanousd == USAGE_COST


def test_the_first_intent_alone_carries_the_receipt() -> None:
    stage = Stage({CHEAP: [_billed_failure()], DEAR: [reply_of()]})
    leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    first, second = stage.ledger.intents()
    assert first.receipt is not None
    assert (first.receipt["model"], first.receipt["order"]) == (CHEAP, (CHEAP, DEAR))
    assert second.receipt is None


def _billed_failure() -> ProviderError:
    return ProviderError("odd", is_billed=True)


@pytest.mark.parametrize(
    ("model", "caller", "terms", "error"),
    [
        ("gpt-9", NOBODY, ANY, ModelNotFoundError),
        ("auto:best", NOBODY, ANY, UnknownQualityTierError),
        ("auto", replace(TEAM, allowed_tiers=frozenset({"economy"})), PREMIUM, TierNotAllowedError),
        ("auto", replace(TEAM, allowed_models=frozenset({"none"})), ANY, NoEligibleModelError),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_refusal_is_a_ledger_entry_of_its_own(
    model: str, caller: Caller, terms: Terms, error: type[RouterError], is_streamed: bool
) -> None:
    stage = Stage({})

    async def story() -> None:
        ask = stage.gateway.open_stream if is_streamed else stage.gateway.answer
        with pytest.raises(error) as caught:
            await ask(request_of(model=model), caller, terms)
        (row,) = await stage.rows()
        assert row.decision_id == caught.value.decision_id
        assert (row.outcome, row.error_code, row.cost_nanousd) == ("rejected", caught.value.code, 0)
        assert row.team == caller.team

    leap(story())
    assert [each.error_code for each in stage.seen.rejected] == [error.code]
    assert stage.vendor.calls == []


def test_a_tier_that_the_caller_made_up_is_not_written_down() -> None:
    stage = Stage({})

    async def story() -> None:
        with pytest.raises(UnknownQualityTierError):
            await stage.gateway.answer(request_of(), NOBODY, Terms(quality_tier=SECRET))

    leap(story())
    (rejection,) = stage.ledger.rejections()
    assert SECRET.encode() not in encode_line(rejection).payload


def test_a_ledger_without_room_for_a_rejection_refuses_with_its_own_error() -> None:
    stage = Stage({})

    def full(line: Any) -> None:
        raise LedgerUnavailableError("the ledger cannot be written, and 100000 lines wait for it")

    stage.ledger.append_later = full  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailableError):
        leap(stage.gateway.answer(request_of(model="gpt-9"), NOBODY, ANY))


def test_an_answer_that_cannot_be_charged_is_not_given() -> None:
    stage = Stage({CHEAP: [reply_of()]})

    def full(line: Any) -> None:
        if not isinstance(line, Intent):
            raise LedgerUnavailableError("the ledger cannot be written, and 100000 lines wait for it")

    stage.ledger.append_later = full  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailableError):
        leap(stage.gateway.answer(request_of(), NOBODY, ANY))


def test_a_route_calls_nobody_and_writes_nothing() -> None:
    stage = Stage({})

    async def story() -> None:
        decision = stage.gateway.route(request_of(), NOBODY, ANY)
        assert decision.order == (CHEAP, DEAR)
        assert await stage.rows() == []

    leap(story())


def test_no_prompt_no_answer_and_no_key_is_in_ledger_or_log() -> None:
    stage = Stage({CHEAP: [reply_of(text=SECRET), ScriptedStream()]})
    messages = tuple(Message(role, (Text(SECRET),)) for role in ("system", "user", "assistant", "user"))
    request = request_of(text=SECRET, messages=messages, end_user=SECRET)

    async def story() -> None:
        await stage.gateway.answer(request, TEAM, ANY)
        await read_all(await stage.gateway.open_stream(request, TEAM, ANY))

    leap(story())
    written = b"".join(encode_line(line).payload for line in stage.ledger.written)
    intent = stage.ledger.intents()[0]
    told = repr(request_fields_of(intent.subject, intent, stage.ledger.settlements()[0], 1)).encode()
    for secret in (SECRET, "merger", "sk-secret"):
        assert secret.encode() not in written
        assert secret.encode() not in told
    assert len(stage.ledger.written) == 4


def test_a_request_keeps_the_policy_that_it_was_decided_under() -> None:
    stage = Stage({})
    old = stage.policy

    async def reload_then_fail(call: Any) -> Any:
        models = {DEAR: stage.policy.models[DEAR]}
        stage.policy = replace(stage.policy, revision="newer", models=models)
        return _billed_failure()

    stage.script[CHEAP] = [reload_then_fail]
    stage.script[DEAR] = [reply_of()]
    answer = leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    assert answer.bill.model == DEAR
    assert {each.subject.policy_revision for each in stage.ledger.intents()} == {old.revision}


def test_the_policy_in_force_is_read_anew_for_each_request() -> None:
    stage = Stage({})
    gateway = replace(stage.gateway, in_force=lambda: InForce(replace(stage.policy, revision="newer"), {}))
    assert gateway.policy.revision == "newer"


def test_decision_ids_sort_by_time_and_do_not_repeat() -> None:
    clock = StillClock()
    earlier = {new_decision_id(clock) for _ in range(100)}
    clock.time_ms += 1
    later = {new_decision_id(clock) for _ in range(100)}
    assert len(earlier | later) == 200
    assert max(earlier) < min(later)


def test_many_requests_at_once_leave_a_whole_ledger() -> None:
    stage = Stage({})
    steps = [reply_of(), _billed_failure(), ProviderUnavailableError("busy", retry_after_s=0.5), reply_of(usage=None)]
    stage.script[CHEAP] = [after(0.1 * (n % 7), steps[n % 4]) for n in range(400)]
    stage.script[DEAR] = [after(0.2, reply_of()) for _ in range(400)]

    async def story() -> None:
        tasks = [asyncio.ensure_future(stage.gateway.answer(request_of(), NOBODY, ANY)) for _ in range(60)]
        await asyncio.sleep(0.3)
        for task in tasks[::5]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        costs = sum(each.bill.cost_nanousd for each in answers if not isinstance(each, BaseException))
        await stage.ledger.require_whole()
        (totals,) = await stage.ledger.totals(RequestQuery(), ())
        assert totals.requests == 60
        assert totals.cost_nanousd >= costs > 0
        assert totals.answered == sum(not isinstance(each, BaseException) for each in answers)
        assert len(stage.seen.finished) == 60

    leap(story())
