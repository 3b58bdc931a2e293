"""Leases over every store: as strict as it, whatever gateways do and however they end; and far fewer questions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from router.budgets import Denial, Expired, Grant
from router.errors import BudgetStoreUnavailableError
from router.stores.budgets import leased
from router.stores.budgets.leased import SLICE_LEASE_MS, VALID_S
from tests.conformance.budgets.lessees import (
    LOST,
    SLICE,
    Asked,
    Herd,
    Told,
    after_its_death,
    balance,
    gateway_over,
    held,
    leasing_until_all_is_lost,
    warmed,
)
from tests.conformance.budgets.stands import DAY_MS, LEASE_MS, claim_of, windows_of

if TYPE_CHECKING:
    from tests.conformance.budgets.stands import Stand
    from tests.lines import StillClock


@pytest.mark.parametrize("seed", range(8))
async def test_no_interleaving_of_gateways_and_their_deaths_passes_a_limit(
    shared: Asked, clock: StillClock, seed: int
) -> None:
    herd = Herd(shared, clock, seed)
    claims = (herd.company, *herd.teams)
    for number in range(400):
        await herd.step(number)
        for claim in claims:
            assert herd.taken(claim.owner) <= claim.limit_nanousd
            assert sum(await balance(shared, claim)) <= claim.limit_nanousd
    for name in tuple(herd.live):
        await herd.settle(name)
    for each in herd.gateways:
        await each.aclose()
    clock.time_ms += max(SLICE_LEASE_MS, LEASE_MS) + 1
    await after_its_death(shared, clock)
    for claim in claims:
        settled, reserved = await balance(shared, claim)
        assert reserved == 0, "nothing stays held"
        assert herd.taken(claim.owner) <= settled <= claim.limit_nanousd
        if not herd.has_lost_stream:
            assert settled == herd.taken(claim.owner), "what calls cost, and what those of the dead held: exactly"
    assert len(shared.asked) < 500, "leases were at work"


async def test_most_calls_ask_no_store(shared: Asked, clock: StillClock) -> None:
    claim, gateway = claim_of(10**9), gateway_over(shared, clock)
    for index in range(500):
        clock.time_ms += 2
        assert isinstance(await held(gateway, f"c{index}", claim), Grant)
        await gateway.settle(f"c{index}", 40)
    assert len(shared.asked) < 30, shared.asked
    await gateway.aclose()
    assert await balance(shared, claim) == (500 * 40, 0)


async def test_near_a_limit_and_for_what_comes_once_each_call_asks_the_store(shared: Asked, clock: StillClock) -> None:
    gateway, tight = gateway_over(shared, clock), claim_of(2_000)
    for index in range(10):
        await held(gateway, f"c{index}", tight)
    assert shared.asked.count("reserve") == 10, "a twentieth of 2,000 is no slice for calls of 100"
    assert isinstance(await held(gateway, "more", tight, least=1_100, most=1_100), Denial)
    shared.asked.clear()
    for index in range(10):
        await held(gateway, f"s{index}", claim_of(10**9, "session", f"session-{index}"))
    assert shared.asked.count("reserve") == 10
    await gateway.aclose()


async def test_who_held_a_call_is_told_and_what_lies_ready_for_the_next(shared: Asked, clock: StillClock) -> None:
    told, claim = Told(), claim_of(100_000)
    gateway = gateway_over(shared, clock, observer=told)
    await warmed(gateway, claim)
    for name in ("a", "b"):
        await held(gateway, name, claim)
    assert told.held == [False, False, True, True]
    await gateway.sweep()
    assert told.leased_nanousd == SLICE - 2 * 100
    for name in ("a", "b"):
        await gateway.settle(name, 7)
    clock.time_ms += round(VALID_S * 1000)
    await gateway.sweep()
    assert told.leased_nanousd == 0
    await gateway.aclose()


async def test_without_a_share_it_is_the_store(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock, 0.0), claim_of(10**9)
    for index in range(10):
        assert await held(gateway, f"c{index}", claim) == await held(gateway, f"c{index}", claim)
    assert shared.asked == ["reserve"] * 20
    await gateway.aclose()


async def test_what_nobody_uses_goes_back_within_seconds(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    assert await balance(shared, claim) == (0, SLICE), "a slice of a twentieth"
    ((_, settled, reserved),) = await gateway.balances([claim])
    assert (settled, reserved) == (0, 100), "of which people see what calls hold"
    clock.time_ms += round(VALID_S * 1000)
    await gateway.sweep()
    assert await balance(shared, claim) == (0, 100), "the call under way alone"
    await gateway.settle("a", 70)
    clock.time_ms += round(VALID_S * 1000)
    await gateway.sweep()
    assert await balance(shared, claim) == (70, 0)
    await gateway.aclose()


async def test_the_same_call_asked_for_twice_holds_once_and_closes_once(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    direct = await held(gateway, "direct", claim)
    await warmed(gateway, claim)
    assert await held(gateway, "direct", claim) == direct, "in the store, where it was made"
    first = await held(gateway, "a", claim)
    assert await held(gateway, "a", claim) == first
    await gateway.settle("a", 30)
    await gateway.settle("a", 99)
    await gateway.void("a")
    assert await held(gateway, "a", claim) == first
    await gateway.void("direct")
    await gateway.aclose()
    assert await balance(shared, claim) == (30, 0)


async def test_a_slice_grows_with_a_stream_and_a_limit_ends_it(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(4_000)
    await warmed(gateway, claim)
    assert isinstance(await held(gateway, "a", claim), Grant)
    grown = await gateway.extend("a", 3_000, lease_ms=LEASE_MS)
    assert isinstance(grown, Grant)
    assert grown.held_nanousd == 3_100
    assert isinstance(await gateway.extend("a", 3_000, lease_ms=LEASE_MS), Denial)
    await gateway.settle("a", 3_050)
    await gateway.aclose()
    assert await balance(shared, claim) == (3_050, 0)


async def test_a_call_past_its_lease_is_charged_in_full(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    clock.time_ms += LEASE_MS
    assert Expired("a", 100) in await gateway.expire()
    await gateway.aclose()
    assert await balance(shared, claim) == (100, 0)


async def test_a_new_window_has_slices_of_its_own(shared: Asked, clock: StillClock) -> None:
    gateway, today = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, today)
    await held(gateway, "a", today)
    tomorrow = today._replace(windows=windows_of(DAY_MS, clock.time_ms + DAY_MS))
    clock.time_ms += DAY_MS
    answer = await held(gateway, "b", tomorrow)
    assert isinstance(answer, Grant)
    assert answer.accounts == (tomorrow.account(tomorrow.windows[1]),)
    await gateway.settle("b", 5)
    await gateway.settle("a", 60)
    await gateway.aclose()
    assert await balance(shared, tomorrow) == (5, 0)


async def test_while_the_store_is_away_a_slice_serves_its_time_and_no_longer(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    shared.is_away = True
    assert isinstance(await held(gateway, "b", claim), Grant)
    clock.time_ms += round(VALID_S * 1000)
    with pytest.raises(BudgetStoreUnavailableError):
        await held(gateway, "c", claim)
    await gateway.settle("a", 10)
    await gateway.settle("b", 20)
    shared.is_away = False
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, claim) == (30, 0), "what may have been held although no answer came is given back"


async def test_an_outage_is_told_once_and_neither_it_nor_a_bug_ends_the_sweeping(
    shared: Asked, clock: StillClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leased, "SWEEP_S", 0.01)
    gateway, claim = gateway_over(shared, clock), claim_of(100_000)
    await warmed(gateway, claim)
    await held(gateway, "a", claim)
    await gateway.settle("a", 10)
    clock.time_ms += round(VALID_S * 1000)

    async def told(count: int) -> list[tuple[str, object]]:
        while len(caplog.records) < count:  # noqa: ASYNC110  # a log has no event to wait for
            await asyncio.sleep(0.005)
        return [(each.getMessage(), vars(each)["fields"].get("reason")) for each in caplog.records]

    with monkeypatch.context() as broken:
        shared.is_away = True
        await told(1)
        await asyncio.sleep(0.1)
        shared.is_away = False
        broken.setattr(shared, "store", None)  # what is asked of it then is a bug of ours
        await asyncio.sleep(0.1)
    assert await told(2) == [("leases not swept", "budget_store_unavailable"), ("leases swept again", None)]
    assert await balance(shared, claim) == (10, 0)
    await gateway.aclose()


async def test_a_store_that_lost_its_memory_has_no_slices_and_each_call_is_closed_as_the_ledger_told_it(
    stand: Stand, clock: StillClock
) -> None:
    shared, gateway, forget = await leasing_until_all_is_lost(stand, clock, "abc")
    await gateway.settle("a", 40)
    # What the ledger tells: `a` is settled, `b` and `c` are under way; `b` ends before the gateway notices.
    await forget("bc", 40)
    await gateway.settle("b", 50)
    clock.time_ms += round(VALID_S * 1000)
    await held(gateway, "d", LOST)
    await gateway.settle("c", 60)
    await gateway.settle("d", 5)
    await gateway.sweep()
    await gateway.aclose()
    assert await balance(shared, LOST) == (40 + 50 + 60 + 5, 0)


async def test_many_at_once_share_one_question(shared: Asked, clock: StillClock) -> None:
    gateway, claim = gateway_over(shared, clock), claim_of(10**8)
    await warmed(gateway, claim)
    shared.asked.clear()
    grants = await asyncio.gather(*(held(gateway, f"c{index}", claim) for index in range(40)))
    assert all(isinstance(each, Grant) for each in grants)
    assert shared.asked == ["reserve"]
    await asyncio.gather(*(gateway.settle(f"c{index}", 7) for index in range(40)))
    await gateway.aclose()
    assert await balance(shared, claim) == (280, 0)


async def test_what_a_store_does_not_know_it_denies_in_nobodys_name(shared: Asked) -> None:
    """Which is how a slice that it has forgotten is told from one that has no room."""
    answer = await shared.store.extend("never-held", 0, lease_ms=LEASE_MS)
    assert isinstance(answer, Denial)
    assert (answer.budget, answer.owner) == ("", "")
