"""GET /v1/reports/chargeback: every nano-dollar has an owner's row, or that of nobody."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.chargeback import OWNERS_MAX, chargeback_report
from router.ledger import RequestQuery, RequestTotals
from router.money import parse_usd, usd_of
from router.server import create_app
from router.server.chargeback import chargeback_routes
from router.server.reports import report_routes
from router.stores.grouping import dearest_of
from router.stores.memory import MemoryLedger
from tests.lines import failure_line, intent_line, rejection_line, settlement_line
from tests.router.server.fakes import KEYS, Sent, parts_of, send_to

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN = "from=2026-10-26&to=2026-10-28"
PATH = f"/v1/reports/chargeback?{SPAN}"
COST = 1_234_567


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


async def filled() -> MemoryLedger:
    """A dear request after a failed attempt, one of nobody's, one of another team, one refused."""
    ledger = MemoryLedger()
    await ledger.append(
        intent_line("a"), failure_line("a", cost_nanousd=7), intent_line("a", 2), settlement_line("a", 2)
    )
    await ledger.append(intent_line("b", team=None, project=None, key_id=None, tags={}), settlement_line("b"))
    await ledger.append(intent_line("c", team="legal", key_id="k2"), settlement_line("c", cost_nanousd=1))
    await ledger.append(rejection_line("d", team="legal", key_id="k2"))
    return ledger


async def app_over(ledger: MemoryLedger, **changes: Any) -> Callable[..., Any]:
    parts = parts_of(ledger=ledger, **changes)
    return create_app(parts, report_routes(parts), chargeback_routes(parts))


def rows_of(report: Any) -> list[Any]:
    return [*report["owners"], report["unallocated"], *([report["rest"]] if report["rest"] else [])]


async def test_rows_sum_to_the_ledgers_realised_cost_and_nobodys_stands_apart() -> None:
    ledger = await filled()
    app = await app_over(ledger)
    report = found(await send_to(app, "GET", PATH))
    [whole] = await ledger.totals(RequestQuery(), ())
    assert report["group_by"] == ["team"]
    assert report["totals"]["cost_usd"] == usd_of(whole.cost_nanousd) == usd_of(2 * COST + 8)
    assert sum(parse_usd(row["cost_usd"]) for row in rows_of(report)) == whole.cost_nanousd
    assert [(row["owner"]["team"], row["cost_usd"], row["attempts"]) for row in report["owners"]] == [
        ("search", usd_of(COST + 7), 2),
        ("legal", usd_of(1), 1),
    ]
    assert (report["unallocated"]["owner"], report["unallocated"]["cost_usd"]) == (None, usd_of(COST))
    assert report["owners"][1]["rejected"] == 1
    assert report["totals"]["tokens"] == {"input": 360, "cache_read": 60, "output": 165}
    assert report["owners"][0]["unanswered_cost_usd"] == usd_of(7)
    savings = found(await send_to(app, "GET", f"/v1/reports/savings?{SPAN}"))["totals"]
    assert report["totals"]["cost_usd"] == savings["realized_cost_usd"]
    assert report["totals"]["counterfactual"]["premium_cost_usd"] == savings["premium_cost_usd"]


async def test_the_unallocated_row_is_there_where_everything_has_an_owner_and_where_there_is_nothing() -> None:
    for ledger in (MemoryLedger(), await filled()):
        app = await app_over(ledger)
        report = found(await send_to(app, "GET", f"{PATH}&group_by=team,project"))
        assert report["unallocated"]["owner"] is None
    empty = found(await send_to(await app_over(MemoryLedger()), "GET", PATH))
    assert empty["unallocated"]["cost_usd"] == empty["totals"]["cost_usd"] == usd_of(0)
    assert empty["owners"] == []


