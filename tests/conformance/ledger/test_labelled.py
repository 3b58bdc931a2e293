"""The requests that somebody judged, in every store alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from router.ledger import Feedback
from tests.lines import START_MS, intent_line, settlement_line

if TYPE_CHECKING:
    from router.ports import Ledger


async def judged(ledger: Ledger, from_ms: int = 0, to_ms: int = 2**62, limit: int = 100) -> list[str]:
    return [row.decision_id async for row, _ in ledger.labelled(from_ms, to_ms, limit=limit)]


async def test_only_what_was_judged_newest_first(ledger: Ledger) -> None:
    for number in range(5):
        await ledger.append(intent_line(f"d{number}"))
        await ledger.append(settlement_line(f"d{number}"))
    await ledger.append(Feedback("d1", START_MS + 10, 1.0, "user", "key-1"))
    await ledger.append(Feedback("d3", START_MS + 5, 0.0, "user", "key-1"))
    await ledger.append(Feedback("d3", START_MS + 30, 0.5, "other"))
    assert await judged(ledger) == ["d3", "d1"]
    assert await judged(ledger, limit=1) == ["d3"]
    assert await judged(ledger, START_MS + 6, START_MS + 30) == ["d1"]
    assert await judged(ledger, START_MS + 31) == []
    found = [each async for each in ledger.labelled(0, 2**62, limit=10)]
    assert found == [await ledger.request("d3"), await ledger.request("d1")]


async def test_answers_that_were_passed_over_are_among_them(ledger: Ledger) -> None:
    await ledger.append(intent_line("d1"))
    await ledger.append(replace(settlement_line("d1"), outcome="escalated"))
    await ledger.append(intent_line("d1", 2, time_ms=START_MS + 600))
    await ledger.append(settlement_line("d1", 2))
    assert await judged(ledger) == ["d1"]
    assert await judged(ledger, START_MS + 1) == []


async def test_more_than_a_page(ledger: Ledger) -> None:
    for number in range(230):
        await ledger.append(intent_line(f"d{number:03d}"), Feedback(f"d{number:03d}", START_MS + number, 1.0, "user"))
    assert await judged(ledger, limit=225) == [f"d{number:03d}" for number in range(229, 4, -1)]


async def test_the_rules_that_requests_matched_are_told_by_their_receipts(ledger: Ledger) -> None:
    for number in range(230):
        receipt = {"rules": [f"rule {number}", 'with "quotes" und \u00e4']} if number % 2 else {"rules": []}
        await ledger.append(intent_line(f"d{number:03d}", receipt=receipt), intent_line(f"d{number:03d}", 2))
    await ledger.append(intent_line("bare", receipt=None))
    found = await ledger.rules_matched([f"d{number:03d}" for number in range(230)] + ["bare", "unknown"])
    assert found == {
        f"d{number:03d}": (f"rule {number}", 'with "quotes" und \u00e4') for number in range(230) if number % 2
    }
    assert await ledger.rules_matched([]) == {}
