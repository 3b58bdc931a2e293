"""What budgets are, said naively: a list of reservations that is summed up whenever somebody asks.

Owes nothing to the state machine of the product: no running sums, no shared code but the words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.budgets import Claim, Grant


@dataclass
class Held:
    """A reservation: what it holds while it is open, what it was charged once it is not."""

    grant: Grant
    claims: Sequence[Claim]
    amount: int
    lease_from_ms: int
    lease_until_ms: int
    state: str = "open"
    charged: int = 0
    closed_ms: int = 0
    is_rebuilt: bool = False


@dataclass
class Ledger:
    """Every reservation there ever was."""

    held: dict[str, Held] = field(default_factory=dict)

    def settled_in(self, account: str) -> int:
        """All that was charged in an account."""
        return sum(each.charged for each in self.held.values() if account in each.grant.accounts)

    def held_in(self, account: str) -> int:
        """All that is open in an account."""
        return sum(
            each.amount for each in self.held.values() if each.state == "open" and account in each.grant.accounts
        )

    def headroom(self, claims: Iterable[Claim], accounts: Iterable[str]) -> int | None:
        """What the tightest hard account has left; None without one."""
        rooms = [
            max(0, claim.limit_nanousd - self.settled_in(account) - self.held_in(account))
            for claim, account in zip(claims, accounts, strict=True)
            if claim.is_hard
        ]
        return min(rooms, default=None)

    def over(self, claims: Iterable[Claim], accounts: Iterable[str]) -> tuple[str, ...]:
        """The soft budgets that are past their limit."""
        return tuple(
            claim.budget
            for claim, account in zip(claims, accounts, strict=True)
            if not claim.is_hard and self.settled_in(account) + self.held_in(account) > claim.limit_nanousd
        )

    def close(self, name: str, state: str, charge: int, now_ms: int) -> None:
        """Settle, void or expire; only what is open or was charged by its lease can change."""
        each = self.held[name]
        if each.state == "open" or (each.state == "expired" and state != "expired"):
            each.state, each.charged, each.closed_ms = state, charge, now_ms


def accounts_at(claims: Sequence[Claim], now_ms: int) -> tuple[str, ...]:
    """The claims' accounts in the windows that hold this moment."""
    found = []
    for claim in claims:
        (window,) = (window for window in claim.windows if window.start_ms <= now_ms < window.end_ms)
        found.append(f"{claim.budget}/{window.start_ms}/{claim.owner}")
    return tuple(found)
