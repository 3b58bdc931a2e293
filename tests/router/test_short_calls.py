"""Calls that the deadline leaves little time for: not made where they are doomed, and no deployment's fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from router.budgets import Budget
from router.dispatch import FAIR_SHARE, FALLBACK_SHARE_MIN, is_fair, within
from router.errors import BudgetExhaustedError, ProviderError, ProviderTimeoutError
from router.policy import Upstream
from tests.builders import request_of
from tests.router.scripted import ANY, CHEAP, DEAR, NOBODY, Stage, after, leap, policy_with, reply_of

if TYPE_CHECKING:
    from router.chat import Reply
    from router.ports import Call

HOLD_NANOUSD = 1_130 * 1_000 + 4_096 * 5_000
DEADLINE_S = 100.0


def late() -> ProviderTimeoutError:
    return ProviderTimeoutError("vendor sent no first byte in time", is_billed=True)


async def answers_in_two_seconds(call: Call) -> Reply:
    """A healthy vendor, as long as it is waited for."""
    limit_s = call.upstream.connect_timeout_s + call.upstream.first_byte_timeout_s
    await asyncio.sleep(min(limit_s, 2.0))
    if limit_s < 2:
        raise late()
    return reply_of()


@pytest.mark.parametrize(
    ("first_byte_s", "kept_s"), [(60.0, DEADLINE_S / 2), (15.0, 20.0), (45.0, 50.0), (500.0, DEADLINE_S / 2)]
)
def test_the_line_is_left_in_time_for_a_real_call(first_byte_s: float, kept_s: float) -> None:
    each = Budget(name="all", scope="all", window="total", limit_nanousd=HOLD_NANOUSD, queue_s=500.0)
    made = policy_with(deadline_s=DEADLINE_S, first_byte_timeout_s=first_byte_s, cooldown_failures=1)

    async def asked_while_held_for(held_s: float) -> tuple[str, float]:
        stage = Stage(
            {CHEAP: [after(held_s, reply_of()), answers_in_two_seconds]}, policy=replace(made, budgets=(each,))
        )
        first = asyncio.ensure_future(stage.gateway.answer(request_of(model=CHEAP), NOBODY, ANY))
        await asyncio.sleep(0)
        begun_s = asyncio.get_running_loop().time()
        try:
            await stage.gateway.answer(request_of("another one", model=CHEAP), NOBODY, ANY)
            said = "answered"
        except BudgetExhaustedError:
            said = "refused"
        waited_s = asyncio.get_running_loop().time() - begun_s
        await first
        await stage.treasury.aclose(100.0)
        assert stage.cooldowns.resting(stage.clock.monotonic_s()) == {}
        return said, waited_s

    said, waited_s = leap(asked_while_held_for(DEADLINE_S - kept_s - 1))
    assert (said, waited_s) == ("answered", pytest.approx(DEADLINE_S - kept_s + 1, abs=0.5))
    said, waited_s = leap(asked_while_held_for(DEADLINE_S - kept_s + 1))
    assert (said, waited_s) == ("refused", pytest.approx(DEADLINE_S - kept_s, abs=0.5))


@pytest.mark.parametrize(("took_s", "rests"), [(1.0, True), (40.0, False), (90.0, False)])
def test_a_timeout_of_a_fallback_that_was_given_little_time_is_not_its_failure(took_s: float, rests: bool) -> None:
    policy = policy_with(deadline_s=DEADLINE_S, first_byte_timeout_s=95.0, cooldown_failures=1)
    stage = Stage({CHEAP: [after(took_s, late())], DEAR: [late()]}, policy=policy)

    async def story() -> dict[str, float]:
        with pytest.raises(ProviderTimeoutError):
            await stage.gateway.answer(request_of(), NOBODY, ANY)
        return stage.cooldowns.resting(stage.clock.monotonic_s())

    resting = leap(story())
    assert stage.vendor.asked == [CHEAP, DEAR]
    assert CHEAP in resting
    assert (DEAR in resting) is rests


def test_another_kind_of_failure_counts_however_little_time_there_was() -> None:
    policy = policy_with(deadline_s=DEADLINE_S, first_byte_timeout_s=95.0, cooldown_failures=1)
    stage = Stage({CHEAP: [after(80.0, late())], DEAR: [ProviderError("odd", is_billed=True)]}, policy=policy)

    async def story() -> dict[str, float]:
        with pytest.raises(ProviderError):
            await stage.gateway.answer(request_of(), NOBODY, ANY)
        return stage.cooldowns.resting(stage.clock.monotonic_s())

    assert set(leap(story())) == {CHEAP, DEAR}


@pytest.mark.parametrize(("left_s", "asked"), [(4.0, [CHEAP]), (6.0, [CHEAP, DEAR])])
def test_a_fallback_is_not_asked_where_it_could_hardly_answer(left_s: float, asked: list[str]) -> None:
    assert 4.0 < FALLBACK_SHARE_MIN * DEADLINE_S < 6.0
    stage = Stage(
        {CHEAP: [after(DEADLINE_S - left_s, late())], DEAR: [reply_of()]}, policy=policy_with(deadline_s=DEADLINE_S)
    )

    async def story() -> None:
        await asyncio.gather(stage.gateway.answer(request_of(), NOBODY, ANY), return_exceptions=True)

    leap(story())
    assert stage.vendor.asked == asked


@pytest.mark.parametrize("upstream", [Upstream(), Upstream(deadline_s=10.0), Upstream(deadline_s=0.1)])
def test_what_begins_at_once_is_given_its_fair_time_whatever_the_deadline(upstream: Upstream) -> None:
    """Else a vendor that hangs would never rest where the deadline is shorter than the wait for a first byte."""
    assert is_fair(within(upstream, upstream.deadline_s - 0.001), upstream)
    full_s = min(upstream.connect_timeout_s + upstream.first_byte_timeout_s, upstream.deadline_s)
    assert is_fair(within(upstream, FAIR_SHARE * full_s + 0.01), upstream)
    assert full_s < 1 or not is_fair(within(upstream, FAIR_SHARE * full_s - 0.01), upstream)
