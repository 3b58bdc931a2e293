from __future__ import annotations

import asyncio
from typing import Any

import router.closings
from router.closings import WORKERS, Closings
from router.errors import BudgetStoreUnavailableError
from tests.router.scripted import leap


class Store:
    """Writes down what it is told, slowly; away where the test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []
        self.is_away = False
        self.under_way = self.most = 0

    async def settle(self, reservation_id: str, actual_nanousd: int | None) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(1.0)
            if self.is_away:
                raise BudgetStoreUnavailableError("away")
        finally:
            self.under_way -= 1
        self.told.append((reservation_id, actual_nanousd))

    async def void(self, reservation_id: str) -> None:
        await self.settle(reservation_id, None)


def closings_of(store: Any, lost: list[int] | None = None) -> tuple[Closings, list[int]]:
    closed: list[int] = []
    gone = lost if lost is not None else []
    return Closings(store, lambda: closed.append(1), lambda: gone.append(1)), closed


def test_what_is_put_is_told_by_a_few_at_a_time() -> None:
    async def story() -> None:
        store = Store()
        closings, closed = closings_of(store)
        for number in range(3 * WORKERS):
            closings.settle(str(number), number)
        closings.void("last")
        await closings.aclose(100.0)
        assert store.most == WORKERS
        assert sorted(store.told, key=str) == sorted(
            [(str(n), n) for n in range(3 * WORKERS)] + [("last", None)], key=str
        )
        assert len(closed) == 3 * WORKERS + 1

    leap(story())


def test_a_store_that_is_away_is_told_once_it_is_back() -> None:
    async def story() -> None:
        store = Store()
        store.is_away = True
        closings, closed = closings_of(store)
        closings.settle("one", 1)
        await asyncio.sleep(600.0)
        assert (store.told, closed) == ([], [])
        store.is_away = False
        await closings.aclose(100.0)
        assert store.told == [("one", 1)]

    leap(story())


def test_what_has_no_room_is_left_to_its_lease_and_counted(monkeypatch: Any) -> None:
    async def story() -> None:
        monkeypatch.setattr(router.closings, "WAITING_MAX", 2)
        lost: list[int] = []
        closings, _ = closings_of(Store(), lost)
        for number in range(5):
            closings.settle(str(number), number)
        assert (len(closings), lost) == (2, [1, 1, 1])
        await closings.aclose(100.0)

    leap(story())


def test_a_shutdown_waits_no_longer_than_its_grace() -> None:
    async def story() -> None:
        store = Store()
        store.is_away = True
        closings, _ = closings_of(store)
        closings.settle("one", 1)
        began = asyncio.get_running_loop().time()
        await closings.aclose(5.0)
        assert asyncio.get_running_loop().time() - began == 5.0
        assert len(closings) == 1

    leap(story())
