"""What only SQLite does: a file that is locked, full, read-only, broken or another version's."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from router.budgets import Grant
from router.errors import BudgetStoreUnavailableError, ConfigError
from router.stores import open_ledger
from router.stores.budgets import open_budgets, sql_schema, sql_sqlite
from router.stores.budgets.sql import SqlBudgets
from tests.conformance.budgets.stands import LEASE_MS, claim_of
from tests.lines import StillClock, intent_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLAIM = claim_of(100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def opened(path: Path) -> SqlBudgets:
    store = await open_budgets(f"sqlite:///{path}", clock=StillClock())
    assert isinstance(store, SqlBudgets)
    store._writer._connection.execute("PRAGMA busy_timeout = 30")
    return store


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlBudgets]:
    found = await opened(path)
    yield found
    await found.aclose()


async def held(store: SqlBudgets, name: str, most: int = 10) -> object:
    return await store.reserve(name, (CLAIM,), least_nanousd=1, most_nanousd=most, lease_ms=LEASE_MS)


async def stands(store: SqlBudgets) -> tuple[int, int]:
    return (await store.balances([CLAIM]))[0][1:]


async def test_a_locked_file_refuses_holds_nothing_and_recovers(store: SqlBudgets, path: Path) -> None:
    await held(store, "a-1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for asked in (held(store, "a-2"), store.settle("a-1", 3), store.extend("a-1", 1, lease_ms=1), store.expire()):
            with pytest.raises(BudgetStoreUnavailableError, match="locked"):
                await asked
        assert await stands(store) == (0, 10), "reading goes on"
        other.execute("ROLLBACK")
    await store.settle("a-1", 3)
    assert isinstance(await held(store, "a-2"), Grant)
    assert await stands(store) == (3, 10)


async def test_who_waits_too_long_is_refused_and_nothing_is_held_for_it_later(path: Path) -> None:
    store = await opened(path)
    store._answer_s = 0.05
    store._writer._connection.execute("PRAGMA busy_timeout = 5000")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BudgetStoreUnavailableError, match=r"not answered within 0\.05 s"):
            await held(store, "a-1")
        other.execute("ROLLBACK")
    store._answer_s = 5.0
    assert await stands(store) == (0, 0)
    assert await held(store, "a-1") == Grant("a-1", 10, (CLAIM.account(CLAIM.windows[1]),), 90)
    await store.aclose()


async def test_a_full_disk_refuses_writes_nothing_half_and_recovers(store: SqlBudgets) -> None:
    await held(store, "a-1")
    run = store._writer._connection.execute
    run(f"PRAGMA max_page_count = {run('PRAGMA page_count').fetchone()[0]}")
    long = tuple(claim_of(1000, owner=f"{number}{'x' * 900}") for number in range(40))
    with pytest.raises(BudgetStoreUnavailableError, match="full"):
        await store.reserve("a-2", (CLAIM, *long), least_nanousd=1, most_nanousd=10, lease_ms=LEASE_MS)
    assert await stands(store) == (0, 10)
    run("PRAGMA max_page_count = 1000000")
    await store.reserve("a-2", (CLAIM, *long), least_nanousd=1, most_nanousd=10, lease_ms=LEASE_MS)
    assert await stands(store) == (0, 20)


async def test_a_file_made_read_only_refuses_and_recovers(store: SqlBudgets) -> None:
    store._writer._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(BudgetStoreUnavailableError, match="readonly"):
        await held(store, "a-1")
    store._writer._connection.execute("PRAGMA query_only = 0")
    assert isinstance(await held(store, "a-1"), Grant)


async def test_one_cancelled_while_it_reserves_has_nothing_held(store: SqlBudgets) -> None:
    tasks = [asyncio.ensure_future(held(store, f"a-{number}", 1)) for number in range(20)]
    await asyncio.sleep(0)
    for turn, task in enumerate(tasks):
        if turn % 5 == 0:
            await asyncio.sleep(0)
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(each, asyncio.CancelledError) for each in ended)
    assert await stands(store) == (0, sum(isinstance(each, Grant) for each in ended))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_of_ours_is_heard_of_instead_of_waited_for(
    store: SqlBudgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(sql_sqlite, "apply", fail)
    for name in ("a-1", "a-2"):
        with pytest.raises(BudgetStoreUnavailableError, match="stopped"):
            await held(store, name)


async def test_a_closed_store_refuses(path: Path) -> None:
    store = await opened(path)
    await store.aclose()
    with pytest.raises(BudgetStoreUnavailableError, match="closed"):
        await held(store, "a-1")


async def test_what_is_queued_when_it_closes_is_carried_out(path: Path) -> None:
    store = await opened(path)
    await held(store, "a-1")
    settling = asyncio.ensure_future(store.settle("a-1", 4))
    await asyncio.sleep(0)
    await store.aclose()
    await settling
    store = await opened(path)
    assert await stands(store) == (4, 0)
    await store.aclose()


@pytest.mark.parametrize("is_ledger_first", [True, False])
async def test_ledger_and_budgets_share_a_file(path: Path, is_ledger_first: bool) -> None:
    for is_ledger in (is_ledger_first, not is_ledger_first):
        if is_ledger:
            ledger = await open_ledger(f"sqlite:///{path}", home=path.parent, clock=StillClock())
        else:
            store = await opened(path)
    await ledger.append(intent_line("a"))
    assert isinstance(await held(store, "a-1"), Grant)
    await ledger.aclose()
    await store.aclose()


async def test_a_newer_schema_is_refused_by_name(path: Path) -> None:
    await (await opened(path)).aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO budget_schema VALUES (99, 0)")
        connection.commit()
    with pytest.raises(ConfigError, match=rf"{path.name}: the budgets have schema 99, .* knows up to"):
        await opened(path)


async def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(path)
    await held(store, "a-1")
    await store.aclose()
    newer = (*sql_schema.MIGRATIONS["sqlite"], ("CREATE TABLE budget_later (x INTEGER)",))
    monkeypatch.setitem(sql_schema.MIGRATIONS, "sqlite", newer)
    store = await opened(path)
    assert await stands(store) == (0, 10)
    assert store._writer._connection.execute("SELECT COUNT(*) FROM budget_later").fetchone() == (0,)
    await store.aclose()


async def test_what_is_no_database_is_refused_by_name(path: Path) -> None:
    path.write_text("no database " * 100)  # noqa: ASYNC240 - a kilobyte
    with pytest.raises(ConfigError, match=rf"{path.name}: the budgets cannot be opened"):
        await opened(path)


async def test_an_unknown_url_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="'mysql' is not a store of budgets; known: sqlite"):
        await open_budgets("mysql://x")
