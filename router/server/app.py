"""The application: the hot route in plain ASGI, everything else in FastAPI beside it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException

from router import __version__
from router.clock import iso_of
from router.decision import receipt_of
from router.errors import DecisionNotFoundError, RequestError, RouterError
from router.ledger import Feedback, Intent, Rejection, Settlement
from router.money import usd_of
from router.server.auth import caller_of, reader_of
from router.server.body import parse_json_object, read_body
from router.server.chat import ChatRoute
from router.server.errors import InternalError, headers_of, openai_error
from router.server.openai_parse import parse_chat
from router.server.terms import parse_terms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from router.ledger import Line, RequestRow
    from router.server.parts import ServerParts

log = logging.getLogger("tollgate")
CHAT_PATH = "/v1/chat/completions"
DECISION_ID_MAX = 64
SOURCE_MAX = 64
NOT_FOUND, WRONG_METHOD = 404, 405


class RouteNotFoundError(RequestError):
    """No such route, or not with this method."""

    code = "not_found"
    http_status = 404


class MethodNotAllowedError(RequestError):
    """The route exists, and not with this method."""

    code = "method_not_allowed"
    http_status = 405


def error_response(error: RouterError) -> JSONResponse:
    """An error of a FastAPI route, in the same shape as the hot route's."""
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return JSONResponse(openai_error(error), status_code=error.http_status, headers=headers)


