"""Gateways that lease from one store: what they ask, what their ledger has, and how they die."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from router.budgets import Balance, Claim, Denial, Grant, OpenHold
from router.errors import BudgetStoreUnavailableError, LedgerUnavailableError
from router.ledger import Spend
from router.stores.budgets.leased import CALLS_MIN, SLICE_LEASE_MS, LeasedBudgets
from router.stores.budgets.memory import MemoryBudgets
from router.stores.budgets.stranded import WAIT_S
from tests.conformance.budgets.stands import LEASE_MS, claim_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.ports import BudgetStore
    from tests.conformance.budgets.stands import Stand
    from tests.lines import StillClock

# The task that renews and gives back a gateway's leases: it must not outlive a gateway that is dead.
SWEEPER = "tollgate-leases"
SHARE = 0.05
STREAMED = 0.2
# Of what was left of 100,000 when a call of 100 was held.
SLICE = 4_995


@dataclass
class Attempt:
    """What the ledger has of a call: its intent, and its settlement once it ended."""

    accounts: tuple[str, ...]
    hold_nanousd: int
    charged_nanousd: int | None = None


@dataclass
class Books:
    """The ledger as leases ask it."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    is_away: bool = False

    async def spend(self, accounts: Sequence[str]) -> dict[str, Spend]:
        if self.is_away:
            raise LedgerUnavailableError("away")
        found: dict[str, Spend] = {}
        for account in accounts:
            mine = [each for each in self.attempts.values() if account in each.accounts]
            if mine:
                is_open = [each.hold_nanousd for each in mine if each.charged_nanousd is None]
                found[account] = Spend(sum(each.charged_nanousd or 0 for each in mine), sum(is_open))
        return found


class Slow:
    """A store that has decided, and whose answer is still on its way."""

    def __init__(self) -> None:
        self.is_there, self.may_go = asyncio.Event(), asyncio.Event()


@dataclass
class Asked:
    """A store that counts what it is asked, and can be told to be away; closing a gateway does not close it."""

    store: BudgetStore
    asked: list[str] = field(default_factory=list)
    is_away: bool = False
    books: Books = field(default_factory=Books)
    slow: Slow | None = None

    def __getattr__(self, name: str) -> Any:
        work = getattr(self.store, name)

        async def told(*arguments: Any, **named: Any) -> Any:
            if self.is_away:
                raise BudgetStoreUnavailableError("away")
            if name == "aclose":
                return None
            self.asked.append(name)
            answer = await work(*arguments, **named)
            if name == "reserve" and self.slow is not None:
                self.slow.is_there.set()
                await self.slow.may_go.wait()
            return answer

        return told


@dataclass
class Told:
    """What an operator would see."""

    held: list[bool] = field(default_factory=list)
    leased_nanousd: int = 0

    def budget_held(self, *, is_leased: bool) -> None:
        self.held.append(is_leased)

    def budget_leased(self, nanousd: int) -> None:
        self.leased_nanousd = nanousd


def gateway_over(shared: Asked, clock: StillClock, share: float = SHARE, observer: Told | None = None) -> LeasedBudgets:
    store: Any = shared
    return LeasedBudgets(store, clock, lambda: share, shared.books.spend, observer)


async def held(gateway: LeasedBudgets, name: str, *claims: Claim, least: int = 10, most: int = 100) -> Grant | Denial:
    return await gateway.reserve(name, claims, least_nanousd=least, most_nanousd=most, lease_ms=LEASE_MS)


async def begun(shared: Asked, gateway: LeasedBudgets, name: str, *claims: Claim) -> None:
    """A call that is held, and whose intent is in the ledger."""
    grant = await held(gateway, name, *claims)
    assert isinstance(grant, Grant)
    shared.books.attempts[name] = Attempt(grant.accounts, grant.held_nanousd)


async def ended(shared: Asked, gateway: LeasedBudgets, name: str, cost: int) -> None:
    """What it cost is in the ledger, and told to its gateway's budgets."""
    shared.books.attempts[name].charged_nanousd = cost
    await gateway.settle(name, cost)


async def after_its_death(shared: Asked, clock: StillClock) -> LeasedBudgets:
    """Another gateway, which has seen the dead one's slices run out and has waited as long as it does."""
    for task in asyncio.all_tasks():
        if task.get_name() == SWEEPER:
            task.cancel()
    other = gateway_over(shared, clock)
    clock.time_ms += SLICE_LEASE_MS
    await other.expire()
    clock.time_ms += round(WAIT_S * 1000)
    await other.expire()
    return other


async def balance(shared: Asked, claim: Claim) -> tuple[int, int]:
    ((_, settled, reserved),) = await shared.store.balances([claim])
    return settled, reserved


async def warmed(gateway: LeasedBudgets, claim: Claim, calls: int = CALLS_MIN - 1) -> None:
    """So many calls that ended, after which the next makes claims worth leasing."""
    for index in range(calls):
        grant = await held(gateway, f"warm-{index}", claim)
        assert isinstance(grant, Grant)
        await gateway.settle(f"warm-{index}", 0)


