"""Marks of answers: the same in every store, no part of any sum, beside lines that have none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from router.ledger import Correction, RequestQuery, Settlement
from router.stores import open_ledger, rebuild_ledger
from router.stores.sql.export import export
from router.stores.sql.verify import Verdict, verify
from tests.lines import LEASE_MS, START_MS, StillClock, feedback_line, intent_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from router.ports import Ledger
    from router.stores.sql.ledger import SqlLedger

MARKS = (-0.208, 0.0, 0.633, 2.0, 3.0, -3.0)


async def settled(ledger: Ledger, decision_id: str) -> Settlement:
    found = await ledger.request(decision_id)
    assert found is not None
    return next(line for line in found[1] if isinstance(line, Settlement))


async def test_marks_come_back_and_move_no_sum(ledger: Ledger) -> None:
    await ledger.append(intent_line("plain"), settlement_line("plain"))
    before = await ledger.totals(RequestQuery(), ())
    await ledger.append(intent_line("marked"), settlement_line("marked", marks=MARKS), feedback_line("marked"))
    assert (await settled(ledger, "marked")).marks == MARKS
    assert (await settled(ledger, "plain")).marks is None
    after = await ledger.totals(RequestQuery(), ())
    assert after[0].cost_nanousd == 2 * before[0].cost_nanousd
    labelled = [lines async for _, lines in ledger.labelled(0, 2**62, limit=10)]
    assert [[line.marks for line in lines if isinstance(line, Settlement)] for lines in labelled] == [[MARKS]]


async def test_marks_of_a_settlement_that_its_lease_had_overtaken_are_kept(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1"))
    assert await ledger.close_expired(START_MS + LEASE_MS) == 1
    ledger.append_later(settlement_line("d1", marks=MARKS))
    found = await ledger.request("d1")
    assert found is not None
    late = [line.late for line in found[1] if isinstance(line, Correction)]
    assert [each.marks for each in late if each is not None] == [MARKS]


async def test_lines_without_marks_stand_beside_others(sql_url: str, tmp_path: Path) -> None:
    ledger: SqlLedger = await open_ledger(sql_url, home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("old"), settlement_line("old"))
    await ledger.aclose()
    ledger = await open_ledger(sql_url, home=tmp_path, clock=StillClock())
    await ledger.append(intent_line("new"), settlement_line("new", marks=MARKS))
    await ledger.aclose()
    await rebuild_ledger(sql_url, home=tmp_path)
    ledger = await open_ledger(sql_url, home=tmp_path, clock=StillClock())
    try:
        assert (await settled(ledger, "old")).marks is None
        assert (await settled(ledger, "new")).marks == MARKS
        verdict = [each async for each in verify(ledger.reads, START_MS)][-1]
        assert isinstance(verdict, Verdict)
        assert (verdict.findings, verdict.lines, verdict.requests) == (0, 4, 2)
        out = io.BytesIO()
        assert await export(ledger, RequestQuery(), out, "jsonl", lambda _: None) == 2
        assert b"marks" not in out.getvalue()
    finally:
        await ledger.aclose()
