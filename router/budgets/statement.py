"""How far each budget is spent: every account with its window, and when it is exhausted at its own pace.

The pace is what was settled since the window began, spread evenly over the time since. It says nothing before a
twentieth of the window has passed, and nothing of a ``total``, which has no beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.budgets.terms import ENDLESS_MS, Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.budgets.terms import Balance, Budget, Window

PACED_SHARE = 0.05


class Statement(NamedTuple):
    """One account. ``remaining`` is 0 and ``over`` above 0 where settled money has passed the limit.

    ``exhausted_ms`` is when the limit is reached at the pace so far; None where that is not within this window, or not
    known yet.
    """

    budget: Budget
    owner: str
    window: Window
    limit_nanousd: int
    settled_nanousd: int
    reserved_nanousd: int
    exhausted_ms: int | None

    @property
    def remaining_nanousd(self) -> int:
        """What may still be held."""
        return max(0, self.limit_nanousd - self.settled_nanousd - self.reserved_nanousd)

    @property
    def over_nanousd(self) -> int:
        """What was settled past the limit."""
        return max(0, self.settled_nanousd - self.limit_nanousd)


def claim_on(budget: Budget, owner: str, windows: tuple[Window, ...]) -> Claim:
    """The claim that a call of this owner has on the budget."""
    limit_nanousd = budget.limits_nanousd.get(owner, budget.limit_nanousd)
    return Claim(budget.name, owner, limit_nanousd, budget.is_hard, windows)


def owners_of(budget: Budget, accounts: Iterable[str], *, most: int) -> tuple[str, ...]:
    """Whose accounts are told of: those that spent, then those that the budget names; the company's always is."""
    found = [account.split("/", 2)[2] for account in accounts]
    named = [*sorted(budget.owners), *sorted(budget.limits_nanousd)]
    everybody = [""] if budget.scope == "all" else []
    return tuple(dict.fromkeys((*found[:most], *named, *everybody)))


def stated(budget: Budget, claims: Sequence[Claim], balances: Sequence[Balance], now_ms: int) -> tuple[Statement, ...]:
    """The statement of each claim's balance, the fullest account first."""
    found: list[Statement] = []
    for claim, balance in zip(claims, balances, strict=True):
        window = next(each for each in claim.windows if claim.account(each) == balance.account)
        exhausted = exhausted_ms(balance.settled_nanousd, claim.limit_nanousd, window, now_ms)
        found.append(
            Statement(
                budget,
                claim.owner,
                window,
                claim.limit_nanousd,
                balance.settled_nanousd,
                balance.held_nanousd,
                exhausted,
            )
        )
    return tuple(sorted(found, key=lambda each: (-_fullness(each), each.owner)))


def exhausted_ms(settled_nanousd: int, limit_nanousd: int, window: Window, now_ms: int) -> int | None:
    """When the limit is reached at the pace so far; now where it is, None where that is not within the window."""
    if settled_nanousd >= limit_nanousd:
        return now_ms
    passed_ms, length_ms = now_ms - window.start_ms, window.end_ms - window.start_ms
    if window.end_ms >= ENDLESS_MS or settled_nanousd <= 0 or passed_ms < PACED_SHARE * length_ms:
        return None
    reached_ms = window.start_ms + -(-limit_nanousd * passed_ms // settled_nanousd)
    return reached_ms if reached_ms < window.end_ms else None


def _fullness(each: Statement) -> float:
    return (each.settled_nanousd + each.reserved_nanousd) / each.limit_nanousd
