"""GET /v1/reports/savings: exact, in the contract's shape, and only of what the key may see."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from router.money import parse_usd, usd_of
from router.server import create_app
from router.server.reports import report_routes
from router.stores.memory import MemoryLedger
from tests.lines import START_MS, failure_line, intent_line, rejection_line, settlement_line
from tests.router.server.fakes import KEYS, POLICY, Sent, parts_of, send_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.ledger import RequestTotals
    from router.server.parts import ServerParts

ADMIN, SEARCH, LEGAL = {"x-api-key": "admin"}, {"x-api-key": "key-search"}, {"x-api-key": "key-legal"}
PATH = "/v1/reports/savings?from=2026-10-26&to=2026-10-28"
COST, POINT = 1_234_567, 5_000_000


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


async def app_of(**changes: Any) -> tuple[Callable[..., Any], ServerParts]:
    """One answered after a failed attempt that cost, one answered by nobody's team, one failed, one refused."""
    ledger = MemoryLedger()
    await ledger.append(
        intent_line("a"), failure_line("a", cost_nanousd=7), intent_line("a", 2), settlement_line("a", 2)
    )
    await ledger.append(intent_line("b", team=None, key_id=None, tags={}), settlement_line("b"))
    await ledger.append(intent_line("c", time_ms=START_MS + 3_600_000), failure_line("c", cost_nanousd=5))
    await ledger.append(rejection_line("d", team="legal", key_id="k2"))
    parts = parts_of(ledger=ledger, **changes)
    return create_app(parts, report_routes(parts)), parts


class Busy(MemoryLedger):
    """Another request is settled after every reading."""

    asked = 0

    async def totals(self, *arguments: Any, **named: Any) -> tuple[RequestTotals, ...]:
        found = await super().totals(*arguments, **named)
        self.asked += 1
        await self.append(intent_line(f"more-{self.asked}"), settlement_line(f"more-{self.asked}"))
        return found


async def test_groups_sum_to_the_totals_also_while_requests_come_in() -> None:
    parts = parts_of(ledger=Busy())
    await parts.ledger.append(intent_line("a"), settlement_line("a"))
    report = found(await send_to(create_app(parts, report_routes(parts)), "GET", f"{PATH}&group_by=team"))
    assert sum(each["requests"] for each in report["groups"]) == report["totals"]["requests"]
    costs = [parse_usd(each["realized_cost_usd"]) for each in report["groups"]]
    assert sum(costs) == parse_usd(report["totals"]["realized_cost_usd"])


async def test_a_cheap_model_that_the_caller_named_is_no_saving_of_the_routing() -> None:
    app, parts = await app_of()
    before = found(await send_to(app, "GET", PATH))
    await parts.ledger.append(intent_line("e", arm="pinned"), settlement_line("e"))
    after = found(await send_to(app, "GET", PATH))
    steps = {each["step"]: parse_usd(each["usd"]) for each in after["waterfall"]}
    assert steps == {**{each["step"]: parse_usd(each["usd"]) for each in before["waterfall"]}, "pinned": POINT - COST}
    assert sum(steps.values()) == parse_usd(after["totals"]["savings_usd"]["point"])


async def test_totals_are_exact_and_the_waterfall_sums_to_the_savings() -> None:
    app, _ = await app_of()
    report = found(await send_to(app, "GET", PATH))
    totals = report["totals"]
    assert (totals["requests"], totals["answered"]) == (4, 2)
    assert totals["realized_cost_usd"] == usd_of(2 * COST + 12)
    assert totals["premium_cost_usd"] == {
        "low": usd_of(8_000_000),
        "point": usd_of(10_000_000),
        "high": usd_of(12_000_000),
    }
    assert totals["savings_usd"]["point"] == usd_of(2 * POINT - 2 * COST - 12)
    assert sum(parse_usd(step["usd"]) for step in report["waterfall"]) == parse_usd(totals["savings_usd"]["point"])
    assert [step["step"] for step in report["waterfall"]] == ["routing", "pinned", "retries_and_escalations"]
    assert report["waterfall"][2]["usd"] == usd_of(-12)
    assert totals["measured"] is None
    assert totals["measured_why"].startswith("modelled, not measured")
    assert report["coverage"]["modelled"] == pytest.approx(2 / 3, abs=1e-6)
    assert {each["why"]: each["requests"] for each in report["coverage"]["excluded"]} == {
        "refused before any vendor was asked": 1,
        "no answer to compare with premium": 1,
    }
    assert [each["tier"] for each in report["quality"]] == list(POLICY.quality_tiers)


