"""/healthz, /readyz, /metrics: for whoever keeps the gateway running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from router.errors import RouterError

if TYPE_CHECKING:
    from router.server.parts import ServerParts

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health_routes(parts: ServerParts) -> APIRouter:
    """The routes, described by hand in the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz() -> Response:
        """Whether requests can be answered and written down, and whether the policy file is the one in force."""
        status = parts.policy_status()
        body: dict[str, object] = {
            "status": "ready",
            "policy": {"revision": status.revision, "broken": status.broken},
            "calibrations": {"refused": list(parts.calibrations_refused())},
            "ledger": "ok",
        }
        try:
            await parts.ledger.check()
        except RouterError as error:
            body |= {"status": "not ready", "ledger": error.message}
            return JSONResponse(body, status_code=503)
        return JSONResponse(body)

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(parts.metrics(), headers={"content-type": METRICS_TYPE})

    return routes
