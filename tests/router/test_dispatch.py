from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from router.dispatch import ATTEMPT_MIN_S, BACKOFF_FIRST_S, PATIENCE_S, within
from router.errors import (
    LedgerUnavailableError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from router.policy import Upstream
from router.tokens import TokenUsage
from tests.builders import request_of
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


def busy(retry_after_s: float | None = None) -> ProviderUnavailableError:
    return ProviderUnavailableError("vendor answered 429", status=429, retry_after_s=retry_after_s)


def late() -> ProviderTimeoutError:
    return ProviderTimeoutError("vendor sent no first byte in time", is_billed=True)


def odd() -> ProviderError:
    return ProviderError("vendor answered something that is not JSON", is_billed=True)


def refused() -> ProviderRejectedError:
    return ProviderRejectedError("vendor answered 400", status=400)


def outcome_of(stage: Stage, *, terms: Any = ANY, model: str = "auto") -> Any:
    """Ask once in leaping time; the answer, or the error that the caller gets, with a whole ledger behind it."""

    async def ask() -> Any:
        try:
            found: Any = await stage.gateway.answer(request_of(model=model), NOBODY, terms)
        except Exception as error:  # noqa: BLE001 - handed to the test
            found = error
        await stage.ledger.require_whole()
        return found

    return leap(ask())


# --- the first answer ------------------------------------------------------------------------------------------------


def test_the_first_choice_answers_and_nobody_else_is_asked() -> None:
    stage = Stage({CHEAP: [reply_of()]})
    answer = outcome_of(stage)
    assert stage.vendor.asked == [CHEAP]
    assert answer.bill.cost_nanousd == USAGE_COST
    assert (answer.bill.attempts, answer.bill.usage_source) == (1, "reported")
    assert [each.outcome for each in stage.ledger.settlements()] == ["answered"]


def test_the_upstream_call_is_clamped_to_what_is_held() -> None:
    stage = Stage({CHEAP: [reply_of()]})
    outcome_of(stage)
    (call,) = stage.vendor.calls
    (intent,) = stage.ledger.intents()
    assert call.output_tokens_max == stage.policy.limits.output_tokens_default
    assert intent.hold_nanousd >= call.output_tokens_max * 5_000
    assert call.attempt_id == f"{intent.subject.decision_id}-1"


def test_a_busy_vendor_is_asked_again_with_jitter_and_costs_nothing() -> None:
    stage = Stage({CHEAP: [busy(), busy(), reply_of()]})
    answer = outcome_of(stage)
    assert stage.vendor.asked == [CHEAP] * 3
    first, second = (b - a for a, b in zip(stage.vendor.times_s, stage.vendor.times_s[1:], strict=False))
    assert 0 <= first <= BACKOFF_FIRST_S
    assert 0 <= second <= 2 * BACKOFF_FIRST_S
    assert (answer.bill.attempts, answer.bill.cost_nanousd) == (3, USAGE_COST)
    assert [(each.attempt, each.outcome, each.cost_nanousd) for each in stage.ledger.settlements()] == [
        (1, "failed", 0),
        (2, "failed", 0),
        (3, "answered", USAGE_COST),
    ]


def test_jitter_spreads_the_retries_of_many() -> None:
    async def pauses() -> set[float]:
        found: set[float] = set()
        for _ in range(8):
            stage = Stage({CHEAP: [busy(), reply_of()]})
            await stage.gateway.answer(request_of(), NOBODY, ANY)
            found.add(stage.vendor.times_s[1] - stage.vendor.times_s[0])
        return found

    assert len(leap(pauses())) > 4


def test_retry_after_is_waited_for_where_there_is_nobody_else() -> None:
    stage = Stage({DEAR: [busy(7.0), reply_of()]})
    outcome_of(stage, terms=PREMIUM)
    assert stage.vendor.times_s[1] - stage.vendor.times_s[0] == pytest.approx(7.0)


def test_a_long_retry_after_is_not_waited_for_where_another_keeps_the_tolerance() -> None:
    stage = Stage({CHEAP: [busy(PATIENCE_S + 1)], DEAR: [reply_of()]})
    answer = outcome_of(stage)
    assert stage.vendor.asked == [CHEAP, DEAR]
    assert stage.vendor.times_s[1] == stage.vendor.times_s[0]
    assert answer.bill.model == DEAR


def test_retries_are_bounded_and_then_the_next_candidate_is_asked() -> None:
    stage = Stage({CHEAP: [busy(), busy(), busy()], DEAR: [reply_of()]})
    assert outcome_of(stage).bill.attempts == 4
    assert stage.vendor.asked == [CHEAP] * 3 + [DEAR]


@pytest.mark.parametrize("failure", [late, odd])
def test_a_vendor_that_may_be_billing_is_not_asked_again_and_its_estimate_is_charged(failure: Any) -> None:
    stage = Stage({CHEAP: [failure()], DEAR: [reply_of()]})
    answer = outcome_of(stage)
    assert stage.vendor.asked == [CHEAP, DEAR]
    first, second = stage.ledger.settlements()
    assert (first.outcome, first.usage_source) == ("failed", "estimated")
    assert first.cost_nanousd > 0
    assert first.premium_cost is None
    assert answer.bill.cost_nanousd == first.cost_nanousd + second.cost_nanousd
    assert second.premium_cost is not None


def test_a_request_that_the_vendor_rejects_is_neither_repeated_nor_passed_on() -> None:
    stage = Stage({CHEAP: [refused()], DEAR: [reply_of()]})
    error = outcome_of(stage)
    assert isinstance(error, ProviderRejectedError)
    assert stage.vendor.asked == [CHEAP]
    assert error.decision_id == stage.ledger.intents()[0].subject.decision_id
    assert stage.cooldowns.resting(1_000.0) == {}


def test_when_nobody_answers_the_last_error_is_raised_and_told_once() -> None:
    stage = Stage({CHEAP: [odd()], DEAR: [late()]})
    error = outcome_of(stage)
    assert isinstance(error, ProviderTimeoutError)
    ((settlement, cost),) = stage.seen.finished
    assert (settlement.attempt, settlement.error_code) == (2, "provider_timeout")
    assert cost == sum(each.cost_nanousd for each in stage.ledger.settlements())
    assert len(stage.seen.attempts) == 2


def test_a_pinned_model_has_no_fallback() -> None:
    stage = Stage({CHEAP: [odd()], DEAR: [reply_of()]})
    assert isinstance(outcome_of(stage, model=CHEAP), ProviderError)
    assert stage.vendor.asked == [CHEAP]


# --- the deadline ----------------------------------------------------------------------------------------------------


def test_no_attempt_begins_after_the_deadline() -> None:
    stage = Stage({CHEAP: [after(11.0, busy())], DEAR: [reply_of()]}, policy=policy_with(deadline_s=10.0))
    assert isinstance(outcome_of(stage), ProviderUnavailableError)
    assert stage.vendor.asked == [CHEAP]


def test_a_pause_that_would_end_after_the_deadline_is_not_begun() -> None:
    stage = Stage({DEAR: [busy(11.0), reply_of()]}, policy=policy_with(deadline_s=10.0))

    async def ask() -> float:
        with pytest.raises(ProviderUnavailableError):
            await stage.gateway.answer(request_of(), NOBODY, PREMIUM)
        return asyncio.get_running_loop().time()

    assert leap(ask()) == stage.vendor.times_s[0]
    assert stage.vendor.asked == [DEAR]


def test_a_fallback_waits_no_longer_than_the_deadline_has_left() -> None:
    policy = policy_with(deadline_s=40.0, connect_timeout_s=5.0, first_byte_timeout_s=35.0)
    stage = Stage({CHEAP: [after(30.0, late())], DEAR: [reply_of()]}, policy=policy)
    outcome_of(stage)
    first, second = (call.upstream for call in stage.vendor.calls)
    assert first.connect_timeout_s + first.first_byte_timeout_s == pytest.approx(40.0)
    assert second.connect_timeout_s + second.first_byte_timeout_s == pytest.approx(10.0)
    assert second.between_bytes_timeout_s == policy.upstream.between_bytes_timeout_s


@pytest.mark.parametrize("left_s", [-3.0, 0.0, 0.2, 1.0, 9.0, 64.9, 65.0, 200.0])
def test_waits_within_a_deadline_sum_up_to_it_and_are_never_none(left_s: float) -> None:
    cut = within(Upstream(), left_s)
    whole_s = cut.connect_timeout_s + cut.first_byte_timeout_s
    assert whole_s == pytest.approx(min(65.0, max(left_s, ATTEMPT_MIN_S)))
    assert min(cut.connect_timeout_s, cut.first_byte_timeout_s) > 0


# --- cooldown --------------------------------------------------------------------------------------------------------


def test_a_deployment_rests_after_failures_in_a_row_and_is_then_probed() -> None:
    policy = policy_with(cooldown_failures=2, cooldown_s=30.0, retries_max=0)
    stage = Stage({CHEAP: [odd(), odd(), reply_of(), reply_of()], DEAR: [reply_of()] * 3}, policy=policy)

    async def ask() -> str:
        return (await stage.gateway.answer(request_of(), NOBODY, ANY)).bill.model

    async def story() -> list[str]:
        models = [await ask(), await ask(), await ask()]
        await asyncio.sleep(30.0)
        return [*models, await ask(), await ask()]

    assert leap(story()) == [DEAR, DEAR, DEAR, CHEAP, CHEAP]
    assert stage.vendor.asked == [CHEAP, DEAR, CHEAP, DEAR, DEAR, CHEAP, CHEAP]


def test_a_probe_that_fails_goes_back_to_rest() -> None:
    policy = policy_with(cooldown_failures=1, cooldown_s=30.0)
    stage = Stage({CHEAP: [odd(), odd()], DEAR: [reply_of()] * 3}, policy=policy)

    async def story() -> None:
        await stage.gateway.answer(request_of(), NOBODY, ANY)
        await asyncio.sleep(31.0)
        await stage.gateway.answer(request_of(), NOBODY, ANY)
        await stage.gateway.answer(request_of(), NOBODY, ANY)

    leap(story())
    assert stage.vendor.asked == [CHEAP, DEAR, CHEAP, DEAR, DEAR]


def test_when_a_rest_is_over_one_request_probes_and_the_others_go_elsewhere() -> None:
    policy = policy_with(cooldown_failures=1, cooldown_s=30.0, retries_max=0)
    stage = Stage({CHEAP: [odd(), after(2.0, reply_of()), *[reply_of()] * 5], DEAR: [reply_of()] * 30}, policy=policy)

    async def ask(number: int) -> str:
        return (await stage.gateway.answer(request_of(f"question {number}"), NOBODY, ANY)).bill.model

    async def story() -> tuple[list[str], list[str]]:
        await ask(0)
        await asyncio.sleep(30.0)
        together = list(await asyncio.gather(*(ask(number) for number in range(1, 20))))
        return together, list(await asyncio.gather(*(ask(number) for number in range(20, 25))))

    together, behind = leap(story())
    assert together.count(CHEAP) == 1
    assert behind == [CHEAP] * 5, "its answer opened the way for all"


@pytest.mark.parametrize("told", [refused(), "cancelled"])
def test_a_probe_that_says_nothing_of_the_deployments_health_lets_the_next_one_try_at_once(told: Any) -> None:
    policy = policy_with(cooldown_failures=1, cooldown_s=30.0)
    probe = after(5.0, reply_of()) if told == "cancelled" else told
    stage = Stage({CHEAP: [odd(), probe, reply_of()], DEAR: [reply_of()]}, policy=policy)

    async def story() -> str:
        await stage.gateway.answer(request_of(), NOBODY, ANY)
        await asyncio.sleep(31.0)
        task = asyncio.ensure_future(stage.gateway.answer(request_of("the probe"), NOBODY, ANY))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return (await stage.gateway.answer(request_of("the next one"), NOBODY, ANY)).bill.model

    assert leap(story()) == CHEAP


def test_who_finds_the_only_model_probed_is_told_to_come_back_soon_and_its_hold_goes_back() -> None:
    policy = policy_with(cooldown_failures=1, cooldown_s=30.0)
    stage = Stage({DEAR: [odd(), after(2.0, reply_of())]}, policy=policy)

    async def story() -> list[Any]:
        with pytest.raises(ProviderError):
            await stage.gateway.answer(request_of(), NOBODY, PREMIUM)
        await asyncio.sleep(31.0)
        asks = (stage.gateway.answer(request_of(f"question {each}"), NOBODY, PREMIUM) for each in range(3))
        return list(await asyncio.gather(*asks, return_exceptions=True))

    answer, *errors = leap(story())
    assert answer.bill.model == DEAR
    assert all(isinstance(error, ProviderUnavailableError) and 0 < error.retry_after_s <= 5.0 for error in errors)
    assert len(stage.vendor.asked) == 2


def test_when_everything_rests_the_refusal_says_until_when_and_is_in_the_ledger() -> None:
    policy = policy_with(cooldown_failures=1, cooldown_s=30.0)
    stage = Stage({DEAR: [odd()]}, policy=policy)

    async def story() -> ProviderUnavailableError:
        with pytest.raises(ProviderError):
            await stage.gateway.answer(request_of(), NOBODY, PREMIUM)
        await asyncio.sleep(10.0)
        with pytest.raises(ProviderUnavailableError) as caught:
            await stage.gateway.answer(request_of(), NOBODY, PREMIUM)
        return caught.value

    error = leap(story())
    assert error.retry_after_s == pytest.approx(20.0)
    (rejection,) = stage.ledger.rejections()
    assert (rejection.subject.decision_id, rejection.error_code) == (error.decision_id, "provider_unavailable")
    assert stage.seen.rejected == [rejection]
    assert len(stage.seen.finished) == 1


# --- cancellation and a lost ledger ----------------------------------------------------------------------------------


async def cancelled_at(stage: Stage, at_s: float, *, is_streamed: bool = False) -> None:
    """Ask, leave after ``at_s`` seconds, and look at the ledger."""
    ask = stage.gateway.open_stream if is_streamed else stage.gateway.answer
    task = asyncio.ensure_future(ask(request_of(), NOBODY, ANY))
    await asyncio.sleep(at_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stage.background.aclose(100.0)
    await stage.ledger.require_whole()


@pytest.mark.parametrize("is_streamed", [False, True])
def test_cancelled_while_the_vendor_is_silent_the_estimate_is_charged(is_streamed: bool) -> None:
    stage = Stage({CHEAP: [after(50.0, reply_of())]})
    leap(cancelled_at(stage, 5.0, is_streamed=is_streamed))
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "estimated")
    assert settlement.cost_nanousd > 0
    assert [each for each, _ in stage.seen.finished] == [settlement]


def test_cancelled_during_a_backoff_nothing_more_is_charged_and_the_end_is_told() -> None:
    stage = Stage({CHEAP: [odd()], DEAR: [busy(20.0), reply_of()]})
    leap(cancelled_at(stage, 5.0))
    assert stage.vendor.asked == [CHEAP, DEAR]
    ((settlement, cost),) = stage.seen.finished
    assert (settlement.attempt, settlement.outcome) == (2, "failed")
    assert cost == stage.ledger.settlements()[0].cost_nanousd > 0


def test_cancelled_while_the_disk_is_slow_what_the_vendor_reported_is_charged() -> None:
    stage = Stage({CHEAP: [reply_of()]})
    stage.ledger.before_sync = lambda: asyncio.sleep(50.0)
    leap(cancelled_at(stage, 5.0))
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "reported")
    assert settlement.cost_nanousd == USAGE_COST


