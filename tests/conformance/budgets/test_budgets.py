"""What every store of budgets does, wherever it keeps them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from router.budgets import Balance, Claim, Denial, Expired, Grant, OpenHold, Window
from router.budgets.transitions import EXPIRED_KEPT_MS
from router.money import AMOUNT_NANOUSD_MAX
from tests.conformance.budgets.stands import DAY_MS, ENDLESS, HOUR_MS, LEASE_MS, claim_of, ids_expired, windows_of

if TYPE_CHECKING:
    from router.ports import BudgetStore
    from tests.conformance.budgets.stands import Stand
    from tests.lines import StillClock


async def held(
    store: BudgetStore,
    name: str,
    *claims: Claim,
    least: int = 1,
    most: int = 100,
    lease_ms: int = LEASE_MS,
) -> Grant | Denial:
    return await store.reserve(name, claims, least_nanousd=least, most_nanousd=most, lease_ms=lease_ms)


async def stands(store: BudgetStore, *claims: Claim) -> list[tuple[int, int]]:
    return [each[1:] for each in await store.balances(claims)]


# --- reserve --------------------------------------------------------------------------------------------------------


async def test_what_fits_is_held_in_every_account(store: BudgetStore) -> None:
    team, company = claim_of(500), claim_of(1000, "company", "", windows=(ENDLESS,))
    grant = await held(store, "a-1", team, company)
    day = windows_of(DAY_MS)[1]
    assert grant == Grant("a-1", 100, (team.account(day), company.account(ENDLESS)), 400)
    assert await store.balances([company, team]) == (
        Balance(company.account(ENDLESS), 0, 100),
        Balance(team.account(day), 0, 100),
    )


async def test_less_than_asked_is_held_where_the_tightest_account_has_no_more(store: BudgetStore) -> None:
    team, company = claim_of(70), claim_of(1000, "company")
    grant = await held(store, "a-1", company, team, least=70)
    assert (grant.held_nanousd, grant.headroom_nanousd) == (70, 0)
    assert await stands(store, company, team) == [(0, 70), (0, 70)]


async def test_the_tightest_account_denies_and_nothing_is_written(store: BudgetStore, clock: StillClock) -> None:
    team, key, company = claim_of(50), claim_of(30, "key-day", "k1"), claim_of(1000, "company")
    await held(store, "a-1", team, most=10)
    denial = await held(store, "a-2", company, team, key, least=41)
    assert denial == Denial("key-day", "k1", 30, 0, 0, 41, windows_of(DAY_MS)[1].end_ms)
    assert denial.headroom_nanousd == 30
    assert denial.is_settled, "no call under way holds anything in it"
    assert await stands(store, company, team, key) == [(0, 0), (0, 10), (0, 0)]
    await store.settle("a-2", 5)
    assert await stands(store, company, team, key) == [(0, 0), (0, 10), (0, 0)], "a denied id is no reservation"
    clock.time_ms += LEASE_MS
    assert await store.expire() == (Expired("a-1", 10),)


async def test_a_denial_tells_money_that_is_held_from_money_that_is_spent(store: BudgetStore) -> None:
    claim = claim_of(100, windows=(ENDLESS,))
    await held(store, "a-1", claim, most=60)
    denial = await held(store, "a-2", claim, least=50)
    assert denial == Denial("team-day", "search", 100, 0, 60, 50, None)
    assert not denial.is_settled
    await store.settle("a-1", 60)
    denial = await held(store, "a-2", claim, least=50)
    assert denial == Denial("team-day", "search", 100, 60, 0, 50, None)
    assert denial.is_settled
    await store.rebuild([], [])


async def test_a_denied_id_may_be_reserved_later(store: BudgetStore) -> None:
    claim = claim_of(100)
    await held(store, "a-1", claim)
    assert isinstance(await held(store, "a-2", claim), Denial)
    await store.void("a-1")
    assert (await held(store, "a-2", claim)).held_nanousd == 100


@pytest.mark.parametrize("ending", ["open", "extended", "settled", "voided", "expired"])
async def test_the_same_id_again_is_the_same_grant_and_holds_nothing_more(
    store: BudgetStore, other: BudgetStore, clock: StillClock, ending: str
) -> None:
    claim, soft = claim_of(300), claim_of(10, "watch", is_hard=False)
    grant = await held(store, "a-1", claim, soft)
    if ending == "extended":
        await store.extend("a-1", 50, lease_ms=LEASE_MS)
    elif ending == "settled":
        await store.settle("a-1", 30)
    elif ending == "voided":
        await store.void("a-1")
    elif ending == "expired":
        clock.time_ms += LEASE_MS
        await store.expire()
    before = await stands(store, claim, soft)
    assert await held(other, "a-1", claim, soft) == grant
    assert await held(other, "a-1", claim_of(1), most=5) == grant
    assert await stands(other, claim, soft) == before


async def test_nothing_can_be_held_where_nothing_is_left(store: BudgetStore) -> None:
    claim = claim_of(100)
    await held(store, "a-1", claim)
    await store.settle("a-1", 150)
    accounts = (claim.account(windows_of(DAY_MS)[1]),)
    grant = await held(store, "free-1", claim, least=0, most=10)
    assert grant == Grant("free-1", 0, accounts, 0), "a call that costs nothing needs no money"
    assert await store.extend("free-1", 0, lease_ms=LEASE_MS) == grant, "nor does a lease that is renewed"
    await store.settle("free-1", 0)
    assert isinstance(await held(store, "a-2", claim, least=1), Denial)


async def test_a_call_without_claims_is_granted(store: BudgetStore) -> None:
    assert await held(store, "a-1") == Grant("a-1", 100, (), None)
    assert (await store.extend("a-1", 5, lease_ms=LEASE_MS)).held_nanousd == 105
    await store.settle("a-1", 7)
    assert await store.balances([]) == ()


async def test_two_claims_on_one_account_hold_once(store: BudgetStore) -> None:
    loose, tight = claim_of(1000), claim_of(60)
    grant = await held(store, "a-1", loose, tight)
    assert (grant.held_nanousd, len(grant.accounts)) == (60, 1)
    assert await stands(store, loose) == [(0, 60)]
    await store.settle("a-1", 20)
    assert await stands(store, loose) == [(20, 0)]


async def test_soft_accounts_count_and_are_named_but_never_deny(store: BudgetStore) -> None:
    hard, soft, wide = claim_of(1000), claim_of(150, "watch", is_hard=False), claim_of(10**6, "wide", is_hard=False)
    assert (await held(store, "a-1", soft, hard, wide)).over == ()
    grant = await held(store, "a-2", soft, hard, wide)
    assert (grant.held_nanousd, grant.headroom_nanousd, grant.over) == (100, 800, ("watch",))
    grant = await held(store, "a-3", soft)
    assert (grant.held_nanousd, grant.headroom_nanousd, grant.over) == (100, None, ("watch",))
    grant = await store.extend("a-1", 10, lease_ms=LEASE_MS)
    assert (grant.held_nanousd, grant.over) == (110, ("watch",))
    assert await stands(store, soft, hard, wide) == [(0, 310), (0, 210), (0, 210)]


async def test_the_claims_limit_counts_whatever_it_was_before(store: BudgetStore) -> None:
    await held(store, "a-1", claim_of(100))
    assert (await held(store, "a-2", claim_of(150))).held_nanousd == 50
    await store.settle("a-1", 80)
    denial = await held(store, "a-3", claim_of(40))
    assert (denial.limit_nanousd, denial.settled_nanousd, denial.held_nanousd) == (40, 80, 50)
    assert denial.headroom_nanousd == 0
    assert (await store.extend("a-2", 0, lease_ms=LEASE_MS)).held_nanousd == 50, "its own limit still counts for it"


async def test_owners_and_budgets_are_apart_whatever_their_names_hold(store: BudgetStore) -> None:
    owners = ["", "a", "a/b", "é\u4e2d\U0001f600", "nul\0", "half\ud800", '"; DROP TABLE', "{tag}", "%s", "x" * 2000]
    claims = [claim_of(100, owner=owner) for owner in owners]
    for number, claim in enumerate(claims):
        grant = await held(store, f"a-{number}", claim, most=number + 1)
        assert grant.accounts == (claim.account(windows_of(DAY_MS)[1]),)
    assert await stands(store, *claims) == [(0, number + 1) for number in range(len(owners))]
    for number in range(len(owners)):
        assert isinstance(await store.extend(f"a-{number}", 1000, lease_ms=LEASE_MS), Denial)
        await store.settle(f"a-{number}", number)
    assert await stands(store, *claims) == [(number, 0) for number in range(len(owners))]


async def test_absurd_amounts_stay_integers(store: BudgetStore) -> None:
    hard, soft = claim_of(AMOUNT_NANOUSD_MAX), claim_of(1, "watch", is_hard=False)
    assert (await held(store, "a-1", hard, soft, most=10**15)).held_nanousd == 10**15
    await store.settle("a-1", 10**15 + 1)
    assert await stands(store, hard, soft) == [(10**15 + 1, 0)] * 2
    for least, most in ((-1, 5), (6, 5), (0, AMOUNT_NANOUSD_MAX + 1)):
        with pytest.raises(AssertionError):
            await held(store, "a-2", hard, least=least, most=most)
    with pytest.raises(AssertionError):
        await store.settle("a-1", -1)
    assert await stands(store, hard) == [(10**15 + 1, 0)]


# --- extend ---------------------------------------------------------------------------------------------------------


async def test_an_extension_is_all_or_nothing_and_renews_the_lease(store: BudgetStore, clock: StillClock) -> None:
    team, company = claim_of(150), claim_of(1000, "company")
    await held(store, "a-1", team, company)
    clock.time_ms += LEASE_MS - 1
    grant = await store.extend("a-1", 50, lease_ms=LEASE_MS)
    assert (grant.reservation_id, grant.held_nanousd, grant.headroom_nanousd) == ("a-1", 150, 0)
    denial = await store.extend("a-1", 1, lease_ms=LEASE_MS)
    assert denial == Denial("team-day", "search", 150, 0, 150, 1, windows_of(DAY_MS)[1].end_ms)
    assert await stands(store, team, company) == [(0, 150), (0, 150)]
    clock.time_ms += LEASE_MS - 1
    assert await store.expire() == ()
    clock.time_ms += 1
    assert await ids_expired(store) == ("a-1",)
    assert await stands(store, team, company) == [(150, 0), (150, 0)]


@pytest.mark.parametrize("ending", ["unknown", "settled", "voided", "expired"])
async def test_what_is_closed_or_unknown_is_not_extended(store: BudgetStore, clock: StillClock, ending: str) -> None:
    claim = claim_of(1000)
    if ending != "unknown":
        await held(store, "a-1", claim)
    if ending == "settled":
        await store.settle("a-1", 3)
    elif ending == "voided":
        await store.void("a-1")
    elif ending == "expired":
        clock.time_ms += LEASE_MS
        await store.expire()
    before = await stands(store, claim)
    denial = await store.extend("a-1", 5, lease_ms=LEASE_MS)
    assert (denial.budget, denial.wanted_nanousd, denial.is_settled) == ("", 5, True)
    assert await stands(store, claim) == before


# --- settle, void, expire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actual", [0, 40, 100, 100_000])
async def test_a_settlement_charges_the_bill_once_also_above_the_hold(store: BudgetStore, actual: int) -> None:
    team, company = claim_of(100), claim_of(1000, "company")
    await held(store, "a-1", team, company)
    for again in (actual, actual + 5):
        await store.settle("a-1", again)
        await store.void("a-1")
        assert await stands(store, team, company) == [(actual, 0)] * 2


async def test_a_void_gives_all_back_once(store: BudgetStore) -> None:
    claim = claim_of(1000)
    await held(store, "a-1", claim)
    await held(store, "a-2", claim, most=7)
    for _ in range(2):
        await store.void("a-1")
        await store.settle("a-1", 50)
        assert await stands(store, claim) == [(0, 7)]


async def test_what_is_unknown_is_neither_settled_nor_voided(store: BudgetStore) -> None:
    await store.settle("never", 50)
    await store.void("never")
    assert await store.expire() == ()


async def test_only_what_is_past_its_lease_expires_and_is_charged_in_full(
    store: BudgetStore, other: BudgetStore, clock: StillClock
) -> None:
    claim = claim_of(1000)
    await held(store, "a-1", claim, most=10, lease_ms=1000)
    await held(store, "a-2", claim, most=20, lease_ms=3000)
    await held(store, "a-3", claim, most=40, lease_ms=2000)
    await held(store, "a-4", claim, most=80, lease_ms=1000)
    await store.settle("a-4", 1)
    clock.time_ms += 2000
    assert await ids_expired(other) == ("a-1", "a-3")
    assert await other.expire() == ()
    assert await stands(store, claim) == [(51, 20)]


@pytest.mark.parametrize("actual", [0, 30, 100, 250])
async def test_a_late_settlement_corrects_what_the_lease_charged_once(
    store: BudgetStore, clock: StillClock, actual: int
) -> None:
    claim = claim_of(1000)
    await held(store, "a-1", claim)
    clock.time_ms += LEASE_MS
    await store.expire()
    assert await stands(store, claim) == [(100, 0)]
    await store.settle("a-1", actual)
    await store.settle("a-1", actual + 7)
    await store.void("a-1")
    assert await store.expire() == ()
    assert await stands(store, claim) == [(actual, 0)]


async def test_a_late_void_corrects_to_nothing(store: BudgetStore, clock: StillClock) -> None:
    claim = claim_of(1000)
    await held(store, "a-1", claim)
    clock.time_ms += LEASE_MS
    await store.expire()
    await store.void("a-1")
    await store.settle("a-1", 60)
    assert await stands(store, claim) == [(0, 0)]


async def test_more_than_one_batch_expires_at_once(store: BudgetStore, clock: StillClock) -> None:
    claim = claim_of(10**9)
    for start in range(0, 1203, 100):  # all at once would be a test of how long a busy machine's Redis takes
        names = [f"a-{number}" for number in range(start, min(start + 100, 1203))]
        await asyncio.gather(*(held(store, name, claim, most=3) for name in names))
    clock.time_ms += LEASE_MS
    assert set(await ids_expired(store)) == {f"a-{number}" for number in range(1203)}
    assert await stands(store, claim) == [(3609, 0)]


# --- windows and clocks ---------------------------------------------------------------------------------------------


async def test_the_stores_time_picks_the_window_and_what_was_reserved_in_it_is_settled_in_it(
    store: BudgetStore, clock: StillClock
) -> None:
    claim = claim_of(100, windows=windows_of(HOUR_MS))
    before, now, after = (claim._replace(windows=(window,)) for window in claim.windows)
    await held(store, "a-1", claim, lease_ms=DAY_MS)
    assert isinstance(await held(store, "a-2", claim), Denial)
    clock.time_ms = claim.windows[2].start_ms
    assert (await held(store, "a-2", claim)).accounts == (claim.account(claim.windows[2]),)
    await store.settle("a-1", 60)
    await store.settle("a-2", 70)
    assert await stands(store, before, now, after) == [(0, 0), (60, 0), (70, 0)]
    assert await stands(store, claim) == [(70, 0)]


async def test_clocks_that_are_windows_apart_take_the_nearest(store: BudgetStore, clock: StillClock) -> None:
    first, last = (claim_of(100, windows=windows_of(HOUR_MS, clock.time_ms + step)) for step in (-DAY_MS, DAY_MS))
    assert (await held(store, "a-1", first)).accounts == (first.account(first.windows[2]),)
    assert (await held(store, "a-2", last)).accounts == (last.account(last.windows[0]),)


async def test_a_clock_that_steps_back_is_harmless(store: BudgetStore, clock: StillClock) -> None:
    claim = claim_of(100, windows=windows_of(HOUR_MS))
    await held(store, "a-1", claim, most=60)
    await store.settle("a-1", 60)
    clock.time_ms -= 30 * 60_000
    grant = await held(store, "a-2", claim, least=1, most=100)
    spent = {account: sum(each) for account, *each in await store.balances(_each_window(claim))}
    assert all(amount <= 100 for amount in spent.values())
    assert grant.accounts[0] in spent
    clock.time_ms += 30 * 60_000 + LEASE_MS
    assert await ids_expired(store) == ("a-2",)
    assert all(held_now == 0 for _, _, held_now in await store.balances(_each_window(claim)))


def _each_window(claim: Claim) -> list[Claim]:
    return [claim._replace(windows=(window,)) for window in claim.windows]


async def test_a_late_settlement_finds_its_account_after_the_windows_end(store: BudgetStore, clock: StillClock) -> None:
    claim = claim_of(100, windows=windows_of(HOUR_MS))
    now = claim._replace(windows=(claim.windows[1],))
    await held(store, "a-1", claim)
    clock.time_ms += 3 * HOUR_MS
    assert await ids_expired(store) == ("a-1",)
    clock.time_ms += EXPIRED_KEPT_MS - 1
    assert await store.expire() == ()
    await store.settle("a-1", 30)
    assert await stands(store, now) == [(30, 0)]


async def test_ended_windows_are_forgotten_and_what_is_open_is_not(store: BudgetStore, clock: StillClock) -> None:
    hour, total = claim_of(100, windows=windows_of(HOUR_MS)), claim_of(100, "total", windows=(ENDLESS,))
    now = hour._replace(windows=(hour.windows[1],))
    await held(store, "a-1", hour, total, most=10)
    await held(store, "a-2", hour, total, most=20, lease_ms=9 * DAY_MS)
    await store.settle("a-1", 10)
    clock.time_ms += 4 * DAY_MS
    assert await store.expire() == ()
    assert await stands(store, now, total) == [(10, 20), (10, 20)]
    await store.settle("a-2", 15)
    assert await stands(store, now, total) == [(25, 0), (25, 0)]
    clock.time_ms += 4 * DAY_MS
    await store.expire()
    assert await stands(store, now, total) == [(0, 0), (25, 0)], "an endless window never ends"
    clock.time_ms -= 8 * DAY_MS
    grant = await held(store, "a-3", hour)
    assert grant.accounts != (now.account(now.windows[0]),), "what was forgotten as past is never present again"


# --- rebuild and crashes --------------------------------------------------------------------------------------------


async def test_a_rebuilt_store_holds_and_charges_what_the_ledger_says(store: BudgetStore, clock: StillClock) -> None:
    team, company = claim_of(100), claim_of(1000, "company")
    day = windows_of(DAY_MS)[1]
    accounts = (team.account(day), company.account(day))
    balances = [Balance(accounts[0], 40, 35), Balance(accounts[1], 500, 35)]
    leases = [clock.time_ms + LEASE_MS, clock.time_ms + 1]
    holds = [
        OpenHold(f"a-{n}", 10 + 5 * n, accounts, lease) for n, lease in enumerate([leases[0], leases[0], leases[1]])
    ]
    for _ in range(2):
        await store.rebuild(balances, holds)
        assert await stands(store, team, company) == [(40, 45), (500, 45)]
    assert (await held(store, "b-1", team, company)).held_nanousd == 15
    assert isinstance(await store.extend("a-0", 1, lease_ms=LEASE_MS), Denial), "nobody knows its limits any more"
    await store.settle("a-0", 4)
    await store.void("a-1")
    clock.time_ms += 1
    assert await ids_expired(store) == ("a-2",)
    await store.settle("b-1", 1)
    assert await stands(store, team, company) == [(65, 0), (525, 0)]
    await store.settle("a-2", 2)
    assert await stands(store, team, company) == [(47, 0), (507, 0)]


async def test_a_rebuild_never_lowers_what_is_there(store: BudgetStore, other: BudgetStore, clock: StillClock) -> None:
    claim = claim_of(100)
    grant = await held(store, "a-1", claim, most=30)
    await store.settle("a-1", 30)
    await held(store, "a-2", claim, most=20)
    late = OpenHold("a-1", 30, grant.accounts, clock.time_ms + 1)
    again = OpenHold("a-2", 20, grant.accounts, clock.time_ms + 1)
    await other.rebuild([Balance(grant.accounts[0], 10, 50)], [late, again])
    assert await stands(store, claim) == [(30, 20)]
    await other.rebuild([Balance(grant.accounts[0], 35, 0)], [])
    assert await stands(store, claim) == [(35, 20)]


@pytest.mark.parametrize("became", ["unknown", "open", "expired", "settled"])
async def test_what_a_rebuild_charged_is_charged_once_whatever_the_store_kept_of_it(
    store: BudgetStore, other: BudgetStore, clock: StillClock, became: str
) -> None:
    """A store that kept its file, or was told late, must not charge again what stands in the ledger's sums."""
    claim = claim_of(100)
    account = claim.account(windows_of(DAY_MS)[1])
    if became != "unknown":
        await held(store, "a-1", claim, most=60)
    if became == "expired":
        clock.time_ms += LEASE_MS
        assert await ids_expired(store) == ("a-1",)
    if became == "settled":
        await store.settle("a-1", 25)
    await held(store, "b-1", claim, most=10)
    for _ in range(2):
        await other.rebuild([Balance(account, 25, 0)], [], ["a-1"])
        assert await stands(store, claim) == [(25, 10)]
    await store.settle("a-1", 25)
    await store.void("a-1")
    again = await store.reserve("a-1", (claim,), least_nanousd=25, most_nanousd=30, lease_ms=LEASE_MS)
    assert isinstance(again, Grant), "who tells it late has an answer"
    await store.settle("a-1", 25)
    clock.time_ms += LEASE_MS
    assert "a-1" not in await ids_expired(store)
    await store.settle("b-1", 1)
    assert await stands(store, claim) == [(26, 0)]


