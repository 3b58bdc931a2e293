"""Where gateways tell each other what their guards saw: a stream in Redis, or the ledger's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.stores import HOME, POSTGRES_SCHEMES, sqlite_path_of
from router.stores.guards.ledger import LedgerGuards

if TYPE_CHECKING:
    from pathlib import Path

    from router.clock import Clock
    from router.ports import GuardStore, Ledger


def open_guard_store(
    redis_url: str | None, ledger_url: str | None, ledger: Ledger, clock: Clock, *, home: Path = HOME
) -> GuardStore:
    """The stream where there is a Redis, else tables beside the ledger's; its entries alone for ``memory://``.

    Connects when it is first asked. Raises ConfigError for a URL that names no Redis.
    """
    if redis_url is not None:
        from router.stores.guards.redis import RedisGuards  # noqa: PLC0415 - a driver loads only for those who use it
        from router.stores.redis import Server  # noqa: PLC0415

        return RedisGuards(Server(redis_url), clock)
    if ledger_url == "memory://":
        return LedgerGuards(ledger, clock)
    from router.stores.guards.sql import SqlGuards  # noqa: PLC0415

    path = sqlite_path_of(ledger_url, home)
    if path is not None:
        from router.stores.guards.sql_sqlite import SqliteCarrier  # noqa: PLC0415

        return SqlGuards(ledger, clock, SqliteCarrier(path, clock))
    assert ledger_url is not None
    assert ledger_url.partition(":")[0] in POSTGRES_SCHEMES, "the ledger was opened with it"
    from router.stores.guards.sql_postgres import PostgresCarrier  # noqa: PLC0415

    return SqlGuards(ledger, clock, PostgresCarrier(ledger_url))
