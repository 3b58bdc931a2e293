"""What a request does when money is short: cut, wait in line, downgrade, or be refused, and what the books say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from router.budgets import Budget, Claim
from router.budgets.windows import ENDLESS
from router.chat import Finish, StreamStart, TextDelta, UsageReport
from router.cover import SLICE_TOKENS
from router.errors import (
    BudgetExhaustedError,
    BudgetStoreUnavailableError,
    LedgerUnavailableError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from router.ledger import RequestQuery
from router.policy import Cascade, Condition, Requirement, Rule
from router.receipt import choice_of_receipt
from router.stores.budgets.memory import MemoryBudgets
from router.tokens import TokenUsage, Usage
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import (
    ANY,
    CHEAP,
    DEAR,
    NOBODY,
    USAGE_COST,
    LoopClock,
    ScriptedStream,
    Stage,
    after,
    leap,
    read_all,
    reply_of,
)

if TYPE_CHECKING:
    from router.policy import Policy

MILLION = 1_000_000
# A request of the builders has 90 bytes: its input is held at 1,130 tokens, at 1 USD per million of them.
INPUT_HOLD = 1_130 * 1_000
LIMIT = 4_096
CHEAP_OUT, DEAR_OUT = 5_000, 5_500
CHEAP_HOLD = INPUT_HOLD + LIMIT * CHEAP_OUT
DEAR_HOLD = INPUT_HOLD + LIMIT * DEAR_OUT


def least(price: int, tokens: int = 64) -> int:
    return INPUT_HOLD + tokens * price


def budget(limit_nanousd: int, **changes: Any) -> Budget:
    fields: dict[str, Any] = {"name": "all", "scope": "all", "window": "total", "queue_s": 10.0}
    return Budget(limit_nanousd=limit_nanousd, **{**fields, **changes})


def policy(*budgets: Budget, cheap: str = "5", **changes: Any) -> Policy:
    made = policy_of(
        model_of(CHEAP, input_usd="1", output_usd=cheap, tier="economy"),
        model_of(DEAR, input_usd="1", output_usd="5.5", tier="premium"),
        premium=DEAR,
    )
    return replace(made, budgets=budgets, **changes)


def account_of(each: Budget, owner: str = "") -> Claim:
    return Claim(each.name, owner, each.limit_nanousd, each.is_hard, (ENDLESS,))


async def stands(stage: Stage, each: Budget) -> tuple[int, int]:
    """What is settled and held, once everything has been told to the store."""
    await stage.background.aclose(100.0)
    await stage.treasury.aclose(100.0)
    (balance,) = await stage.store.balances([account_of(each)])
    return balance.settled_nanousd, balance.held_nanousd


async def ask(stage: Stage, model: str = "auto", **changes: Any) -> Any:
    return await stage.gateway.answer(request_of(model=model, **changes), NOBODY, ANY)


async def spend(stage: Stage, nanousd: int, *claims: Claim) -> None:
    """Have so much settled before the test begins."""
    await stage.store.reserve("before", claims, least_nanousd=nanousd, most_nanousd=nanousd, lease_ms=1)
    await stage.store.settle("before", nanousd)


# --- held and settled ------------------------------------------------------------------------------------------------


def test_an_answer_is_held_at_its_worst_case_and_charged_at_its_cost() -> None:
    each = budget(100 * MILLION)
    held: list[int] = []

    async def story() -> None:
        async def look(call: Any) -> Any:
            (balance,) = await stage.store.balances([account_of(each)])
            held.append(balance.held_nanousd)
            return reply_of()

        stage = Stage({CHEAP: [look]}, policy=policy(each))
        answer = await ask(stage)
        assert held == [CHEAP_HOLD]
        assert answer.bill.budget_remaining_nanousd == 100 * MILLION - CHEAP_HOLD
        assert await stands(stage, each) == (USAGE_COST, 0)
        (intent,) = stage.ledger.intents()
        assert (intent.hold_nanousd, intent.accounts) == (CHEAP_HOLD, ("all/0/",))
        assert intent.receipt["budget"] == {
            "held_nanousd": CHEAP_HOLD,
            "remaining_nanousd": 100 * MILLION - CHEAP_HOLD,
            "output_tokens_max": LIMIT,
            "is_cut": False,
        }

    leap(story())


def test_without_a_budget_nothing_is_held_or_told() -> None:
    async def story() -> None:
        stage = Stage({CHEAP: [reply_of()]}, policy=policy())
        answer = await ask(stage)
        assert answer.bill.budget_remaining_nanousd is None
        (intent,) = stage.ledger.intents()
        assert (intent.accounts, "budget" in intent.receipt) == ((), False)
        assert stage.store.book.size == (0, 0)

    leap(story())


def test_the_output_limit_is_cut_to_what_is_left_and_written_upstream() -> None:
    each = budget(least(CHEAP_OUT, 1_000) + 4_999)

    async def story() -> None:
        stage = Stage({CHEAP: [reply_of()]}, policy=policy(each))
        answer = await ask(stage)
        (call,) = stage.vendor.calls
        assert call.output_tokens_max == 1_000
        assert answer.bill.budget_remaining_nanousd == 0
        (intent,) = stage.ledger.intents()
        assert intent.hold_nanousd == each.limit_nanousd
        assert intent.receipt["budget"]["is_cut"] is True

    leap(story())


def test_an_answer_is_not_cut_below_the_least() -> None:
    async def story() -> None:
        stage = Stage({CHEAP: [reply_of()]}, policy=policy(budget(least(CHEAP_OUT))))
        await ask(stage)
        assert stage.vendor.calls[0].output_tokens_max == 64
        stage = Stage({}, policy=policy(budget(least(CHEAP_OUT) - 1)))
        with pytest.raises(BudgetExhaustedError):
            await ask(stage)
        stage = Stage({CHEAP: [reply_of()]}, policy=policy(budget(least(CHEAP_OUT, 3))))
        await ask(stage, output_tokens_max=3)
        assert stage.vendor.calls[0].output_tokens_max == 3

    leap(story())


def test_a_free_model_needs_no_money() -> None:
    each = budget(1)

    async def story() -> None:
        free = policy_of(model_of(CHEAP, input_usd="0", output_usd="0"), model_of(DEAR), premium=DEAR)
        stage = Stage({CHEAP: [reply_of()]}, policy=replace(free, budgets=(each,)))
        answer = await ask(stage)
        assert answer.bill.cost_nanousd == 0
        assert await stands(stage, each) == (0, 0)

    leap(story())


# --- refused ---------------------------------------------------------------------------------------------------------


def test_settled_money_is_not_waited_for_and_the_refusal_says_which_budget() -> None:
    each = budget(CHEAP_HOLD, name="team-month", window="month", zone="UTC", tag=None)

    async def story() -> None:
        stage = Stage({}, policy=policy(each))
        claims = await claims_in(stage)
        await spend(stage, CHEAP_HOLD, *claims)
        began = asyncio.get_running_loop().time()
        with pytest.raises(BudgetExhaustedError) as caught:
            await ask(stage)
        assert asyncio.get_running_loop().time() == began
        error = caught.value
        assert (error.http_status, error.code) == (402, "budget_exhausted")
        assert error.data == {
            "budget": "team-month",
            "scope": "all",
            "limit_usd": "0.021610000",
            "headroom_usd": "0.000000000",
            "resets_at": "2026-11-01T00:00:00.000Z",
        }
        assert stage.seen.denied == ["team-month"]
        (rejection,) = stage.ledger.rejections()
        assert (rejection.error_code, rejection.subject.decision_id) == ("budget_exhausted", error.decision_id)
        (row,) = [row async for row in stage.ledger.requests(RequestQuery(0, 2**62))]
        assert (row.outcome, row.attempts) == ("rejected", 0)

    leap(story())


async def claims_in(stage: Stage) -> tuple[Claim, ...]:
    """The claims of some request, as it would make them now."""
    other = Stage({CHEAP: [reply_of()]}, policy=replace(stage.policy, budgets=()))
    await ask(other)
    purse = stage.treasury.purse_of(stage.policy, NOBODY, other.ledger.intents()[0].subject)
    assert purse is not None
    return purse.claims


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_held_money_is_waited_for_in_the_order_of_arrival() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        stage = Stage({CHEAP: [after(1.0, reply_of()) for _ in range(4)]}, policy=policy(each))
        done: list[int] = []

        async def one(number: int) -> None:
            await asyncio.sleep(number * 0.01)
            await ask(stage, output_tokens_max=LIMIT if number else None)
            done.append(number)

        await asyncio.gather(*(one(number) for number in range(4)))
        assert done == [0, 1, 2, 3]
        assert await stands(stage, each) == (4 * USAGE_COST, 0)
        assert len(stage.treasury.turns) == 0

    # What the ones before have cost is gone: the last ones' answers are cut.
    leap(story())


def test_waiting_ends_with_a_refusal_when_its_time_is_up() -> None:
    each = budget(CHEAP_HOLD, queue_s=3.0)

    async def story() -> None:
        stage = Stage({CHEAP: [after(60.0, reply_of())]}, policy=policy(each))
        first = asyncio.ensure_future(ask(stage))
        await asyncio.sleep(1.0)
        began = asyncio.get_running_loop().time()
        with pytest.raises(BudgetExhaustedError, match=r"calls under way hold 0\.021610000"):
            await ask(stage)
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
        await first
        assert len(stage.treasury.turns) == 0

    leap(story())


def test_a_newcomer_whose_call_would_fit_does_not_pass_those_who_wait() -> None:
    each = budget(CHEAP_HOLD + least(CHEAP_OUT, 1))

    async def story() -> None:
        stage = Stage({CHEAP: [after(1.0, reply_of()) for _ in range(3)]}, policy=policy(each))
        order: list[str] = []

        async def one(name: str, at_s: float, output_tokens_max: int | None) -> None:
            await asyncio.sleep(at_s)
            await ask(stage, output_tokens_max=output_tokens_max)
            order.append(name)

        await asyncio.gather(one("first", 0, None), one("second", 0.2, None), one("small", 0.4, 1))
        assert order == ["first", "second", "small"]

    leap(story())


def test_queue_waits_for_the_next_window_too() -> None:
    each = budget(CHEAP_HOLD, window="hour", when_exhausted="queue", queue_s=3_600.0)

    async def story() -> None:
        stage = Stage(
            {CHEAP: [reply_of(), reply_of()]},
            policy=policy(each, upstream=replace(policy().upstream, deadline_s=7_200)),
        )
        claims = await claims_in(stage)
        await spend(stage, CHEAP_HOLD, *claims)
        await ask(stage)
        window = claims[0].windows[1]
        assert window.end_ms <= stage.ledger.intents()[0].time_ms <= window.end_ms + 1_000

    leap(story())


def test_who_leaves_the_line_lets_the_next_one_try() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        stage = Stage({CHEAP: [after(2.0, reply_of()), reply_of()]}, policy=policy(each))
        first = asyncio.ensure_future(ask(stage))
        await asyncio.sleep(0.1)
        second, third = asyncio.ensure_future(ask(stage)), asyncio.ensure_future(ask(stage))
        await asyncio.sleep(0.1)
        assert len(stage.treasury.turns) == 2
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert len(stage.treasury.turns) == 1
        await asyncio.gather(first, third)
        assert await stands(stage, each) == (2 * USAGE_COST, 0)

    leap(story())


# --- downgraded ------------------------------------------------------------------------------------------------------


def downgrading(limit: int, **changes: Any) -> Budget:
    return budget(limit, when_exhausted="downgrade", **changes)


def only_dear(each: Budget, **changes: Any) -> Stage:
    """The cheap model loses more than the tolerance, so that only the dear one is decided on."""
    losses: dict[str, float | None] = {f"anthropic/{CHEAP}": 0.3, f"anthropic/{DEAR}": 0.0}
    return Stage({CHEAP: [reply_of()], DEAR: [reply_of()]}, policy=policy(each, cheap="0.5", **changes), losses=losses)


def test_a_downgrade_asks_the_best_that_fits_and_promises_nothing() -> None:
    async def story() -> None:
        stage = only_dear(downgrading(least(DEAR_OUT) - 1))
        answer = await ask(stage)
        assert stage.vendor.asked == [CHEAP]
        bill = answer.bill
        assert (bill.model, bill.reason, bill.promise, bill.expected_loss) == (CHEAP, "budget_downgrade", "none", 0.3)
        (intent,) = stage.ledger.intents()
        assert (intent.subject.reason, intent.subject.expected_loss, intent.subject.promise) == (
            "budget_downgrade", 0.3, "none",
        )  # fmt: skip
        assert intent.receipt["denied"] == (DEAR,)
        assert {each["model"]: each["why_not"] for each in intent.receipt["candidates"]} == {
            CHEAP: (), DEAR: ("budget",),
        }  # fmt: skip
        again = choice_of_receipt(intent.receipt)
        assert again is not None
        assert (again.order, again.reason) == ((CHEAP,), "budget_downgrade")
        assert stage.seen.denied == ["all"]

    leap(story())


def test_a_whole_answer_of_a_lesser_model_comes_before_a_cut_one_of_the_better() -> None:
    async def story() -> None:
        # The dear one could pay for its least, but not for the answer that is expected of it.
        limits = replace(policy().limits, output_tokens_least=1)
        stage = only_dear(downgrading(least(DEAR_OUT, 30)), limits=limits)
        await ask(stage)
        assert stage.vendor.asked == [CHEAP]
        # Where nothing pays for a whole answer, the model that was decided on gives a short one.
        stage = only_dear(downgrading(least(DEAR_OUT, 3)), limits=limits)
        await ask(stage)
        assert stage.vendor.asked == [DEAR]
        assert stage.vendor.calls[0].output_tokens_max == 3

    leap(story())


def test_neither_pinned_requests_nor_bound_ones_are_downgraded() -> None:
    bound = Rule("contracts", Condition(), Requirement(tolerance_max=0.04))
    barred = Rule("premium-only", Condition(), Requirement(tier_min="premium"))

    async def story() -> None:
        each = downgrading(least(DEAR_OUT) - 1)
        for model, changes in (("auto", {"rules": (bound,)}), ("auto", {"rules": (barred,)}), (DEAR, {})):
            stage = only_dear(each, **changes)
            with pytest.raises(BudgetExhaustedError):
                await ask(stage, model)
            assert stage.vendor.calls == []
            (rejection,) = stage.ledger.rejections()
            assert rejection.subject.reason != "budget_downgrade"

    leap(story())


def test_a_downgrade_goes_past_models_that_rest() -> None:
    async def story() -> None:
        stage = only_dear(downgrading(least(DEAR_OUT) - 1))
        for _ in range(3):
            stage.cooldowns.failed(CHEAP, stage.clock.monotonic_s())
        with pytest.raises(BudgetExhaustedError):
            await ask(stage)

    leap(story())


# --- one request -----------------------------------------------------------------------------------------------------


def test_a_limit_on_one_request_counts_all_its_attempts_without_a_store() -> None:
    each = budget(CHEAP_HOLD + DEAR_HOLD // 2, name="one", scope="request")

    async def story() -> None:
        late = ProviderTimeoutError("late", is_billed=True)
        stage = Stage({CHEAP: [late], DEAR: [reply_of()]}, policy=policy(each))
        await ask(stage)
        first, second = stage.ledger.intents()
        spent = stage.ledger.settlements()[0].charged_nanousd
        assert 0 < spent <= CHEAP_HOLD
        assert first.hold_nanousd == CHEAP_HOLD
        assert second.hold_nanousd == each.limit_nanousd - spent
        assert stage.vendor.calls[1].output_tokens_max < LIMIT
        assert (first.accounts, stage.store.book.size) == ((), (0, 0))

    leap(story())


def test_a_request_above_its_own_limit_is_refused_or_downgraded_at_once() -> None:
    async def story() -> None:
        stage = Stage({}, policy=policy(budget(1_000, name="one", scope="request")))
        with pytest.raises(BudgetExhaustedError) as caught:
            await ask(stage)
        assert (caught.value.data["scope"], caught.value.data["resets_at"]) == ("request", None)
        stage = only_dear(downgrading(least(DEAR_OUT) - 1, name="one", scope="request"))
        assert (await ask(stage)).bill.reason == "budget_downgrade"

    leap(story())


def test_soft_budgets_count_and_never_refuse() -> None:
    soft = (budget(1, name="soft", kind="soft"), budget(1, name="one", scope="request", kind="soft"))

    async def story() -> None:
        stage = Stage({CHEAP: [reply_of()]}, policy=policy(*soft))
        answer = await ask(stage)
        assert answer.bill.budget_remaining_nanousd is None
        assert stage.seen.over == ["soft", "one"]
        assert await stands(stage, soft[0]) == (USAGE_COST, 0)

    leap(story())


# --- other attempts --------------------------------------------------------------------------------------------------


def test_a_retry_waits_for_the_hold_before_it_to_go_back() -> None:
    each = budget(least(CHEAP_OUT))

    async def story() -> None:
        stage = Stage({CHEAP: [ProviderUnavailableError("busy"), reply_of()]}, policy=policy(each))
        await ask(stage)
        assert stage.vendor.asked == [CHEAP, CHEAP]

    leap(story())


def test_a_retry_waits_for_a_slow_store_to_take_the_hold_back() -> None:
    each = budget(least(CHEAP_OUT))

    async def story() -> None:
        store = Flaky()
        store.slow = "void"
        script = {CHEAP: [ProviderUnavailableError("busy"), reply_of()], DEAR: []}
        stage = Stage(script, policy=policy(each), budgets=store)
        await ask(stage)
        assert stage.vendor.asked == [CHEAP, CHEAP]

    leap(story())


def test_a_fallback_without_money_leaves_the_vendors_failure() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        late = ProviderTimeoutError("late", is_billed=True)
        stage = Stage({CHEAP: [late]}, policy=policy(each))
        with pytest.raises(ProviderTimeoutError):
            await ask(stage)
        settled, held = await stands(stage, each)
        assert held == 0
        assert least(CHEAP_OUT) < settled <= CHEAP_HOLD

    leap(story())


def test_an_escalation_without_money_leaves_the_answer_in_hand() -> None:
    each = budget(CHEAP_HOLD + least(DEAR_OUT) - 1)

    async def story() -> None:
        cascade = Cascade(("empty",))
        stage = Stage({CHEAP: [reply_of("")]}, policy=policy(each, cascade=cascade))
        stage.losses[f"anthropic/{CHEAP}"] = 0.01
        answer = await ask(stage)
        assert (answer.bill.model, answer.bill.cascade) == (CHEAP, "failed:empty")
        assert await stands(stage, each) == (USAGE_COST, 0)

    leap(story())


# --- failures of the stores ------------------------------------------------------------------------------------------


class Flaky(MemoryBudgets):
    """Fails, or is slow, as the test says; what fails may have been done all the same."""

    def __init__(self) -> None:
        super().__init__(LoopClock())
        self.fails: list[str] = []
        self.pause_s = 0.0
        self.slow = ""
        self.told: list[str] = []

    async def _pass(self, name: str) -> None:
        self.told.append(name)
        if self.pause_s or name == self.slow:
            await asyncio.sleep(self.pause_s or 0.9)
        if name in self.fails:
            self.fails.remove(name)
            raise BudgetStoreUnavailableError("away")

    async def reserve(self, *args: Any, **named: Any) -> Any:
        found = await super().reserve(*args, **named)
        await self._pass("reserve")
        return found

    async def settle(self, *args: Any) -> None:
        await self._pass("settle")
        await super().settle(*args)

    async def void(self, *args: Any) -> None:
        await self._pass("void")
        await super().void(*args)


def test_a_store_that_does_not_answer_is_503_before_any_vendor_and_holds_nothing() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        store = Flaky()
        store.fails = ["reserve"]
        stage = Stage({}, policy=policy(each), budgets=store)
        with pytest.raises(BudgetStoreUnavailableError) as caught:
            await ask(stage)
        assert (caught.value.http_status, stage.vendor.calls) == (503, [])
        assert [line.error_code for line in stage.ledger.rejections()] == ["budget_store_unavailable"]
        # Its answer was lost, not the hold: that is given back.
        assert await stands(stage, each) == (0, 0)
        assert store.book.size[1] == 1

    leap(story())


def test_a_settlement_that_fails_is_told_again_and_never_holds_up_the_answer() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        store = Flaky()
        store.fails = ["settle"] * 4
        stage = Stage({CHEAP: [reply_of()]}, policy=policy(each), budgets=store)
        began = asyncio.get_running_loop().time()
        await ask(stage)
        assert asyncio.get_running_loop().time() == began
        assert await stands(stage, each) == (USAGE_COST, 0)
        assert store.told.count("settle") == 5

    leap(story())


def test_a_ledger_that_cannot_write_gives_the_hold_back() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        stage = Stage({}, policy=policy(each))

        async def fail() -> None:
            raise LedgerUnavailableError("away")

        stage.ledger.before_append = fail
        with pytest.raises(LedgerUnavailableError):
            await ask(stage)
        assert await stands(stage, each) == (0, 0)

    leap(story())


def test_who_leaves_while_money_is_being_held_holds_nothing() -> None:
    each = budget(CHEAP_HOLD)

    async def story() -> None:
        store = Flaky()
        store.pause_s = 1.0
        stage = Stage({}, policy=policy(each), budgets=store)
        task = asyncio.ensure_future(ask(stage))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await stands(stage, each) == (0, 0)
        assert stage.vendor.calls == []

    leap(story())


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_says_what_is_left_and_is_charged_when_it_ends() -> None:
    each = budget(2 * CHEAP_HOLD)

    async def story() -> None:
        stage = Stage({CHEAP: [ScriptedStream()]}, policy=policy(each))
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert stream.budget_remaining_nanousd == CHEAP_HOLD
        await read_all(stream)
        assert stream.bill is not None
        assert stream.bill.budget_remaining_nanousd == CHEAP_HOLD
        assert await stands(stage, each) == (USAGE_COST, 0)

    leap(story())


def sliced(each: Budget, **changes: Any) -> Policy:
    """The cheap model stops billing when its connection closes."""
    made = policy(each, **changes)
    models = {**made.models, CHEAP: replace(made.models[CHEAP], bills_after_disconnect=False)}
    return replace(made, models=models)


SLICE = SLICE_TOKENS * CHEAP_OUT
FIRST_HOLD = INPUT_HOLD + 2 * SLICE


def long_answer(pieces: int) -> ScriptedStream:
    """Pieces of 512 bytes with a pause after each, then its end and its usage."""
    usage = Usage(TokenUsage(input_uncached=100, output_text=pieces * 128))
    said: list[Any] = [part for _ in range(pieces) for part in (TextDelta("word " * 102 + "wo"), 0.1)]
    return ScriptedStream([StreamStart("m", "x"), *said, Finish("stop"), UsageReport(usage)])


def test_a_model_that_stops_billing_is_held_in_slices_before_what_they_pay_for_goes_out() -> None:
    each = budget(100 * MILLION)

    async def story() -> None:
        stage = Stage({CHEAP: [long_answer(12)]}, policy=sliced(each))
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert stage.vendor.calls[0].output_tokens_max == LIMIT
        seen = 0
        async for event in stream:
            if isinstance(event, TextDelta):
                seen += len(event.text)
                (balance,) = await stage.store.balances([account_of(each)])
                paid = (balance.held_nanousd - INPUT_HOLD) // CHEAP_OUT
                assert paid >= min(LIMIT, seen + SLICE_TOKENS), "a slice ahead of what went out, up to the limit"
        assert seen == 12 * 512
        assert stage.ledger.intents()[0].hold_nanousd == CHEAP_HOLD
        assert await stands(stage, each) == (100 * 1_000 + 12 * 128 * CHEAP_OUT, 0)

    leap(story())


def test_a_stream_whose_money_ends_is_ended_cleanly_with_its_usage() -> None:
    each = budget(FIRST_HOLD + SLICE - 1)

    async def story() -> None:
        source = long_answer(40)
        stage = Stage({CHEAP: [source]}, policy=sliced(each))
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        events = await read_all(stream)
        assert events[-1] == Finish("length")
        assert [type(event) for event in events[:-1]] == [StreamStart, TextDelta, TextDelta]
        assert source.closes > 0
        (settlement,) = stage.ledger.settlements()
        assert (settlement.outcome, settlement.finish_reason, settlement.error_code) == (
            "answered", "length", "budget_exhausted",
        )  # fmt: skip
        assert stream.usage is not None
        assert (stream.usage.source, stream.usage.tokens) == ("estimated", settlement.tokens)
        assert stream.bill is not None
        assert stream.bill.usage_source == "estimated"
        settled, held = await stands(stage, each)
        assert settlement.cost_nanousd <= settled <= FIRST_HOLD
        assert held == 0
        assert stage.seen.denied == ["all"]

    leap(story())


def test_a_client_that_leaves_such_a_stream_closes_it_at_once() -> None:
    each = budget(100 * MILLION)

    async def story() -> None:
        source = long_answer(40)
        stage = Stage({CHEAP: [source]}, policy=sliced(each))
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        await anext(stream)
        await anext(stream)
        await stream.aclose()
        assert source.at < 6
        assert source.closes > 0
        settled, held = await stands(stage, each)
        assert held == 0
        assert settled <= INPUT_HOLD + 512 * CHEAP_OUT
        assert stage.ledger.settlements()[0].outcome == "client_left"

    leap(story())


def test_only_what_is_streamed_is_held_in_slices() -> None:
    each = budget(100 * MILLION)

    async def story() -> None:
        stage = Stage({CHEAP: [reply_of(), reply_of()]}, policy=sliced(each))
        answer = await ask(stage)
        assert answer.bill.budget_remaining_nanousd == each.limit_nanousd - CHEAP_HOLD
        await stage.treasury.catch_up(1.0)
        stage.policy = replace(stage.policy, cascade=Cascade(("empty",), buffers_streams=True))
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert stream.budget_remaining_nanousd == each.limit_nanousd - CHEAP_HOLD - USAGE_COST
        await stream.aclose()

    leap(story())


def test_a_stream_that_is_buffered_for_checks_is_not_held_in_slices_when_it_is_downgraded() -> None:
    each = downgrading(INPUT_HOLD + 600 * 500)

    async def story() -> None:
        made = policy(each, cascade=Cascade(("empty",), buffers_streams=True))
        tiny = replace(model_of("tiny", input_usd="1", output_usd="0.5"), bills_after_disconnect=False)
        stage = Stage({"tiny": [reply_of()]}, policy=replace(made, models={**made.models, "tiny": tiny}))
        stage.losses["anthropic/tiny"] = 0.3
        stream = await stage.gateway.open_stream(request_of(is_streamed=True), NOBODY, ANY)
        assert stream.decision.reason == "budget_downgrade"
        (call,) = stage.vendor.calls
        assert call.output_tokens_max == 600, "what is held, and no more: it may bill all of that"
        await stream.aclose()

    leap(story())