def create_app(parts: ServerParts, *routers: APIRouter) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The whole ASGI application; ``routers`` are mounted beside the routes of this file."""
    api = FastAPI(title="Tollgate", version=__version__, docs_url="/docs", redoc_url=None)
    _add_error_handlers(api)
    api.include_router(_model_routes(parts))
    api.include_router(_decision_routes(parts))
    api.include_router(_health_routes(parts))
    for router in routers:
        api.include_router(router)
    chat = ChatRoute(parts)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own types
        if scope["type"] == "http" and scope["path"] == CHAT_PATH and scope["method"] == "POST":
            await chat(scope, receive, send)
        else:
            await api(scope, receive, send)

    return app


def _add_error_handlers(api: FastAPI) -> None:
    @api.exception_handler(RouterError)
    async def of_router(_: Request, error: RouterError) -> Response:
        return error_response(error)

    @api.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return error_response(RequestError(f"{param}: {first['msg']}", param=param))

    @api.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == WRONG_METHOD:
            return error_response(MethodNotAllowedError(f"{request.method} is not allowed here"))
        return error_response(RouteNotFoundError("no such route in this version"))

    @api.exception_handler(Exception)
    async def of_anything(_: Request, error: Exception) -> Response:
        log.error("internal error", exc_info=error)
        return error_response(InternalError("an internal error; the log of the gateway has the details"))


def _model_routes(parts: ServerParts) -> APIRouter:
    routes = APIRouter(tags=["routing"])

    @routes.get("/v1/models")
    async def models(request: Request) -> dict[str, object]:
        """`auto`, `auto:<tier>`, and every model of the policy that the key may use."""
        caller = caller_of(parts, request.headers)
        policy = parts.gateway.policy
        tiers = [each for each in policy.quality_tiers if not caller.allowed_tiers or each in caller.allowed_tiers]
        named = [each for each in policy.models if not caller.allowed_models or each in caller.allowed_models]
        data: list[dict[str, object]] = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tollgate"}
            for name in ("auto", *(f"auto:{tier}" for tier in tiers))
        ]
        for name in named:
            model = policy.models[name]
            data.append(
                {
                    "id": name,
                    "object": "model",
                    "created": 0,
                    "owned_by": model.vendor,
                    "tier": model.tier,
                    "context_window": model.card.context_window,
                    "output_tokens_max": model.card.max_output_tokens,
                    "is_reachable": model.is_reachable,
                }
            )
        return {"object": "list", "data": data}

    @routes.post("/v1/route")
    async def route(request: Request) -> dict[str, object]:
        """The decision for a request, without sending it: features, candidates, and why each other lost."""
        caller = caller_of(parts, request.headers)
        limits = parts.gateway.policy.limits
        raw = await read_body(request.receive, request.headers, limits.body_bytes_max, limits.body_timeout_s)
        body = parse_json_object(raw)
        terms = parse_terms(request.headers, body.get("metadata"), parts.salt)
        return priced(receipt_of(parts.gateway.route(parse_chat(body, len(raw)), caller, terms)))

    return routes


def priced(receipt: Mapping[str, object]) -> dict[str, object]:
    """A receipt with USD text beside each amount in nano-USD."""
    found: dict[str, object] = {}
    for name, value in receipt.items():
        if isinstance(value, list | tuple):
            found[name] = [priced(each) if isinstance(each, dict) else each for each in value]
        else:
            found[name] = value
        if name.endswith("_nanousd") and isinstance(value, int):
            found[name.removesuffix("_nanousd") + "_usd"] = usd_of(value)
    return found


def _decision_routes(parts: ServerParts) -> APIRouter:
    routes = APIRouter(tags=["decisions"])

    async def seen(request: Request, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]]:
        reader = reader_of(parts, request.headers)
        found = await parts.ledger.request(decision_id[:DECISION_ID_MAX])
        is_own = found is not None and (reader.sees_all or (found[0].key_id == reader.key_id is not None))
        if found is None or not is_own:
            raise DecisionNotFoundError("no such decision", param="decision_id")
        return found

    @routes.get("/v1/decisions/{decision_id}")
    async def decision(request: Request, decision_id: str) -> dict[str, object]:
        """The receipt of a past decision, its attempts, and what it really cost."""
        row, lines = await seen(request, decision_id)
        return decision_fields(row, lines)

    @routes.post("/v1/feedback", status_code=201)
    async def feedback(request: Request) -> dict[str, object]:
        """An outcome label: `{decision_id, score 0..1 or ok true/false, source}`."""
        limits = parts.gateway.policy.limits
        raw = await read_body(request.receive, request.headers, 65_536, limits.body_timeout_s)
        body = parse_json_object(raw)
        decision_id, ok, score = body.get("decision_id"), body.get("ok"), body.get("score")
        source = body.get("source", "client")
        if not isinstance(decision_id, str):
            raise RequestError("decision_id: must be text", param="decision_id")
        if not isinstance(source, str) or not 0 < len(source) <= SOURCE_MAX or not source.isprintable():
            raise RequestError(f"source: must be 1 to {SOURCE_MAX} printable characters", param="source")
        if isinstance(ok, bool) and score is None:
            score = float(ok)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise RequestError("score: must be a number in 0..1, or say `ok` true or false", param="score")
        row, _ = await seen(request, decision_id)
        key_id = None if parts.keys is None else reader_of(parts, request.headers).key_id
        await parts.ledger.append(Feedback(row.decision_id, parts.clock.now_ms(), float(score), source, key_id))
        return {"decision_id": row.decision_id, "score": float(score), "source": source}

    return routes


def decision_fields(row: RequestRow, lines: tuple[Line, ...]) -> dict[str, object]:
    """A request as its lines tell it: the receipt, each attempt, the sums."""
    receipts = (each.receipt for each in lines if isinstance(each, Intent | Rejection))
    receipt = next((each for each in receipts if each is not None), None)
    attempts = [
        {
            "attempt": each.attempt,
            "outcome": each.outcome,
            "cost_usd": usd_of(each.cost_nanousd),
            "usage_source": each.usage_source,
            "error_code": each.error_code,
            "latency_ms": each.latency_ms,
        }
        for each in lines
        if isinstance(each, Settlement)
    ]
    labels = [{"score": each.score, "source": each.source} for each in lines if isinstance(each, Feedback)]
    savings = row.premium_point_nanousd - row.cost_nanousd
    return {
        "decision_id": row.decision_id,
        "time": iso_of(row.time_ms),
        "model": row.model,
        "outcome": row.outcome,
        "error_code": row.error_code,
        "cost_usd": usd_of(row.cost_nanousd),
        "premium_cost_usd": {
            "low": usd_of(row.premium_low_nanousd),
            "point": usd_of(row.premium_point_nanousd),
            "high": usd_of(row.premium_high_nanousd),
        }
        if row.is_modelled
        else None,
        "savings_usd": usd_of(savings) if row.is_modelled else None,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "latency_ms": row.latency_ms,
        "attempts": attempts,
        "feedback": labels,
        "receipt": priced(receipt) if receipt is not None else None,
    }


def _health_routes(parts: ServerParts) -> APIRouter:
    routes = APIRouter(tags=["operations"])

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
        return Response(generate_latest(parts.registry), media_type="text/plain; version=0.0.4")

    return routes


__all__ = ["create_app", "decision_fields", "error_response", "priced"]
