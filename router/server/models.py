"""GET /v1/models, and POST /v1/route: what may be asked for, and what would be decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from router.errors import ModelNotFoundError
from router.receipt import receipt_of
from router.server.auth import caller_of
from router.server.body import parse_json_object, read_body
from router.server.money_text import priced
from router.server.openai_parse import parse_chat
from router.server.terms import headers_of_scope, parse_terms

if TYPE_CHECKING:
    from router.policy import Caller, Policy
    from router.server.parts import ServerParts


def listed_models(policy: Policy, caller: Caller) -> list[dict[str, object]]:
    """`auto`, `auto:<tier>` and every model of the policy, as far as the key may use them."""
    tiers = [each for each in policy.quality_tiers if not caller.allowed_tiers or each in caller.allowed_tiers]
    found: list[dict[str, object]] = [
        {"id": name, "object": "model", "created": 0, "owned_by": "tollgate"}
        for name in ("auto", *(f"auto:{tier}" for tier in tiers))
    ]
    for name, model in policy.models.items():
        if not caller.allowed_models or name in caller.allowed_models:
            found.append(
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
    return found


def model_routes(parts: ServerParts) -> APIRouter:
    """The routes, described by hand in the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/v1/models")
    async def models(request: Request) -> dict[str, object]:
        """What `model` may say."""
        caller = caller_of(parts, request.headers)
        return {"object": "list", "data": listed_models(parts.gateway.policy, caller)}

    @routes.get("/v1/models/{model_id:path}")
    async def model(request: Request, model_id: str) -> dict[str, object]:
        """One of them."""
        caller = caller_of(parts, request.headers)
        for each in listed_models(parts.gateway.policy, caller):
            if each["id"] == model_id:
                return each
        raise ModelNotFoundError("no such model: see GET /v1/models", param="model")

    @routes.post("/v1/route")
    async def route(request: Request) -> dict[str, object]:
        """The decision for a request, without sending it: features, candidates, and why each other lost."""
        headers = headers_of_scope(request.scope["headers"])
        caller = caller_of(parts, headers)
        limits = parts.gateway.policy.limits
        raw = await read_body(request.receive, headers, limits.body_bytes_max, limits.body_timeout_s)
        body = parse_json_object(raw)
        terms = parse_terms(headers, body.get("metadata"), parts.salt)
        return priced(receipt_of(parts.gateway.route(parse_chat(body, len(raw)), caller, terms)))

    return routes
