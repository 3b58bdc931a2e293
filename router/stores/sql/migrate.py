"""Bringing a database to this version's schema, or saying clearly why it is not used as it is."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError
from router.stores.sql.postgres import SCHEMA_LOCK, create_partitions
from router.stores.sql.schema import MIGRATIONS, VERSION_TABLE, month_of, next_month
from router.stores.sql.sqlite import connect_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from router.stores.sql.schema import Dialect


def require_version(found: int | None, *, is_empty: bool, dialect: Dialect, name: str) -> bool:
    """Whether the new database must be created. Raises ConfigError where an existing one is not this version's."""
    newest = len(MIGRATIONS[dialect])
    if found is None:
        if is_empty:
            return True
        raise ConfigError(f"{name}: this database holds tables, and they are not a Tollgate ledger's")
    if found > newest:
        raise ConfigError(f"{name}: the ledger has schema {found}, this version of Tollgate knows up to {newest}")
    if found < newest:
        raise ConfigError(f"{name}: the ledger has schema {found} of {newest}: run `tollgate ledger migrate`")
    return False


def prepare_sqlite(path: Path, now_ms: int, *, may_migrate: bool = False) -> tuple[int, int]:
    """Create or check the schema of a file; returns the versions before and after.

    Raises ConfigError where the file or its folder cannot be used, naming path and reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Created by hand, so that nobody else on the machine can read who asked what of whom.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(f"{path}: the ledger cannot be opened: {error.strerror}") from error
    try:
        with closing(connect_sqlite(path)) as connection:
            return _prepare_sqlite(connection, str(path), now_ms, may_migrate=may_migrate)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: the ledger cannot be opened: {error}") from error


def _prepare_sqlite(connection: sqlite3.Connection, name: str, now_ms: int, *, may_migrate: bool) -> tuple[int, int]:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = None
    if "ledger_schema" in tables:
        (found,) = connection.execute("SELECT MAX(version) FROM ledger_schema").fetchone()
    newest = len(MIGRATIONS["sqlite"])
    tables = {name for name in tables if not name.startswith("budget_")}  # which have a version of their own
    is_behind = may_migrate and found is not None and found < newest
    if not is_behind and not require_version(found, is_empty=not tables, dialect="sqlite", name=name):
        return newest, newest
    connection.execute("BEGIN EXCLUSIVE")
    try:
        connection.execute(VERSION_TABLE)
        # Another process may have been faster.
        (start,) = connection.execute("SELECT COALESCE(MAX(version), 0) FROM ledger_schema").fetchone()
        for version in range(start + 1, newest + 1):
            for statement in MIGRATIONS["sqlite"][version - 1]:
                connection.execute(statement)
            connection.execute("INSERT INTO ledger_schema VALUES (?, ?)", (version, now_ms))
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    return found or 0, newest


async def prepare_postgres(connection: Any, now_ms: int, *, may_migrate: bool = False) -> tuple[int, int]:  # noqa: ANN401
    """Create or check the schema, and create the partitions of this month and the two after it."""
    newest = len(MIGRATIONS["postgresql"])
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        names = {record[0] for record in tables}
        found = None
        if "ledger_schema" in names:
            found = await connection.fetchval("SELECT MAX(version) FROM ledger_schema")
        is_behind = may_migrate and found is not None and found < newest
        if is_behind or require_version(
            found, is_empty=not names & {"ledger_lines", "requests"}, dialect="postgresql", name="PostgreSQL"
        ):
            await connection.execute(VERSION_TABLE)
            for version in range((found or 0) + 1, newest + 1):
                for statement in MIGRATIONS["postgresql"][version - 1]:
                    await connection.execute(statement)
                await connection.execute("INSERT INTO ledger_schema VALUES ($1, $2)", version, now_ms)
        month = month_of(now_ms)
        following = next_month(month)
        await create_partitions(connection, {month, following, next_month(following)})
    return found or 0, newest
