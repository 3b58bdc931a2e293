"""Budgets in this process's memory: exact for one process, gone with it; the ledger tells the next one what stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.budgets.book import Book
from router.budgets.transitions import require_amounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.budgets import Balance, Claim, Denial, Expired, Grant, OpenHold
    from router.clock import Clock


class MemoryBudgets:
    """Implements router.ports.BudgetStore over a book: nothing waits, so nothing interleaves within a transition."""

    def __init__(self, clock: Clock, book: Book | None = None) -> None:
        self.book = book if book is not None else Book()
        self._clock = clock

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold as much as fits in every hard claim, from ``least`` to ``most``."""
        return self.book.reserve(
            self._clock.now_ms(),
            reservation_id,
            claims,
            least_nanousd=least_nanousd,
            most_nanousd=most_nanousd,
            lease_ms=lease_ms,
        )

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more, all or nothing, and renew the lease."""
        require_amounts(extra_nanousd)
        return self.book.extend(self._clock.now_ms(), reservation_id, extra_nanousd, lease_ms=lease_ms)

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost and give back the rest."""
        require_amounts(actual_nanousd)
        self.book.settle(self._clock.now_ms(), reservation_id, actual_nanousd)

    async def void(self, reservation_id: str) -> None:
        """Give all of it back."""
        self.book.void(self._clock.now_ms(), reservation_id)

    async def expire(self) -> tuple[Expired, ...]:
        """Charge every hold whose lease has run out in full."""
        return self.book.expire(self._clock.now_ms())

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """The claims' accounts in the window that is now."""
        return self.book.balances(self._clock.now_ms(), claims)

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """Bring accounts up to what the ledger says."""
        self.book.rebuild(self._clock.now_ms(), balances, holds, closed)

    async def aclose(self) -> None:
        """Nothing to let go of."""