async def test_another_gateway_goes_on_where_one_was_lost(keeping_stand: Stand, clock: StillClock) -> None:
    claim, first = claim_of(300), await keeping_stand.open()
    await held(first, "a-1", claim)
    await held(first, "a-2", claim)
    second = await keeping_stand.open()
    await second.extend("a-1", 50, lease_ms=LEASE_MS)
    await second.settle("a-1", 120)
    await second.settle("a-1", 120)
    assert (await held(second, "a-3", claim)).held_nanousd == 80
    clock.time_ms += LEASE_MS
    assert set(await ids_expired(second)) == {"a-2", "a-3"}
    assert await stands(first, claim) == [(300, 0)]
    await first.aclose()
    await second.aclose()


# --- many at once ---------------------------------------------------------------------------------------------------


async def test_many_at_once_never_hold_more_than_the_limit(store: BudgetStore, other: BudgetStore) -> None:
    team, company = claim_of(1000), claim_of(1500, "company")
    claims = ((team, company), (company, team), (company, claim_of(1200, owner="web")))
    answers = await asyncio.gather(
        *(held((store, other)[n % 2], f"a-{n}", *claims[n % 3], least=7, most=7 + n % 11) for n in range(400))
    )
    grants = [answer for answer in answers if isinstance(answer, Grant)]
    total = sum(grant.held_nanousd for grant in grants)
    assert 1500 - 6 <= total <= 1500
    assert await stands(store, company) == [(0, total)]
    await asyncio.gather(*((store, other)[n % 2].settle(grant.reservation_id, n % 5) for n, grant in enumerate(grants)))
    assert await stands(store, company) == [(sum(n % 5 for n in range(len(grants))), 0)]


async def test_the_same_calls_at_once_from_two_gateways_count_once(store: BudgetStore, other: BudgetStore) -> None:
    claim = claim_of(10_000)
    for number in range(20):
        name = f"a-{number}"
        one, two = await asyncio.gather(held(store, name, claim), held(other, name, claim))
        assert one == two
        await asyncio.gather(store.settle(name, 3), other.settle(name, 3), store.settle(name, 3), other.void("x"))
    assert await stands(store, claim) == [(60, 0)]


async def test_windows_are_the_claims_own(store: BudgetStore) -> None:
    """A window in a zone with summer time is no multiple of anything; the store takes it as it is."""
    odd = Window(1_792_972_800_000, 1_793_062_800_000)  # 25 hours
    claim = claim_of(10, windows=(Window(odd.start_ms - DAY_MS, odd.start_ms), odd, Window(odd.end_ms, odd.end_ms + 1)))
    grant = await held(store, "a-1", claim)
    assert grant.accounts == (claim.account(odd),)
