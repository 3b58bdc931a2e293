"""The ledger in one SQLite file: write-ahead log, one writer, group commit.

``append`` returns when its lines are committed to the log, which survives the death of this process; ``sync`` when the
log is on the disk, which survives the death of the machine (docs/decisions/0001).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import orjson

from router.errors import ConfigError, LedgerUnavailableError
from router.ledger import Intent, RequestRow, RequestTotals
from router.stores.sqlite_schema import SCHEMA, SCHEMA_VERSION, folio_of, lines_of
from router.stores.sqlite_writer import LATER_MAX, Batch, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from router.ledger import Line, RequestQuery

BUSY_TIMEOUT_S = 5.0
PAGE_ROWS = 500
READERS = 2
Read = TypeVar("Read")
FAILED_OUTCOMES = frozenset({"failed", "broken", "expired", "client_left"})


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode; commits survive the process, ``sync`` is what survives the machine."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new file. Raises ConfigError for one of another version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise ConfigError(f"{path}: a ledger of version {version}; this Tollgate reads {SCHEMA_VERSION}")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def group_value(row: RequestRow, name: str) -> str | None:
    """The row's value of a group-by name. Raises ValueError for a name that is none."""
    if name.startswith("tag:"):
        return row.tags.get(name.removeprefix("tag:"))
    if name == "day":
        return datetime.fromtimestamp(row.time_ms / 1000, tz=UTC).strftime("%Y-%m-%d")
    if name == "key":
        return row.key_id
    if name == "tier":
        return row.quality_tier
    if name in ("team", "project", "model"):
        value = getattr(row, name)
        return value if isinstance(value, str) else None
    raise ValueError(f"cannot group by {name!r}")


