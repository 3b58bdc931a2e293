"""GET /v1/budgets: every budget's accounts, how far they are spent, and when they are exhausted at their own pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from router.budgets.statement import claim_on, owners_of, stated
from router.budgets.terms import ENDLESS_MS
from router.budgets.windows import windows_around
from router.clock import iso_of
from router.errors import RequestError
from router.money import usd_of
from router.server.auth import reader_of
from router.server.csv_text import csv_text, name_cell
from router.server.query import require_known

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.budgets import Budget
    from router.budgets.statement import Statement
    from router.ports import BudgetStore, Ledger
    from router.server.auth import Reader
    from router.server.parts import ServerParts

# Sessions and tags may have any number of accounts: of each budget so many are told, the dearest.
ACCOUNTS_MAX = 1_000
COLUMNS = (
    *("name", "scope", "owner", "window", "zone", "from", "to", "kind", "when_exhausted"),
    *("limit_usd", "settled_usd", "reserved_usd", "remaining_usd", "over_usd", "exhausted_at"),
)
METHOD = (
    "settled and reserved are the budget store's, to the nano-dollar. exhausted_at is when the limit is reached at the "
    "pace since the window began, the moment of asking where it is: null where that is not within the window, where a "
    "twentieth of it has not passed, "
    f"and for a total. Of each budget at most {ACCOUNTS_MAX} accounts that spent are told, the dearest."
)


async def budgets_report(
    budgets: Iterable[Budget], store: BudgetStore, ledger: Ledger, reader: Reader, now_ms: int
) -> dict[str, object]:
    """The report for this reader. Raises BudgetStoreUnavailableError and LedgerUnavailableError."""
    rows: list[dict[str, object]] = []
    for budget in budgets:
        if budget.scope == "request":
            continue
        windows = windows_around(budget.window, budget.zone, now_ms)
        start_ms = windows[len(windows) // 2].start_ms
        spent = await ledger.spenders(f"{budget.name}/{start_ms}/", most=ACCOUNTS_MAX)
        owners = owners_of(budget, spent, most=ACCOUNTS_MAX)
        claims = [claim_on(budget, owner, windows) for owner in owners if _may_see(reader, budget, owner)]
        if claims:
            rows += map(_row_of, stated(budget, claims, await store.balances(claims), now_ms))
    return {"as_of": iso_of(now_ms), "currency": "USD", "budgets": rows, "method": METHOD}


def _may_see(reader: Reader, budget: Budget, owner: str) -> bool:
    """Everybody's for an admin; else what is the reader's own: its team's account, its key's."""
    own = {"team": reader.team, "key": reader.key_id}.get(budget.scope)
    return reader.sees_all or (own is not None and own == owner)


def _row_of(each: Statement) -> dict[str, object]:
    budget, window = each.budget, each.window
    is_endless = window.end_ms >= ENDLESS_MS
    return {
        "name": budget.name,
        "scope": budget.scope if budget.tag is None else f"tag:{budget.tag}",
        "owner": each.owner or None,
        "window": budget.window,
        "zone": budget.zone,
        "from": None if is_endless else iso_of(window.start_ms),
        "to": None if is_endless else iso_of(window.end_ms),
        "kind": budget.kind,
        "when_exhausted": budget.when_exhausted,
        "limit_usd": usd_of(each.limit_nanousd),
        "settled_usd": usd_of(each.settled_nanousd),
        "reserved_usd": usd_of(each.reserved_nanousd),
        "remaining_usd": usd_of(each.remaining_nanousd),
        "over_usd": usd_of(each.over_nanousd),
        "exhausted_at": None if each.exhausted_ms is None else iso_of(each.exhausted_ms),
    }


def budgets_csv(rows: Sequence[dict[str, object]]) -> str:
    """The rows as CSV."""
    return csv_text(COLUMNS, [[name_cell(row[name]) for name in COLUMNS] for row in rows])


def budgets_of(parts: ServerParts) -> tuple[Budget, ...]:
    """The policy's budgets, and the limits of keys in force."""
    own = [] if parts.keys is None else [each.limits for each in parts.keys.callers(parts.clock.now_ms())]
    return (*parts.gateway.policy.budgets, *(budget for limits in own for budget in limits))


def budget_routes(parts: ServerParts, store: BudgetStore) -> APIRouter:
    """The route of the report."""
    routes = APIRouter(tags=["reports"])

    @routes.get("/v1/budgets")
    async def budgets(request: Request, format: str = "json") -> Response:  # noqa: A002  # as the other reports have it
        """How far each budget is spent: a team's key sees its own."""
        reader = reader_of(parts, request.headers)
        require_known(request.query_params, "format")
        if format not in ("json", "csv"):
            raise RequestError("format: must be json or csv", param="format")
        report = await budgets_report(budgets_of(parts), store, parts.ledger, reader, parts.clock.now_ms())
        rows = report["budgets"]
        if format == "csv":
            assert isinstance(rows, list)
            return Response(budgets_csv(rows), media_type="text/csv")
        return JSONResponse(report)

    return routes
