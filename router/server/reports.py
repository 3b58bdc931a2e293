"""GET /v1/reports/savings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from router.chargeback import summed
from router.clock import iso_of
from router.errors import RequestError
from router.feedback import labels_of
from router.ledger import RequestTotals
from router.realised import REQUESTS_MAX, quality_rows, tiers_of
from router.savings import group_fields, savings_report
from router.server.auth import reader_of
from router.server.csv_text import csv_text, name_cell
from router.server.decisions import query_of
from router.server.query import SPAN_NAMES, SPAN_PARAMETERS, parse_names, parse_span, require_known

if TYPE_CHECKING:
    from router.ledger import RequestQuery
    from router.policy import Policy
    from router.ports import Ledger
    from router.server.parts import ServerParts

GROUPS = ("team", "project", "key", "model", "tier", "day", "hour", "minute")
LATEST_MS = 2**62
GROUPS_SHOWN_MAX = 1_000


def parse_groups(text: str) -> tuple[str, ...]:
    """Group-by names of ``team,tag:feature``. Raises RequestError."""
    return parse_names(text, GROUPS)


async def report_of(ledger: Ledger, policy: Policy, query: RequestQuery, names: tuple[str, ...]) -> dict[str, object]:
    """The report over a query; its totals are the sum of its groups, which no request between two readings can part."""
    # Callers make up the values of tags: the dearest are told apart. Other names are the policy's or the calendar's.
    most = GROUPS_SHOWN_MAX if any(name.startswith("tag:") for name in names) else None
    groups = await ledger.totals(query, names, most=most) if names else ()
    rest = groups[-1] if groups and names and not groups[-1].group else None
    told = groups if rest is None else groups[:-1]
    whole = [summed(groups)] if names else await ledger.totals(query, ())
    report = savings_report(
        whole[0] if whole else _nothing(),
        sorted(told, key=lambda each: tuple((value is None, value or "") for value in each.group)),
        names=names,
        from_text=iso_of(query.from_ms),
        to_text=iso_of(query.to_ms),
        price_revision=policy.price_revision,
        policy_revisions=[policy.revision],
        quality=await quality_of(ledger, policy, query),
    )
    return report | {"rest": None if rest is None else {"groups": rest.groups, **group_fields(rest)}}


async def quality_of(ledger: Ledger, policy: Policy, query: RequestQuery) -> list[dict[str, object]]:
    """What each tier really lost, from the labels of the query's requests."""
    labels = [
        label
        async for row, lines in ledger.labelled(query.from_ms, LATEST_MS, limit=REQUESTS_MAX)
        if query.holds(row)
        for label in labels_of(row, lines)
    ]
    totals = await ledger.totals(query, ("tier", "model", "promise"))
    return quality_rows(policy.quality_tiers, tiers_of(totals, policy.premium), labels)


def _nothing() -> RequestTotals:
    return RequestTotals((), *([0] * 14))


def csv_of(report: dict[str, object]) -> str:
    """The groups as CSV, ranges as three columns each; one row where nothing was grouped."""
    names, groups, totals = report["group_by"], report["groups"], report["totals"]
    assert isinstance(names, list)
    assert isinstance(groups, list)
    assert isinstance(totals, dict)
    amounts = [f"{kind}_{end}" for kind in ("premium_cost_usd", "savings_usd") for end in ("low", "point", "high")]
    columns = [*names, "requests", "answered", "realized_cost_usd", *amounts, "savings_share"]
    rows: list[dict[str, Any]] = groups if names else [totals]
    rest = report["rest"]
    if isinstance(rest, dict):
        rows = [*rows, {**rest, names[0]: f"({rest['groups']} more)"}]
    lines: list[list[object]] = []
    for row in rows:
        ranges = [row[kind][end] for kind in ("premium_cost_usd", "savings_usd") for end in ("low", "point", "high")]
        cells = [name_cell(row.get(name)) for name in names]
        lines.append(
            [*cells, row["requests"], row["answered"], row["realized_cost_usd"], *ranges, row["savings_share"]]
        )
    return csv_text(columns, lines)


def report_routes(parts: ServerParts) -> APIRouter:
    """The routes of reports."""
    routes = APIRouter(tags=["reports"])

    @routes.get("/v1/reports/savings", openapi_extra=SPAN_PARAMETERS)
    async def savings(request: Request, group_by: str = "", format: str = "json") -> Response:  # noqa: A002  # the contract's word
        """What was spent, what premium would have cost, what was saved; a week by default."""
        reader = reader_of(parts, request.headers)
        require_known(request.query_params, "group_by", "format", *SPAN_NAMES)
        if format not in ("json", "csv"):
            raise RequestError("format: must be json or csv", param="format")
        from_ms, to_ms = parse_span(request.query_params, parts.clock.now_ms())
        query = replace(query_of(reader), from_ms=from_ms, to_ms=to_ms)
        report = await report_of(parts.ledger, parts.gateway.policy, query, parse_groups(group_by))
        return Response(csv_of(report), media_type="text/csv") if format == "csv" else JSONResponse(report)

    return routes
