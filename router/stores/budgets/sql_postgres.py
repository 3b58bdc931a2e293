"""Budgets in PostgreSQL: one connection of this process, whatever has gathered in one transaction, four round trips.

Every transaction locks the reservations it is about, then their accounts, each in the order of their names, and decides
on what it then reads: gateways on one database are strict together, and wait for each other without deadlock. A row
that is not there cannot be locked: whoever creates it second finds the first's, and begins again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from router.budgets.transitions import Transitions
from router.stores.budgets.sql import STOPPED, answer
from router.stores.budgets.sql_commands import (
    EXPIRE_MAX,
    FORGET_EVERY_MS,
    Command,
    account_row,
    accounts_of,
    apply,
    as_json,
    gathered,
    load_account,
    load_reservation,
    reservation_row,
    reservations_of,
)
from router.stores.budgets.sql_schema import ACCOUNT_COLUMNS, RESERVATION_COLUMNS, forget_statements, prepare_postgres
from router.stores.sql.reads import POSTGRES_ERRORS
from router.stores.sql.statements import numbered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.clock import Clock

CONNECT_S = 2.0
COMMAND_S = 3.0
LOCK_MS = 2000
CONFLICTS_MAX = 8
NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
GET_ROWS = f"""
WITH asked AS (
    SELECT {", ".join(RESERVATION_COLUMNS)} FROM budget_reservations
    WHERE reservation_id = ANY($1::text[]) ORDER BY reservation_id FOR UPDATE
), named AS (
    SELECT unnest($2::text[]) AS account UNION SELECT jsonb_array_elements_text(accounts) FROM asked
), found AS (
    SELECT {", ".join(ACCOUNT_COLUMNS)} FROM budget_accounts
    WHERE account = ANY(ARRAY(SELECT account FROM named)) ORDER BY account FOR UPDATE
)
SELECT {NOW}, (SELECT forgotten_ms FROM budget_clock),
    (SELECT json_agg(asked)::text FROM asked), (SELECT json_agg(found)::text FROM found)
"""  # noqa: S608 - names are ours
GET_BALANCES = f"""
SELECT {NOW}, (SELECT forgotten_ms FROM budget_clock), NULL,
    (SELECT json_agg(found)::text FROM (
        SELECT {", ".join(ACCOUNT_COLUMNS)} FROM budget_accounts WHERE account = ANY($1::text[])) AS found)
