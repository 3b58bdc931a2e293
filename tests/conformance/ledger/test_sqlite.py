"""What only SQLite does: a file on a disk that fills up, locks and breaks, and a process that is killed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.errors import ConfigError, LedgerUnavailableError
from router.ledger import Finding, RequestQuery
from router.stores import open_ledger
from router.stores.memory import MemoryLedger
from router.stores.sql import posting, schema, sqlite_sync
from router.stores.sql.migrate import prepare_sqlite
from router.stores.sql.posting import Intake
from router.stores.sql.verify import verify
from tests.lines import LEASE_MS, START_MS, StillClock, intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from router.stores.sql.ledger import SqlLedger

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def opened(path: Path, **options: object) -> SqlLedger:
    return await open_ledger(f"sqlite:///{path}", home=path.parent, clock=StillClock(), **options)


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqlLedger]:
    found = await opened(path)
    found._writer._connection.execute("PRAGMA busy_timeout = 50")
    yield found
    await found.aclose()


async def eventually_writable(ledger: SqlLedger) -> None:
    for _ in range(200):
        try:
            await ledger.check()
        except LedgerUnavailableError:
            await asyncio.sleep(0.05)
        else:
            return
    pytest.fail("the ledger did not come back")


async def findings_of(ledger: SqlLedger) -> list[Finding]:
    return [step async for step in verify(ledger.reads, START_MS) if isinstance(step, Finding)]


async def test_full_disk_refuses_keeps_what_was_promised_and_recovers(ledger: SqlLedger) -> None:
    await ledger.append(intent_line("a"))
    pages = ledger._writer._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailableError, match="full"):
        await ledger.append(*(rejection_line(f"b{number}", tags={"long": "x" * 4000}) for number in range(20)))
    for number in range(20):
        ledger.append_later(
            settlement_line("a") if number == 0 else rejection_line(f"c{number}", tags={"x": "y" * 4000})
        )
    with pytest.raises(LedgerUnavailableError, match="full"):
        await ledger.sync()
    for refused in (ledger.append(intent_line("d")), ledger.check()):
        with pytest.raises(LedgerUnavailableError, match="full"):
            await refused
    (totals,) = await ledger.totals(RequestQuery(), [])
    assert (totals.requests, totals.answered) == (1, 0), "nothing is half-written"
    ledger._writer._connection.execute("PRAGMA max_page_count = 1000000")
    await eventually_writable(ledger)
    (totals,) = await ledger.totals(RequestQuery(), [])
    assert (totals.requests, totals.answered, totals.rejected) == (20, 1, 19)
    assert await findings_of(ledger) == []


async def test_locked_database_refuses_and_recovers(ledger: SqlLedger, path: Path) -> None:
    await ledger.append(intent_line("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerUnavailableError, match="locked"):
            await ledger.append(intent_line("b"))
        ledger.append_later(settlement_line("a"))
        with pytest.raises(LedgerUnavailableError, match="locked"):
            await ledger.check()
        row, _ = await ledger.request("a")
        assert row.outcome == "open", "reading goes on"
        other.execute("ROLLBACK")
    await eventually_writable(ledger)
    row, _ = await ledger.request("a")
    assert row.outcome == "answered"
    assert await ledger.request("b") is None


async def test_closing_while_it_cannot_write_says_what_is_lost(path: Path) -> None:
    ledger = await opened(path)
    ledger._writer._connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ledger.append_later(rejection_line("a"))
        with pytest.raises(LedgerUnavailableError, match="1 ledger lines could not be written"):
            await ledger.aclose()


def lines_in_a_copy_of_the_main_file_alone(path: Path) -> int:
    copy = path.with_name("copy.sqlite")
    shutil.copyfile(path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM ledger_lines").fetchone()
    copy.unlink()
    return int(count)


async def copied_whole(path: Path, lines: int) -> None:
    for _ in range(500):
        if lines_in_a_copy_of_the_main_file_alone(path) == lines:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the log was not moved")


async def test_in_quiet_times_the_log_is_moved_into_the_main_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_sync, "IDLE_S", 0.05)
    ledger = await opened(path)
    for number in range(3):
        # One that somebody waits for and forces, and one that nobody does.
        await ledger.append(intent_line(f"a{number}"))
        ledger.append_later(rejection_line(f"b{number}"))
        await copied_whole(path, 2 * (number + 1))
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_the_log_is_moved_at_the_end_also_where_others_have_the_file_open(path: Path) -> None:
    ledger = await opened(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT COUNT(*) FROM requests").fetchall()
        await ledger.append(intent_line("a"))
        assert lines_in_a_copy_of_the_main_file_alone(path) == 0
        await ledger.aclose()
        assert lines_in_a_copy_of_the_main_file_alone(path) == 1


async def test_a_reader_holds_the_log_up_and_nobody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_sync, "IDLE_S", 0.02)
    ledger = await opened(path)
    await ledger.append(intent_line("a"))
    async with ledger.reads.snapshot() as moment:
        await moment.fetch("SELECT COUNT(*) FROM requests")
        await ledger.append(intent_line("b"))
        await asyncio.sleep(0.2)
        assert lines_in_a_copy_of_the_main_file_alone(path) < 2
        await ledger.append(intent_line("c"))
    await copied_whole(path, 3)
    await ledger.aclose()


async def test_closing_writes_what_is_queued(path: Path) -> None:
    ledger = await opened(path)
    await ledger.append(intent_line("a"))
    for number in range(1000):
        ledger.append_later(rejection_line(f"r{number}"))
    ledger.append_later(settlement_line("a"))
    await ledger.aclose()
    ledger = await opened(path)
    (totals,) = await ledger.totals(RequestQuery(), [])
    assert (totals.rejected, totals.answered) == (1000, 1)
    await ledger.aclose()


async def test_file_made_read_only_refuses_and_recovers(ledger: SqlLedger) -> None:
    ledger._writer._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(LedgerUnavailableError, match="readonly"):
        await ledger.append(intent_line("a"))
    with pytest.raises(LedgerUnavailableError, match="readonly"):
        await ledger.check()
    ledger._writer._connection.execute("PRAGMA query_only = 0")
    await ledger.append(intent_line("a"))


async def test_disk_that_does_not_sync_refuses(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_sync, "force", broken)
        await ledger.append(intent_line("a"))
        with pytest.raises(LedgerUnavailableError, match="Input/output error"):
            await ledger.sync()
    await ledger.sync()


async def test_sync_comes_after_the_log_was_forced(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    monkeypatch.setattr(sqlite_sync, "force", lambda descriptor: forced.append(os.fstat(descriptor).st_size))
    await ledger.append(intent_line("a"))
    await asyncio.gather(*(ledger.sync() for _ in range(50)))
    assert 1 <= len(forced) <= 2, "all who wait share a sync"
    assert forced[-1] == os.stat(f"{ledger.reads._path}-wal").st_size  # noqa: PTH116 - a test may block
    count = len(forced)
    await ledger.sync()
    assert len(forced) == count, "nothing new, nothing to force"


async def test_cancelled_caller_is_charged_nothing(ledger: SqlLedger) -> None:
    writing = asyncio.ensure_future(ledger.append(intent_line("a")))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ledger.check()
    row, _ = await ledger.request("a")
    assert (row.outcome, row.cost_nanousd, row.error_code) == ("client_left", 0, "not_sent")
    assert await ledger.close_expired(START_MS + LEASE_MS) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_writer_that_dies_of_a_bug_refuses_instead_of_hanging(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await opened(path)
    monkeypatch.setattr(type(ledger._writer), "_commit", lambda self, batch: 1 // 0)
    for asked in (ledger.append(intent_line("a")), ledger.check(), ledger.append(intent_line("b"))):
        with pytest.raises(LedgerUnavailableError, match="its writer has stopped"):
            await asked
    await ledger.aclose()


async def test_memory_for_waiting_lines_is_bounded(ledger: SqlLedger) -> None:
    ledger._writer.intake = Intake(lines_max=3, lines_waiting=3)
    with pytest.raises(LedgerUnavailableError, match="3 lines wait"):
        ledger.append_later(rejection_line("a"))


def kept(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_file_is_for_its_owner_only(ledger: SqlLedger, path: Path) -> None:
    assert kept(path) == 0o600
    await ledger.append(intent_line("a"))
    assert kept(Path(f"{path}-wal")) == 0o600


async def test_home_that_is_no_folder_names_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/ledger\.sqlite: the ledger cannot be opened: "):
        await open_ledger(None, home=tmp_path / "file", clock=StillClock())


@pytest.fixture
def as_ordinary_user() -> Iterator[None]:
    """Root may write anywhere: become nobody for a test about permissions."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield
    os.seteuid(0)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Readable by everybody, writable by nobody but root."""
    with tempfile.TemporaryDirectory(prefix="tollgate-") as name:
        Path(name).chmod(0o555)
        yield Path(name)
        Path(name).chmod(0o755)


async def test_read_only_home_names_itself(closed_folder: Path, as_ordinary_user: None) -> None:
    for home in (closed_folder, closed_folder / "below"):
        with pytest.raises(ConfigError, match=r"ledger\.sqlite: the ledger cannot be opened: Permission denied"):
            await open_ledger(None, home=home, clock=StillClock())


@pytest.mark.parametrize("content", [b"this is no database, and long enough to be looked at " * 40])
async def test_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)  # noqa: ASYNC240 - a test may block
    with pytest.raises(ConfigError, match="not a database"):
        await opened(path)
    assert path.read_bytes() == content  # noqa: ASYNC240 - the same


async def test_foreign_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (id INTEGER)")
    with pytest.raises(ConfigError, match="not a Tollgate ledger"):
        await opened(path)


async def test_schema_of_another_version_is_refused_until_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = await opened(path)
    await ledger.append(rejection_line("a"))
    await ledger.aclose()
    first = schema.MIGRATIONS["sqlite"]
    monkeypatch.setitem(schema.MIGRATIONS, "sqlite", (*first, ("CREATE TABLE more (id INTEGER)",)))
    with pytest.raises(ConfigError, match=f"schema {len(first)} of {len(first) + 1}: run `tollgate ledger migrate`"):
        await opened(path)
    ledger = await opened(path, may_migrate=True)
    assert await ledger.reads.fetch("SELECT COUNT(*) FROM more") == [(0,)]
    assert await ledger.request("a") is not None
    await ledger.aclose()
    monkeypatch.setitem(schema.MIGRATIONS, "sqlite", first)
    with pytest.raises(ConfigError, match=f"schema {len(first) + 1}, this version"):
        await opened(path)


async def test_a_ledger_of_the_first_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = schema.MIGRATIONS["sqlite"]
    monkeypatch.setitem(schema.MIGRATIONS, "sqlite", every[:1])
    prepare_sqlite(path, 0)
    with closing(sqlite3.connect(path)) as old:
        names = [row[1] for row in old.execute("PRAGMA table_info(requests)")]
        values = [0 if name not in ("decision_id", "tags", "surface") else "{}" for name in names]
        old.execute(f"INSERT INTO requests VALUES ({', '.join('?' * len(names))})", values)
        old.commit()
    monkeypatch.setitem(schema.MIGRATIONS, "sqlite", every)
    ledger = await opened(path, may_migrate=True)
    (row,) = [each async for each in ledger.requests(RequestQuery())]
    assert (row.lineage_id, row.promise) == (None, "none")
    assert await ledger.spend() == {}
    await ledger.aclose()


async def test_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await opened(path)).aclose()
    broken = ("CREATE TABLE more (id INTEGER)", "CREATE TABLE more (id INTEGER)")
    newest = len(schema.MIGRATIONS["sqlite"])
    monkeypatch.setitem(schema.MIGRATIONS, "sqlite", (*schema.MIGRATIONS["sqlite"], broken))
    with pytest.raises(ConfigError, match="more already exists"):
        await opened(path, may_migrate=True)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT MAX(version) FROM ledger_schema").fetchone() == (newest,)
        assert other.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://relative", "ledger.db"])
async def test_unknown_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a store of ledgers"):
        await open_ledger(url, home=tmp_path, clock=StillClock())


async def test_urls_name_their_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(await open_ledger("memory://", home=tmp_path, clock=StillClock()), MemoryLedger)
    for url, path in (
        (None, tmp_path / "home" / "ledger.sqlite"),
        ("sqlite:///relative.db", tmp_path / "relative.db"),
        (f"sqlite:///{tmp_path}/a%20b/absolute.db", tmp_path / "a%20b" / "absolute.db"),
    ):
        ledger = await open_ledger(url, home=tmp_path / "home", clock=StillClock())
        await ledger.aclose()
        assert path.is_file()


KILLED = """
import asyncio, pathlib, sys
from router.stores import open_ledger
from tests.lines import StillClock, intent_line, settlement_line

