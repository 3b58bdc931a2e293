"""What the policy allows while the store of budgets is away: calls up to a stated sum, charged once it is back.

Each gateway has the sum for itself, in each outage. What it allowed is remembered here and told to the store when it
answers again, past limits if need be: the money is spent. What a gateway did not live to tell stands in the ledger.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from router.budgets import Grant
from router.budgets.terms import allowed_account
from router.budgets.transitions import terms_of
from router.errors import BudgetStoreUnavailableError
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.budgets import Balance, Claim, Denial, Expired, OpenHold
    from router.clock import Clock
    from router.ports import BudgetStore

log = logging.getLogger("tollgate")


class OutageObserver(Protocol):
    """Told when the store goes and comes. Must neither block nor raise."""

    def budget_store_away(self, *, is_away: bool) -> None:
        """The store has stopped answering, or answers again."""
        ...

    def budget_allowed(self, nanousd: int) -> None:
        """A call of this worst case passed without the store."""
        ...


@dataclass(slots=True)
class Allowed:
    """A call that passed without the store; ``actual_nanousd`` once it has ended."""

    claims: tuple[Claim, ...]
    held_nanousd: int
    lease_ms: int
    actual_nanousd: int | None = None

    @property
    def out_nanousd(self) -> int:
        """What of the sum it takes."""
        return self.held_nanousd if self.actual_nanousd is None else self.actual_nanousd


class AllowingBudgets:
    """Implements router.ports.BudgetStore over another. ``allowance`` is the policy's sum, None where there is none.

    Without an allowance it only watches whether the store answers.
    """

    def __init__(
        self, store: BudgetStore, allowance: Callable[[], int | None], observer: OutageObserver, clock: Clock
    ) -> None:
        self._store = store
        self._allowance = allowance
        self._observer = observer
        self._clock = clock
        self._allowed: dict[str, Allowed] = {}
        self._is_away = False

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold in the store; where that is away, as much of the allowance as is left, at least ``least``."""
        known = self._allowed.get(reservation_id)
        if known is not None:
            return self._grant(reservation_id, known)
        try:
            answer = await self._store.reserve(
                reservation_id, claims, least_nanousd=least_nanousd, most_nanousd=most_nanousd, lease_ms=lease_ms
            )
        except BudgetStoreUnavailableError:
            self._note(is_away=True)
            held = min(most_nanousd, self._left())
            if held < least_nanousd or self._allowance() is None:
                raise
            self._observer.budget_allowed(held)
            known = self._allowed[reservation_id] = Allowed(tuple(claims), held, lease_ms)
            return self._grant(reservation_id, known)
        self._note(is_away=False)
        return answer

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more where the first of it was held."""
        known = self._allowed.get(reservation_id)
        if known is None:
            return await self._store.extend(reservation_id, extra_nanousd, lease_ms=lease_ms)
        if known.actual_nanousd is not None or extra_nanousd > self._left():
            raise BudgetStoreUnavailableError("the store of budgets is away, and what is allowed meanwhile is used up")
        self._observer.budget_allowed(extra_nanousd)
        known.held_nanousd += extra_nanousd
        return self._grant(reservation_id, known)

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost, in the store or as soon as it is back."""
        if not self._ended(reservation_id, actual_nanousd):
            await self._store.settle(reservation_id, actual_nanousd)

    async def void(self, reservation_id: str) -> None:
        """Give all of it back."""
        if not self._ended(reservation_id, 0):
            await self._store.void(reservation_id)

    async def expire(self) -> tuple[Expired, ...]:
        """Tell the store what was allowed without it, then charge what is past its lease."""
        await self._tell()
        found = await self._store.expire()
        self._note(is_away=False)
        return found

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """As the store has them."""
        return await self._store.balances(claims)

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """As the store does it."""
        await self._store.rebuild(balances, holds, closed)

    async def aclose(self) -> None:
        """Tell what can still be told."""
        try:
            await self._tell()
        except BudgetStoreUnavailableError:
            log.warning("budgets not told", extra={"fields": {"calls": len(self._allowed)}})
        await self._store.aclose()

    def _left(self) -> int:
        return max(0, (self._allowance() or 0) - sum(each.out_nanousd for each in self._allowed.values()))

    def _grant(self, reservation_id: str, known: Allowed) -> Grant:
        now_ms = self._clock.now_ms()
        accounts = dict.fromkeys(term.account for term in terms_of(known.claims, now_ms))
        # By its own account the ledger knows it again, should it be the one to tell a store that lost its memory.
        return Grant(reservation_id, known.held_nanousd, (*accounts, allowed_account(reservation_id, now_ms)), None)

    def _ended(self, reservation_id: str, actual_nanousd: int) -> bool:
        known = self._allowed.get(reservation_id)
        if known is not None and known.actual_nanousd is None:
            known.actual_nanousd = actual_nanousd
        return known is not None

    async def _tell(self) -> None:
        for name, each in tuple(self._allowed.items()):
            actual = each.actual_nanousd
            if actual is None:
                continue
            soft = tuple(claim._replace(is_hard=False) for claim in each.claims)
            await self._store.reserve(
                name, soft, least_nanousd=actual, most_nanousd=max(actual, each.held_nanousd), lease_ms=each.lease_ms
            )
            await self._store.settle(name, actual)
            del self._allowed[name]

    def _note(self, *, is_away: bool) -> None:
        if is_away == self._is_away:
            return
        self._is_away = is_away
        self._observer.budget_store_away(is_away=is_away)
        limit = self._allowance()
        fields = {"allow_usd": None if limit is None else usd_of(limit)}
        log.warning("budget store away" if is_away else "budget store back", extra={"fields": fields})
