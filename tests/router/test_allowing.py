"""What a policy allows while the store of budgets is away: within its sum, said aloud, and charged afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.budgets import Balance, Claim, Denial, Grant, Window
from router.budgets.terms import allowed_account
from router.errors import BudgetStoreUnavailableError
from router.stores.budgets.allowing import AllowingBudgets
from router.stores.budgets.memory import MemoryBudgets
from tests.lines import START_MS, StillClock

DAY = Window(START_MS - 1, START_MS + 86_400_000)
CLAIM = Claim("team-day", "search", 100, is_hard=True, windows=(DAY,))


class Shared(MemoryBudgets):
    """A store that may be away."""

    is_away = False

    async def reserve(self, *arguments: Any, **named: Any) -> Any:
        self._require()
        return await super().reserve(*arguments, **named)

    async def extend(self, *arguments: Any, **named: Any) -> Any:
        self._require()
        return await super().extend(*arguments, **named)

    async def settle(self, *arguments: Any) -> None:
        self._require()
        await super().settle(*arguments)

    async def expire(self) -> Any:
        self._require()
        return await super().expire()

    def _require(self) -> None:
        if self.is_away:
            raise BudgetStoreUnavailableError("away")


class Seen:
    def __init__(self) -> None:
        self.away: list[bool] = []
        self.allowed = 0

    def budget_store_away(self, *, is_away: bool) -> None:
        self.away.append(is_away)

    def budget_allowed(self, nanousd: int) -> None:
        self.allowed += nanousd


class Site:
    def __init__(self, allowance: int | None = 50) -> None:
        self.shared, self.seen, self.allowance = Shared(StillClock()), Seen(), allowance
        self.store = AllowingBudgets(self.shared, lambda: self.allowance, self.seen, StillClock())

    async def hold(self, name: str, most: int, least: int = 1) -> Grant | Denial:
        return await self.store.reserve(name, (CLAIM,), least_nanousd=least, most_nanousd=most, lease_ms=60_000)

    async def stands(self) -> tuple[int, int]:
        (balance,) = await self.shared.balances((CLAIM,))
        return balance.settled_nanousd, balance.held_nanousd


async def test_without_an_allowance_nothing_passes() -> None:
    site = Site(allowance=None)
    site.shared.is_away = True
    with pytest.raises(BudgetStoreUnavailableError):
        await site.hold("a-1", 1)
    assert site.seen.away == [True]
    site.shared.is_away = False
    assert isinstance(await site.hold("b-1", 1), Grant)
    assert site.seen.away == [True, False]


async def test_calls_pass_up_to_the_sum_and_are_charged_when_the_store_is_back() -> None:
    site = Site()
    await site.hold("before-1", 90)
    await site.store.settle("before-1", 80)
    site.shared.is_away = True
    first = await site.hold("a-1", 30)
    assert isinstance(first, Grant)
    accounts = (CLAIM.account(DAY), allowed_account("a-1", START_MS))
    assert (first.held_nanousd, first.accounts, first.headroom_nanousd) == (30, accounts, None)
    assert await site.hold("a-1", 30) == first, "asked again it has its old answer"
    second = await site.hold("b-1", 30)
    assert isinstance(second, Grant)
    assert second.held_nanousd == 20, "cut to what is left of the sum"
    with pytest.raises(BudgetStoreUnavailableError):
        await site.hold("c-1", 1)
    await site.store.settle("a-1", 10)
    assert isinstance(await site.hold("d-1", 20, least=20), Grant), "what did not cost its worst case may be used again"
    with pytest.raises(BudgetStoreUnavailableError):
        await site.store.extend("b-1", 1, lease_ms=1)
    await site.store.settle("b-1", 20)
    await site.store.void("d-1")
    site.shared.is_away = False
    await site.store.expire()
    assert await site.stands() == (110, 0), "past the limit too: it was spent"
    assert isinstance(await site.hold("e-1", 1), Denial)
    assert site.seen.allowed == 70
    assert site.seen.away == [True, False]


async def test_a_hold_that_was_made_although_its_answer_was_lost_is_charged_once() -> None:
    site = Site()
    await site.shared.reserve("b-1", (CLAIM,), least_nanousd=1, most_nanousd=30, lease_ms=60_000)
    site.shared.is_away = True
    await site.hold("b-1", 30)
    site.shared.is_away = False
    await site.store.settle("b-1", 12)
    await site.store.expire()
    assert await site.stands() == (12, 0)


async def test_at_shutdown_what_can_be_told_is_told() -> None:
    site = Site()
    site.shared.is_away = True
    await site.hold("a-1", 30)
    await site.store.settle("a-1", 25)
    site.shared.is_away = False
    await site.store.aclose()
    assert await site.stands() == (25, 0)
    other = Site()
    other.shared.is_away = True
    await other.hold("a-1", 30)
    await other.store.settle("a-1", 25)
    await other.store.aclose()


WHATS = st.sampled_from(["hold", "settle", "void", "extend", "away", "back", "sweep"])
STEPS = st.lists(st.tuples(WHATS, st.integers(0, 9), st.integers(0, 40)), max_size=40)


@given(steps=STEPS, allowance=st.one_of(st.none(), st.integers(1, 80)))
@settings(max_examples=200)
def test_never_more_than_the_sum_is_out_and_everything_that_ended_is_charged(
    steps: list[tuple[str, int, int]], allowance: int | None
) -> None:
    async def story() -> None:
        site = Site(allowance)
        open_, cost = dict[str, int](), 0
        for index, (what, number, amount) in enumerate(steps):
            name = f"r-{number}"
            try:
                if what == "hold" and name not in open_:
                    name = f"r-{number}-{index}"
                    grant = await site.hold(name, max(amount, 1))
                    if isinstance(grant, Grant):
                        open_[f"r-{number}"] = grant.held_nanousd
                        open_names[f"r-{number}"] = name
                elif what in ("settle", "void", "extend") and name in open_:
                    if what == "extend":
                        more = await site.store.extend(open_names[name], amount, lease_ms=60_000)
                        if isinstance(more, Grant):
                            open_[name] = more.held_nanousd
                    else:
                        actual = min(amount, open_[name]) if what == "settle" else 0
                        store, known = site.store, open_names[name]
                        await (store.settle(known, actual) if what == "settle" else store.void(known))
                        cost += actual
                        del open_[name]
                elif what in ("away", "back"):
                    site.shared.is_away = what == "away"
                elif what == "sweep":
                    await site.store.expire()
            except BudgetStoreUnavailableError:
                assert site.shared.is_away or allowance is not None
            out = sum(each.out_nanousd for each in site.store._allowed.values())
            assert out <= (allowance or 0)
        site.shared.is_away = False
        for name in tuple(open_):
            await site.store.settle(open_names[name], open_[name])
            cost += open_.pop(name)
        await site.store.expire()
        settled, held = await site.stands()
        assert (settled, held) == (cost, 0)

    open_names = dict[str, str]()
    asyncio.run(story())


async def test_what_else_is_asked_goes_through() -> None:
    site = Site()
    await site.store.rebuild([Balance(CLAIM.account(DAY), 5, 0)], ())
    assert await site.store.balances((CLAIM,)) == await site.shared.balances((CLAIM,))
