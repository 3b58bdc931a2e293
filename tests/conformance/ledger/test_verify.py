"""Whoever changes a ledger behind its back is found, and told where."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import pytest

from router.errors import LedgerUnavailableError
from router.ledger import Finding
from router.stores import open_ledger, rebuild_ledger
from router.stores.sql.verify import Progress, Verdict, verify
from tests.lines import (
    LEASE_MS,
    START_MS,
    StillClock,
    correction_line,
    failure_line,
    feedback_line,
    intent_line,
    rejection_line,
    settlement_line,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.stores.sql.ledger import SqlLedger


async def tamper(url: str, sqlite: str, postgres: str | None = None) -> None:
    """Run a statement as somebody with the administrator's rights would."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("DROP TRIGGER IF EXISTS ledger_lines_keep_content")
            connection.execute("DROP TRIGGER IF EXISTS ledger_lines_keep_all")
            connection.executescript(sqlite)
            connection.commit()
        return
    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(postgres or sqlite)
    await connection.close()


async def checked(ledger: SqlLedger, now_ms: int = START_MS) -> tuple[list[Finding], Verdict]:
    steps = [step async for step in verify(ledger.reads, now_ms)]
    assert isinstance(steps[-1], Verdict)
    findings = [step for step in steps if isinstance(step, Finding)]
    assert steps[-1].findings == len(findings)
    assert any(isinstance(step, Progress) for step in steps)
    return findings, steps[-1]


@pytest.fixture
async def written(sql_ledger: SqlLedger) -> AsyncIterator[SqlLedger]:
    for number in range(5):
        await sql_ledger.append(intent_line(f"d{number}"))
        await sql_ledger.append(settlement_line(f"d{number}"))
    await sql_ledger.append(intent_line("e"), failure_line("e", cost_nanousd=5), intent_line("e", 2))
    await sql_ledger.append(rejection_line("r"), correction_line("d1"), feedback_line("d2"), feedback_line("ghost"))
    return sql_ledger


async def test_untouched_ledger_is_sound(written: SqlLedger) -> None:
    findings, verdict = await checked(written)
    assert findings == []
    assert (verdict.lines, verdict.requests, verdict.open_intents) == (17, 7, 1)
    assert verdict.cost_nanousd == 5 * 1_234_567 + 5 - 100
    assert [head.position for head in verdict.heads.values()] == [17]


async def test_empty_ledger_is_sound(sql_ledger: SqlLedger) -> None:
    findings, verdict = await checked(sql_ledger)
    assert findings == []
    assert verdict.lines == 0


