"""PostgreSQL's writer: one connection of this process, one transaction for whatever has gathered.

Replicas write side by side: each has a chain of its own, and a request's row is locked while its lines are folded.
``synchronous_commit`` is on, so a commit is on the server's disk when it returns, and ``sync`` has nothing left to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import asyncpg

from router.errors import LedgerUnavailableError
from router.ledger import Folio
from router.ledger.chain import Head, start_of
from router.stores.sql.posting import ENTRIES_MAX, Entry, Intake, Posting, decisions_of, folio_of, trim
from router.stores.sql.reads import POSTGRES_ERRORS
from router.stores.sql.schema import month_of, partition_of
from router.stores.sql.sqlite import report
from router.stores.sql.statements import (
    ADD_SPEND,
    CLOSE_INTENT,
    DUE_INTENTS,
    GET_HEAD,
    INSERT_LINE,
    OPEN_INTENT,
    UPSERT_ROW,
    numbered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_TIMEOUT_S = 10.0
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 2.0
CONFLICTS_MAX = 3
SCHEMA_LOCK = 0x746F6C6C  # any number that every Tollgate process agrees on
LOCK_ROWS = (
    "SELECT decision_id, lines FROM requests WHERE decision_id = ANY($1::text[]) ORDER BY decision_id FOR UPDATE"
)
LINES_OF_DECISIONS = (
    "SELECT decision_id, kind, payload FROM ledger_lines WHERE decision_id = ANY($1::text[]) ORDER BY seq"
)
START_CHAIN = "INSERT INTO chains (writer_id, position, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING"
MOVE_HEAD = "UPDATE chains SET position = $2, hash = $3 WHERE writer_id = $1 AND position = $4"


class ChainTakenError(OSError):
    """Another process writes under the same writer id: what was remembered of the chain is no longer true."""


class PostgresWriter:
    """Takes entries and writes them from one task; reconnects by itself, with backoff."""

    def __init__(self, url: str, *, writer_id: str) -> None:
        self.intake = Intake()
        self._url = url
        self._writer_id = writer_id
        self._queue: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._retained: list[Entry] = []
        self._batch: list[Entry] = []
        self._folios: dict[str, Folio] = {}
        self._head: Head | None = None
        self._months: set[tuple[int, int]] = set()
        self._connection: Any = None
        self._unwritten = 0
        self._is_closing = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tollgate-ledger")

    def put(self, entry: Entry) -> None:
        """Queue an entry."""
        self._unwritten += 1
        self.intake.lines_waiting += len(entry.lines)
        self._queue.append(entry)
        self._wake.set()

    async def sync(self, number: int | None = None) -> None:
        """Wait until all that was queued so far is committed, which is on the disk. Raises LedgerUnavailableError.

        What was appended is committed already, so there is nothing to wait for where its ``number`` is given.
        """
        self.intake.require_writable()
        if number is not None:
            return
        if self._unwritten:
            marker = Entry("write", waiter=asyncio.get_running_loop().create_future())
            self.put(marker)
            assert marker.waiter is not None
            await marker.waiter

    async def aclose(self) -> None:
        """Write what is queued, then close. Raises LedgerUnavailableError where lines could not be written."""
        self._is_closing = True
        self._wake.set()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()
        lost = sum(len(each.lines) for each in (*self._retained, *self._queue) if each.action == "write")
        if lost:
            raise LedgerUnavailableError(f"{lost} ledger lines could not be written: {self.intake.failure}")

    async def _run(self) -> None:
        is_sound = False
        try:
            await self._run_until_closed()
            is_sound = True
        finally:
            if not is_sound:
                # A bug of ours: whoever comes now must hear of it, instead of waiting for nobody.
                self._retained = [each for each in self._batch if each.waiter is None]
                report(self.intake, [*self._batch, *self._queue], "its writer has stopped", is_stuck=True)

    async def _run_until_closed(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            if not self._queue and not self._is_closing:
                await self._wait(pause_s if self._retained else None)
            self._wake.clear()
            gathered = [self._queue.popleft() for _ in range(min(ENTRIES_MAX, len(self._queue)))]
            batch = self._batch = self._retained + gathered
            is_last = self._is_closing and not self._queue
            if batch:
                failure = await self._write(batch)
                if failure is None:
                    self._retained = []
                    pause_s = RETRY_FIRST_S
                else:
                    self._retained = self._kept(batch)
                    pause_s = min(RETRY_MAX_S, pause_s * 2)
                    if self._queue:
                        # Whoever comes while nothing can be written hears of it, instead of waiting in line.
                        await asyncio.sleep(0)
                self._unwritten = len(self._queue) + len(self._retained)
                report(self.intake, batch, failure, is_stuck=bool(self._retained))
                self.intake.lines_waiting = sum(len(each.lines) for each in (*self._retained, *self._queue))
            if is_last:
                return

    async def _wait(self, timeout_s: float | None) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return

    def _kept(self, batch: Sequence[Entry]) -> list[Entry]:
        """What is tried again: queued lines as they are; of intents whose caller was told no, the end at no cost.

        A commit whose answer was lost may have happened: then the intent is there, though no vendor was called.
        """
        kept: list[Entry] = []
        for entry in batch:
            if entry.waiter is None:
                kept.append(entry)
            elif entry.action == "write":
                intents = tuple(each for each in entry.lines if each.kind == "intent")
                if intents:
                    kept.append(Entry("void", intents, now_ms=max(each.line.time_ms for each in intents)))
        return kept

    async def _write(self, batch: Sequence[Entry]) -> str | None:
        """Commit the batch; the reason in words where that failed. Deadlocks between replicas are tried again."""
        for conflict in range(CONFLICTS_MAX + 1):
            try:
                connection = await self._connected()
                async with connection.transaction():
                    head, months = await self._commit(connection, batch)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, ChainTakenError) as error:
                self._forget()
                if conflict == CONFLICTS_MAX:
                    return f"PostgreSQL: {type(error).__name__}"
            except LedgerUnavailableError as error:
                self._forget()
                return error.message
            except POSTGRES_ERRORS as error:
                self._forget()
                await self._disconnect()
                return f"PostgreSQL: {type(error).__name__}"
            else:
                self._head = head
                self._months |= months
                trim(self._folios)
                return None
        return None

    async def _commit(self, connection: Any, batch: Sequence[Entry]) -> tuple[Head, set[tuple[int, int]]]:  # noqa: ANN401
        head = self._head if self._head is not None else await self._read_head(connection)
        for entry in batch:
            if entry.action == "expire":
                due = await connection.fetch(numbered(DUE_INTENTS), entry.now_ms)
                entry.due = [(record[0], record[1]) for record in due]
        await self._load(connection, decisions_of(batch))
        posting = Posting(self._writer_id, head, self._folios)
        posting.post(batch)
        months = {month_of(line[6]) for line in posting.lines} - self._months
        if months:
            await create_partitions(connection, months)
        if posting.lines:
            await connection.executemany(numbered(INSERT_LINE), posting.lines)
            await connection.executemany(numbered(UPSERT_ROW), posting.rows())
        if posting.opened:
            await connection.executemany(numbered(OPEN_INTENT), list(posting.opened.values()))
        if posting.closed:
            await connection.executemany(numbered(CLOSE_INTENT), posting.closed)
        if posting.spend:
            await connection.executemany(numbered(ADD_SPEND), posting.spend_rows())
        if posting.lines or any(entry.action == "probe" for entry in batch):
            moved = await connection.execute(
                MOVE_HEAD, self._writer_id, posting.head.position, posting.head.hash, head.position
            )
            if moved != "UPDATE 1":
                raise ChainTakenError
        return posting.head, months

    async def _load(self, connection: Any, decisions: dict[str, bool]) -> None:  # noqa: ANN401
        """Lock the requests' rows, and bring every page up to what is stored: another replica may have added lines."""
        if not decisions:
            return
        rows = await connection.fetch(LOCK_ROWS, list(decisions))
        counts = {record[0]: record[1] for record in rows}
        stale = []
        for decision_id, is_opening in decisions.items():
            known = self._folios.get(decision_id)
            count = counts.get(decision_id)
            if known is not None and count == known.lines:
                continue
            self._folios[decision_id] = Folio()
            if count is not None or not is_opening:
                stale.append(decision_id)
        if not stale:
            return
        stored: dict[str, list[tuple[str, bytes]]] = {}
        for decision_id, kind, payload in await connection.fetch(LINES_OF_DECISIONS, stale):
            stored.setdefault(decision_id, []).append((kind, payload))
        for decision_id, lines in stored.items():
            self._folios[decision_id] = folio_of(lines)

    async def _read_head(self, connection: Any) -> Head:  # noqa: ANN401
        start = start_of(self._writer_id)
        await connection.execute(START_CHAIN, self._writer_id, start.hash)
        found = await connection.fetchrow(numbered(GET_HEAD), self._writer_id)
        return Head(found[0], found[1])

    async def _connected(self) -> Any:  # noqa: ANN401 - asyncpg carries no types
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url,
                timeout=COMMAND_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"synchronous_commit": "on", "application_name": "tollgate-ledger"},
            )
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _forget(self) -> None:
        self._folios.clear()
        self._head = None


async def create_partitions(connection: Any, months: set[tuple[int, int]]) -> None:  # noqa: ANN401
    """Create the partitions of these months where they are not there yet, one process at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    for month in sorted(months):
        await connection.execute(partition_of(month))
