"""What only PostgreSQL does: it goes away and comes back, and several replicas write to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from benchmarks.postgres import PostgresServer
from router.errors import BudgetStoreUnavailableError, ConfigError, LedgerUnavailableError
from router.ledger import Finding, RequestQuery
from router.stores import open_ledger, rebuild_ledger
from router.stores.budgets import open_budgets
from router.stores.sql import postgres, schema
from router.stores.sql.postgres import PostgresWriter
from router.stores.sql.verify import verify
from tests.lines import START_MS, StillClock, feedback_line, intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from router.stores.sql.ledger import SqlLedger
    from router.stores.sql.posting import Entry

END_WRITERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tollgate-ledger'"


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be killed without hurting others."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()


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


async def test_lost_server_refuses_then_goes_on(own_server: PostgresServer, tmp_path: Path) -> None:
    ledger = await open_ledger(own_server.create_database(), home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("a"))
    own_server.kill()
    with pytest.raises(LedgerUnavailableError):
        await ledger.append(intent_line("b"))
    ledger.append_later(settlement_line("a"))
    with pytest.raises(LedgerUnavailableError):
        await ledger.check()
    with pytest.raises(LedgerUnavailableError):
        await ledger.request("a")
    own_server.start()
    await eventually_writable(ledger)
    row, _ = await ledger.request("a")
    assert row.outcome == "answered"
    assert await ledger.request("b") is None
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_closing_while_it_cannot_write_says_what_is_lost(own_server: PostgresServer, tmp_path: Path) -> None:
    ledger = await open_ledger(own_server.create_database(), home=tmp_path, clock=StillClock())
    own_server.kill()
    ledger.append_later(rejection_line("a"))
    with pytest.raises(LedgerUnavailableError, match="1 ledger lines could not be written"):
        await ledger.aclose()


async def test_commit_whose_answer_was_lost_charges_nothing(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    write = PostgresWriter._write
    lost: list[int] = []

    async def write_and_lose(self: PostgresWriter, batch: Sequence[Entry]) -> str | None:
        failure = await write(self, batch)
        if lost or failure is not None:
            return failure
        lost.append(len(batch))
        self._forget()
        return "PostgreSQL: the answer was lost"

    monkeypatch.setattr(PostgresWriter, "_write", write_and_lose)
    with pytest.raises(LedgerUnavailableError, match="answer was lost"):
        await ledger.append(intent_line("a"))
    await eventually_writable(ledger)
    row, lines = await ledger.request("a")
    assert (row.outcome, row.cost_nanousd, row.error_code) == ("client_left", 0, "not_sent")
    assert len(lines) == 2
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_queued_lines_of_a_lost_answer_are_not_doubled(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("a"))
    write = PostgresWriter._write
    lost: list[int] = []

    async def write_and_lose(self: PostgresWriter, batch: Sequence[Entry]) -> str | None:
        failure = await write(self, batch)
        if len(lost) > 2:
            return failure
        lost.append(len(batch))
        self._forget()
        return "PostgreSQL: the answer was lost"

    monkeypatch.setattr(PostgresWriter, "_write", write_and_lose)
    for line in (settlement_line("a"), feedback_line("a"), feedback_line("ghost"), rejection_line("b")):
        ledger.append_later(line)
    await eventually_writable(ledger)
    (totals,) = await ledger.totals(RequestQuery(), [])
    assert totals.cost_nanousd == 1_234_567
    assert len((await ledger.request("a"))[1]) == 3
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_replicas_write_side_by_side(postgres_url: str, tmp_path: Path) -> None:
    ledgers = [await open_ledger(postgres_url, home=tmp_path, clock=StillClock()) for _ in range(3)]

    async def one(number: int) -> None:
        mine, other = ledgers[number % 3], ledgers[(number + 1) % 3]
        await mine.append(intent_line(f"d{number}", hold_nanousd=10))
        if number % 5 == 0:
            await other.close_expired(START_MS + 10**9)
        mine.append_later(settlement_line(f"d{number}", cost_nanousd=number))
        other.append_later(feedback_line(f"d{number}"))

    await asyncio.gather(*(one(number) for number in range(120)))
    for ledger in ledgers:
        await ledger.sync()
    (totals,) = await ledgers[0].totals(RequestQuery(), [])
    assert (totals.answered, totals.cost_nanousd) == (120, sum(range(120)))
    assert await findings_of(ledgers[0]) == []
    for ledger in ledgers:
        await ledger.aclose()


async def test_replicas_under_one_writer_id_keep_one_sound_chain(postgres_url: str, tmp_path: Path) -> None:
    ledgers = [await open_ledger(postgres_url, home=tmp_path, clock=StillClock(), writer_id="same") for _ in range(2)]
    for number in range(10):
        await ledgers[number % 2].append(rejection_line(f"d{number}"))
    assert await findings_of(ledgers[0]) == []
    for ledger in ledgers:
        await ledger.aclose()


async def test_lines_lie_in_a_partition_of_their_month(postgres_url: str, tmp_path: Path) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    for name, time_ms in (("a", 1_767_225_599_999), ("b", 1_767_225_600_000)):
        await ledger.append(rejection_line(name, time_ms=time_ms))
    found = await ledger.reads.fetch("SELECT decision_id, tableoid::regclass::text FROM ledger_lines ORDER BY 1")
    assert found == [("a", "ledger_lines_2025_12"), ("b", "ledger_lines_2026_01")]
    ahead = await ledger.reads.fetch("SELECT to_regclass('ledger_lines_2026_12') IS NOT NULL")
    assert ahead == [(True,)]
    await ledger.aclose()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:secret-word@127.0.0.1:9/books", "127.0.0.1:9/books"),
        ("postgres://127.0.0.1:9", "127.0.0.1:9"),
        ("postgresql://me:secret-word@[::1]:9/books", "[::1]:9/books"),
        ("postgresql://me:secret-word@127.0.0.1:9,127.0.0.1:10/books", "127.0.0.1:9,127.0.0.1:10/books"),
        ("postgresql://127.0.0.1:9/books?user=me&password=secret-word", "127.0.0.1:9/books"),
        ("postgresql://me:secret-word@/books?host={home}", "{home}/books"),
        ("postgresql:///books?host=127.0.0.1&port=9&password=secret-word", "127.0.0.1:9/books"),
        ("postgresql://me:p%40secret-word@127.0.0.1:9/books", "127.0.0.1:9/books"),
        ("postgresql://me:secret@secret-word@127.0.0.1:9/books", "127.0.0.1:9/books"),
        ("postgresql://me:secret/secret-word@127.0.0.1:9/books", None),
        ("postgresql://me:12/secret-word@127.0.0.1:9/books", None),
        ("postgresql://me:secret?secret-word@127.0.0.1:9/books", None),
        ("postgresql://me:secret#secret-word@127.0.0.1:9/books", None),
        ("postgresql://me:[secret-word@127.0.0.1:9/books", None),
    ],
)
async def test_unreachable_server_says_which_setting_and_where_without_the_password(
    tmp_path: Path, url: str, place: str | None
) -> None:
    url = url.replace("{home}", str(tmp_path))
    for opening in (
        open_ledger(url, home=tmp_path, clock=StillClock()),
        open_budgets(url, home=tmp_path),
        rebuild_ledger(url, home=tmp_path),
    ):
        with pytest.raises((LedgerUnavailableError, BudgetStoreUnavailableError)) as raised:
            await opening
        assert "secret" not in raised.value.message
        assert raised.value.__cause__ is None
        if place is None:
            assert raised.value.message.startswith("TOLLGATE_LEDGER_URL: PostgreSQL cannot be reached: ")
            assert "percent-encoded" in raised.value.message
        else:
            where = place.replace("{home}", str(tmp_path))
            assert raised.value.message.startswith(f"TOLLGATE_LEDGER_URL: PostgreSQL at {where} cannot be reached: ")


async def test_newer_and_older_schemas_are_refused(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    await ledger.append(rejection_line("a"))
    await ledger.aclose()
    first = schema.MIGRATIONS["postgresql"]
    monkeypatch.setitem(schema.MIGRATIONS, "postgresql", (*first, ("CREATE TABLE more (id INTEGER)",)))
    with pytest.raises(ConfigError, match=f"schema {len(first)} of {len(first) + 1}: run `tollgate ledger migrate`"):
        await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock(), may_migrate=True)
    assert await ledger.reads.fetch("SELECT COUNT(*) FROM more") == [(0,)]
    await ledger.aclose()
    monkeypatch.setitem(schema.MIGRATIONS, "postgresql", first)
    with pytest.raises(ConfigError, match=f"schema {len(first) + 1}, this version"):
        await open_ledger(postgres_url, home=tmp_path, clock=StillClock())


async def test_foreign_tables_are_left_alone(postgres_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE requests (id INTEGER)")
    await connection.close()
    with pytest.raises(ConfigError, match="not a Tollgate ledger"):
        await open_ledger(postgres_url, home=tmp_path, clock=StillClock())


async def test_wrong_head_is_noticed_and_read_again(postgres_url: str, tmp_path: Path) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    await ledger.append(rejection_line("a"))
    ledger._writer._head = postgres.Head(7, b"x" * 32)
    await ledger.append(rejection_line("b"))
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_a_connection_that_the_server_ends_on_the_way_stops_no_writer(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the driver raises then is none of PostgreSQL's errors, and met a failover's first statement now and then."""
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("a"))
    commit, broken = PostgresWriter._commit, [2]

    async def break_off(self: PostgresWriter, connection: Any, batch: Sequence[Entry]) -> Any:
        if broken[0]:
            broken[0] -= 1
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
        return await commit(self, connection, batch)

    monkeypatch.setattr(PostgresWriter, "_commit", break_off)
    async with asyncio.timeout(10):
        with pytest.raises(LedgerUnavailableError, match="InternalClientError"):
            await ledger.append(intent_line("b"))
        ledger.append_later(settlement_line("a", cost_nanousd=7))
        await eventually_writable(ledger)
        await ledger.append(intent_line("c"))
    row, _ = await ledger.request("a")
    assert (row.outcome, row.cost_nanousd) == ("answered", 7)
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_connections_ended_at_any_moment_lose_and_double_nothing(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    url = own_server.create_database()
    ledger = await open_ledger(url, home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("first"))
    operator = await asyncpg.connect(url)
    written: set[str] = set()

    went_on = asyncio.Event()

    async def client(name: str) -> None:
        for number in range(120):
            decision_id = f"{name}-{number}"
            try:
                await ledger.append(intent_line(decision_id))
            except LedgerUnavailableError:
                await asyncio.sleep(0.01)
                continue
            written.add(decision_id)
            if len(written) % 7 == 0:
                went_on.set()
            ledger.append_later(settlement_line(decision_id, cost_nanousd=3))

    async def end_connections(clients: asyncio.Future[Any]) -> None:
        while not clients.done():
            await operator.execute(END_WRITERS)
            went_on.clear()
            await went_on.wait()

    async with asyncio.timeout(60):
        clients = asyncio.gather(*(client(name) for name in "abcd"))
        clients.add_done_callback(lambda _: went_on.set())
        await asyncio.gather(clients, end_connections(clients))
        await operator.close()
        await eventually_writable(ledger)
        (totals,) = await ledger.totals(RequestQuery(), ())
    assert written
    assert (totals.answered, totals.cost_nanousd) == (len(written), 3 * len(written))
    assert await findings_of(ledger) == []
    await ledger.aclose()


async def test_a_bug_of_ours_is_heard_of_instead_of_waited_for(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger(postgres_url, home=tmp_path, clock=StillClock())

    async def stumble(self: PostgresWriter, connection: Any, batch: Sequence[Entry]) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(PostgresWriter, "_commit", stumble)
    async with asyncio.timeout(10):
        for asked in (ledger.append(intent_line("a")), ledger.check(), ledger.append(intent_line("b"))):
            with pytest.raises(LedgerUnavailableError, match="its writer has stopped"):
                await asked
        ledger.append_later(settlement_line("a"))
        with pytest.raises(LedgerUnavailableError, match="1 ledger lines could not be written"):
            await ledger.aclose()
