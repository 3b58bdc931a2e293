"""Where state lives: the ledger in memory, in SQLite or in PostgreSQL, chosen by URL."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from router.clock import Clock, SystemClock
from router.errors import ConfigError, LedgerUnavailableError
from router.stores.memory import MemoryLedger
from router.stores.postgres_place import unreachable

if TYPE_CHECKING:
    from router.ports import Ledger
    from router.stores.sql.ledger import SqlLedger

HOME = Path(".tollgate")
CLOCK: Clock = SystemClock()
SQLITE_PREFIX = "sqlite:///"
SQLITE_WRITER = "sqlite"
POSTGRES_SCHEMES = ("postgresql", "postgres")
KNOWN = "sqlite:///path, postgresql://user:password@host/database, memory://"


def sqlite_path_of(url: str | None, home: Path) -> Path | None:
    """The file that the URL names (``ledger.sqlite`` in the home without a URL); None where it is not SQLite's."""
    if not url:
        return home / "ledger.sqlite"
    return Path(url.removeprefix(SQLITE_PREFIX)) if url.startswith(SQLITE_PREFIX) else None


async def open_ledger(
    url: str | None,
    *,
    home: Path = HOME,
    clock: Clock = CLOCK,
    writer_id: str | None = None,
    may_migrate: bool = False,
) -> Ledger:
    """The ledger that the URL names: ``sqlite:///path``, ``sqlite:////absolute``, ``postgresql://..``, ``memory://``.

    Raises ConfigError where the URL, the file or the schema cannot be used, LedgerUnavailableError where PostgreSQL
    does not answer.
    """
    if url == "memory://":
        return MemoryLedger()
    return await open_sql_ledger(url, home=home, clock=clock, writer_id=writer_id, may_migrate=may_migrate)


async def open_sql_ledger(
    url: str | None,
    *,
    home: Path = HOME,
    clock: Clock = CLOCK,
    writer_id: str | None = None,
    may_migrate: bool = False,
) -> SqlLedger:
    """The same for what can be verified and exported: everything but memory."""
    path = sqlite_path_of(url, home)
    if path is not None:
        return await _open_sqlite(path, clock, writer_id or SQLITE_WRITER, may_migrate=may_migrate)
    assert url is not None
    if url.partition(":")[0] in POSTGRES_SCHEMES:
        return await _open_postgres(url, clock, writer_id or secrets.token_hex(6), may_migrate=may_migrate)
    scheme = url.partition(":")[0]
    raise ConfigError(f"ledger URL: {scheme!r} is not a store of ledgers; known: {KNOWN}")


async def _open_sqlite(path: Path, clock: Clock, writer_id: str, *, may_migrate: bool) -> SqlLedger:
    import sqlite3  # noqa: PLC0415 - a database's driver loads only for those who use it

    from router.stores.sql.ledger import SqlLedger  # noqa: PLC0415
    from router.stores.sql.migrate import prepare_sqlite  # noqa: PLC0415
    from router.stores.sql.reads import SqliteReads  # noqa: PLC0415
    from router.stores.sql.sqlite import SqliteWriter  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, lambda: prepare_sqlite(path, clock.now_ms(), may_migrate=may_migrate))
    try:
        writer = SqliteWriter(path, loop, writer_id=writer_id)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: the ledger cannot be opened: {error}") from error
    return SqlLedger(writer, SqliteReads(path), clock, dialect="sqlite")


async def _open_postgres(url: str, clock: Clock, writer_id: str, *, may_migrate: bool) -> SqlLedger:
    import asyncpg  # noqa: PLC0415 - a database's driver loads only for those who use it

    from router.stores.sql.ledger import SqlLedger  # noqa: PLC0415
    from router.stores.sql.migrate import prepare_postgres  # noqa: PLC0415
    from router.stores.sql.postgres import COMMAND_TIMEOUT_S, PostgresWriter  # noqa: PLC0415
    from router.stores.sql.reads import POSTGRES_ERRORS, READERS, PostgresReads  # noqa: PLC0415

    pool = None
    try:
        connection = await asyncpg.connect(url, timeout=COMMAND_TIMEOUT_S)
        try:
            await prepare_postgres(connection, clock.now_ms(), may_migrate=may_migrate)
        finally:
            await connection.close()
        pool = await asyncpg.create_pool(url, min_size=0, max_size=READERS, command_timeout=60.0)
    except (*POSTGRES_ERRORS, ValueError) as error:
        raise LedgerUnavailableError(unreachable(url, error)) from None
    return SqlLedger(PostgresWriter(url, writer_id=writer_id), PostgresReads(pool), clock, dialect="postgresql")


async def rebuild_ledger(url: str | None, *, home: Path = HOME) -> int:
    """Fold every request of a SQL ledger again from its lines; returns how many. Raises LedgerUnavailableError."""
    from router.stores.sql.rebuild import rebuild_postgres, rebuild_sqlite  # noqa: PLC0415

    path = sqlite_path_of(url, home)
    if path is not None:
        return await asyncio.get_running_loop().run_in_executor(None, rebuild_sqlite, path)
    import asyncpg  # noqa: PLC0415

    from router.stores.sql.reads import POSTGRES_ERRORS  # noqa: PLC0415

    assert url is not None
    try:
        connection = await asyncpg.connect(url)
    except (*POSTGRES_ERRORS, ValueError) as error:
        raise LedgerUnavailableError(unreachable(url, error)) from None
    try:
        return await rebuild_postgres(connection)
    finally:
        await connection.close()
