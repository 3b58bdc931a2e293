"""Reading beside the writer: connections of their own, so a report never holds up a request."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from router.errors import LedgerUnavailableError
from router.stores.sql.sqlite import connect_sqlite
from router.stores.sql.statements import numbered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

READERS = 2
DECISIONS_AT_ONCE = 500
# The last is what the driver raises where the server ended a connection while a statement was on its way.
POSTGRES_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError)


class Reads(Protocol):
    """Runs one query; ``?`` stands for a parameter. Raises LedgerUnavailableError."""

    async def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of the query."""
        ...


class SnapshotReads(Reads, Protocol):
    """Reads that can also look at one moment for a while."""

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """Reads that all see the same moment."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class SqliteReads:
    """A few connections in a few threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="tollgate-ledger-read")
        self._idle: list[sqlite3.Connection] = []

    async def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of the query."""
        found: list[tuple[Any, ...]] = await self._in_thread(self._fetch_now, statement, values)
        return found

    def _fetch_now(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        connection = self._take()
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._idle.pop()
        return connect_sqlite(self._path)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """Reads that all see the same moment."""
        connection = await self._in_thread(self._take)
        try:
            await self._in_thread(connection.execute, "BEGIN")
            yield _SqliteSnapshot(self, connection)
        finally:
            await self._in_thread(connection.execute, "ROLLBACK")
            self._idle.append(connection)

    async def _in_thread(self, run: Any, *values: object) -> Any:  # noqa: ANN401 - whatever the function returns
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run, *values)
        except sqlite3.Error as error:
            raise LedgerUnavailableError(f"the ledger cannot be read: SQLite: {error}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        while self._idle:
            self._idle.pop().close()


class _SqliteSnapshot:
    def __init__(self, reads: SqliteReads, connection: sqlite3.Connection) -> None:
        self._reads = reads
        self._connection = connection

    async def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = await self._reads._in_thread(  # noqa: SLF001 - two halves of one thing
            lambda: self._connection.execute(statement, values).fetchall()
        )
        return found


class PostgresReads:
    """A small pool; connections come when they are needed and go when they break."""

    def __init__(self, pool: Any) -> None:  # noqa: ANN401 - asyncpg carries no types
        self._pool = pool

    async def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of the query."""
        return await _fetch(self._pool, statement, values)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """Reads that all see the same moment."""
        try:
            connection = await self._pool.acquire()
        except POSTGRES_ERRORS as error:
            raise unreadable(error) from error
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield _PostgresSnapshot(connection)
        finally:
            await self._pool.release(connection)

    async def aclose(self) -> None:
        """Close the connections."""
        self._pool.terminate()


class _PostgresSnapshot:
    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg carries no types
        self._connection = connection

    async def fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return await _fetch(self._connection, statement, values)


async def _fetch(source: Any, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:  # noqa: ANN401
    try:
        return [tuple(record) for record in await source.fetch(numbered(statement), *values)]
    except POSTGRES_ERRORS as error:
        raise unreadable(error) from error


def unreadable(error: BaseException) -> LedgerUnavailableError:
    """What a failed read is called; the database's own text may quote values, so only its kind is told."""
    return LedgerUnavailableError(f"the ledger cannot be read: PostgreSQL: {type(error).__name__}")


async def settled_among(reads: Reads, reservations: Sequence[str]) -> frozenset[str]:
    """Those of the reservations (``decision-attempt``) whose attempts have been settled."""
    found: set[str] = set()
    decisions = list(dict.fromkeys(name.rpartition("-")[0] for name in reservations))
    for start in range(0, len(decisions), DECISIONS_AT_ONCE):
        some = decisions[start : start + DECISIONS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = await reads.fetch(
            f"SELECT decision_id, attempt FROM ledger_lines WHERE decision_id IN ({marks}) AND kind = 'settlement'",  # noqa: S608
            *some,
        )
        found.update(f"{decision_id}-{attempt}" for decision_id, attempt in rows)
    return frozenset(found.intersection(reservations))
