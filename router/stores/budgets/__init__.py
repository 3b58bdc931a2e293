"""Where budgets live: in memory, or in the ledger's database."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from router.budgets import Balance, is_aside
from router.budgets.terms import allowed_id
from router.budgets.transitions import end_of
from router.errors import BudgetStoreUnavailableError, ConfigError
from router.stores import CLOCK, HOME, KNOWN, POSTGRES_SCHEMES, sqlite_path_of
from router.stores.budgets.memory import MemoryBudgets
from router.stores.budgets.stranded import slice_named
from router.stores.postgres_place import unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.budgets import OpenHold
    from router.clock import Clock
    from router.ledger import Standing
    from router.ports import BudgetStore, Ledger

    Known: TypeAlias = tuple[Sequence[Balance], Sequence[OpenHold], Sequence[str]]

log = logging.getLogger("tollgate")


async def open_budgets(url: str | None, *, home: Path = HOME, clock: Clock | None = None) -> BudgetStore:
    """The store of budgets in the database of the ledger that the URL names; in this process for ``memory://``.

    Without a ``clock`` the time is the database's where it has one, else this machine's. Raises ConfigError where URL,
    file or schema cannot be used, BudgetStoreUnavailableError where PostgreSQL does not answer.
    """
    if url == "memory://":
        return MemoryBudgets(clock or CLOCK)
    path = sqlite_path_of(url, home)
    if path is not None:
        return await _open_sqlite(path, clock or CLOCK)
    assert url is not None
    if url.partition(":")[0] in POSTGRES_SCHEMES:
        return await _open_postgres(url, clock)
    raise ConfigError(f"budgets: {url.partition(':')[0]!r} is not a store of budgets; known: {KNOWN}")


async def open_budget_store(
    redis_url: str | None, ledger_url: str | None, ledger: Ledger, *, home: Path = HOME, clock: Clock = CLOCK
) -> BudgetStore:
    """The store that gateways share: Redis where there is one, else the ledger's database.

    A Redis that does not answer yet is no reason not to start: until it does, calls under budgets are refused, or
    allowed as the policy says. Raises ConfigError for one that must not be used.
    """
    if redis_url is None:
        return await open_budgets(ledger_url, home=home)
    from router.stores.budgets.redis import RedisBudgets  # noqa: PLC0415
    from router.stores.redis import Server  # noqa: PLC0415

    async def known(reserved: Sequence[str]) -> Known:
        return known_of(await ledger.standing(reserved), reserved, clock.now_ms())

    server = Server(redis_url)
    store = RedisBudgets(server, known=known)
    try:
        await server.require_sound()
        await store.start()
    except BudgetStoreUnavailableError as error:
        log.warning("budget store away at start", extra={"fields": {"reason": error.message}})
    except BaseException:
        await store.aclose()
        raise
    return store


def known_of(standing: Standing, reserved: Sequence[str], now_ms: int) -> Known:
    """What a Redis that lost its memory is told, of which it may still have ``reserved`` some.

    Closed is what the sums hold already: what was settled meanwhile; what passed without the store, which its gateway
    is going to tell; and the slices of leases whose calls the ledger knows, since it tells those one by one.
    """
    spends, closed = standing.spends, list(standing.settled)
    for name in reserved:
        found = slice_named(name)
        if found is not None and found.account in spends:
            closed.append(name)
    balances: list[Balance] = []
    for account, spend in spends.items():
        if end_of(account) <= now_ms:
            continue
        allowed = allowed_id(account)
        if allowed is not None and not spend.open_nanousd:
            closed.append(allowed)
        if not is_aside(account):
            balances.append(Balance(account, spend.settled_nanousd, 0))
    holds = [
        each._replace(accounts=tuple(account for account in each.accounts if not is_aside(account)))
        for each in standing.holds
    ]
    return balances, holds, closed


async def _open_sqlite(path: Path, clock: Clock) -> BudgetStore:
    import sqlite3  # noqa: PLC0415 - a database's driver loads only for those who use it

    from router.stores.budgets.sql import SqlBudgets  # noqa: PLC0415
    from router.stores.budgets.sql_schema import prepare_sqlite  # noqa: PLC0415
    from router.stores.budgets.sql_sqlite import SqliteBudgetWriter  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, prepare_sqlite, path, clock.now_ms())
    try:
        writer = SqliteBudgetWriter(path, loop, clock)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: the budgets cannot be opened: {error}") from error
    return SqlBudgets(writer)


async def _open_postgres(url: str, clock: Clock | None) -> BudgetStore:
    from router.stores.budgets.sql import SqlBudgets  # noqa: PLC0415
    from router.stores.budgets.sql_postgres import PostgresBudgetWriter  # noqa: PLC0415
    from router.stores.sql.reads import POSTGRES_ERRORS  # noqa: PLC0415

    writer = PostgresBudgetWriter(url, clock=clock)
    is_sound = False
    try:
        await writer.connect()
        is_sound = True
    except (*POSTGRES_ERRORS, ValueError) as error:
        raise BudgetStoreUnavailableError(unreachable(url, error)) from None
    finally:
        if not is_sound:
            await writer.aclose()
    return SqlBudgets(writer)
