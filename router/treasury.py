"""The money of requests: what each may spend, holds on it before a vendor is called, and what closes them after."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from router.budgets import Denial, Grant
from router.budgets.claims import Claimant, Owners
from router.budgets.terms import NOBODY
from router.clock import iso_of
from router.closings import Closings
from router.errors import BudgetExhaustedError, BudgetStoreUnavailableError
from router.money import usd_of
from router.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.budgets import Budget, Claim
    from router.clock import Clock
    from router.ledger import Subject
    from router.policy import Caller, Policy
    from router.ports import BudgetStore


class BudgetObserver(Protocol):
    """Told what budgets did: metrics. Must neither block nor raise."""

    def budget_denied(self, budget: str) -> None:
        """A request was refused, downgraded or made to wait."""
        ...

    def budget_over(self, budget: str) -> None:
        """A call was held that takes a soft budget past its limit."""
        ...

    def budget_unclosed(self) -> None:
        """A settlement found no room: its lease will close it in full."""
        ...


@dataclass(slots=True)
class Purse:
    """What one request may spend: the accounts it falls under, and limits on the request itself.

    ``spent_nanousd`` is what its closed attempts cost, ``open_nanousd`` what its open ones hold.
    """

    budgets: tuple[Budget, ...]
    claims: tuple[Claim, ...]
    own: tuple[Budget, ...] = ()
    spent_nanousd: int = 0
    open_nanousd: int = 0

    @property
    def may_downgrade(self) -> bool:
        """Whether a hard budget would rather have a worse answer than none."""
        return any(each.when_exhausted == "downgrade" and each.is_hard for each in self.budgets)

    def budget(self, denial: Denial) -> Budget | None:
        """The budget that denied."""
        return next((each for each in self.budgets if each.name == denial.budget), None)

    def denied(self, wanted_nanousd: int) -> Denial | None:
        """The limit on the request itself that leaves no room for so much more."""
        for each in self.own:
            if each.is_hard and self.spent_nanousd + self.open_nanousd + wanted_nanousd > each.limit_nanousd:
                return Denial(
                    each.name, NOBODY, each.limit_nanousd, self.spent_nanousd, self.open_nanousd, wanted_nanousd, None
                )
        return None

    def within(self, most_nanousd: int) -> int:
        """So much of it as the limits on the request itself leave."""
        rooms = [each.limit_nanousd - self.spent_nanousd - self.open_nanousd for each in self.own if each.is_hard]
        return min([most_nanousd, *rooms])


class Treasury:
    """Holds money in the store, and closes what it held in the background."""

    def __init__(self, store: BudgetStore, observer: BudgetObserver, clock: Clock, salt: bytes) -> None:
        self.turns = Turns()
        self._store = store
        self._observer = observer
        self._clock = clock
        self._claimant = Claimant(salt)
        self._closings = Closings(store, self.turns.call, observer.budget_unclosed)

    def purse_of(self, policy: Policy, caller: Caller, subject: Subject) -> Purse | None:
        """What the request may spend; None where no budget limits it."""
        if not policy.budgets and not caller.limits:
            return None
        budgets = policy.budgets + caller.limits
        owners = Owners(
            team=subject.team,
            project=subject.project,
            key_id=subject.key_id,
            session_id=subject.session_id,
            lineage_id=subject.lineage_id,
            tags=subject.tags,
        )
        claims = self._claimant.claims_of(budgets, owners, self._clock.now_ms())
        own = tuple(each for each in budgets if each.scope == "request")
        return Purse(budgets, claims, own) if claims or own else None

    async def reserve(
        self,
        purse: Purse,
        reservation_id: str,
        *,
        least_nanousd: int,
        most_nanousd: int,
        lease_ms: int,
        is_first_in_line: bool = False,
    ) -> Grant | Denial:
        """Hold what fits, from ``least`` to ``most``; a request that others wait before is denied as they are.

        Raises BudgetStoreUnavailableError, after which nothing stays held.
        """
        denial = purse.denied(least_nanousd)
        if denial is None and not is_first_in_line:
            denial = self.turns.ahead_of(purse.claims)
        if denial is not None:
            return denial
        most_nanousd = purse.within(most_nanousd)
        if purse.claims:
            outcome = await self._reserved(purse.claims, reservation_id, least_nanousd, most_nanousd, lease_ms)
            if isinstance(outcome, Denial):
                return outcome
        else:
            outcome = Grant(reservation_id, most_nanousd, (), None)
        purse.open_nanousd += outcome.held_nanousd
        over = outcome.over
        if purse.own:
            total = purse.spent_nanousd + purse.open_nanousd
            over += tuple(each.name for each in purse.own if not each.is_hard and total > each.limit_nanousd)
        for name in over:
            self._observer.budget_over(name)
        return outcome

    async def _reserved(
        self, claims: Sequence[Claim], reservation_id: str, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        try:
            return await self._store.reserve(
                reservation_id, claims, least_nanousd=least_nanousd, most_nanousd=most_nanousd, lease_ms=lease_ms
            )
        except (BudgetStoreUnavailableError, asyncio.CancelledError):
            # It may have been made although its answer never came.
            self._closings.undo(reservation_id, claims, least_nanousd, lease_ms)
            raise

    async def extend(self, purse: Purse, grant: Grant, extra_nanousd: int, *, lease_ms: int) -> bool:
        """Hold so much more of an attempt that runs; False where it is denied, or the store does not answer."""
        if purse.denied(extra_nanousd) is not None:
            return False
        if purse.claims:
            try:
                outcome = await self._store.extend(grant.reservation_id, extra_nanousd, lease_ms=lease_ms)
            except BudgetStoreUnavailableError:
                return False
            if isinstance(outcome, Denial):
                self._observer.budget_denied(outcome.budget)
                return False
        purse.open_nanousd += extra_nanousd
        return True

    def close(self, purse: Purse, grant: Grant, held_nanousd: int, actual_nanousd: int | None) -> None:
        """Charge what it cost and give back the rest, soon; None gives all back, since the vendor did not bill."""
        purse.open_nanousd -= held_nanousd
        purse.spent_nanousd += actual_nanousd or 0
        if not grant.accounts:
            return
        if actual_nanousd is None:
            self._closings.void(grant.reservation_id)
        else:
            self._closings.settle(grant.reservation_id, actual_nanousd)

    def tell_denied(self, denial: Denial) -> None:
        """Count a request that money was short for."""
        self._observer.budget_denied(denial.budget)

    async def catch_up(self, timeout_s: float) -> None:
        """Wait until what was closed so far is closed in the store too, but no longer than that."""
        await self._closings.settled(timeout_s)

    async def aclose(self, grace_s: float) -> None:
        """Tell the store what is still to be told, within the grace."""
        await self._closings.aclose(grace_s)


def exhausted(denial: Denial, budget: Budget | None) -> BudgetExhaustedError:
    """The error that a caller gets: which budget, how much is left of it, until when; no name of an owner."""
    until = None if denial.resets_ms is None else iso_of(denial.resets_ms)
    scope = "unknown" if budget is None else budget.scope if budget.tag is None else f"tag:{budget.tag}"
    left, limit, wanted = (
        usd_of(amount) for amount in (denial.headroom_nanousd, denial.limit_nanousd, denial.wanted_nanousd)
    )
    held = "" if denial.is_settled else f"; calls under way hold {usd_of(denial.held_nanousd)}"
    when = "" if until is None else f"; it begins anew at {until}"
    return BudgetExhaustedError(
        f"budget {denial.budget} ({scope}) has {left} of {limit} USD left and this call needs {wanted}{held}{when}",
        data={
            "budget": denial.budget,
            "scope": scope,
            "limit_usd": limit,
            "headroom_usd": left,
            "resets_at": until,
        },
    )
