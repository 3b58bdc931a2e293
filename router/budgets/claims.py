"""From a policy's budgets and a request's owners to the accounts that the request falls under."""

from __future__ import annotations

import hashlib
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from router.budgets.terms import NOBODY, Claim
from router.budgets.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.budgets.terms import Budget

# A client may send any tag: behind so many values of one budget in one window, all others share one account.
TAG_VALUES_MAX = 10_000
OTHERS = "(others)"
# What callers write becomes an account's id where it is short and plain, else a salted hash stands for it.
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=/ -]{0,63}")
HASH_BYTES = 12
NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Owners(NamedTuple):
    """Who a request belongs to, by every scope that budgets know; None where it has no such owner.

    Without a lineage the session stands for it. ``tags`` are the request's over its key's.
    """

    team: str | None = None
    project: str | None = None
    key_id: str | None = None
    session_id: str | None = None
    lineage_id: str | None = None
    tags: Mapping[str, str] = NO_TAGS


class Claimant:
    """Makes claims, and remembers which values of a tag have an account of their own.

    ``salt`` keys the hashes of what callers wrote; gateways that share a store share it too, else a long session id has
    an account at each of them.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt[:64]
        self._windows = Windows()
        self._values: dict[tuple[str, int], set[str]] = {}

    def claims_of(self, budgets: Iterable[Budget], owners: Owners, now_ms: int) -> tuple[Claim, ...]:
        """One claim for each budget that the request falls under, in the budgets' order; none for ``request``."""
        found: list[Claim] = []
        for budget in budgets:
            if budget.scope == "request":
                continue
            owner = self.owner_of(budget, owners)
            if budget.owners and owner not in budget.owners:
                continue
            windows = self._windows.around(budget.window, budget.zone, now_ms)
            if budget.scope == "tag" and owner not in budget.owners and owner not in budget.limits_nanousd:
                owner = self._bounded(budget.name, windows[len(windows) // 2].start_ms, owner)
            limit_nanousd = budget.limits_nanousd.get(owner, budget.limit_nanousd)
            found.append(Claim(budget.name, owner, limit_nanousd, budget.is_hard, windows))
        return tuple(found)

    def owner_of(self, budget: Budget, owners: Owners) -> str:
        """Whose account the request falls under; `NOBODY` for the company's, and for all that have no such owner."""
        match budget.scope:
            case "team":
                return owners.team or NOBODY
            case "project":
                return owners.project or NOBODY
            case "key":
                return owners.key_id or NOBODY
            case "session":
                return self._written(owners.session_id)
            case "lineage":
                return self._written(owners.lineage_id or owners.session_id)
            case "tag":
                return self._written(owners.tags.get(budget.tag or NOBODY))
            case _:
                return NOBODY

    def _written(self, text: str | None) -> str:
        if not text:
            return NOBODY
        if PLAIN.fullmatch(text):
            return text
        data = text.encode("utf-8", "surrogatepass")
        return "#" + hashlib.blake2b(data, key=self._salt, digest_size=HASH_BYTES).hexdigest()

    def _bounded(self, budget: str, start_ms: int, owner: str) -> str:
        """The owner, or `OTHERS` where the budget has given out all accounts of this window."""
        values = self._values.get((budget, start_ms))
        if values is None:
            # What is left of a window before the last one is of no use to anybody.
            for key in [key for key in self._values if key[0] == budget and key[1] < start_ms]:
                del self._values[key]
            values = self._values[budget, start_ms] = set()
        if owner in values:
            return owner
        if len(values) >= TAG_VALUES_MAX:
            return OTHERS
        values.add(owner)
        return owner