TEXT_OF = {
    "sqlite": "CAST(replace(CAST(payload AS TEXT), '1234567', '1234568') AS BLOB)",
    "postgres": "convert_to(replace(convert_from(payload, 'UTF8'), '1234567', '1234568'), 'UTF8')",
}
CHANGED = "UPDATE ledger_lines SET payload = {} WHERE decision_id = 'd2' AND line_key = 's1'"
COLUMNS = "writer_id, position, kind, decision_id, attempt, time_ms, payload, prev_hash, hash"
TAMPERED: dict[str, tuple[str, str | None, set[str], str | None]] = {
    "a byte": (
        CHANGED.format(TEXT_OF["sqlite"]),
        CHANGED.format(TEXT_OF["postgres"]),
        {"hash_mismatch", "projection_differs", "sums_differ"},
        "d2",
    ),
    "a column": ("UPDATE ledger_lines SET attempt = 2 WHERE decision_id = 'd3'", None, {"hash_mismatch"}, "d3"),
    "a removed line": (
        "DELETE FROM ledger_lines WHERE decision_id = 'd2' AND line_key = 's1'",
        None,
        {"chain_gap", "projection_differs", "open_intents_differ", "sums_differ"},
        "d2",
    ),
    "the last line cut off": (
        "DELETE FROM ledger_lines WHERE decision_id = 'ghost'",
        None,
        {"chain_end"},
        None,
    ),
    "a removed request": (
        "DELETE FROM ledger_lines WHERE decision_id = 'd2'",
        None,
        {"chain_gap", "row_without_lines", "sums_differ"},
        "d2",
    ),
    "two lines in another order": (
        (
            "UPDATE ledger_lines SET seq = 100 WHERE seq = 3; UPDATE ledger_lines SET seq = 3 WHERE seq = 4;"
            "UPDATE ledger_lines SET seq = 4 WHERE seq = 100"
        ),
        None,
        {"chain_gap"},
        "d1",
    ),
    "an added line": (
        (
            f"INSERT INTO ledger_lines (seq, line_key, {COLUMNS})"
            f" SELECT 1000, 's9', {COLUMNS} FROM ledger_lines WHERE decision_id = 'd2' AND line_key = 's1'"
        ),
        None,
        {"hash_mismatch", "chain_gap", "duplicate"},
        "d2",
    ),
    "a changed sum": (
        "UPDATE requests SET cost_nanousd = cost_nanousd - 1 WHERE decision_id = 'd2'",
        None,
        {"projection_differs", "sums_differ"},
        "d2",
    ),
    "a lost row": (
        "DELETE FROM requests WHERE decision_id = 'd2'",
        None,
        {"projection_differs", "sums_differ"},
        "d2",
    ),
    "a forgotten intent": ("DELETE FROM open_intents", None, {"open_intents_differ"}, "e"),
    "an unreadable line": (
        "UPDATE ledger_lines SET payload = CAST('{' AS BLOB) WHERE decision_id = 'd2' AND line_key = 's1'",
        "UPDATE ledger_lines SET payload = '\\x7b' WHERE decision_id = 'd2' AND line_key = 's1'",
        {"hash_mismatch", "unreadable"},
        "d2",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_tampering_is_found(written: SqlLedger, sql_url: str, what: str) -> None:
    sqlite, postgres, codes, decision_id = TAMPERED[what]
    await tamper(sql_url, sqlite, postgres)
    findings, _ = await checked(written)
    assert codes <= {finding.code for finding in findings}, findings
    if decision_id is not None:
        assert decision_id in {finding.decision_id for finding in findings}


async def test_nothing_is_added_to_a_damaged_request(sql_url: str, tmp_path: Path, clock: StillClock) -> None:
    ledger = await open_ledger(sql_url, home=tmp_path, clock=clock)
    await ledger.append(intent_line("a"))
    await ledger.aclose()
    await tamper(
        sql_url,
        "UPDATE ledger_lines SET payload = CAST('[]' AS BLOB)",
        "UPDATE ledger_lines SET payload = '\\x5b5d'",
    )
    ledger = await open_ledger(sql_url, home=tmp_path, clock=clock)
    for asked in (ledger.append(settlement_line("a")), ledger.request("a")):
        with pytest.raises(LedgerUnavailableError, match="tollgate ledger verify"):
            await asked
    await ledger.append(intent_line("b"))
    await ledger.aclose()


async def test_line_rewritten_with_its_own_hash_breaks_the_link(written: SqlLedger, sql_url: str) -> None:
    await tamper(
        sql_url,
        "UPDATE ledger_lines SET hash = zeroblob(32) WHERE seq = 6",
        "UPDATE ledger_lines SET hash = decode(repeat('00', 32), 'hex') WHERE seq = 6",
    )
    findings, _ = await checked(written)
    assert [(finding.code, finding.seq) for finding in findings] == [("hash_mismatch", 6), ("chain_broken", 7)]


async def test_intent_past_its_lease_is_a_finding_until_it_is_closed(written: SqlLedger) -> None:
    late_ms = START_MS + LEASE_MS
    findings, _ = await checked(written, late_ms)
    assert [(finding.code, finding.decision_id) for finding in findings] == [("open_past_lease", "e")]
    await written.close_expired(late_ms)
    assert (await checked(written, late_ms))[0] == []


async def test_lines_can_be_neither_changed_nor_removed(written: SqlLedger, sql_url: str) -> None:
    for statement in ("UPDATE ledger_lines SET attempt = 9", "DELETE FROM ledger_lines"):
        if sql_url.startswith("sqlite"):
            with (
                closing(sqlite3.connect(sql_url.removeprefix("sqlite:///"))) as connection,
                pytest.raises(sqlite3.IntegrityError, match="append-only"),
            ):
                connection.execute(statement)
            continue
        connection = await asyncpg.connect(sql_url)
        for each in (statement, "TRUNCATE ledger_lines"):
            with pytest.raises(asyncpg.RaiseError, match="append-only"):
                await connection.execute(each)
        await connection.close()
    assert (await checked(written))[0] == []


async def test_rebuild_makes_the_projection_anew(sql_url: str, tmp_path: Path, clock: StillClock) -> None:
    ledger = await open_ledger(sql_url, home=tmp_path, clock=clock)
    await ledger.append(intent_line("a"), settlement_line("a"), intent_line("b"), feedback_line("ghost"))
    await ledger.aclose()
    await tamper(sql_url, "DELETE FROM requests; DELETE FROM open_intents")
    assert await rebuild_ledger(sql_url) == 2
    ledger = await open_ledger(sql_url, home=tmp_path, clock=clock)
    assert (await checked(ledger))[0] == []
    assert await ledger.close_expired(START_MS + LEASE_MS) == 1
    await ledger.aclose()


async def test_every_writer_has_a_chain_and_a_restart_goes_on_with_it(
    sql_url: str, tmp_path: Path, clock: StillClock
) -> None:
    for writer_id in ("one", "two", "one"):
        ledger = await open_ledger(sql_url, home=tmp_path, clock=clock, writer_id=writer_id)
        await ledger.append(rejection_line(f"{writer_id}-{clock.time_ms}"))
        clock.time_ms += 1
        findings, verdict = await checked(ledger)
        assert findings == []
        await ledger.aclose()
    assert {name: head.position for name, head in verdict.heads.items()} == {"one": 2, "two": 1}
