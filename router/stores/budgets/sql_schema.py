"""The tables of budgets, beside the ledger's in its database and with a version of their own.

What stands in them can be rebuilt from the ledger, so a newer Tollgate brings them up to date by itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from router.budgets.terms import ENDLESS_MS
from router.budgets.transitions import ACCOUNT_KEPT_MS, CLOSED_KEPT_MS, EXPIRED_KEPT_MS
from router.errors import ConfigError
from router.stores.sql.sqlite import connect_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from router.stores.sql.schema import Dialect

# Any number that every Tollgate process agrees on, and another than the ledger's.
BUDGET_SCHEMA_LOCK = 0x746F6C6D
FORGET_MAX = 5000
ACCOUNT_COLUMNS = ("account", "end_ms", "settled_nanousd", "held_nanousd", "open_holds", "touched_ms")
RESERVATION_COLUMNS = (
    "reservation_id",
    "state",
    "held_nanousd",
    "charged_nanousd",
    "lease_expires_ms",
    "closed_ms",
    "accounts",
    "terms",
    "granted",
)
VERSION_TABLE = "CREATE TABLE IF NOT EXISTS budget_schema (version INTEGER PRIMARY KEY, applied_ms BIGINT NOT NULL)"


def _first(integer: str, json: str, ending: str) -> tuple[str, ...]:
    return (
        (
            f"CREATE TABLE budget_accounts (account TEXT PRIMARY KEY, end_ms {integer} NOT NULL,"
            f" settled_nanousd {integer} NOT NULL, held_nanousd {integer} NOT NULL, open_holds {integer} NOT NULL,"
            f" touched_ms {integer} NOT NULL){ending}"
        ),
        (
            f"CREATE TABLE budget_reservations (reservation_id TEXT PRIMARY KEY, state TEXT NOT NULL,"
            f" held_nanousd {integer} NOT NULL, charged_nanousd {integer} NOT NULL,"
            f" lease_expires_ms {integer} NOT NULL, closed_ms {integer} NOT NULL,"
            f" accounts {json} NOT NULL, terms {json} NOT NULL, granted {json} NOT NULL){ending}"
        ),
        "CREATE INDEX budget_accounts_by_end ON budget_accounts (end_ms)",
        "CREATE INDEX budget_reservations_by_lease ON budget_reservations (lease_expires_ms) WHERE state = 'open'",
        "CREATE INDEX budget_reservations_by_end ON budget_reservations (state, closed_ms) WHERE state <> 'open'",
        # One row: what was forgotten as past must not become present again, whatever the clock does.
        f"CREATE TABLE budget_clock (forgotten_ms {integer} NOT NULL)",
        "INSERT INTO budget_clock VALUES (0)",
    )


MIGRATIONS: dict[Dialect, tuple[tuple[str, ...], ...]] = {
    "sqlite": (_first("INTEGER", "TEXT", " WITHOUT ROWID"),),
    "postgresql": (_first("BIGINT", "JSONB", ""),),
}

FORGET_RESERVATIONS = (
    "DELETE FROM budget_reservations WHERE reservation_id IN (SELECT reservation_id FROM budget_reservations"
    " WHERE state = ? AND closed_ms <= ? LIMIT ?{})"
)
FORGET_ACCOUNTS = (
    "DELETE FROM budget_accounts WHERE account IN (SELECT account FROM budget_accounts"
    " WHERE end_ms < ? AND end_ms <= ? AND open_holds = 0 AND touched_ms <= ? LIMIT ?{})"
)


def forget_statements(dialect: Dialect, now_ms: int) -> tuple[tuple[str, tuple[int | str, ...]], ...]:
    """What removes what nobody can need any more, each with its parameters, and bounded."""
    skip = "" if dialect == "sqlite" else " FOR UPDATE SKIP LOCKED"
    reservations = FORGET_RESERVATIONS.format(skip)
    ended_ms = now_ms - ACCOUNT_KEPT_MS
    return (
        ("UPDATE budget_clock SET forgotten_ms = ? WHERE forgotten_ms < ?", (now_ms, now_ms)),
        (reservations, ("settled", now_ms - CLOSED_KEPT_MS, FORGET_MAX)),
        (reservations, ("voided", now_ms - CLOSED_KEPT_MS, FORGET_MAX)),
        (reservations, ("expired", now_ms - EXPIRED_KEPT_MS, FORGET_MAX)),
        (FORGET_ACCOUNTS.format(skip), (ENDLESS_MS, ended_ms, ended_ms, FORGET_MAX)),
    )


def _missing(found: int | None, dialect: Dialect, name: str) -> range:
    newest = len(MIGRATIONS[dialect])
    if found is not None and found > newest:
        raise ConfigError(f"{name}: the budgets have schema {found}, this version of Tollgate knows up to {newest}")
    return range((found or 0) + 1, newest + 1)


def prepare_sqlite(path: Path, now_ms: int) -> None:
    """Create or update the tables in the ledger's file. Raises ConfigError naming path and reason."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(connect_sqlite(path)) as connection:
            if _missing(_sqlite_version(connection), "sqlite", str(path)):
                _migrate_sqlite(connection, str(path), now_ms)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{path}: the budgets cannot be opened: {error}") from error


def _sqlite_version(connection: sqlite3.Connection) -> int | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'budget_schema'").fetchone():
        return None
    found: int | None = connection.execute("SELECT MAX(version) FROM budget_schema").fetchone()[0]
    return found


def _migrate_sqlite(connection: sqlite3.Connection, name: str, now_ms: int) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        connection.execute(VERSION_TABLE)
        # Another process may have been faster.
        for version in _missing(_sqlite_version(connection), "sqlite", name):
            for statement in MIGRATIONS["sqlite"][version - 1]:
                connection.execute(statement)
            connection.execute("INSERT INTO budget_schema VALUES (?, ?)", (version, now_ms))
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise


async def prepare_postgres(connection: Any) -> None:  # noqa: ANN401 - asyncpg carries no types
    """Create or update the tables, one process at a time. Raises ConfigError where they are a newer Tollgate's."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", BUDGET_SCHEMA_LOCK)
        await connection.execute(VERSION_TABLE)
        found = await connection.fetchval("SELECT MAX(version) FROM budget_schema")
        for version in _missing(found, "postgresql", "PostgreSQL"):
            for statement in MIGRATIONS["postgresql"][version - 1]:
                await connection.execute(statement)
            await connection.execute(
                "INSERT INTO budget_schema VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)", version
            )
