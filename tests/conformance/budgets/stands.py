"""The stores that the suite runs over: add an entry to STANDS and every test here holds it.

A stand opens stores over one shared state and moves their time: a store whose time is a database's takes the stand's
clock instead. ``keeps`` tells whether another store object sees what one did, so that dropping one loses nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.budgets import Claim, Window
from router.stores.budgets import open_budgets
from router.stores.budgets.redis import RedisBudgets
from router.stores.redis import Server
from tests.lines import START_MS, StillClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    import pytest

    from router.ports import BudgetStore

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LEASE_MS = 600_000
ENDLESS = Window(0, 2**53)


@dataclass
class Stand:
    """``open`` gives one more gateway's store; ``clock`` is the time of them all."""

    open: Callable[[], Awaitable[BudgetStore]]
    clock: StillClock
    keeps: bool = True


def _memory(request: pytest.FixtureRequest, folder: Path, clock: StillClock) -> Stand:
    return Stand(lambda: open_budgets("memory://", clock=clock), clock, keeps=False)


def _sqlite(request: pytest.FixtureRequest, folder: Path, clock: StillClock) -> Stand:
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    return Stand(lambda: open_budgets(url, clock=clock), clock)


def _postgres(request: pytest.FixtureRequest, folder: Path, clock: StillClock) -> Stand:
    url = request.getfixturevalue("postgres_url")
    return Stand(lambda: open_budgets(url, clock=clock), clock)


async def ids_expired(store: BudgetStore) -> tuple[str, ...]:
    """Which reservations have run out."""
    return tuple(each.reservation_id for each in await store.expire())


async def nothing(reserved: Sequence[str]) -> tuple[tuple[()], tuple[()], tuple[()]]:
    """What a ledger without lines knows."""
    return (), (), ()


def _redis(request: pytest.FixtureRequest, folder: Path, clock: StillClock) -> Stand:
    url, prefix = request.getfixturevalue("redis_url"), f"test:{{{secrets.token_hex(6)}}}:"

    async def opened() -> BudgetStore:
        store = RedisBudgets(Server(url), known=nothing, clock=clock, prefix=prefix, settling_s=0.0)
        await store.start()
        return store

    return Stand(opened, clock)


STANDS: dict[str, Callable[[pytest.FixtureRequest, Path, StillClock], Stand]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "redis": _redis,
}


def windows_of(length_ms: int, now_ms: int = START_MS) -> tuple[Window, ...]:
    """The previous, the present and the next window of a length."""
    start_ms = now_ms - now_ms % length_ms
    return tuple(Window(start_ms + step * length_ms, start_ms + (step + 1) * length_ms) for step in (-1, 0, 1))


def claim_of(limit_nanousd: int, budget: str = "team-day", owner: str = "search", **changes: object) -> Claim:
    """A hard claim on a day's budget, unless said otherwise."""
    return Claim(budget, owner, limit_nanousd, True, windows_of(DAY_MS))._replace(**changes)
