"""What dead gateways had leased: charged in full by its lease, then for what their calls cost and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from router.budgets import OpenHold
from router.stores.budgets.leased import SLICE_LEASE_MS, VALID_S
from router.stores.budgets.stranded import WAIT_S
from tests.conformance.budgets.lessees import (
    SLICE,
    Asked,
    Slow,
    after_its_death,
    balance,
    begun,
    emptied,
    ended,
    gateway_over,
    held,
    warmed,
)
from tests.conformance.budgets.stands import LEASE_MS, claim_of

if TYPE_CHECKING:
    from tests.conformance.budgets.stands import Stand
    from tests.lines import StillClock


async def test_a_dead_gateways_slice_is_charged_in_full_until_its_calls_are_counted(
    shared: Asked, clock: StillClock
) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await begun(shared, gateway, "a", claim)
    await begun(shared, gateway, "b", claim)
    await ended(shared, gateway, "a", 40)
    clock.time_ms += SLICE_LEASE_MS
    other = gateway_over(shared, clock)
    await other.expire()
    assert await balance(shared, claim) == (SLICE, 0)
    clock.time_ms += round(WAIT_S * 1000) - 1
    await other.expire()
    assert await balance(shared, claim) == (SLICE, 0), "another slice of the chain may still run"
    clock.time_ms += 1
    await other.expire()
    assert await balance(shared, claim) == (40 + 100, 0), "b is open, and counts at its hold"
    assert not other._stranded._waiting


async def test_a_gateway_that_dies_between_two_slices_is_charged_for_the_calls_of_both_once(
    shared: Asked, clock: StillClock
) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    for name in "abc":
        await begun(shared, gateway, name, claim)
    await ended(shared, gateway, "a", 40)
    clock.time_ms += round(VALID_S * 1000)
    await begun(shared, gateway, "d", claim)
    await ended(shared, gateway, "b", 30)
    await after_its_death(shared, clock)
    assert await balance(shared, claim) == (40 + 30 + 100 + 100, 0)


@pytest.mark.parametrize("dies", [True, False])
async def test_what_ends_while_the_next_slice_is_asked_for_is_charged_once(
    shared: Asked, clock: StillClock, *, dies: bool
) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    for name in "abc":
        await begun(shared, gateway, name, claim)
    await ended(shared, gateway, "a", 40)
    clock.time_ms += round(VALID_S * 1000)
    shared.slow = Slow()
    rolling = asyncio.ensure_future(begun(shared, gateway, "d", claim))
    await shared.slow.is_there.wait()
    await ended(shared, gateway, "b", 30)
    shared.slow.may_go.set()
    await rolling
    shared.slow = None
    await gateway.sweep()  # the store is told what the first slice cost
    if dies:
        await after_its_death(shared, clock)
        assert await balance(shared, claim) == (40 + 30 + 100 + 100, 0)
    else:
        await ended(shared, gateway, "c", 20)
        await ended(shared, gateway, "d", 10)
        await gateway.aclose()
        assert await balance(shared, claim) == (40 + 30 + 20 + 10, 0)


async def test_what_a_stream_may_still_cost_is_never_charged_beyond_its_slice(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await begun(shared, gateway, "a", claim)
    shared.books.attempts["a"].hold_nanousd = 10 * SLICE
    await after_its_death(shared, clock)
    assert await balance(shared, claim) == (SLICE, 0)


async def test_what_this_ledger_knows_nothing_of_stays_charged_in_full(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    other = await after_its_death(shared, clock)
    assert await balance(shared, claim) == (SLICE, 0)
    assert not other._stranded._waiting


async def test_a_ledger_or_store_that_is_away_is_asked_again(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await begun(shared, gateway, "a", claim)
    await ended(shared, gateway, "a", 40)
    shared.books.is_away = True
    other = await after_its_death(shared, clock)
    assert await balance(shared, claim) == (SLICE, 0)
    shared.books.is_away = False
    await other.expire()
    assert await balance(shared, claim) == (40, 0)


async def test_a_gateway_that_could_not_reach_the_store_for_too_long_corrects_its_own_slice(
    shared: Asked, clock: StillClock
) -> None:
    gateway, other, claim = gateway_over(shared, clock), gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await begun(shared, gateway, "a", claim)
    await begun(shared, gateway, "b", claim)
    await ended(shared, gateway, "a", 40)
    clock.time_ms += SLICE_LEASE_MS
    await other.expire()
    assert await balance(shared, claim) == (SLICE, 0)
    await begun(shared, gateway, "c", claim)
    await gateway.sweep()
    assert await balance(shared, claim) == (40 + 100, 100), "b is under way, and stays charged at its hold"
    await ended(shared, gateway, "b", 60)
    await ended(shared, gateway, "c", 10)
    clock.time_ms += round(WAIT_S * 1000)
    await other.expire()
    await gateway.aclose()
    assert await balance(shared, claim) == (140 + 10, 0)


async def test_a_gateway_that_stood_still_longer_than_its_lease_is_never_charged_less_than_its_calls_cost(
    shared: Asked, clock: StillClock
) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await begun(shared, gateway, "a", claim)
    await begun(shared, gateway, "b", claim)
    await ended(shared, gateway, "a", 40)
    await after_its_death(shared, clock)
    assert await balance(shared, claim) == (140, 0)
    await ended(shared, gateway, "b", 60)
    for name in "cdef":
        await begun(shared, gateway, name, claim)
        await ended(shared, gateway, name, 10)
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, claim) == (140 + 40, 0)


async def test_what_ended_while_a_slice_was_asked_for_is_closed_too_where_the_store_then_loses_its_memory(
    stand: Stand, clock: StillClock
) -> None:
    before, after = await stand.open(), await stand.open()
    shared, claim = Asked(before), claim_of(100_000, "lost")
    gateway = gateway_over(shared, clock)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    await held(gateway, "b", claim)
    clock.time_ms += round(VALID_S * 1000)
    shared.slow = Slow()
    rolling = asyncio.ensure_future(held(gateway, "c", claim))
    await shared.slow.is_there.wait()
    await gateway.settle("b", 50)
    shared.slow.may_go.set()
    await rolling
    shared.slow = None
    # The ledger was read a moment before it had the settlement of `b`.
    shared.store = fresh = await emptied(stand, before, after)
    account = claim.account(claim.windows[1])
    await fresh.rebuild([], [OpenHold(name, 100, (account,), clock.time_ms + LEASE_MS) for name in "abc"])
    await gateway.settle("a", 40)
    await gateway.settle("c", 5)
    clock.time_ms += round(VALID_S * 1000)
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, claim) == (40 + 50 + 5, 0)
