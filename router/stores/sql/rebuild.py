"""The projection made anew from the lines, which alone are the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from router.errors import LedgerUnavailableError
from router.stores.sql.posting import folio_of, spend_of
from router.stores.sql.reads import POSTGRES_ERRORS
from router.stores.sql.sqlite import connect_sqlite
from router.stores.sql.statements import ADD_SPEND, LINES_OF_DECISION, OPEN_INTENT, UPSERT_ROW, numbered, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DECISIONS = "SELECT DISTINCT decision_id FROM ledger_lines WHERE decision_id > ? ORDER BY decision_id LIMIT 500"
WRITER_OF = "SELECT writer_id FROM ledger_lines WHERE decision_id = ? AND line_key = ?"
EMPTY = ("DELETE FROM requests", "DELETE FROM open_intents", "DELETE FROM budget_spend")


def rebuild_sqlite(path: Path) -> int:
    """Fold every request again, in one transaction; returns how many. Raises LedgerUnavailableError."""
    try:
        with closing(connect_sqlite(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in EMPTY:
                connection.execute(statement)
            count, last = 0, ""
            while page := connection.execute(DECISIONS, (last,)).fetchall():
                for (decision_id,) in page:
                    count += _rebuild_one(connection, decision_id)
                last = page[-1][0]
            connection.execute("COMMIT")
            return count
    except sqlite3.Error as error:
        raise LedgerUnavailableError(f"the ledger cannot be rebuilt: SQLite: {error}") from error


def _rebuild_one(connection: sqlite3.Connection, decision_id: str) -> int:
    folio = folio_of(connection.execute(LINES_OF_DECISION, (decision_id,)))
    row = folio.row()
    if row is not None:
        connection.execute(UPSERT_ROW, values_of(row, folio.lines))
    for account, sums in spend_of(folio):
        connection.execute(ADD_SPEND, (account, *sums))
    for attempt in folio.open_attempts():
        (writer_id,) = connection.execute(WRITER_OF, (decision_id, f"i{attempt.number}")).fetchone()
        connection.execute(
            OPEN_INTENT, (decision_id, attempt.number, attempt.lease_expires_ms, attempt.hold_nanousd, writer_id)
        )
    return row is not None


async def rebuild_postgres(connection: Any) -> int:  # noqa: ANN401 - asyncpg carries no types
    """Fold every request again, in one transaction that holds off the writers; returns how many."""
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger_lines, requests, open_intents, budget_spend IN EXCLUSIVE MODE")
            for statement in EMPTY:
                await connection.execute(statement)
            count, last = 0, ""
            while page := await connection.fetch(numbered(DECISIONS), last):
                for (decision_id,) in page:
                    count += await _rebuild_one_postgres(connection, decision_id)
                last = page[-1][0]
            return count
    except POSTGRES_ERRORS as error:
        raise LedgerUnavailableError(f"the ledger cannot be rebuilt: PostgreSQL: {type(error).__name__}") from error


async def _rebuild_one_postgres(connection: Any, decision_id: str) -> int:  # noqa: ANN401
    stored: Iterable[Any] = await connection.fetch(numbered(LINES_OF_DECISION), decision_id)
    folio = folio_of((kind, payload) for kind, payload in stored)
    row = folio.row()
    if row is not None:
        await connection.execute(numbered(UPSERT_ROW), *values_of(row, folio.lines))
    for account, sums in spend_of(folio):
        await connection.execute(numbered(ADD_SPEND), account, *sums)
    for attempt in folio.open_attempts():
        writer_id = await connection.fetchval(numbered(WRITER_OF), decision_id, f"i{attempt.number}")
        place = (decision_id, attempt.number)
        await connection.execute(
            numbered(OPEN_INTENT), *place, attempt.lease_expires_ms, attempt.hold_nanousd, writer_id
        )
    return row is not None
