"""Whatever fails and whenever it is cut off: no budget is passed by what vendors bill, and no hold stays behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budgets import Budget, Claim
from router.budgets.windows import ENDLESS
from router.catalog import cost_nanousd, hold_nanousd, output_tokens_within
from router.chat import Finish, StreamStart, TextDelta, UsageReport
from router.clock import SystemClock
from router.errors import (
    BudgetStoreUnavailableError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RouterError,
)
from router.policy import Cascade
from router.stores.budgets import open_budgets
from router.stores.budgets.memory import MemoryBudgets
from router.tokens import TokenUsage, Usage
from tests.builders import model_of, policy_of, request_of
from tests.properties.test_holds import schedules
from tests.router.scripted import ANY, CHEAP, DEAR, NOBODY, LoopClock, ScriptedStream, Stage, leap, read_all, reply_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.budgets import Balance, Denial, Grant
    from router.catalog import PriceSchedule
    from router.policy import Policy
    from router.ports import Call

LEASE_S = 900.0
# A request of the builders has 90 bytes: its input is held at 1,130 tokens, and really is at most 64.
DEAR_HOLD = 1_130 * 1_000 + 4_096 * 5_500


@given(st.data(), st.integers(0, 1_200_000), st.integers(0, 200_000), st.booleans(), st.integers(0, 10**6))
def test_the_output_that_a_hold_pays_for_is_the_most_that_it_pays_for(
    data: st.DataObject, input_max: int, output: int, may_write_cache: bool, more: int
) -> None:
    schedule: PriceSchedule = data.draw(st.sampled_from(schedules()))
    held = hold_nanousd(schedule, input_max, output, may_write_cache=may_write_cache) + more
    paid = output_tokens_within(schedule, input_max, held, may_write_cache=may_write_cache)
    if paid is None:
        assert all(tier.output_text == tier.output_reasoning == 0 for tier in schedule.tiers)
        return
    assert paid >= output
    assert hold_nanousd(schedule, input_max, paid, may_write_cache=may_write_cache) <= held
    assert hold_nanousd(schedule, input_max, paid + 1, may_write_cache=may_write_cache) > held


# --- a store behind a wire -------------------------------------------------------------------------------------------


@dataclass
class Wire:
    """A store that answers late or not at all, by a script; what was not answered may have been done all the same.

    Once severed nothing reaches it any more: the process that asks has died.
    """

    store: MemoryBudgets
    script: list[tuple[str, float]]
    is_severed: bool = False

    async def _pass(self, work: Callable[[], Awaitable[Any]]) -> Any:
        what, pause_s = self.script.pop(0) if self.script else ("answer", 0.0)
        if pause_s:
            await asyncio.sleep(pause_s)
        if self.is_severed:
            await asyncio.Event().wait()
        if what == "lost on the way":
            raise BudgetStoreUnavailableError("away")
        found = await work()
        if what == "answer lost":
            raise BudgetStoreUnavailableError("away")
        if pause_s:
            await asyncio.sleep(pause_s)
        return found

    async def reserve(self, *args: Any, **named: Any) -> Grant | Denial:
        found: Grant | Denial = await self._pass(partial(self.store.reserve, *args, **named))
        return found

    async def extend(self, *args: Any, **named: Any) -> Grant | Denial:
        found: Grant | Denial = await self._pass(partial(self.store.extend, *args, **named))
        return found

    async def settle(self, *args: Any) -> None:
        await self._pass(partial(self.store.settle, *args))

    async def void(self, *args: Any) -> None:
        await self._pass(partial(self.store.void, *args))


# --- vendors that bill -----------------------------------------------------------------------------------------------


@dataclass
class Vendor:
    """Bills what it did, whatever its client gets to see of it."""

    steps: list[tuple[str, float, int, float]]
    billed_nanousd: int = 0
    calls: list[Call] = field(default_factory=list)

    async def _begin(self, call: Call) -> tuple[str, float, Usage]:
        """What happens, how long it takes, and what is billed for it at most: the limit that the call named."""
        what, pause_s, input_tokens, share = self.steps.pop(0) if self.steps else ("answer", 0.0, 9, 0.1)
        self.calls.append(call)
        limit = call.output_tokens_max
        usage = Usage(TokenUsage(input_tokens, 0, 0, 0, min(limit, 20) if what == "uncounted" else int(share * limit)))
        if what not in ("refused", "rejected"):
            self.billed_nanousd += cost_nanousd(call.deployment.model.prices, usage.tokens)
        await asyncio.sleep(pause_s)
        match what:
            case "refused":
                raise ProviderUnavailableError("busy")
            case "rejected":
                raise ProviderRejectedError("no", status=400)
            case "failed":
                raise ProviderError("torn", is_billed=True)
            case "late":
                raise ProviderTimeoutError("late", is_billed=True)
        return what, pause_s, usage

    async def complete(self, call: Call) -> Any:
        what, _, usage = await self._begin(call)
        text = "" if what == "empty" else "Paris."
        return reply_of(text, usage=None if what == "uncounted" else usage)

    async def open_stream(self, call: Call) -> ScriptedStream:
        what, pause_s, usage = await self._begin(call)
        end: list[Any] = [Finish("stop")] if what == "uncounted" else [Finish("stop"), UsageReport(usage)]
        if what == "empty":
            end = [ProviderError("torn", is_billed=True)]
        return ScriptedStream([StreamStart("m", "x"), TextDelta("Paris."), pause_s, TextDelta("!"), *end])


PAUSES = st.sampled_from([0.0, 0.0, 0.01, 1.0, 20.0])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "uncounted", "refused", "rejected", "failed", "late", "empty"]),
        PAUSES,
        st.integers(1, 64),
        st.sampled_from([0.0, 0.1, 1.0]),
    ),
    max_size=12,
)
STORE = st.lists(
    st.tuples(st.sampled_from(["answer"] * 5 + ["lost on the way", "answer lost"]), st.sampled_from([0.0, 0.0, 0.3])),
    max_size=20,
)
REQUESTS = st.lists(st.tuples(st.booleans(), PAUSES, st.none() | st.floats(0, 60)), min_size=1, max_size=6)


def policy(limit_nanousd: int, when_exhausted: str, *, has_cascade: bool) -> Policy:
    budgets = (
        Budget("all", "all", "total", limit_nanousd, when_exhausted=when_exhausted, queue_s=5.0),  # type: ignore[arg-type]
        Budget("key", "key", "total", limit_nanousd, queue_s=5.0),
    )
    made = policy_of(
        model_of(CHEAP, input_usd="1", output_usd="5", tier="economy"),
        model_of(DEAR, input_usd="1", output_usd="5.5", tier="premium"),
        premium=DEAR,
    )
    cascade = Cascade(("empty",), buffers_streams=True) if has_cascade else None
    return replace(made, budgets=budgets, cascade=cascade)


def claims(limit_nanousd: int) -> tuple[Claim, ...]:
    return tuple(Claim(name, "", limit_nanousd, True, (ENDLESS,)) for name in ("all", "key"))


@given(
    REQUESTS,
    STEPS,
    STORE,
    st.sampled_from([DEAR_HOLD // 3, DEAR_HOLD, 2 * DEAR_HOLD, 5 * DEAR_HOLD]),
    st.sampled_from(["reject", "downgrade", "queue"]),
    st.booleans(),
    st.none() | st.floats(0, 30),
)
def test_no_budget_is_passed_and_every_hold_is_closed(
    requests: list[tuple[bool, float, float | None]],
    steps: list[tuple[str, float, int, float]],
    script: list[tuple[str, float]],
    limit: int,
    when_exhausted: str,
    has_cascade: bool,
    dies_at_s: float | None,
) -> None:
    async def story() -> None:
        store = MemoryBudgets(LoopClock())
        wire = Wire(store, list(script))
        stage = Stage({}, policy=policy(limit, when_exhausted, has_cascade=has_cascade), budgets=wire)
        vendor = Vendor(list(steps))
        stage.dispatch.providers["anthropic"] = vendor  # type: ignore[index]

        tasks = [asyncio.ensure_future(one(stage, is_streamed, begins_s)) for is_streamed, begins_s, _ in requests]
        loop = asyncio.get_running_loop()
        for task, (_, _, leaves_s) in zip(tasks, requests, strict=True):
            if leaves_s is not None:
                loop.call_later(leaves_s, task.cancel)
        if dies_at_s is None:
            results = await asyncio.gather(*tasks, return_exceptions=True)
            known = RouterError | asyncio.CancelledError | None
            assert all(isinstance(each, known) for each in results), results
            await stage.background.aclose(100.0)
            await stage.treasury.aclose(1_000.0)
            await stage.ledger.require_whole()
        else:
            await die(stage, wire, tasks, dies_at_s)
            await asyncio.sleep(2 * LEASE_S)
            await store.expire()
        stands = await store.balances(claims(limit))
        require_sound(stands, vendor, limit)
        if dies_at_s is None:
            spend = await stage.ledger.spend()
            assert [spend[each.account].settled_nanousd if each.account in spend else 0 for each in stands] == [
                each.settled_nanousd for each in stands
            ]
        assert len(stage.treasury.turns) == 0 or dies_at_s is not None
        assert all(each.state != "open" for each in store.book._state.reservations.values())

    leap(story())


def require_sound(stands: tuple[Balance, ...], vendor: Vendor, limit: int) -> None:
    for each in stands:
        assert each.held_nanousd == 0
        assert vendor.billed_nanousd <= each.settled_nanousd <= limit


async def one(stage: Stage, is_streamed: bool, begins_s: float) -> None:
    await asyncio.sleep(begins_s)
    request = request_of(is_streamed=is_streamed)
    if not is_streamed:
        await stage.gateway.answer(request, NOBODY, ANY)
        return
    stream = await stage.gateway.open_stream(request, NOBODY, ANY)
    try:
        await read_all(stream)
    finally:
        await stream.aclose()


async def die(stage: Stage, wire: Wire, tasks: list[asyncio.Task[None]], at_s: float) -> None:
    """The process is gone at this moment: nothing of it reaches the store any more."""
    await asyncio.wait(tasks, timeout=at_s)
    wire.is_severed = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await stage.background.aclose(0.0)
    await stage.treasury.aclose(0.0)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_cut_off_at_any_moment_no_hold_stays_on_disk(is_streamed: bool) -> None:
    limit, charged, called = 10**12, 0, 0
    with TemporaryDirectory() as folder:
        store = await open_budgets(None, home=Path(folder), clock=SystemClock())
        for moment in range(60):
            script = {name: [ScriptedStream() if is_streamed else reply_of()] for name in (CHEAP, DEAR)}
            stage = Stage(script, policy=policy(limit, "reject", has_cascade=False), budgets=store)
            task = asyncio.ensure_future(one(stage, is_streamed, 0.0))
            if moment < 20:
                for _ in range(moment):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep((moment - 20) * 0.0002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await stage.background.aclose(10.0)
            await stage.treasury.aclose(10.0)
            charged += sum(each.charged_nanousd for each in stage.ledger.settlements())
            called += len(stage.vendor.calls)
        for each in await store.balances(claims(limit)):
            assert (each.held_nanousd, each.settled_nanousd) == (0, charged)
        await store.aclose()
    assert called > 5
