"""Guards' events in SQLite: a thread of its own, so that no request waits for the file's lock."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from router.errors import BudgetStoreUnavailableError
from router.stores.guards.sql import Batch, statements, tables
from router.stores.sql.sqlite import connect_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.clock import Clock

    T = TypeVar("T")

TABLES = tables("INTEGER", "INTEGER PRIMARY KEY AUTOINCREMENT")
SQL = statements("CAST(? AS INTEGER)")


class SqliteCarrier:
    """Implements router.stores.guards.sql.Carrier; connects when it is first asked."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tollgate-guards")
        self._connection: sqlite3.Connection | None = None

    async def beat(self, origin: str) -> None:
        """Give a sign of life."""
        await self._run(lambda it: it.execute(SQL.beat, (origin, self._clock.now_ms())))

    async def has_company(self, origin: str) -> bool:
        """Whether another process on the file gave one lately."""
        found = await self._run(lambda it: it.execute(SQL.company, (origin, self._clock.now_ms())).fetchone())
        return found is not None

    async def put(self, origin: str, events: str) -> None:
        """Add a batch."""
        await self._run(lambda it: it.execute(SQL.put, (origin, events, self._clock.now_ms())))

    async def after(self, place: int) -> list[Batch]:
        """Batches behind a place."""
        rows = await self._run(lambda it: it.execute(SQL.after, (place, self._clock.now_ms())).fetchall())
        return [Batch(*row) for row in rows]

    async def forget(self) -> None:
        """Remove what is too old or too many."""
        now_ms = self._clock.now_ms()

        def forgotten(it: sqlite3.Connection) -> None:
            it.execute(SQL.forget_gateways, (now_ms,))
            it.execute(SQL.forget_events, (now_ms,))
            it.execute(SQL.forget_surplus)

        await self._run(forgotten)

    async def aclose(self) -> None:
        """Close the file."""
        if self._connection is not None:
            await self._run(sqlite3.Connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self._connected()))
        except sqlite3.Error as error:
            raise BudgetStoreUnavailableError(f"SQLite: {error}") from None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect_sqlite(self._path)
        if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'guard_gateways'").fetchone():
            for statement in TABLES:
                self._connection.execute(statement)
        return self._connection