class SqliteLedger:
    """The Ledger port over one file."""

    def __init__(self, path: Path, writer: Writer, reading: sqlite3.Connection) -> None:
        self._path, self._writer, self._reading = path, writer, reading
        self._readers = ThreadPoolExecutor(1, "ledger-reader")
        self._syncers = ThreadPoolExecutor(1, "ledger-sync")
        self._next_sync: asyncio.Future[None] | None = None
        self._running_sync: asyncio.Future[None] | None = None
        self._log: int | None = None

    @classmethod
    async def open(cls, path: Path, *, writer_id: str) -> SqliteLedger:
        """Open or create the file. Raises ConfigError where it cannot be one."""

        def opened() -> tuple[Writer, sqlite3.Connection]:
            writing = connect(path)
            prepare(writing, path)
            return Writer(writing, writer_id), connect(path)

        try:
            writer, reading = await asyncio.to_thread(opened)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be used as a ledger: {error}") from error
        writer.start()
        return cls(path, writer, reading)

    async def append(self, *lines: Line) -> None:
        """Commit the lines together; they survive the death of this process."""
        if self._writer.problem is not None and any(isinstance(line, Intent) for line in lines):
            # What was handed over earlier is not written yet: nothing new may be answered before it is.
            raise LedgerUnavailableError(self._writer.problem)
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._writer.queue.put(Batch(lines, waiting, loop))
        await waiting

    def append_later(self, line: Line) -> None:
        """Hand a line over; it is written in order, and tried again until it is."""
        self._writer.queue.put(Batch((line,), None, None))

    async def sync(self) -> None:
        """Return when everything that was committed before the call is on the disk; callers share one sync."""
        if self._next_sync is None:
            self._next_sync = asyncio.ensure_future(self._sync_after(self._running_sync))
        await asyncio.shield(self._next_sync)

    async def _sync_after(self, running: asyncio.Future[None] | None) -> None:
        if running is not None:
            await asyncio.wait((running,))
        self._running_sync, self._next_sync = self._next_sync, None
        try:
            await asyncio.get_running_loop().run_in_executor(self._syncers, self._sync_log)
        except OSError as error:
            raise LedgerUnavailableError(f"the ledger cannot be synced: {error.strerror}") from error

    def _sync_log(self) -> None:
        if self._log is None:
            self._log = os.open(f"{self._path}-wal", os.O_RDONLY)
        os.fsync(self._log)

    async def _read(self, read: Callable[[sqlite3.Connection], Read]) -> Read:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, read, self._reading)
        except sqlite3.Error as error:
            raise LedgerUnavailableError(f"the ledger cannot be read: {error}") from error

    async def request(self, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]] | None:
        """One request and its lines; None when there is none."""

        def read(connection: sqlite3.Connection) -> tuple[RequestRow, tuple[Line, ...]] | None:
            row = folio_of(connection, decision_id).row()
            return None if row is None else (row, tuple(lines_of(connection, decision_id)))

        return await self._read(read)

    async def requests(
        self, query: RequestQuery, *, limit: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[RequestRow]:
        """The requests in the query, by time, a page at a time."""
        order = "DESC" if newest_first else "ASC"
        filters = {"team": query.team, "project": query.project, "key_id": query.key_id, "model": query.model}
        given = {name: value for name, value in filters.items() if value is not None}
        where = "".join(f" AND {name} = :{name}" for name in given)
        text = (
            f"SELECT row FROM requests WHERE time_ms >= :from_ms AND time_ms < :to_ms{where} "  # noqa: S608  # own names
            f"ORDER BY time_ms {order}, decision_id {order} LIMIT :page OFFSET :skip"
        )
        skip, left = 0, limit if limit is not None else 2**62
        while left > 0:
            page = {**given, "from_ms": query.from_ms, "to_ms": query.to_ms, "page": min(PAGE_ROWS, left), "skip": skip}
            rows = await self._read(lambda connection, page=page: connection.execute(text, page).fetchall())  # type: ignore[misc]
            for (row,) in rows:
                yield RequestRow(**orjson.loads(row))
            skip, left = skip + len(rows), left - len(rows)
            if len(rows) < page["page"]:
                return

    async def totals(self, query: RequestQuery, group_by: Sequence[str]) -> tuple[RequestTotals, ...]:
        """Sums by the named groups, largest cost first."""
        groups: dict[tuple[str | None, ...], list[RequestRow]] = {}
        async for row in self.requests(query):
            groups.setdefault(tuple(group_value(row, name) for name in group_by), []).append(row)
        found = [totals_of(group, rows) for group, rows in groups.items()]
        return tuple(sorted(found, key=lambda each: (-each.cost_nanousd, str(each.group))))

    async def find_idempotent(self, idempotency_key: str, key_id: str | None) -> str | None:
        """The decision that this key was used for, if any."""

        def read(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT decision_id FROM requests WHERE idempotency_key = ? AND key_id IS ? LIMIT 1",
                (idempotency_key, key_id),
            ).fetchone()
            return row[0] if row is not None else None

        return await self._read(read)

    async def close_expired(self, now_ms: int) -> int:
        """Close every intent whose lease has run out, at its hold."""

        def read(connection: sqlite3.Connection) -> list[Line]:
            found: list[Line] = []
            rows = connection.execute(
                "SELECT decision_id, attempt FROM open_intents WHERE lease_expires_ms <= ?", (now_ms,)
            ).fetchall()
            for decision_id, number in rows:
                folio = folio_of(connection, decision_id)
                found += [
                    folio.expired(attempt, now_ms) for attempt in folio.open_attempts() if attempt.number == number
                ]
            return found

        expired = await self._read(read)
        if expired:
            await self.append(*expired)
        return len(expired)

    async def check(self) -> None:
        """Raise unless lines can be written and read right now."""
        if self._writer.problem is not None:
            raise LedgerUnavailableError(self._writer.problem)
        if self._writer.late > LATER_MAX:
            raise LedgerUnavailableError("too many lines wait to be written")
        await self._read(lambda connection: connection.execute("SELECT 1").fetchone())

    async def aclose(self) -> None:
        """Write what is queued, sync, let go."""
        self._writer.queue.put(None)
        await asyncio.to_thread(self._writer.join)
        if self._log is not None:
            await asyncio.to_thread(os.fsync, self._log)
            os.close(self._log)
        self._readers.shutdown(wait=True)
        self._syncers.shutdown(wait=True)
        self._reading.close()
        self._writer.close()


def totals_of(group: tuple[str | None, ...], rows: Sequence[RequestRow]) -> RequestTotals:
    """The sums of one group."""
    return RequestTotals(
        group=group,
        requests=len(rows),
        answered=sum(row.outcome == "answered" for row in rows),
        rejected=sum(row.outcome == "rejected" for row in rows),
        failed=sum(row.outcome in FAILED_OUTCOMES for row in rows),
        modelled=sum(row.is_modelled for row in rows),
        estimated=sum(row.usage_source == "estimated" for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cache_read_tokens=sum(row.cache_read_tokens for row in rows),
        cost_nanousd=sum(row.cost_nanousd for row in rows),
        failed_cost_nanousd=sum(row.failed_cost_nanousd for row in rows),
        premium_low_nanousd=sum(row.premium_low_nanousd for row in rows),
        premium_point_nanousd=sum(row.premium_point_nanousd for row in rows),
        premium_high_nanousd=sum(row.premium_high_nanousd for row in rows),
    )
