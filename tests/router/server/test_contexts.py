"""GET /v1/reports/context: parts, repetitions and cache breaks sum to the bills, however they are cut."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from router import context_report as report_module
from router.context import PARTS
from router.context_report import MONTH_MS, ContextTally, context_report
from router.money import parse_usd, usd_of
from router.server import contexts as contexts_module
from router.server import create_app
from router.server.contexts import context_routes
from router.stores.memory import MemoryLedger
from tests.lines import START_MS, context_line, intent_line, settlement_line
from tests.router.server.fakes import KEYS, parts_of, send_to

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN = "from=2026-10-26&to=2026-10-28"
PATH = f"/v1/reports/context?{SPAN}"
COST, LOST = 400_001, 54_000


async def filled() -> MemoryLedger:
    """Two of a team, one of another that broke no cache, one of nobody, and one with a short input."""
    ledger = MemoryLedger()
    await ledger.append(
        context_line("a"),
        context_line("b", key_id="key-2", break_at_char=7, lost_nanousd=1),
        context_line("c", team="legal", key_id="k3", break_part=None, break_why=None, lost_nanousd=0, lost_tokens=0),
        context_line("d", team=None, project=None, key_id=None, tags={}, model="opus"),
    )
    for name in "abcde":
        await ledger.append(intent_line(name), settlement_line(name))
    return ledger


async def app_over(ledger: MemoryLedger, **changes: Any) -> Callable[..., Any]:
    parts = parts_of(ledger=ledger, **changes)
    return create_app(parts, context_routes(parts))


async def report_of(path: str = PATH, ledger: MemoryLedger | None = None) -> Any:
    sent = await send_to(await app_over(ledger or await filled()), "GET", path)
    assert sent.status == 200, sent.body
    return json.loads(sent.body)


async def test_parts_sum_to_the_input_cost_to_the_nano_dollar() -> None:
    report = await report_of(f"{PATH}&group_by=team,model")
    for row in (report["totals"], *report["groups"]):
        assert sum(parse_usd(row["parts"][part]["cost_usd"]) for part in PARTS) == parse_usd(row["input_cost_usd"])
        assert sum(row["parts"][part]["tokens"] for part in PARTS) == row["input_tokens"]
    assert report["totals"]["input_cost_usd"] == usd_of(4 * COST)
    assert sum(parse_usd(row["input_cost_usd"]) for row in report["groups"]) == 4 * COST
    assert [row["group"] for row in report["groups"]] == [
        {"team": "search", "model": "haiku"}, {"team": "legal", "model": "haiku"}, {"team": None, "model": "opus"},
    ]  # fmt: skip
    assert report["coverage"]["explained"] == 4
    assert report["coverage"]["requests"] == 5


async def test_breaks_are_told_by_place_dearest_first_and_by_the_month() -> None:
    report = await report_of()
    assert [(each["key"], each["at_char"], each["why"]) for each in report["cache_breaks"]] == [
        ("key-1", 26, "time"), (None, 26, "time"), ("key-2", 7, "time"),
    ]  # fmt: skip
    first = report["cache_breaks"][0]
    days = 2
    assert first["lost_usd"] == usd_of(LOST)
    assert first["lost_usd_per_30_days"] == usd_of(LOST * 30 // days)
    assert report["totals"]["cache_breaks"]["lost_usd"] == usd_of(2 * LOST + 1)
    assert report["totals"]["cache_breaks"]["requests"] == 3


def test_a_month_is_reckoned_from_what_has_passed_of_it() -> None:
    tally = ContextTally(())
    tally.add(context_line())
    report: Any = context_report(tally, (), from_text="", to_text="", span_ms=MONTH_MS // 10)
    assert report["totals"]["cache_breaks"]["lost_usd_per_30_days"] == usd_of(LOST * 10)
    nothing: Any = context_report(ContextTally(()), (), from_text="", to_text="", span_ms=0)
    assert nothing["totals"]["parts"]["system"] == {"tokens": 0, "cost_usd": usd_of(0), "share": None}


@pytest.mark.parametrize("held", [3, 1_000])
def test_behind_so_many_groups_all_others_share_one_row(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "GROUPS_MAX", 2)
    monkeypatch.setattr(report_module, "HELD_MAX", held)
    tally = ContextTally(("tag:app",))
    for index in range(9):
        tally.add(context_line(f"d{index}", tags={"app": f"a{index}"}, break_at_char=index))
    report: Any = context_report(tally, (), from_text="", to_text="", span_ms=1)
    assert len(report["groups"]) == 2
    assert report["rest"]["requests"] == 7
    rows = (*report["groups"], report["rest"])
    assert sum(parse_usd(row["input_cost_usd"]) for row in rows) == 9 * COST
    assert len(report["cache_breaks"]) == min(held, 9)


async def test_of_too_many_bills_the_newest_are_read_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = await filled()
    await ledger.append(context_line("z", START_MS + 1, input_cost_nanousd=7))
    assert (await report_of(ledger=ledger))["coverage"]["is_cut"] is False
    monkeypatch.setattr(contexts_module, "BILLS_MAX", 1)
    report = await report_of(ledger=ledger)
    assert (report["coverage"]["explained"], report["coverage"]["is_cut"]) == (1, True)
    assert report["totals"]["input_cost_usd"] == usd_of(7)


async def test_csv_has_a_row_a_group_the_sum_and_a_row_a_break_and_no_formulas() -> None:
    ledger = await filled()
    await ledger.append(context_line("f", tags={"app": "=1+1"}, time_ms=START_MS))
    sent = await send_to(await app_over(ledger), "GET", f"{PATH}&group_by=tag:app&format=csv")
    assert sent.status == 200
    rows = list(csv.DictReader(io.StringIO(sent.body.decode())))
    assert [row["row"] for row in rows] == [
        "group",
        "group",
        "group",
        "totals",
        "cache_break",
        "cache_break",
        "cache_break",
    ]
    assert {row["tag:app"] for row in rows[:3]} == {"find", "'=1+1", ""}
    assert sum(parse_usd(row["input_cost_usd"]) for row in rows[:3]) == parse_usd(rows[3]["input_cost_usd"])
    assert rows[4]["break_at_char"] == "26"


async def test_a_teams_key_sees_its_own_bills_only() -> None:
    app = await app_over(await filled(), keys=KEYS, admin_key="admin")
    for key, explained in (("admin", 4), ("key-search", 2), ("key-legal", 1)):
        sent = await send_to(app, "GET", PATH, headers={"x-api-key": key})
        assert json.loads(sent.body)["coverage"]["explained"] == explained
        keys = {each["key"] for each in json.loads(sent.body)["cache_breaks"]}
        assert ("key-2" in keys) is (key != "key-legal")
    assert (await send_to(app, "GET", PATH)).status == 401


@pytest.mark.parametrize(
    "wrong", ["group_by=tier", "group_by=team,team", "format=focus", "from=2026-11-02&to=2026-11-01"]
)
async def test_what_cannot_be_asked_for_is_named(wrong: str) -> None:
    sent = await send_to(await app_over(MemoryLedger()), "GET", f"/v1/reports/context?{wrong}")
    assert sent.status == 400
    assert json.loads(sent.body)["error"]["param"] == wrong.split("=", maxsplit=1)[0]