def test_cancelled_while_the_disk_is_slow_the_stream_that_nobody_reads_is_closed() -> None:
    stream = ScriptedStream()
    stage = Stage({CHEAP: [stream]})
    stage.ledger.before_sync = lambda: asyncio.sleep(50.0)
    leap(cancelled_at(stage, 5.0, is_streamed=True))
    assert stream.closes == 1
    assert stage.ledger.settlements()[0].usage_source == "estimated"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply_of("word " * 1_000, usage=None), TokenUsage(input_uncached=0, output_text=1_250)),
        (ScriptedStream(usage_so_far=TokenUsage(70, 30)), TokenUsage(70, 30, output_text=48)),
    ],
)
def test_what_is_known_of_an_answer_that_goes_to_nobody_is_charged(answer: Any, expected: TokenUsage) -> None:
    stage = Stage({CHEAP: [answer]})
    stage.ledger.before_sync = lambda: asyncio.sleep(50.0)
    leap(cancelled_at(stage, 5.0, is_streamed=isinstance(answer, ScriptedStream)))
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.usage_source) == ("client_left", "estimated")
    assert settlement.tokens is not None
    assert settlement.tokens.output_tokens == expected.output_tokens
    assert settlement.tokens.cache_read == expected.cache_read


@pytest.mark.parametrize(("seen_bytes", "output_tokens"), [(40, 48), (4_000, 1_000)])
def test_an_answer_that_broke_off_is_charged_at_least_what_was_seen_of_it(seen_bytes: int, output_tokens: int) -> None:
    stage = Stage({CHEAP: [ProviderError("torn", is_billed=True, seen_bytes=seen_bytes)], DEAR: [reply_of()]})
    leap(stage.gateway.answer(request_of(), NOBODY, ANY))
    first, _ = stage.ledger.settlements()
    assert first.tokens is not None
    assert (first.tokens.output_tokens, first.usage_source) == (output_tokens, "estimated")


