"""Context bills: the same in every store, page by page, and no part of any sum of money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.ledger import RequestQuery
from router.stores.sql import ledger as sql_ledger_module
from router.stores.sql.verify import Verdict, verify
from tests.lines import START_MS, context_line, intent_line, settlement_line

if TYPE_CHECKING:
    import pytest

    from router.ledger import ContextUse
    from router.ports import Ledger
    from router.stores.sql.ledger import SqlLedger


async def bills(ledger: Ledger, **query: Any) -> list[ContextUse]:
    return [use async for use in ledger.contexts(RequestQuery(**query))]


async def test_what_was_written_is_read_newest_first_and_by_owner(ledger: Ledger) -> None:
    lines = [
        context_line("d3", START_MS + 2),
        context_line("d1", START_MS),
        context_line("d2", START_MS, team="legal", key_id="key-2"),
    ]
    for line in lines:
        await ledger.append(intent_line(line.decision_id, time_ms=line.time_ms))
        ledger.append_later(settlement_line(line.decision_id))
        ledger.append_later(line)
    assert await bills(ledger) == [lines[0], lines[2], lines[1]]
    assert await bills(ledger, team="search") == [lines[0], lines[1]]
    assert await bills(ledger, from_ms=START_MS + 1) == [lines[0]]
    assert await bills(ledger, to_ms=START_MS) == []
    assert await bills(ledger, key_id="key-2") == [lines[2]]


async def test_pages_neither_lose_nor_repeat(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_ledger_module, "PAGE", 3)
    lines = [context_line(f"d{index:02d}", START_MS + index // 4) for index in range(10)]
    for line in lines:
        await ledger.append(intent_line(line.decision_id, time_ms=line.time_ms))
        ledger.append_later(line)
    assert await bills(ledger) == lines[::-1]


async def test_told_twice_it_is_one_and_it_moves_no_money(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1"))
    ledger.append_later(settlement_line("d1"))
    before = await ledger.totals(RequestQuery(), ())
    ledger.append_later(context_line("d1"))
    ledger.append_later(context_line("d1", input_tokens=5))
    assert await bills(ledger) == [context_line("d1")]
    assert await ledger.totals(RequestQuery(), ()) == before


async def test_the_ledger_is_whole_with_it(sql_ledger: SqlLedger) -> None:
    await sql_ledger.append(intent_line("d1"))
    sql_ledger.append_later(settlement_line("d1"))
    sql_ledger.append_later(context_line("d1"))
    await sql_ledger.sync()
    found = [each async for each in verify(sql_ledger.reads, START_MS)]
    verdict = found[-1]
    assert isinstance(verdict, Verdict)
    assert (verdict.findings, verdict.lines, verdict.requests) == (0, 3, 1)
