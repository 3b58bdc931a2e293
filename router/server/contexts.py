"""GET /v1/reports/context: what inputs are made of, what of them was sent before, and what breaks prompt caches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from router.clock import iso_of
from router.context import PARTS
from router.context_report import ContextTally, context_report
from router.errors import RequestError
from router.server.auth import reader_of
from router.server.csv_text import csv_text, name_cell
from router.server.decisions import query_of
from router.server.query import SPAN_NAMES, SPAN_PARAMETERS, parse_names, parse_span, require_known

if TYPE_CHECKING:
    from router.ledger import RequestQuery
    from router.ports import Ledger
    from router.server.parts import ServerParts

GROUPS = ("team", "project", "key", "model")
# More than this nobody waits for: the newest are read.
BILLS_MAX = 200_000
LOST = ("tokens", "lost_usd", "lost_usd_per_30_days")
BREAK = ("team", "key", "model", "part", "why", "at_char", "requests", *LOST)


def parse_context_groups(text: str) -> tuple[str, ...]:
    """Group-by names of ``team,tag:feature``; none is one row. Raises RequestError."""
    return parse_names(text, GROUPS)


async def context_of_requests(
    ledger: Ledger, query: RequestQuery, names: tuple[str, ...], now_ms: int
) -> dict[str, Any]:
    """The report over a query; a month is reckoned from the part of its time that has passed."""
    tally = ContextTally(names)
    async for use in ledger.contexts(query):
        if tally.whole.counts["requests"] >= BILLS_MAX:
            tally.is_cut = True
            break
        tally.add(use)
    return context_report(
        tally,
        await ledger.totals(query, ()),
        from_text=iso_of(query.from_ms),
        to_text=iso_of(query.to_ms),
        span_ms=min(query.to_ms, now_ms) - query.from_ms,
    )


def context_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each row after the word for what it is (group, rest, totals) and its group's values; the sum last."""
    rows = [("group", each["group"], each) for each in report["groups"]]
    rows += [("rest", {}, report["rest"])] if report["rest"] is not None else []
    return [*rows, ("totals", {}, report["totals"])]


def context_csv(report: dict[str, Any]) -> str:
    """The rows as CSV, then those of the places that break caches, told apart by ``row``."""
    names = report["group_by"]
    columns = ["requests", "input_tokens", "input_cost_usd"]
    columns += [f"{part}_{unit}" for part in PARTS for unit in ("tokens", "cost_usd")]
    columns += ["prefix_tokens", "again_tokens", "again_cost_usd", "twice_tokens", "twice_cost_usd"]
    columns += ["broken_requests", *(f"cache_break_{each}" for each in LOST)]
    rows: list[list[object]] = []
    for kind, values, each in context_rows(report):
        before, broken = each["sent_before"], each["cache_breaks"]
        rows.append(
            [
                kind,
                *(name_cell(values.get(name)) for name in names),
                *(each[name] for name in ("requests", "input_tokens", "input_cost_usd")),
                *(each["parts"][part][unit] for part in PARTS for unit in ("tokens", "cost_usd")),
                before["prefix"]["tokens"],
                *(before[name][unit] for name in ("again", "twice") for unit in ("tokens", "cost_usd")),
                broken["requests"],
                *(broken[each] for each in LOST),
                *[""] * len(BREAK),
            ]
        )
    blank = [""] * (len(names) + len(columns))
    for each in report["cache_breaks"]:
        named = [name_cell(each[name]) for name in ("team", "key", "model")]
        rows.append(["cache_break", *blank, *named, *(each[name] for name in BREAK[3:])])
    return csv_text(["row", *names, *columns, *(f"break_{each}" for each in BREAK)], rows)


def context_routes(parts: ServerParts) -> APIRouter:
    """The route of the report."""
    routes = APIRouter(tags=["reports"])

    @routes.get("/v1/reports/context", openapi_extra=SPAN_PARAMETERS)
    async def context(request: Request, group_by: str = "", format: str = "json") -> Response:  # noqa: A002  # the contract's word
        """What inputs are made of, what of them was sent before, and what breaks prompt caches; a week by default."""
        reader = reader_of(parts, request.headers)
        require_known(request.query_params, "group_by", "format", *SPAN_NAMES)
        if format not in ("json", "csv"):
            raise RequestError("format: must be json or csv", param="format")
        names = parse_context_groups(group_by)
        now_ms = parts.clock.now_ms()
        from_ms, to_ms = parse_span(request.query_params, now_ms)
        query = replace(query_of(reader), from_ms=from_ms, to_ms=to_ms)
        report = await context_of_requests(parts.ledger, query, names, now_ms)
        if format == "csv":
            return Response(context_csv(report), media_type="text/csv")
        return JSONResponse(report)

    return routes