async def emptied(stand: Stand, *stores: BudgetStore) -> BudgetStore:
    """A store that knows nothing: memory of another process stands for a server that forgot."""
    for each in stores:
        await each.aclose()
    return MemoryBudgets(stand.clock)


LOST = claim_of(100_000, "lost")


async def leasing_until_all_is_lost(
    stand: Stand, clock: StillClock, calls: str
) -> tuple[Asked, LeasedBudgets, Callable[[str, int], Awaitable[None]]]:
    """A gateway with so many calls in one slice, and what makes its store forget all and be told by the ledger.

    That takes the calls that are under way by the ledger, and what it has of the others.
    """
    before, after = await stand.open(), await stand.open()
    shared = Asked(before)
    gateway = gateway_over(shared, clock)
    await warmed(gateway, LOST)
    for name in calls:
        await held(gateway, name, LOST)

    async def forget(under_way: str, settled: int) -> None:
        shared.store = fresh = await emptied(stand, before, after)
        account = LOST.account(LOST.windows[1])
        holds = [OpenHold(name, 100, (account,), clock.time_ms + LEASE_MS) for name in under_way]
        await fresh.rebuild([Balance(account, settled, 0)], holds)

    return shared, gateway, forget


class Herd:
    """Three gateways over one store, what their calls hold and cost, and what died with one of them."""

    def __init__(self, shared: Asked, clock: StillClock, seed: int) -> None:
        self.shared, self.clock, self.chance = shared, clock, random.Random(seed)
        self.company = claim_of(6_000, "company", "")
        self.teams = [claim_of(2_500, "team", name) for name in ("a", "b")]
        self.gateways = [gateway_over(shared, clock, self.chance.choice([0.02, 0.2])) for _ in range(3)]
        self.live: dict[str, tuple[int, Claim, int]] = {}
        self.streams: set[str] = set()
        self.spent = dict.fromkeys(["", "a", "b"], 0)
        self.lost: list[tuple[str, int]] = []
        self.deaths = 0
        self.has_lost_stream = False

    async def reserve(self, name: str) -> None:
        at, team = self.chance.randrange(3), self.chance.choice(self.teams)
        grant = await held(self.gateways[at], name, self.company, team, least=5, most=self.chance.choice([20, 60]))
        if isinstance(grant, Grant):
            assert 5 <= grant.held_nanousd <= 60
            self.live[name] = (at, team, grant.held_nanousd)
            # The intent of a stream that is held in slices has its whole worst case.
            is_stream = self.chance.random() < STREAMED
            self.streams |= {name} if is_stream else set()
            self.shared.books.attempts[name] = Attempt(grant.accounts, 500 if is_stream else grant.held_nanousd)

    async def settle(self, name: str, cost: int | None = None) -> None:
        at, team, amount = self.live.pop(name)
        cost = self.chance.randint(0, amount) if cost is None else cost
        await ended(self.shared, self.gateways[at], name, cost)
        for owner in ("", team.owner):
            self.spent[owner] += cost

    async def extend(self, name: str) -> None:
        at, team, amount = self.live[name]
        if name in self.streams and isinstance(await self.gateways[at].extend(name, 15, lease_ms=LEASE_MS), Grant):
            self.live[name] = (at, team, amount + 15)

    async def pass_time(self) -> None:
        self.clock.time_ms += self.chance.choice([30, 400, 1600])
        await self.gateways[self.chance.randrange(3)].sweep()

    def die(self) -> None:
        """Nobody closes the gateway: its slices are left to their lease, which no task of its renews any more."""
        at = self.chance.randrange(3)
        sweeper = self.gateways[at]._sweeper
        if sweeper is not None:
            sweeper.cancel()
        self.lost += [(claim.owner, amount) for where, claim, amount in self.live.values() if where == at]
        self.has_lost_stream |= any(each[0] == at for name, each in self.live.items() if name in self.streams)
        self.live = {name: each for name, each in self.live.items() if each[0] != at}
        self.gateways[at] = gateway_over(self.shared, self.clock)
        self.deaths += 1

    async def step(self, number: int) -> None:
        what = self.chance.random()
        if what < 0.55 or not self.live:
            await self.reserve(f"c{number}")
        elif what < 0.85:
            await self.settle(self.chance.choice(sorted(self.live)))
        elif what < 0.90:
            await self.extend(self.chance.choice(sorted(self.live.keys() & self.streams) or [*self.live]))
        elif what < 0.99:
            await self.pass_time()
        else:
            self.die()

    def taken(self, owner: str) -> int:
        """What calls have cost, hold, or held when their gateway died."""
        mine = [amount for _, claim, amount in self.live.values() if owner in ("", claim.owner)]
        return self.spent[owner] + sum(mine) + sum(amount for whose, amount in self.lost if owner in ("", whose))