"""  # noqa: S608 - names are ours
GET_DUE = f"""
SELECT reservation_id FROM budget_reservations
WHERE state = 'open' AND lease_expires_ms <= GREATEST(COALESCE($1, {NOW}), (SELECT forgotten_ms FROM budget_clock))
ORDER BY lease_expires_ms LIMIT {EXPIRE_MAX}
"""  # noqa: S608 - names are ours


def _insert(table: str, columns: Sequence[str], values: str) -> str:
    names = ", ".join(columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, {values}::jsonb)"  # noqa: S608
        f" ORDER BY {columns[0]} ON CONFLICT DO NOTHING RETURNING 1"
    )


def _update(table: str, columns: Sequence[str], values: str) -> str:
    changes = ", ".join(f"{name} = new.{name}" for name in columns[1:])
    return (
        f"UPDATE {table} AS old SET {changes} FROM jsonb_populate_recordset(NULL::{table}, {values}::jsonb) AS new"  # noqa: S608
        f" WHERE old.{columns[0]} = new.{columns[0]} RETURNING 1"
    )


_PARTS = {
    "a": _insert("budget_accounts", ACCOUNT_COLUMNS, "$1"),
    "b": _update("budget_accounts", ACCOUNT_COLUMNS, "$2"),
    "c": _insert("budget_reservations", RESERVATION_COLUMNS, "$3"),
    "d": _update("budget_reservations", RESERVATION_COLUMNS, "$4"),
}
_COUNTS = ", ".join(f"(SELECT count(*) FROM {name})" for name in _PARTS)  # noqa: S608 - names are ours
PUT_ROWS = f"WITH {', '.join(f'{name} AS ({part})' for name, part in _PARTS.items())} SELECT {_COUNTS}"


class RowTakenError(Exception):
    """Another gateway created the same row meanwhile: what was decided without it does not count."""


CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, RowTakenError)


class PostgresBudgetWriter:
    """Takes commands and carries them out from one task; connects by itself, again where the connection broke.

    Time is the database's; a ``clock`` stands in for it in tests.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock
        self._queue: list[Command] = []
        self._batch: list[Command] = []
        self._wake = asyncio.Event()
        self._connection: Any = None
        self._forgotten_ms = 0
        self._is_closing = False
        self._is_stopped = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tollgate-budgets")

    async def connect(self) -> None:
        """Connect and create the tables where they are missing. Raises POSTGRES_ERRORS, ConfigError."""
        await prepare_postgres(await self._connected())

    def put(self, command: Command) -> None:
        """Queue a command."""
        if self._is_stopped:
            answer([command], STOPPED)
            return
        self._queue.append(command)
        self._wake.set()

    async def aclose(self) -> None:
        """Carry out what is queued, then close."""
        self._is_closing = True
        self._wake.set()
        try:
            await self._task
        finally:
            self._disconnect()

    async def _run(self) -> None:
        try:
            await self._run_until_closed()
        finally:
            if self._queue or not self._is_closing:
                # A bug of ours: whoever comes now must hear of it, instead of waiting for nobody.
                self._is_stopped = True
                answer(self._batch + self._queue, STOPPED)

    async def _run_until_closed(self) -> None:
        while self._queue or not self._is_closing:
            if not self._queue:
                await self._wake.wait()
            self._wake.clear()
            # What this turn of the loop has asked rides along.
            await asyncio.sleep(0)
            self._batch = gathered(self._queue)
            if self._batch:
                answer(self._batch, await self._carry_out(self._batch))

    async def _carry_out(self, batch: Sequence[Command]) -> str | None:
        """Commit the batch; the reason in words where that failed.

        A connection that broke while nobody used it is replaced at once, since every transition may be repeated.
        """
        is_fresh = self._connection is None
        for _ in range(CONFLICTS_MAX):
            try:
                connection = await self._connected()
                await self._commit(connection, batch)
            except CONFLICTS as error:
                failure = type(error).__name__
            except asyncpg.LockNotAvailableError as error:
                return f"PostgreSQL: {type(error).__name__}"
            except POSTGRES_ERRORS as error:
                self._disconnect()
                failure = type(error).__name__
                if is_fresh or isinstance(error, TimeoutError):
                    break
                is_fresh = True
            else:
                return None
        return f"PostgreSQL: {failure}"

    async def _commit(self, connection: Any, batch: Sequence[Command]) -> None:  # noqa: ANN401
        if all(command.action == "balances" for command in batch):
            state, now_ms = self._loaded(await connection.fetchrow(GET_BALANCES, sorted(accounts_of(batch))))
            for command in batch:
                apply(command, state, now_ms)
            return
        async with connection.transaction():
            names = reservations_of(batch)
            if batch[0].action == "expire":
                clock_ms = self._clock.now_ms() if self._clock is not None else None
                names = sorted(record[0] for record in await connection.fetch(GET_DUE, clock_ms))
            state, now_ms = self._loaded(await connection.fetchrow(GET_ROWS, names, sorted(accounts_of(batch))))
            known_accounts, known_reservations = set(state.accounts), set(state.reservations)
            for command in batch:
                apply(command, state, now_ms)
            await self._write(connection, state, known_accounts, known_reservations)
        if batch[0].action == "expire" and now_ms - self._forgotten_ms >= FORGET_EVERY_MS:
            async with connection.transaction():
                for statement, values in forget_statements("postgresql", now_ms):
                    await connection.execute(numbered(statement), *values)
            self._forgotten_ms = now_ms

    def _loaded(self, row: Sequence[Any]) -> tuple[Transitions, int]:
        database_ms, forgotten_ms, reservations, accounts = row
        state = Transitions()
        for found in orjson.loads(reservations or "[]"):
            load_reservation(state, [found[name] for name in RESERVATION_COLUMNS])
        for found in orjson.loads(accounts or "[]"):
            load_account(state, [found[name] for name in ACCOUNT_COLUMNS])
        return state, max(database_ms if self._clock is None else self._clock.now_ms(), forgotten_ms)

    async def _write(self, connection: Any, state: Transitions, accounts: set[str], reservations: set[str]) -> None:  # noqa: ANN401
        changed, names = state.changed_accounts, state.changed_reservations
        if not changed and not names:
            return
        parts = (
            _records(ACCOUNT_COLUMNS, (account_row(state, name) for name in changed - accounts)),
            _records(ACCOUNT_COLUMNS, (account_row(state, name) for name in changed & accounts)),
            _records(RESERVATION_COLUMNS, (reservation_row(state, name) for name in names - reservations)),
            _records(RESERVATION_COLUMNS, (reservation_row(state, name) for name in names & reservations)),
        )
        written = await connection.fetchrow(PUT_ROWS, *map(as_json, parts))
        if [*written] != [len(part) for part in parts]:
            raise RowTakenError

    async def _connected(self) -> Any:  # noqa: ANN401 - asyncpg carries no types
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_S,
                command_timeout=COMMAND_S,
                server_settings={
                    "application_name": "tollgate-budgets",
                    "synchronous_commit": "on",
                    "lock_timeout": str(LOCK_MS),
                    "idle_in_transaction_session_timeout": "10000",
                },
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in rows]
