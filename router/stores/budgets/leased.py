"""Budgets leased from a shared store: a slice is held there for many calls, and what each takes of it is kept here.

A slice is an ordinary reservation of the store under the claims of the calls that it is for, so the sum of all slices
and of what is settled stays within every limit at all times, and the calls of a gateway stay within its slices. It
serves new calls for ``VALID_S`` after it was asked for; then the next call asks for a new one, which takes the open
calls along, and the old one is settled at what was spent of it. What nobody uses goes back within seconds.

Only claims that come again and again are leased, and only where a share of what is left of their budgets is worth
several calls: near a limit, and for sessions, each call asks the store as it does without leases.

A gateway that dies leaves its slices to their lease, by which they are charged in full: at most ``share`` of what was
left, for each set of claims. Whoever sees that corrects it soon after to what the ledger says that their calls cost
(`router.stores.budgets.stranded`). Before a slice is let go the store is asked whether it knows it.
One that lost its memory does not: then the slice is void, and each call of it is closed under its own id, under which
the ledger told the store of it (docs/decisions/0007). That waits longer than a slice is valid, so no grant is untold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from router.budgets import Denial, Expired, Grant
from router.budgets.terms import NOBODY
from router.budgets.transitions import require_amounts
from router.errors import BudgetStoreUnavailableError, StoreError
from router.money import usd_of
from router.stores.budgets.slices import Call, Demand, Demands, Slice
from router.stores.budgets.stranded import Stranded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from router.budgets import Balance, Claim, OpenHold
    from router.clock import Clock
    from router.ledger import Spend
    from router.ports import BudgetStore
    from router.stores.budgets.slices import Key

log = logging.getLogger("tollgate")

# Less than the two seconds that a store which lost its memory waits before it is told again.
VALID_S = 1.5
SWEEP_S = 0.5
SLICE_LEASE_MS = 60_000
RENEW_S = 20.0
# So many calls within two seconds make claims worth leasing; a slice is never for more calls than this.
CALLS_MIN, CALLS_MAX = 3, 200
WORTH_CALLS = 2
CLOSED_MAX = 100_000


class LeaseObserver(Protocol):
    """Told what leases do: metrics. Must neither block nor raise."""

    def budget_held(self, *, is_leased: bool) -> None:
        """A call was held: within a slice, or by the store."""
        ...

    def budget_leased(self, nanousd: int) -> None:
        """So much is in slices now that no call has taken."""
        ...


class LeasedBudgets:
    """Implements router.ports.BudgetStore over a shared one. ``share`` says how much of what is left a slice may be.

    ``share`` is asked for at every slice; with 0 every call goes to the store. ``spend`` is the ledger's.
    """

    def __init__(
        self,
        store: BudgetStore,
        clock: Clock,
        share: Callable[[], float],
        spend: Callable[[Sequence[str]], Awaitable[Mapping[str, Spend]]],
        observer: LeaseObserver | None = None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._clock = clock
        self._share = share
        self._stranded = Stranded(store, spend, clock)
        self._demands = Demands()
        self._calls: dict[str, Call] = {}
        self._closed: OrderedDict[str, Grant] = OrderedDict()
        self._direct: OrderedDict[str, None] = OrderedDict()
        # What the store could not be told yet: reservations and what each cost, and those that may not have been made.
        self._untold: dict[str, int] = {}
        self._doubtful: dict[str, Key] = {}
        self._sweeper: asyncio.Task[None] | None = None

    # --- the port ----------------------------------------------------------------------------------------------------

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold within a slice where there is one or one is worth it, else in the store."""
        require_amounts(least_nanousd, most_nanousd)
        known = self._calls.get(reservation_id)
        if known is not None or reservation_id in self._closed:
            return self._closed[reservation_id] if known is None else known.grant
        demand: Demand | None = None
        if self._share() > 0 and reservation_id not in self._direct:
            demand = self._demands.asked(tuple(claims), self._clock.monotonic_s())
            if self._is_serving(demand.slice, most_nanousd) or await self._rolled(
                tuple(claims), demand, least_nanousd, most_nanousd
            ):
                assert demand.slice is not None
                return self._granted(demand.slice, reservation_id, most_nanousd, lease_ms)
            # Asked again, because an answer was lost, it must be asked for in the same place.
            _kept(self._direct, reservation_id, None)
        answer = await self._store.reserve(
            reservation_id, claims, least_nanousd=least_nanousd, most_nanousd=most_nanousd, lease_ms=lease_ms
        )
        if isinstance(answer, Grant):
            if demand is not None:
                demand.headroom_nanousd, demand.is_known = answer.headroom_nanousd, True
            if self._observer is not None:
                self._observer.budget_held(is_leased=False)
        return answer

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more within the slice, which grows where it must."""
        require_amounts(extra_nanousd)
        call = self._calls.get(reservation_id)
        if call is None or call.slice.is_void:
            return await self._store.extend(reservation_id, extra_nanousd, lease_ms=lease_ms)
        if not (self._is_fresh(call.slice) and call.slice.room_nanousd >= extra_nanousd):
            async with call.slice.lock:  # so that it is not taken along to another slice meanwhile
                mine = call.slice
                answer = await self._store.extend(str(mine.name), extra_nanousd, lease_ms=SLICE_LEASE_MS)
                if isinstance(answer, Denial):
                    return answer
                mine.held_nanousd += extra_nanousd
        call.held_nanousd += extra_nanousd
        call.lease_expires_ms = max(call.lease_expires_ms, self._clock.now_ms() + lease_ms)
        return call.grant._replace(held_nanousd=call.held_nanousd)

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost to its slice."""
        require_amounts(actual_nanousd)
        if not self._ended(reservation_id, actual_nanousd):
            await self._store.settle(reservation_id, actual_nanousd)

    async def void(self, reservation_id: str) -> None:
        """Give all of it back to its slice."""
        if not self._ended(reservation_id, 0):
            await self._store.void(reservation_id)

    async def expire(self) -> tuple[Expired, ...]:
        """Charge what is past its lease in full, here and in the store; give back what dead gateways did not spend."""
        now_ms = self._clock.now_ms()
        due = [
            Expired(name, call.held_nanousd) for name, call in self._calls.items() if call.lease_expires_ms <= now_ms
        ]
        for each in due:
            self._ended(each.reservation_id, each.charged_nanousd)
        expired = await self._store.expire()
        self._stranded.note(expired, self._untold)
        try:
            returned_nanousd = await self._stranded.give_back()
        except StoreError as error:
            log.warning("leases of others not given back", extra={"fields": {"error_code": error.code}})
        else:
            if returned_nanousd:
                log.warning("leases of others given back", extra={"fields": {"usd": usd_of(returned_nanousd)}})
        return (*due, *expired)

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """As the store has them, but what a slice of this gateway has spent as settled, and what it keeps as free."""
        spent: dict[str, int] = {}
        kept: dict[str, int] = {}
        for each in self._demands.slices():
            for account in each.accounts:
                spent[account] = spent.get(account, 0) + each.spent_nanousd
                kept[account] = kept.get(account, 0) + each.held_nanousd - each.open_nanousd
        found = await self._store.balances(claims)
        return tuple(
            each._replace(
                settled_nanousd=each.settled_nanousd + spent.get(each.account, 0),
                held_nanousd=max(0, each.held_nanousd - kept.get(each.account, 0)),
            )
            for each in found
        )

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """As the store does it."""
        await self._store.rebuild(balances, holds, closed)

    async def aclose(self) -> None:
        """Give every slice back at what was spent of it and what is still held in it, then let go."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for mine in self._demands.slices():
            self._untold[str(mine.name)] = mine.spent_nanousd + mine.open_nanousd
        try:
            await self._tell()
        except BudgetStoreUnavailableError:
            log.warning("leases not given back", extra={"fields": {"slices": len(self._untold)}})
        await self._store.aclose()

    # --- calls within slices -----------------------------------------------------------------------------------------

    def _granted(self, mine: Slice, reservation_id: str, most_nanousd: int, lease_ms: int) -> Grant:
        held = min(most_nanousd, mine.room_nanousd)
        left = None if mine.headroom_nanousd is None else mine.headroom_nanousd + mine.room_nanousd - held
        grant = Grant(reservation_id, held, (*mine.accounts, mine.name.account), left, mine.over)
        call = Call(mine, grant, held, self._clock.now_ms() + lease_ms)
        mine.open[reservation_id] = self._calls[reservation_id] = call
        if self._observer is not None:
            self._observer.budget_held(is_leased=True)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_always(), name="tollgate-leases")
        return grant

    def _ended(self, reservation_id: str, actual_nanousd: int) -> bool:
        """Whether the call was one of a slice's, which is charged; one of a void slice is the store's to close."""
        call = self._calls.pop(reservation_id, None)
        if call is None:
            return reservation_id in self._closed
        del call.slice.open[reservation_id]
        if call.slice.is_void:
            return False
        call.slice.spent_nanousd += actual_nanousd
        call.slice.ended[reservation_id] = actual_nanousd
        _kept(self._closed, reservation_id, call.grant)
        return True

    # --- slices ------------------------------------------------------------------------------------------------------

    def _is_fresh(self, mine: Slice) -> bool:
        return self._clock.monotonic_s() - mine.asked_s < VALID_S

    def _is_serving(self, mine: Slice | None, most_nanousd: int) -> bool:
        return mine is not None and mine.room_nanousd >= most_nanousd and self._is_fresh(mine) and self._share() > 0

    def _wanted(self, demand: Demand, most_nanousd: int) -> int:
        """How much a slice should have for new calls; 0 where none is worth it."""
        share = self._share()
        if share <= 0 or demand.calls < CALLS_MIN or not demand.is_known or most_nanousd <= 0:
            return 0
        wanted = CALLS_MAX * most_nanousd
        if demand.headroom_nanousd is not None:
            wanted = min(wanted, int(share * demand.headroom_nanousd))
        return wanted if wanted >= WORTH_CALLS * most_nanousd else 0

    async def _rolled(self, key: Key, demand: Demand, least_nanousd: int, most_nanousd: int) -> bool:
        """Whether there is a slice now that has room for the call."""
        if not self._wanted(demand, most_nanousd):
            return False
        async with demand.lock:
            if self._is_serving(demand.slice, most_nanousd):
                return True
            wanted = self._wanted(demand, most_nanousd)
            if not wanted:
                return False
            return await self._roll(key, demand, max(wanted, most_nanousd), least_nanousd)

    async def _roll(self, key: Key, demand: Demand, wanted_nanousd: int, least_nanousd: int) -> bool:
        """Hold a new slice that takes the open calls along, then settle the old one; under the demand's lock."""
        old = await self._known(demand)
        carried, spent, ended = (0, 0, 0) if old is None else (old.open_nanousd, old.spent_nanousd, len(old.ended))
        asked_s = self._clock.monotonic_s()
        name = self._demands.next_name(demand)
        try:
            answer = await self._store.reserve(
                str(name),
                key,
                least_nanousd=carried + least_nanousd,
                most_nanousd=carried + wanted_nanousd,
                lease_ms=SLICE_LEASE_MS,
            )
        except (BudgetStoreUnavailableError, asyncio.CancelledError):
            self._doubtful[str(name)] = key  # it may have been held although its answer never came
            raise
        if isinstance(answer, Denial):
            return False
        new = Slice(
            name, answer.held_nanousd, answer.accounts, answer.headroom_nanousd, answer.over, asked_s, asked_s,
            demand.lock,
        )  # fmt: skip
        demand.headroom_nanousd, demand.is_known = answer.headroom_nanousd, True
        if old is not None and old.open_nanousd + old.spent_nanousd - spent > new.held_nanousd:
            # Calls were extended meanwhile past what was asked for them.
            self._untold[str(name)] = 0
            return False
        if old is not None:
            # The old one cost what the new one's name says: what ended since then is charged to the new one.
            new.spent_nanousd = old.spent_nanousd - spent
            new.ended = dict(islice(old.ended.items(), ended, None))
            self._let_go(demand, old, spent)
            for call_id, call in old.open.items():
                call.slice = new
                new.open[call_id] = call
            old.open = {}
        demand.slice = new
        return new.room_nanousd >= least_nanousd

    def _let_go(self, demand: Demand, mine: Slice, spent_nanousd: int) -> None:
        """The slice serves no more, and is soon settled at what was spent of it."""
        demand.slice = None
        demand.settled_nanousd += spent_nanousd
        self._untold[str(mine.name)] = spent_nanousd

    async def _known(self, demand: Demand) -> Slice | None:
        """The slice, if the store still knows it; under the demand's lock.

        Calls of one that it does not know, or has closed, are closed under their own ids from now on. Those that ended
        before anybody noticed may have been told to the store as still open: they are closed there too.
        """
        mine = demand.slice
        if mine is None:
            return None
        answer = await self._store.extend(str(mine.name), 0, lease_ms=SLICE_LEASE_MS)
        mine.renewed_s = self._clock.monotonic_s()
        if not isinstance(answer, Denial) or answer.budget != NOBODY:
            return mine
        mine.is_void = True
        self._demands.begin_anew(demand)
        self._untold.update(mine.ended)
        # Where its lease charged it in full, since the store could not be asked for too long, this corrects it.
        self._untold[str(mine.name)] = mine.spent_nanousd + mine.open_nanousd
        return None

    # --- what goes back ----------------------------------------------------------------------------------------------

    async def _sweep_always(self) -> None:
        is_behind = False
        while True:
            await asyncio.sleep(SWEEP_S)
            why_not = await self._why_not_swept()
            if is_behind is (why_not is None):  # an outage is told once, and its end
                is_behind = not is_behind
                what = "leases not swept" if is_behind else "leases swept again"
                log.warning(what, extra={"fields": {"reason": why_not} if is_behind else {}})

    async def _why_not_swept(self) -> str | None:
        """Sweep; returns why that failed, a bug of ours by its kind alone, None where it did not."""
        try:
            await self.sweep()
        except BudgetStoreUnavailableError as error:
            return error.code
        except Exception as error:  # noqa: BLE001  # the outermost handler of a task that lives as long as the process
            return f"a bug: {type(error).__name__}"
        return None

    async def sweep(self) -> None:
        """Tell the store what slices cost, give back what nobody uses, and renew what is still in use."""
        await self._tell()
        for key, demand in self._demands.items():
            mine = demand.slice
            if mine is None or self._is_fresh(mine):
                continue
            async with demand.lock:
                if demand.slice is mine:
                    await self._shrunk(key, demand, mine)
        await self._tell()
        if self._observer is not None:
            self._observer.budget_leased(sum(each.room_nanousd for each in self._demands.slices()))

    async def _shrunk(self, key: Key, demand: Demand, mine: Slice) -> None:
        if mine.open and mine.room_nanousd > 0:
            await self._roll(key, demand, 0, 0)
        elif not mine.open:
            known = await self._known(demand)
            if known is not None and not known.open:
                self._let_go(demand, known, known.spent_nanousd)
        elif self._clock.monotonic_s() - mine.renewed_s >= RENEW_S:
            await self._known(demand)

    async def _tell(self) -> None:
        for name, key in tuple(self._doubtful.items()):
            # Asked again, the store gives the old answer or makes it now: either way it can be given back then.
            await self._store.reserve(name, key, least_nanousd=0, most_nanousd=0, lease_ms=SLICE_LEASE_MS)
            del self._doubtful[name]
            self._untold[name] = 0
        for name in tuple(self._untold):
            cost = self._untold[name]
            await (self._store.settle(name, cost) if cost else self._store.void(name))
            if self._untold.get(name) == cost:
                del self._untold[name]


def _kept(table: OrderedDict[str, Any], name: str, value: object) -> None:
    """Remember it, and forget the oldest where there is no room."""
    table[name] = value
    if len(table) > CLOSED_MAX:
        table.popitem(last=False)