@pytest.mark.parametrize(
    ("group_by", "values"),
    [
        ("team", ["legal", "search", None]),
        ("hour", ["2026-10-26T07:00Z", "2026-10-26T08:00Z"]),
        ("minute", ["2026-10-26T07:33Z", "2026-10-26T08:33Z"]),
        ("tag:feature", ["find", None]),
        ("tier,model", ["balanced", "balanced"]),
    ],
)
async def test_groups_sum_to_the_totals(group_by: str, values: list[str | None]) -> None:
    app, _ = await app_of()
    report = found(await send_to(app, "GET", f"{PATH}&group_by={group_by}"))
    groups, totals = report["groups"], report["totals"]
    assert [row[group_by.split(",", maxsplit=1)[0]] for row in groups] == values
    for kind, of in (("cost", lambda row: row["realized_cost_usd"]), ("saved", lambda row: row["savings_usd"]["low"])):
        assert sum(parse_usd(of(row)) for row in groups) == parse_usd(of(totals)), kind
    assert sum(row["requests"] for row in groups) == totals["requests"]


async def test_csv_holds_the_same_amounts() -> None:
    app, _ = await app_of()
    report = found(await send_to(app, "GET", f"{PATH}&group_by=team"))
    sent = await send_to(app, "GET", f"{PATH}&group_by=team&format=csv")
    assert sent.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sent.body.decode())))
    assert [row["premium_cost_usd_high"] for row in rows] == [
        row["premium_cost_usd"]["high"] for row in report["groups"]
    ]
    whole = list(csv.DictReader(io.StringIO((await send_to(app, "GET", f"{PATH}&format=csv")).body.decode())))
    assert [row["realized_cost_usd"] for row in whole] == [report["totals"]["realized_cost_usd"]]


async def test_a_reader_sees_its_teams_figures_alone() -> None:
    app, _ = await app_of(keys=KEYS, admin_key="admin")
    seen = {
        name: found(await send_to(app, "GET", f"{PATH}&group_by=team", headers=headers))["totals"]["requests"]
        for name, headers in (("admin", ADMIN), ("search", SEARCH), ("legal", LEGAL))
    }
    assert seen == {"admin": 4, "search": 2, "legal": 1}
    assert found(await send_to(app, "GET", PATH), 401)["error"]["code"] == "invalid_api_key"


async def test_a_week_by_default_and_nothing_where_nothing_was() -> None:
    app, parts = await app_of()
    report = found(await send_to(app, "GET", "/v1/reports/savings"))
    assert report["totals"]["requests"] == 0
    assert report["totals"]["savings_share"] is None
    assert report["coverage"] == {"priced": None, "modelled": None, "estimated": 0, "excluded": []}
    assert report["price_revision"] == parts.gateway.policy.price_revision


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=colour", "group_by"),
        ("group_by=team,team", "group_by"),
        ("group_by=team,project,key,model,tier", "group_by"),
        ("group_by=tag:", "group_by"),
        ("format=xml", "format"),
        ("from=soon", "from"),
        ("to=soon", "to"),
        ("from=2026-10-28&to=2026-10-28", "from"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_name(query: str, param: str) -> None:
    app, _ = await app_of()
    error = found(await send_to(app, "GET", f"/v1/reports/savings?{query}"), 400)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
