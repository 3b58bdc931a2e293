"""What is to be told to the store of budgets after an answer: settlements and voids, without holding the answer up.

A store that is away is told again, with a growing pause, for as long as the process runs. What finds no room here, and
what a shutdown does not wait for, is closed by its lease in the store, in full.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from router.errors import BudgetStoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.budgets import Claim
    from router.ports import BudgetStore

log = logging.getLogger("tollgate")

WAITING_MAX = 10_000
WORKERS = 8
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 5.0
Closing: TypeAlias = "Callable[[], Awaitable[None]]"


class Closings:
    """A bounded queue and a few tasks that work on it; ``closed`` is told after each, ``lost`` of what had no room."""

    def __init__(self, store: BudgetStore, closed: Callable[[], None], lost: Callable[[], None]) -> None:
        self._store = store
        self._closed, self._lost = closed, lost
        self._waiting: deque[Closing] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._is_away = False

    def __len__(self) -> int:
        return len(self._waiting)

    def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what the attempt cost."""
        self._put(partial(self._store.settle, reservation_id, actual_nanousd))

    def void(self, reservation_id: str) -> None:
        """Give all of it back."""
        self._put(partial(self._store.void, reservation_id))

    def undo(self, reservation_id: str, claims: Sequence[Claim], least_nanousd: int, lease_ms: int) -> None:
        """Close a reservation of which nobody knows whether it was made.

        Asking again tells: the store gives a known id its old answer and makes one for an unknown id. Either way it is
        closed then, and a request of ours that is still under way to the store can hold nothing any more.
        """

        async def undone() -> None:
            await self._store.reserve(
                reservation_id, claims, least_nanousd=least_nanousd, most_nanousd=least_nanousd, lease_ms=lease_ms
            )
            await self._store.void(reservation_id)

        self._put(undone)

    def _put(self, closing: Closing) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._lost()
            return
        self._waiting.append(closing)
        if len(self._workers) < WORKERS:
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        pause_s = PAUSE_FIRST_S
        while self._waiting:
            closing = self._waiting.popleft()
            try:
                await closing()
            except BudgetStoreUnavailableError as error:
                self._waiting.appendleft(closing)
                self._tell_away(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                continue
            except asyncio.CancelledError:
                self._waiting.appendleft(closing)
                raise
            pause_s, self._is_away = PAUSE_FIRST_S, False
            self._closed()

    def _tell_away(self, error: BudgetStoreUnavailableError) -> None:
        """Once an outage."""
        if not self._is_away:
            self._is_away = True
            log.warning("budget store away", extra={"fields": {"error_code": error.code, "reason": error.message}})

    async def settled(self, timeout_s: float) -> None:
        """Wait until nothing is under way or waiting, at most so long."""
        if self._workers:
            await asyncio.wait(tuple(self._workers), timeout=timeout_s)

    async def aclose(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` seconds for what is under way, then leave the rest to its leases."""
        await self.settled(grace_s)
        late = tuple(self._workers)
        for worker in late:
            worker.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._waiting:
            log.warning("budgets left to their leases", extra={"fields": {"reservations": len(self._waiting)}})