async def lost() -> None:
    raise LedgerUnavailableError("the disk does not take the ledger: No space left on device")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_whose_intent_is_not_on_the_disk_goes_to_nobody(is_streamed: bool) -> None:
    stream = ScriptedStream()
    stage = Stage({CHEAP: [after(1.0, stream if is_streamed else reply_of())]})
    stage.ledger.before_sync = lost

    async def ask() -> None:
        ask = stage.gateway.open_stream if is_streamed else stage.gateway.answer
        with pytest.raises(LedgerUnavailableError) as caught:
            await ask(request_of(), NOBODY, ANY)
        assert caught.value.decision_id == stage.ledger.intents()[0].subject.decision_id
        await stage.ledger.require_whole()

    leap(ask())
    (settlement,) = stage.ledger.settlements()
    assert (settlement.outcome, settlement.error_code) == ("failed", "ledger_unavailable")
    assert settlement.usage_source == ("estimated" if is_streamed else "reported")
    assert stream.closes == is_streamed
    assert stage.vendor.asked == [CHEAP], "the vendor did nothing wrong: it is not asked again"
    assert stage.cooldowns.resting(1_000.0) == {}


def test_without_a_ledger_no_vendor_is_called_and_the_refusal_is_told() -> None:
    stage = Stage({CHEAP: [reply_of()]})
    stage.ledger.before_append = lost
    assert isinstance(outcome_of(stage), LedgerUnavailableError)
    assert stage.vendor.asked == []
    assert [each.error_code for each in stage.seen.rejected] == ["ledger_unavailable"]
    assert stage.seen.finished == []