async def test_csv_rows_sum_to_the_totals_and_names_are_no_formulas() -> None:
    ledger = await filled()
    evil = {"customer": '=HYPERLINK("http://x"),\u00fc'}
    await ledger.append(intent_line("e", tags=evil), settlement_line("e", cost_nanousd=5))
    app = await app_over(ledger)
    query = f"{PATH}&group_by=tag:customer"
    report = found(await send_to(app, "GET", query))
    assert report["owners"][0]["owner"] == {"tag:customer": evil["customer"]}
    sent = await send_to(app, "GET", f"{query}&format=csv")
    assert sent.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sent.body.decode(), newline="")))
    assert [row["row"] for row in rows] == ["owner", "unallocated"]
    assert rows[0]["tag:customer"] == f"'{evil['customer']}"
    assert rows[1]["tag:customer"] == ""
    assert sum(parse_usd(row["cost_usd"]) for row in rows) == parse_usd(report["totals"]["cost_usd"])
    plain = await send_to(app, "GET", f"/v1/reports/savings?{SPAN}&group_by=tag:customer&format=csv")
    assert "'=HYPERLINK" in plain.body.decode()


async def test_ten_thousand_values_of_a_tag_are_a_bounded_report_that_sums() -> None:
    ledger = MemoryLedger()
    for number in range(10_000):
        await ledger.append(
            intent_line(f"d{number}", tags={"customer": f"c{number}"}),
            settlement_line(f"d{number}", cost_nanousd=10_000 + number),
        )
    app = await app_over(ledger)
    report = found(await send_to(app, "GET", f"{PATH}&group_by=tag:customer"))
    assert len(report["owners"]) == OWNERS_MAX
    assert report["owners"][0]["owner"] == {"tag:customer": "c9999"}
    assert report["rest"]["owners"] == 10_000 - OWNERS_MAX
    exact = sum(range(10_000, 20_000))
    assert (
        sum(parse_usd(row["cost_usd"]) for row in rows_of(report)) == parse_usd(report["totals"]["cost_usd"]) == exact
    )
    savings = found(await send_to(app, "GET", f"/v1/reports/savings?{SPAN}&group_by=tag:customer"))
    assert (len(savings["groups"]), savings["rest"]["groups"]) == (1_000, 9_000)
    shown = sum(parse_usd(row["realized_cost_usd"]) for row in (*savings["groups"], savings["rest"]))
    assert shown == exact
    sent = await send_to(app, "GET", f"/v1/reports/savings?{SPAN}&group_by=tag:customer&format=csv")
    assert sent.body.decode().splitlines()[-1].startswith("(9000 more),9000,")


async def test_a_reader_is_charged_for_its_team_alone() -> None:
    app = await app_over(await filled(), keys=KEYS, admin_key="admin")
    for key, owners in (("admin", ["search", "legal"]), ("key-search", ["search"]), ("key-legal", ["legal"])):
        report = found(await send_to(app, "GET", PATH, headers={"x-api-key": key}))
        assert [row["owner"]["team"] for row in report["owners"]] == owners
        assert (report["unallocated"]["requests"] > 0) is (key == "admin")
    assert found(await send_to(app, "GET", PATH), 401)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=model", "group_by"),
        ("group_by=team,team", "group_by"),
        ("group_by=tag:", "group_by"),
        (f"group_by=tag:{'x' * 65}", "group_by"),
        ("group_by=team,project,key,tag:a,tag:b", "group_by"),
        ("format=focus", "format"),
        ("format=xml", "format"),
        ("from=soon", "from"),
        ("from=2026-10-28&to=2026-10-28", "from"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_name(query: str, param: str) -> None:
    app = await app_over(MemoryLedger())
    error = found(await send_to(app, "GET", f"/v1/reports/chargeback?{query}"), 400)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
    if "focus" in query:
        assert "not available in this version" in error["message"]


GROUP = st.tuples(st.one_of(st.none(), st.text(max_size=4)), st.integers(-(10**15), 10**15))


@given(groups=st.dictionaries(GROUP.map(lambda each: each[0]), st.integers(-(10**15), 10**15)), most=st.integers(1, 6))
@settings(max_examples=100)
def test_however_it_is_cut_no_nano_dollar_is_lost(groups: dict[str | None, int], most: int) -> None:
    totals = [RequestTotals((name,), *([0] * 9), cost, *([0] * 4)) for name, cost in groups.items()]
    report = chargeback_report(dearest_of(totals, most), names=("team",), from_text="a", to_text="b")
    totals_usd = report["totals"]["cost_usd"]  # type: ignore[index]
    assert sum(parse_usd(row["cost_usd"]) for row in rows_of(report)) == parse_usd(totals_usd) == sum(groups.values())
