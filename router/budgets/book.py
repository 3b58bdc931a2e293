"""The book of budgets in memory: every account and reservation, the leases, and what may be forgotten.

Its time never goes back: a clock that steps back stands still here until it has caught up. What it keeps is bounded:

- a reservation that is settled or given back is known for CLOSED_KEPT_MS and among the newest ``closed_max``; after
  that its id is unknown, and reserving it again holds again,
- one that expired is known for EXPIRED_KEPT_MS and among the newest ``expired_max``; after that a late settlement
  changes nothing, and what its lease charged stays charged,
- an account is forgotten when its window has ended, nothing is open in it, and no known reservation can correct it.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from router.budgets.transitions import ACCOUNT_KEPT_MS, Transitions, terms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.budgets.terms import Balance, Claim, Denial, Expired, Grant, OpenHold

CLOSED_MAX = 100_000
EXPIRED_MAX = 100_000
LEASES_SLACK = 1024


class Book:
    """One company's budgets; every method is one atomic transition. ``now_ms`` is the caller's clock."""

    def __init__(self, *, closed_max: int = CLOSED_MAX, expired_max: int = EXPIRED_MAX) -> None:
        self._state = Transitions()
        self._now_ms = 0
        self._accounts = 0
        self._leases_max = LEASES_SLACK
        self._leases: list[tuple[int, str]] = []
        self._ends: list[tuple[int, str]] = []
        self._closed: deque[tuple[int, str]] = deque()
        self._expired: deque[tuple[int, str]] = deque()
        self._closed_max = closed_max
        self._expired_max = expired_max

    def reserve(
        self,
        now_ms: int,
        reservation_id: str,
        claims: Sequence[Claim],
        *,
        least_nanousd: int,
        most_nanousd: int,
        lease_ms: int,
    ) -> Grant | Denial:
        """Hold as much as fits in every hard claim, from ``least`` to ``most``; a denial writes nothing."""
        answer = self._state.reserve(
            self._time(now_ms),
            reservation_id,
            claims,
            least_nanousd=least_nanousd,
            most_nanousd=most_nanousd,
            lease_ms=lease_ms,
        )
        self._follow()
        return answer

    def extend(self, now_ms: int, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more, all or nothing, and renew the lease."""
        answer = self._state.extend(self._time(now_ms), reservation_id, extra_nanousd, lease_ms=lease_ms)
        self._follow()
        return answer

    def settle(self, now_ms: int, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost, also above the hold; corrects an expiry, else counts once."""
        self._state.settle(self._time(now_ms), reservation_id, actual_nanousd)
        self._follow()

    def void(self, now_ms: int, reservation_id: str) -> None:
        """Give all of it back; corrects an expiry to nothing, never undoes a settlement."""
        self._state.void(self._time(now_ms), reservation_id)
        self._follow()

    def expire(self, now_ms: int) -> tuple[Expired, ...]:
        """Charge what is past its lease in full, forget what nobody can need; in the order of the leases."""
        now_ms = self._time(now_ms)
        found = []
        while self._leases and self._leases[0][0] <= now_ms:
            _, reservation_id = heapq.heappop(self._leases)
            if (expired := self._state.expire(now_ms, reservation_id)) is not None:
                found.append(expired)
        self._follow()
        self._forget(now_ms)
        return tuple(found)

    def balances(self, now_ms: int, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """The claims' accounts in the window that is now, in the claims' order."""
        return tuple(self._state.balance(term.account) for term in terms_of(claims, self._time(now_ms)))

    def rebuild(
        self, now_ms: int, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()
    ) -> None:
        """Bring accounts up to what the ledger says; never lowers what is there, but for what is ``closed``."""
        self._state.rebuild(self._time(now_ms), balances, holds, closed)
        self._follow()

    def balance(self, account: str) -> Balance:
        """One account by its id, of whatever window."""
        return self._state.balance(account)

    @property
    def size(self) -> tuple[int, int]:
        """How many accounts and how many reservations are kept."""
        return len(self._state.accounts), len(self._state.reservations)

    def _time(self, now_ms: int) -> int:
        self._now_ms = max(self._now_ms, now_ms)
        return self._now_ms

    def _follow(self) -> None:
        """Note leases and closings of what has changed, and when what is new may be forgotten."""
        state = self._state
        for reservation_id in state.changed_reservations:
            known = state.reservations[reservation_id]
            if known.state == "open":
                heapq.heappush(self._leases, (known.lease_expires_ms, reservation_id))
            else:
                queue = self._expired if known.state == "expired" else self._closed
                queue.append((known.forget_ms, reservation_id))
        # A dictionary keeps its order: what was added stands last.
        for name in islice(reversed(state.accounts), len(state.accounts) - self._accounts):
            heapq.heappush(self._ends, (state.accounts[name].forget_ms, name))
        self._accounts = len(state.accounts)
        state.changed_reservations.clear()
        state.changed_accounts.clear()
        self._bound()

    def _bound(self) -> None:
        while len(self._closed) > self._closed_max:
            self._drop(self._closed)
        while len(self._expired) > self._expired_max:
            self._drop(self._expired)
        if len(self._leases) > self._leases_max:
            # Most are of reservations that were closed or renewed since.
            found = self._state.reservations.items()
            self._leases = [(each.lease_expires_ms, name) for name, each in found if each.state == "open"]
            heapq.heapify(self._leases)
            self._leases_max = 2 * len(self._leases) + LEASES_SLACK

    def _forget(self, now_ms: int) -> None:
        for queue in (self._closed, self._expired):
            while queue and queue[0][0] <= now_ms:
                self._drop(queue)
        accounts = self._state.accounts
        while self._ends and self._ends[0][0] <= now_ms:
            _, name = heapq.heappop(self._ends)
            account = accounts[name]
            if account.open_holds == 0 and account.forget_ms <= now_ms:
                del accounts[name]
            else:
                heapq.heappush(self._ends, (max(account.forget_ms, now_ms + ACCOUNT_KEPT_MS), name))
        self._accounts = len(accounts)

    def _drop(self, queue: deque[tuple[int, str]]) -> None:
        """Forget the oldest of a queue, unless it was corrected since and stands in the other one."""
        forget_ms, reservation_id = queue.popleft()
        known = self._state.reservations.get(reservation_id)
        if known is not None and known.state != "open" and known.forget_ms == forget_ms:
            del self._state.reservations[reservation_id]
