"""What dead gateways had leased: charged in full by its lease, then for what their calls cost and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from router.stores.budgets.leased import SLICE_LEASE_MS, VALID_S
from router.stores.budgets.stranded import WAIT_S
from tests.conformance.budgets.lessees import (
    LOST,
    SLICE,
    Asked,
    Slow,
    after_its_death,
    balance,
    begun,
    ended,
    gateway_over,
    held,
    leasing_until_all_is_lost,
    warmed,
)
from tests.conformance.budgets.stands import claim_of

if TYPE_CHECKING:
    from router.stores.budgets.leased import LeasedBudgets
    from tests.conformance.budgets.stands import Stand
    from tests.lines import StillClock


CLAIM = claim_of(100_000)


async def leasing(shared: Asked, clock: StillClock, calls: str) -> LeasedBudgets:
    """A gateway with so many calls in one slice, of which `a` has ended and cost 40."""
    gateway = gateway_over(shared, clock)
    await warmed(gateway, CLAIM)
    for name in calls:
        await begun(shared, gateway, name, CLAIM)
    await ended(shared, gateway, "a", 40)
    return gateway


async def test_a_dead_gateways_slice_is_charged_in_full_until_its_calls_are_counted(
    shared: Asked, clock: StillClock
) -> None:
    await leasing(shared, clock, "ab")
    clock.time_ms += SLICE_LEASE_MS
    other = gateway_over(shared, clock)
    await other.expire()
    assert await balance(shared, CLAIM) == (SLICE, 0)
    clock.time_ms += round(WAIT_S * 1000) - 1
    await other.expire()
    assert await balance(shared, CLAIM) == (SLICE, 0), "another slice of the chain may still run"
    clock.time_ms += 1
    await other.expire()
    assert await balance(shared, CLAIM) == (40 + 100, 0), "b is open, and counts at its hold"
    assert not other._stranded._waiting


async def test_a_gateway_that_dies_between_two_slices_is_charged_for_the_calls_of_both_once(
    shared: Asked, clock: StillClock
) -> None:
    gateway = await leasing(shared, clock, "abc")
    clock.time_ms += round(VALID_S * 1000)
    await begun(shared, gateway, "d", CLAIM)
    await ended(shared, gateway, "b", 30)
    await after_its_death(shared, clock)
    assert await balance(shared, CLAIM) == (40 + 30 + 100 + 100, 0)


@pytest.mark.parametrize("dies", [True, False])
async def test_what_ends_while_the_next_slice_is_asked_for_is_charged_once(
    shared: Asked, clock: StillClock, *, dies: bool
) -> None:
    gateway = await leasing(shared, clock, "abc")
    clock.time_ms += round(VALID_S * 1000)
    shared.slow = Slow()
    rolling = asyncio.ensure_future(begun(shared, gateway, "d", CLAIM))
    await shared.slow.is_there.wait()
    await ended(shared, gateway, "b", 30)
    shared.slow.may_go.set()
    await rolling
    shared.slow = None
    await gateway.sweep()  # the store is told what the first slice cost
    if dies:
        await after_its_death(shared, clock)
        assert await balance(shared, CLAIM) == (40 + 30 + 100 + 100, 0)
    else:
        await ended(shared, gateway, "c", 20)
        await ended(shared, gateway, "d", 10)
        await gateway.aclose()
        assert await balance(shared, CLAIM) == (40 + 30 + 20 + 10, 0)


async def test_what_a_stream_may_still_cost_is_never_charged_beyond_its_slice(shared: Asked, clock: StillClock) -> None:
    gateway = gateway_over(shared, clock)
    await warmed(gateway, CLAIM)
    await begun(shared, gateway, "a", CLAIM)
    shared.books.attempts["a"].hold_nanousd = 10 * SLICE
    await after_its_death(shared, clock)
    assert await balance(shared, CLAIM) == (SLICE, 0)


async def test_what_this_ledger_knows_nothing_of_stays_charged_in_full(shared: Asked, clock: StillClock) -> None:
    gateway = gateway_over(shared, clock)
    await warmed(gateway, CLAIM)
    await held(gateway, "a", CLAIM)
    other = await after_its_death(shared, clock)
    assert await balance(shared, CLAIM) == (SLICE, 0)
    assert not other._stranded._waiting


async def test_a_ledger_or_store_that_is_away_is_asked_again(shared: Asked, clock: StillClock) -> None:
    await leasing(shared, clock, "a")
    shared.books.is_away = True
    other = await after_its_death(shared, clock)
    assert await balance(shared, CLAIM) == (SLICE, 0)
    shared.books.is_away = False
    await other.expire()
    assert await balance(shared, CLAIM) == (40, 0)


async def test_a_gateway_that_could_not_reach_the_store_for_too_long_corrects_its_own_slice(
    shared: Asked, clock: StillClock
) -> None:
    gateway, other = await leasing(shared, clock, "ab"), gateway_over(shared, clock)
    clock.time_ms += SLICE_LEASE_MS
    await other.expire()
    assert await balance(shared, CLAIM) == (SLICE, 0)
    await begun(shared, gateway, "c", CLAIM)
    await gateway.sweep()
    assert await balance(shared, CLAIM) == (40 + 100, 100), "b is under way, and stays charged at its hold"
    await ended(shared, gateway, "b", 60)
    await ended(shared, gateway, "c", 10)
    clock.time_ms += round(WAIT_S * 1000)
    await other.expire()
    await gateway.aclose()
    assert await balance(shared, CLAIM) == (140 + 10, 0)


async def test_a_gateway_that_stood_still_longer_than_its_lease_is_never_charged_less_than_its_calls_cost(
    shared: Asked, clock: StillClock
) -> None:
    gateway = await leasing(shared, clock, "ab")
    await after_its_death(shared, clock)
    assert await balance(shared, CLAIM) == (140, 0)
    await ended(shared, gateway, "b", 60)
    for name in "cdef":
        await begun(shared, gateway, name, CLAIM)
        await ended(shared, gateway, name, 10)
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, CLAIM) == (140 + 40, 0)


async def test_what_ended_while_a_slice_was_asked_for_is_closed_too_where_the_store_then_loses_its_memory(
    stand: Stand, clock: StillClock
) -> None:
    shared, gateway, forget = await leasing_until_all_is_lost(stand, clock, "ab")
    clock.time_ms += round(VALID_S * 1000)
    shared.slow = Slow()
    rolling = asyncio.ensure_future(held(gateway, "c", LOST))
    await shared.slow.is_there.wait()
    await gateway.settle("b", 50)
    shared.slow.may_go.set()
    await rolling
    shared.slow = None
    # The ledger was read a moment before it had the settlement of `b`.
    await forget("abc", 0)
    await gateway.settle("a", 40)
    await gateway.settle("c", 5)
    clock.time_ms += round(VALID_S * 1000)
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, LOST) == (40 + 50 + 5, 0)