def test_a_ledger_that_goes_away_between_two_attempts_ends_the_request_and_the_end_is_told() -> None:
    stage = Stage({CHEAP: [odd()], DEAR: [reply_of()]})
    calls = 0

    async def second_fails() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await lost()

    stage.ledger.before_append = second_fails
    assert isinstance(outcome_of(stage), LedgerUnavailableError)
    assert stage.vendor.asked == [CHEAP]
    assert [each.attempt for each, _ in stage.seen.finished] == [1]
    assert stage.seen.rejected == []


def test_a_vendor_that_fails_while_the_disk_fails_leaves_no_forgotten_exception() -> None:
    stage = Stage({CHEAP: [after(1.0, odd())], DEAR: [after(1.0, odd())]})
    stage.ledger.before_sync = lost
    reports: list[Any] = []

    async def ask() -> None:
        import gc

        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        with pytest.raises(ProviderError):
            await stage.gateway.answer(request_of(), NOBODY, ANY)
        gc.collect()

    leap(ask())
    assert reports == []


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_falls_back_before_its_first_event() -> None:
    stage = Stage({CHEAP: [late()], DEAR: [ScriptedStream()]})

    async def ask() -> int:
        stream = await stage.gateway.open_stream(request_of(), NOBODY, ANY)
        await read_all(stream)
        assert stream.bill is not None
        assert stream.model == stream.bill.model == DEAR
        await stage.ledger.require_whole()
        return stream.bill.cost_nanousd

    assert leap(ask()) == sum(each.cost_nanousd for each in stage.ledger.settlements())


