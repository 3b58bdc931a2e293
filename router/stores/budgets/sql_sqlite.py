"""Budgets in SQLite: a thread that owns a connection and carries out whatever has gathered in one transaction.

``BEGIN IMMEDIATE`` takes the file's one write lock before anything is read, so that processes on one file are strict
together. A transition is in the write-ahead log when it is answered and survives ``kill -9``; what a power cut may take
from the log's end, the ledger gives back through ``rebuild``.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

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
from router.stores.budgets.sql_schema import ACCOUNT_COLUMNS, RESERVATION_COLUMNS, forget_statements
from router.stores.sql.sqlite import connect_sqlite

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from router.clock import Clock

BUSY_TIMEOUT_MS = 2000
# What the driver raises for values that no database holds, beside its own errors.
SQLITE_ERRORS = (sqlite3.Error, OverflowError, UnicodeError)


def _upsert(table: str, columns: Sequence[str]) -> str:
    values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns)))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM json_each(?) WHERE true"  # noqa: S608
        f" ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"
    )


def _select(table: str, columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} IN (SELECT value FROM json_each(?))"  # noqa: S608


GET_ACCOUNTS = _select("budget_accounts", ACCOUNT_COLUMNS)
GET_RESERVATIONS = _select("budget_reservations", RESERVATION_COLUMNS)
PUT_ACCOUNTS = _upsert("budget_accounts", ACCOUNT_COLUMNS)
PUT_RESERVATIONS = _upsert("budget_reservations", RESERVATION_COLUMNS)
GET_DUE = (
    "SELECT reservation_id FROM budget_reservations WHERE state = 'open' AND lease_expires_ms <= ?"
    " ORDER BY lease_expires_ms LIMIT ?"
)
JSON_FROM = RESERVATION_COLUMNS.index("accounts")


class SqliteBudgetWriter:
    """Takes commands from the event loop's thread and carries them out in its own."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, clock: Clock, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._connection = connect_sqlite(path, busy_timeout_ms=busy_timeout_ms)
        self._handed: list[Command] = []
        self._queue: queue.SimpleQueue[list[Command] | None] = queue.SimpleQueue()
        self._forgotten_ms = 0
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="tollgate-budgets", daemon=True)
        self._thread.start()

    def put(self, command: Command) -> None:
        """Queue a command; the thread is woken once for all that one turn of the loop asks."""
        if not self._handed:
            self._loop.call_soon(self._hand_over)
        self._handed.append(command)

    def _hand_over(self) -> None:
        handed, self._handed = self._handed, []
        if self._is_stopped:
            answer(handed, STOPPED)
        elif handed:
            self._queue.put(handed)

    async def aclose(self) -> None:
        """Carry out what is queued, then close."""
        self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._connection.close()

    # --- everything below runs in the writer's thread ---------------------------------------------------------------

    def _run(self) -> None:
        waiting: list[Command] = []
        batch: list[Command] = []
        is_closing = is_sound = False
        try:
            while waiting or not is_closing:
                is_closing = self._take(waiting, must_wait=not waiting) or is_closing
                batch = gathered(waiting)
                if batch:
                    self._carry_out(batch)
            is_sound = True
        finally:
            if not is_sound:
                # A bug of ours: whoever comes now must hear of it, instead of waiting for nobody.
                self._is_stopped = True
                self._tell(batch + waiting, STOPPED)

    def _take(self, waiting: list[Command], *, must_wait: bool) -> bool:
        """Take what has queued up; whether the end was among it."""
        try:
            handed = self._queue.get(block=must_wait)
            while handed is not None:
                waiting += handed
                handed = self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _carry_out(self, batch: list[Command]) -> None:
        try:
            self._commit(batch)
        except SQLITE_ERRORS as error:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            finally:
                self._tell(batch, f"SQLite: {error}")
        else:
            self._tell(batch, None)

    def _commit(self, batch: list[Command]) -> None:
        run = self._connection.execute
        is_reading = all(command.action == "balances" for command in batch)
        run("BEGIN" if is_reading else "BEGIN IMMEDIATE")
        now_ms = max(self._clock.now_ms(), run("SELECT forgotten_ms FROM budget_clock").fetchone()[0])
        state = Transitions()
        names = reservations_of(batch)
        if batch[0].action == "expire":
            names = [row[0] for row in run(GET_DUE, (now_ms, EXPIRE_MAX))]
        if names:
            for row in run(GET_RESERVATIONS, (as_json(names),)):
                load_reservation(state, (*row[:JSON_FROM], *map(orjson.loads, row[JSON_FROM:])))
        accounts = accounts_of(batch)
        for known in state.reservations.values():
            accounts.update(known.accounts)
        if accounts:
            for row in run(GET_ACCOUNTS, (as_json(list(accounts)),)):
                load_account(state, row)
        for command in batch:
            apply(command, state, now_ms)
        self._write(PUT_ACCOUNTS, [account_row(state, name) for name in state.changed_accounts])
        self._write(PUT_RESERVATIONS, [_stored(reservation_row(state, name)) for name in state.changed_reservations])
        if batch[0].action == "expire" and now_ms - self._forgotten_ms >= FORGET_EVERY_MS:
            for statement, values in forget_statements("sqlite", now_ms):
                run(statement, values)
            self._forgotten_ms = now_ms
        run("COMMIT")

    def _write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        found = list(rows)
        if found:
            self._connection.execute(statement, (as_json(found),))

    def _tell(self, batch: Sequence[Command], failure: str | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(answer, batch, failure)


def _stored(row: Sequence[Any]) -> list[Any]:
    return [*row[:JSON_FROM], *map(as_json, row[JSON_FROM:])]
