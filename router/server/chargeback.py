"""GET /v1/reports/chargeback: what each owner is charged, with what nobody owns in a row of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from router.chargeback import OWNERS_MAX, chargeback_report
from router.clock import iso_of
from router.errors import RequestError
from router.server.auth import reader_of
from router.server.csv_text import csv_text, name_cell
from router.server.decisions import query_of
from router.server.query import SPAN_NAMES, SPAN_PARAMETERS, parse_names, parse_span, require_known

if TYPE_CHECKING:
    from router.ledger import RequestQuery
    from router.ports import Ledger
    from router.server.parts import ServerParts

OWNERS = ("team", "project", "key")
COUNTS = ("requests", "attempts", "answered", "rejected", "failed")
TOKENS = ("input", "cache_read", "output")
ENDS = ("low", "point", "high")
NO_FOCUS = "format: focus is not available in this version; json or csv"


def parse_owners(text: str) -> tuple[str, ...]:
    """Owners' names of ``team,tag:feature``; the team where none is named. Raises RequestError."""
    return parse_names(text, OWNERS) or ("team",)


async def chargeback_of(ledger: Ledger, query: RequestQuery, names: tuple[str, ...]) -> dict[str, Any]:
    """The report over a query."""
    found = await ledger.totals(query, names, most=OWNERS_MAX)
    return chargeback_report(found, names=names, from_text=iso_of(query.from_ms), to_text=iso_of(query.to_ms))


def chargeback_csv(report: dict[str, Any]) -> str:
    """The rows as CSV, told apart by ``row``: owner, unallocated, rest. They sum to the totals, which are no row."""
    names = report["group_by"]
    premium = [f"counterfactual_premium_cost_usd_{end}" for end in ENDS]
    columns = ["row", *names, *COUNTS, *(f"{each}_tokens" for each in TOKENS), "cost_usd", "unanswered_cost_usd"]
    rows: list[list[object]] = []
    for kind, each in charge_rows(report):
        owner = each["owner"] or {} if kind == "owner" else {}
        rows.append(
            [
                kind,
                *(name_cell(owner.get(name)) for name in names),
                *(each[name] for name in COUNTS),
                *(each["tokens"][name] for name in TOKENS),
                each["cost_usd"],
                each["unanswered_cost_usd"],
                *(each["counterfactual"]["premium_cost_usd"][end] for end in ENDS),
            ]
        )
    return csv_text([*columns, *premium], rows)


def charge_rows(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each row of the report after the word for what it is: owner, unallocated, rest."""
    rest = [("rest", report["rest"])] if report["rest"] is not None else []
    return [*(("owner", each) for each in report["owners"]), ("unallocated", report["unallocated"]), *rest]


def chargeback_routes(parts: ServerParts) -> APIRouter:
    """The route of the report."""
    routes = APIRouter(tags=["reports"])

    @routes.get("/v1/reports/chargeback", openapi_extra=SPAN_PARAMETERS)
    async def chargeback(request: Request, group_by: str = "team", format: str = "json") -> Response:  # noqa: A002  # the contract's word
        """What each owner is charged, with an unallocated row; a week by default."""
        reader = reader_of(parts, request.headers)
        require_known(request.query_params, "group_by", "format", *SPAN_NAMES)
        if format not in ("json", "csv"):
            raise RequestError(NO_FOCUS if format == "focus" else "format: must be json or csv", param="format")
        names = parse_owners(group_by)
        from_ms, to_ms = parse_span(request.query_params, parts.clock.now_ms())
        query = replace(query_of(reader), from_ms=from_ms, to_ms=to_ms)
        report = await chargeback_of(parts.ledger, query, names)
        if format == "csv":
            return Response(chargeback_csv(report), media_type="text/csv")
        return JSONResponse(report)

    return routes