@pytest.mark.parametrize(("lease_s", "pause_s", "lasts_s"), [(900.0, 30.0, 870.0), (40.0, 30.0, 20.0)])
def test_an_attempt_ends_before_its_lease_does(lease_s: float, pause_s: float, lasts_s: float) -> None:
    policy = policy_with(between_bytes_timeout_s=pause_s)
    policy = replace(policy, limits=replace(policy.limits, lease_s=lease_s))
    stage = Stage({CHEAP: [after(7.0, late())], DEAR: [reply_of()]}, policy=policy)
    outcome_of(stage)
    assert [call.lasts_max_s for call in stage.vendor.calls] == [pytest.approx(lasts_s, abs=0.002)] * 2


# --- what nobody foresaw ---------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_our_code_is_the_vendors_failure_and_billed(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage({CHEAP: [KeyError("the patient's name")], DEAR: [reply_of()]})
    answer = outcome_of(stage)
    assert stage.vendor.asked == [CHEAP, DEAR]
    first, second = stage.ledger.settlements()
    assert (first.outcome, first.error_code, first.usage_source) == ("failed", "provider_error", "estimated")
    assert first.cost_nanousd > 0
    assert answer.bill.cost_nanousd == first.cost_nanousd + second.cost_nanousd
    (record,) = [each for each in caplog.records if each.message == "answer not understood"]
    assert record.__dict__["fields"]["error_type"] == "KeyError"
    assert "patient" not in caplog.text + str(record.__dict__["fields"])


def test_what_nobody_foresaw_counts_against_the_deployments_health() -> None:
    stage = Stage({DEAR: [ValueError("x")] * 9}, policy=policy_with(cooldown_failures=2))
    for _ in range(2):
        error = outcome_of(stage, model=DEAR)
        assert isinstance(error, ProviderError)
        assert error.__cause__ is None
        assert error.decision_id is not None
    assert isinstance(outcome_of(stage, model=DEAR), ProviderUnavailableError)
    assert stage.vendor.asked == [DEAR] * 2
