"""SQLite's one writer: a thread that owns the connection and commits whatever has gathered, in one transaction.

Durability has two steps. ``append`` returns when its lines are committed to the write-ahead log, that is written to
the operating system: from then on they survive ``kill -9`` of this process, which is what must hold before a vendor is
called. Forcing the log to the disk begins at once, and ``sync`` returns when it is there: from then on they survive a
power cut, which is what must hold before the first byte goes back. The vendor takes far longer to answer than a disk to
sync, so the second step costs no latency (sqlite_sync.py). With synchronous=NORMAL SQLite itself syncs the log before
it moves pages from it into the database, and the database before it reuses the log, so a checkpoint in between loses
nothing.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from itertools import chain
from typing import TYPE_CHECKING, Any

from router.errors import LedgerUnavailableError
from router.ledger.chain import Head, start_of
from router.stores.sql.posting import ENTRIES_MAX, Entry, Intake, Posting, decisions_of, folio_of, trim
from router.stores.sql.sqlite_sync import LogSync
from router.stores.sql.statements import (
    ADD_SPEND,
    CLOSE_INTENTS,
    DUE_INTENTS,
    GET_HEAD,
    INSERT_LINE,
    LINES_OF_DECISION,
    OPEN_INTENT,
    PUT_HEAD,
    UPSERT_ROW,
    widened,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from pathlib import Path

    from router.ledger import Folio

BUSY_TIMEOUT_MS = 2000
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
CHECKPOINT_PAGES = 4000
LOG_BYTES_MAX = 64 * 1024 * 1024
# Lines that nobody waits for ride with the next that somebody does, at most this much later.
PATIENCE_S = 0.01
# Within the 999 parameters that every build of SQLite takes.
ROWS_AT_ONCE = 16
STATEMENTS_CACHED = 128


def connect_sqlite(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """A connection in WAL mode that may change threads, with explicit transactions. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms:d}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_MAX:d}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class SqliteWriter:
    """Takes entries from the event loop's thread and writes them from its own.

    All writers of one file share one chain: SQLite lets one write at a time anyway, so each reads the head that the
    others left.
    """

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, *, writer_id: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS
    ) -> None:
        self.intake = Intake()
        self._writer_id = writer_id
        self._loop = loop
        self._connection = connect_sqlite(path, busy_timeout_ms=busy_timeout_ms)
        self._sync = LogSync(path, loop)
        self._handed: list[Entry] = []
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._retained: list[Entry] = []
        self._batch: list[Entry] = []
        self._folios: dict[str, Folio] = {}
        self._head: Head | None = None
        self._data_version = -1
        self._number = 0
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="tollgate-ledger", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry; to be called in the event loop's thread only.

        The thread is woken once for all that one turn of the loop has to write, since each waking costs the loop more
        than a line does.
        """
        self._number += 1
        entry.number = self._number
        self.intake.lines_waiting += len(entry.lines)
        self._handed.append(entry)
        if self._is_due:
            return
        if entry.waiter is not None:
            self._is_due = True
            self._loop.call_soon(self._hand_over)
        elif self._timer is None:
            self._timer = self._loop.call_later(PATIENCE_S, self._hand_over)

    def _hand_over(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._handed:
            self._queue.put(self._handed)
            self._handed = []

    async def sync(self, number: int | None = None) -> None:
        """Wait until the entry, or all that was queued so far, is on the disk. Raises LedgerUnavailableError."""
        await self._sync.wait_for(self._number if number is None else number)

    async def aclose(self) -> None:
        """Write what is queued, then close. Raises LedgerUnavailableError where lines could not be written."""
        self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, self._sync.close)
        self._connection.close()
        if self._lost:
            raise LedgerUnavailableError(f"{self._lost} ledger lines could not be written: {self.intake.failure}")

    # --- everything below runs in the writer's thread ---------------------------------------------------------------

    def _run(self) -> None:
        is_sound = False
        try:
            self._run_until_closed()
            is_sound = True
        finally:
            if not is_sound:
                # A bug of ours: whoever comes now must hear of it, instead of waiting for nobody.
                self._retained = self._retained or [Entry("probe")]
                self._tell(self._batch, "its writer has stopped")

    def _run_until_closed(self) -> None:
        is_closing = False
        pause_s = RETRY_FIRST_S
        while not is_closing:
            gathered, is_closing = self._gather(pause_s if self._retained else None)
            batch = self._batch = self._retained + gathered
            if not batch:
                continue
            try:
                self._commit(batch)
            except (sqlite3.Error, LedgerUnavailableError) as error:
                self._rollback()
                self._retained = [each for each in batch if each.waiter is None]
                self._tell(batch, f"SQLite: {error}")
                pause_s = min(RETRY_MAX_S, pause_s * 2)
            else:
                self._retained = []
                self._sync.committed(batch[-1].number, must_force=any(each.must_force for each in batch))
                self._tell(batch, None)
                pause_s = RETRY_FIRST_S
        self._lost = sum(len(each.lines) for each in self._retained if each.action == "write")

    def _gather(self, timeout_s: float | None) -> tuple[list[Entry], bool]:
        """What has queued up, and whether the end was among it; waits for the first, at most ``timeout_s``."""
        found: list[Entry] = []
        try:
            handed = self._queue.get(timeout=timeout_s)
            while handed is not None:
                found += handed
                if len(found) >= ENTRIES_MAX:
                    return found, False
                handed = self._queue.get_nowait()
        except queue.Empty:
            return found, False
        return found, True

    def _commit(self, batch: Sequence[Entry]) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        head = self._refreshed_head()
        for entry in batch:
            if entry.action == "expire":
                entry.due = run(DUE_INTENTS, (entry.now_ms,)).fetchall()
        for decision_id in decisions_of(batch):
            if decision_id not in self._folios:
                self._folios[decision_id] = folio_of(run(LINES_OF_DECISION, (decision_id,)))
        posting = Posting(self._writer_id, head, self._folios)
        posting.post(batch)
        if posting.lines:
            self._run_rows(INSERT_LINE, posting.lines)
            self._run_rows(UPSERT_ROW, posting.rows())
            self._run_rows(OPEN_INTENT, list(posting.opened.values()))
            self._run_rows(CLOSE_INTENTS, posting.closed)
            self._run_rows(ADD_SPEND, posting.spend_rows())
        if posting.lines or any(entry.action == "probe" for entry in batch):
            run(PUT_HEAD, (self._writer_id, posting.head.position, posting.head.hash))
        run("COMMIT")
        self._head = posting.head
        trim(self._folios)

    def _run_rows(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run for many rows, some at a time: between two steps of SQLite the event loop takes the interpreter."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            self._connection.execute(widened(statement, len(some)), tuple(chain.from_iterable(some)))

    def _refreshed_head(self) -> Head:
        """The chain's head; what is remembered is only true while nobody else has written to the file."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._folios.clear()
            self._head = None
            self._data_version = version
        if self._head is None:
            found = self._connection.execute(GET_HEAD, (self._writer_id,)).fetchone()
            self._head = Head(*found) if found is not None else start_of(self._writer_id)
        return self._head

    def _rollback(self) -> None:
        self._folios.clear()
        self._head = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _tell(self, batch: Sequence[Entry], failure: str | None) -> None:
        if failure is not None:
            self._sync.fail(f"the ledger cannot be written: {failure}")
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._report, batch, failure, bool(self._retained))

    # --- and this in the event loop's again --------------------------------------------------------------------------

    def _report(self, batch: Sequence[Entry], failure: str | None, is_stuck: bool) -> None:  # noqa: FBT001
        report(self.intake, batch, failure, is_stuck=is_stuck)


def report(intake: Intake, batch: Sequence[Entry], failure: str | None, *, is_stuck: bool) -> None:
    """Tell those who wait how their batch ended; entries without a waiter stay with the writer when it failed."""
    intake.failure = failure
    intake.is_stuck = is_stuck
    for entry in batch:
        if failure is None or entry.waiter is not None:
            intake.lines_waiting -= len(entry.lines)
        if entry.waiter is None or entry.waiter.done():
            continue
        if failure is None:
            entry.waiter.set_result(entry.result)
        else:
            entry.waiter.set_exception(LedgerUnavailableError(f"the ledger cannot be written: {failure}"))
