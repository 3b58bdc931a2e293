"""What only PostgreSQL does: it goes away and comes back, locks rows, and has a clock of its own."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import asyncpg
import pytest

from benchmarks.postgres import PostgresServer
from router.budgets import Claim, Denial, Grant
from router.budgets.windows import windows_around
from router.clock import SystemClock
from router.errors import BudgetStoreUnavailableError, ConfigError
from router.stores.budgets import open_budgets, sql_postgres
from tests.conformance.budgets.stands import LEASE_MS, claim_of, ids_expired
from tests.lines import StillClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.ports import BudgetStore

CLAIM = claim_of(100)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be killed without hurting others."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()


async def held(store: BudgetStore, name: str, most: int = 10) -> Grant | Denial:
    return await store.reserve(name, (CLAIM,), least_nanousd=1, most_nanousd=most, lease_ms=LEASE_MS)


async def stands(store: BudgetStore) -> tuple[int, int]:
    return (await store.balances([CLAIM]))[0][1:]


async def test_a_lost_server_refuses_and_nothing_it_granted_is_lost(own_server: PostgresServer) -> None:
    store = await open_budgets(own_server.create_database(), clock=StillClock())
    await held(store, "a-1")
    own_server.kill()
    for asked in (held(store, "a-2"), store.settle("a-1", 3), store.expire(), store.balances([CLAIM])):
        with pytest.raises(BudgetStoreUnavailableError):
            await asked
    own_server.start()
    await store.settle("a-1", 3)
    assert isinstance(await held(store, "a-2"), Grant)
    assert await stands(store) == (3, 10)
    await store.aclose()


async def test_a_connection_that_broke_at_rest_is_replaced_unnoticed(postgres_url: str) -> None:
    store = await open_budgets(postgres_url, clock=StillClock())
    await held(store, "a-1")
    other = await asyncpg.connect(postgres_url)
    for _ in range(2):
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tollgate-budgets' AND datname = current_database()"
        )
        await held(store, "a-1")
    await other.close()
    assert await stands(store) == (0, 10)
    await store.aclose()


async def test_rows_locked_by_somebody_else_refuse_within_bounds(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_postgres, "LOCK_MS", 60)
    store = await open_budgets(postgres_url, clock=StillClock())
    await held(store, "a-1")
    other = await asyncpg.connect(postgres_url)
    async with other.transaction():
        await other.execute("SELECT 1 FROM budget_accounts FOR UPDATE")
        with pytest.raises(BudgetStoreUnavailableError, match="LockNotAvailable"):
            await held(store, "a-2")
        assert await stands(store) == (0, 10), "reading goes on"
    assert isinstance(await held(store, "a-2"), Grant)
    await other.close()
    await store.aclose()


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_postgres, "CONNECT_S", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        with pytest.raises(BudgetStoreUnavailableError, match="TimeoutError"):
            await open_budgets(f"postgresql://postgres@/x?host={tmp_path}")


async def test_the_databases_clock_picks_the_window_and_ends_leases(postgres_url: str) -> None:
    store = await open_budgets(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    now_ms = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    await connection.close()
    # A gateway whose clock is a minute fast or slow still asks with windows that hold the database's time.
    for number, skew_ms in enumerate((-60_000, 0, 60_000)):
        windows = windows_around("day", "UTC", now_ms + skew_ms)
        grant = await store.reserve(
            f"a-{number}",
            (Claim("day", "", 100, True, windows),),
            least_nanousd=1,
            most_nanousd=10,
            lease_ms=1 if number else LEASE_MS,
        )
        (window,) = (each for each in windows if f"day/{each.start_ms}/" in grant.accounts)
        after_ms = SystemClock().now_ms()
        assert window.start_ms <= after_ms
        assert now_ms < window.end_ms
    async with asyncio.timeout(10):
        found: set[str] = set()
        while found != {"a-1", "a-2"}:
            found.update(await ids_expired(store))
    await store.aclose()


async def test_one_cancelled_while_it_reserves_has_nothing_held(postgres_url: str) -> None:
    store = await open_budgets(postgres_url, clock=StillClock())
    tasks = [asyncio.ensure_future(held(store, f"a-{number}", 1)) for number in range(20)]
    for turn, task in enumerate(tasks):
        if turn % 5 == 0:
            await asyncio.sleep(0)
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(each, asyncio.CancelledError) for each in ended)
    assert await stands(store) == (0, sum(isinstance(each, Grant) for each in ended))
    await store.aclose()


async def test_a_bug_of_ours_is_heard_of_instead_of_waited_for(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    store = await open_budgets(postgres_url, clock=StillClock())
    monkeypatch.setattr(sql_postgres, "apply", fail)
    for name in ("a-1", "a-2"):
        with pytest.raises(BudgetStoreUnavailableError, match="stopped"):
            await held(store, name)
    with pytest.raises(ZeroDivisionError):
        await store.aclose()


async def test_a_newer_schema_is_refused(postgres_url: str) -> None:
    await (await open_budgets(postgres_url)).aclose()
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("INSERT INTO budget_schema VALUES (99, 0)")
    await connection.close()
    with pytest.raises(ConfigError, match="PostgreSQL: the budgets have schema 99"):
        await open_budgets(postgres_url)


async def test_two_gateways_may_create_the_tables_at_once(postgres_url: str) -> None:
    stores = await asyncio.gather(*(open_budgets(postgres_url, clock=StillClock()) for _ in range(4)))
    await asyncio.gather(*(held(store, f"a-{number}") for number, store in enumerate(stores)))
    assert await stands(stores[0]) == (0, 40)
    for store in stores:
        await store.aclose()
