"""Guards' events in PostgreSQL, by the database's clock, over one connection that is replaced where it broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from router.errors import BudgetStoreUnavailableError
from router.stores.guards.sql import Batch, statements, tables
from router.stores.sql.reads import POSTGRES_ERRORS
from router.stores.sql.statements import numbered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.clock import Clock

CONNECT_S = 2.0
COMMAND_S = 3.0
# Any numbers that every Tollgate process agrees on, and others than the ledger's and the budgets'.
SCHEMA_LOCK = 0x746F6C6E
ORDER_LOCK = 0x746F6C6F
TABLES = tables("BIGINT", "BIGSERIAL PRIMARY KEY")
SQL = statements("COALESCE(?::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)")


class PostgresCarrier:
    """Implements router.stores.guards.sql.Carrier; connects when it is first asked.

    Time is the database's; a ``clock`` stands in for it in replays and tests.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock
        self._connection: Any = None

    async def beat(self, origin: str) -> None:
        """Give a sign of life."""
        await self._run(lambda it: it.execute(numbered(SQL.beat), origin, self._now_ms()))

    async def has_company(self, origin: str) -> bool:
        """Whether another gateway gave one lately."""
        found = await self._run(lambda it: it.fetchval(numbered(SQL.company), origin, self._now_ms()))
        return found is not None

    async def put(self, origin: str, events: str) -> None:
        """Add a batch. One writer at a time, so that places come in the order of commit and no reader passes one."""

        async def written(it: Any) -> None:  # noqa: ANN401 - asyncpg carries no types
            async with it.transaction():
                await it.execute("SELECT pg_advisory_xact_lock($1)", ORDER_LOCK)
                await it.execute(numbered(SQL.put), origin, events, self._now_ms())

        await self._run(written)

    async def after(self, place: int) -> list[Batch]:
        """Batches behind a place."""
        rows = await self._run(lambda it: it.fetch(numbered(SQL.after), place, self._now_ms()))
        return [Batch(*row) for row in rows]

    async def forget(self) -> None:
        """Remove what is too old or too many."""
        await self._run(lambda it: it.execute(numbered(SQL.forget_gateways), self._now_ms()))
        await self._run(lambda it: it.execute(numbered(SQL.forget_events), self._now_ms()))
        await self._run(lambda it: it.execute(SQL.forget_surplus))

    async def aclose(self) -> None:
        """Close the connection."""
        self._disconnect()

    def _now_ms(self) -> int | None:
        return None if self._clock is None else self._clock.now_ms()

    async def _run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401
        try:
            return await work(await self._connected())
        except POSTGRES_ERRORS as error:
            self._disconnect()
            raise BudgetStoreUnavailableError(f"PostgreSQL: {type(error).__name__}") from None

    async def _connected(self) -> Any:  # noqa: ANN401
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_S,
                command_timeout=COMMAND_S,
                server_settings={"application_name": "tollgate-guards"},
            )
            async with self._connection.transaction():
                await self._connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
                for statement in TABLES:
                    await self._connection.execute(statement)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
