"""/healthz, /readyz, /metrics: for whoever keeps the gateway running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from router.errors import RouterError
from router.server.budgets import budgets_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.server.parts import ServerParts

OK = "ok"
GUARDS_AWAY = "what other gateways saw cannot be read"
# Load balancers ask by HEAD too; the server leaves the body of its answer out.
PROBES = ["GET", "HEAD"]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def _said(check: Callable[[], Awaitable[object]]) -> str:
    """``ok``, or why a store cannot be used."""
    try:
        await check()
    except RouterError as error:
        return error.message
    return OK


def _rejects_without_budgets(parts: ServerParts) -> bool:
    """Whether requests are refused while the store of budgets is away: some are counted, and nothing is allowed."""
    return parts.gateway.policy.budget_allowance_nanousd is None and bool(budgets_of(parts))


def _rejects_without_guards(parts: ServerParts) -> bool:
    """Whether requests are refused while the guards see this gateway alone."""
    guards = parts.gateway.policy.guards
    return guards.is_on and guards.rejects_without_state


def health_routes(parts: ServerParts) -> APIRouter:
    """The routes, described by hand in the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/healthz", methods=PROBES)
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @routes.api_route("/readyz", methods=PROBES)
    async def readyz() -> Response:
        """Whether requests can be answered and written down, and whether the policy file is the one in force."""
        status = parts.policy_status()
        # Together: a store that is away takes its time to say so.
        ledger, budgets = await asyncio.gather(_said(parts.ledger.check), _said(parts.check_budgets))
        guards = GUARDS_AWAY if parts.are_guards_away() else OK
        is_ready = (
            ledger == OK
            and (budgets == OK or not _rejects_without_budgets(parts))
            and (guards == OK or not _rejects_without_guards(parts))
        )
        body: dict[str, object] = {
            "status": "ready" if is_ready else "not ready",
            "policy": {"revision": status.revision, "broken": status.broken},
            "calibrations": {"refused": list(parts.calibrations_refused())},
            "ledger": ledger,
            "budget_store": budgets,
            "guard_state": guards,
        }
        return JSONResponse(body, status_code=200 if is_ready else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(parts.metrics(), headers={"content-type": METRICS_TYPE})

    return routes
