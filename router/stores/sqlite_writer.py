"""The one writer of a SQLite ledger: a thread that commits what has gathered, all at once."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from router.errors import LedgerUnavailableError
from router.ledger import Folio, Intent, link_hash
from router.ledger.chain import Head, start_of
from router.ledger.fold import attempt_of, decision_id_of, kind_of, line_key_of
from router.stores.sqlite_schema import folio_of, payload_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from router.ledger import Line

BATCH_MAX = 512
RETRY_S = 0.5
LATER_MAX = 100_000
FOLIOS_MAX = 20_000


@dataclass(slots=True)
class Batch:
    """Lines that go in together, and who waits for them: nobody, for what was handed over to be written later."""

    lines: tuple[Line, ...]
    waiting: Future[None] | None
    loop: AbstractEventLoop | None


class Writer(threading.Thread):
    """Takes batches from a queue until it is given None. Everything that it could not write later, it tries again."""

    def __init__(self, connection: sqlite3.Connection, writer_id: str) -> None:
        super().__init__(name="ledger-writer", daemon=True)
        self.queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.problem: str | None = None
        self.late = 0
        self._connection = connection
        self._writer_id = writer_id
        self._folios: dict[str, Folio] = {}
        row = connection.execute("SELECT position, hash FROM writers WHERE writer_id = ?", (writer_id,)).fetchone()
        self._head = Head(*row) if row is not None else start_of(writer_id)

    def run(self) -> None:
        """Gather, commit, tell."""
        kept: list[Batch] = []
        while True:
            batches, is_over = self._gather(wait=not kept)
            batches = kept + batches
            kept = []
            if batches:
                kept = self._write(batches)
                self.late = sum(len(batch.lines) for batch in kept)
            if is_over:
                return
            if kept:
                time.sleep(RETRY_S)

    def close(self) -> None:
        """Close the connection of a writer that has ended."""
        self._connection.close()

    def _gather(self, *, wait: bool) -> tuple[list[Batch], bool]:
        found: list[Batch] = []
        try:
            first = self.queue.get(block=wait)
            while first is not None:
                found.append(first)
                if len(found) >= BATCH_MAX:
                    return found, False
                first = self.queue.get_nowait()
        except queue.Empty:
            return found, False
        return found, True

    def _write(self, batches: list[Batch]) -> list[Batch]:
        """Commit all of it in one transaction; returns what must be tried again."""
        head = self._head
        touched: dict[str, Folio] = {}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for batch in batches:
                for line in batch.lines:
                    head = self._insert(line, head, touched)
            for decision_id, folio in touched.items():
                self._project(decision_id, folio)
            self._connection.execute(
                "INSERT INTO writers VALUES (?, ?, ?) ON CONFLICT (writer_id) DO UPDATE "
                "SET position = excluded.position, hash = excluded.hash",
                (self._writer_id, head.position, head.hash),
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._folios.clear()
            self.problem = f"the ledger cannot be written: {error}"
            return self._refuse(batches)
        self._head, self.problem = head, None
        for batch in batches:
            self._tell(batch, None)
        return []

    def _insert(self, line: Line, head: Head, touched: dict[str, Folio]) -> Head:
        decision_id = decision_id_of(line)
        folio = self._folios.get(decision_id)
        if folio is None:
            is_new = isinstance(line, Intent) and line.attempt == 1
            known = None if is_new and not self._exists(decision_id) else folio_of(self._connection, decision_id)
            folio = known if known is not None else Folio()
            if len(self._folios) >= FOLIOS_MAX:
                self._folios.clear()
            self._folios[decision_id] = folio
        admitted = folio.admitted(line)
        if admitted is None:
            return head
        folio.add(admitted)
        touched[decision_id] = folio
        columns = {
            "kind": kind_of(admitted),
            "decision_id": decision_id,
            "attempt": attempt_of(admitted),
            "line_key": line_key_of(admitted),
            "time_ms": admitted.time_ms,
            "payload": payload_of(admitted),
        }
        position = head.position + 1
        link = link_hash(head.hash, writer_id=self._writer_id, position=position, **columns)  # type: ignore[arg-type]
        self._connection.execute(
            "INSERT INTO ledger_lines (writer_id, position, kind, decision_id, attempt, line_key, time_ms, payload, "
            "prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._writer_id, position, *columns.values(), head.hash, link),
        )
        return Head(position, link)

    def _exists(self, decision_id: str) -> bool:
        found = self._connection.execute("SELECT 1 FROM requests WHERE decision_id = ?", (decision_id,))
        return found.fetchone() is not None

    def _project(self, decision_id: str, folio: Folio) -> None:
        row = folio.row()
        if row is not None:
            self._connection.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    decision_id,
                    row.time_ms,
                    row.team,
                    row.project,
                    row.key_id,
                    row.model,
                    row.idempotency_key,
                    orjson.dumps(row, default=dict),
                ),
            )
        is_open = False
        for attempt in folio.attempts.values():
            if attempt.is_open:
                is_open = True
                self._connection.execute(
                    "INSERT OR REPLACE INTO open_intents VALUES (?, ?, ?)",
                    (decision_id, attempt.number, attempt.lease_expires_ms),
                )
            else:
                self._connection.execute(
                    "DELETE FROM open_intents WHERE decision_id = ? AND attempt = ?", (decision_id, attempt.number)
                )
        if not is_open:
            self._folios.pop(decision_id, None)

    def _refuse(self, batches: list[Batch]) -> list[Batch]:
        kept: list[Batch] = []
        for batch in batches:
            if batch.waiting is None:
                kept.append(batch)
            else:
                self._tell(batch, LedgerUnavailableError(self.problem or "the ledger cannot be written"))
        return kept

    @staticmethod
    def _tell(batch: Batch, error: LedgerUnavailableError | None) -> None:
        if batch.waiting is None or batch.loop is None or batch.loop.is_closed():
            return
        batch.loop.call_soon_threadsafe(_resolve, batch.waiting, error)


def _resolve(waiting: Future[None], error: LedgerUnavailableError | None) -> None:
    if waiting.done():
        return
    if error is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(error)