async def main():
    ledger = await open_ledger(f"sqlite:///{sys.argv[1]}", home=pathlib.Path(), clock=StillClock())
    async def worker(number):
        for step in range(10**6):
            name = f"{sys.argv[2]}-{number}-{step}"
            await ledger.append(intent_line(name, hold_nanousd=7))
            print(name, flush=True)
            ledger.append_later(settlement_line(name, cost_nanousd=3))
    await asyncio.gather(*(worker(number) for number in range(8)))
asyncio.run(main())
"""


async def test_killed_process_loses_nothing_that_was_acknowledged(path: Path) -> None:
    told: set[str] = set()
    for round_number in range(4):
        process = subprocess.Popen(  # noqa: ASYNC220 - the same
            [sys.executable, "-c", KILLED, str(path), str(round_number)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        for _ in range(40 * (round_number + 1) ** 2):
            told.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0]
        told |= {line for line in rest.split("\n")[:-1] if line}
    ledger = await opened(path)
    closed = await ledger.close_expired(START_MS + LEASE_MS)
    rows = {row.decision_id: row async for row in ledger.requests(RequestQuery())}
    assert told <= rows.keys(), "every intent that was acknowledged is there"
    assert len(told) > 1000
    assert {row.outcome for row in rows.values()} <= {"answered", "expired"}
    assert sum(row.outcome == "expired" for row in rows.values()) == closed
    assert all(row.cost_nanousd == (3 if row.outcome == "answered" else 7) for row in rows.values())
    assert [step async for step in verify(ledger.reads, START_MS + LEASE_MS) if isinstance(step, Finding)] == []
    await ledger.aclose()


async def test_what_the_writer_has_forgotten_it_reads_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "CLOSED_MAX", 0)
    monkeypatch.setattr(posting, "FOLIOS_MAX", 1)
    ledger = await opened(path)
    names = [f"dec_{number}" for number in range(5)]
    for name in names:
        await ledger.append(intent_line(name))
    for name in names:
        await ledger.append(settlement_line(name))
        await ledger.append(settlement_line(name))
    for name in names:
        found = await ledger.request(name)
        assert found is not None
        row, lines = found
        assert row.outcome == "answered"
        assert len(lines) == 2, "what is told twice is written once"
    assert len(ledger._writer._folios) <= 1
    await ledger.aclose()
