"""The OpenAPI document: our own routes by hand, so that it says what is so; mounted routers as FastAPI derives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from router.server.decisions import DECISION_ID_MAX, LIST_DEFAULT, LIST_MAX, SOURCE
from router.server.openapi_chat import CHAT_SCHEMAS, chat_operation
from router.server.openapi_parts import PARTS_SCHEMAS, error_responses, json_of, ref
from router.server.query import in_query

if TYPE_CHECKING:
    from fastapi import FastAPI

OpenApi = dict[str, Any]
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}, {}]
DESCRIPTION = (
    "An ordinary OpenAI Chat Completions API that answers each request by the cheapest model whose predicted quality "
    "loss is within the threshold calibrated for its tolerance, and says what it cost. Amounts are decimal text in "
    "USD, exact to the nano-dollar."
)


def document_of(api: FastAPI) -> OpenApi:
    """The document of the application with everything that was mounted in it."""
    document = get_openapi(
        title=api.title,
        version=api.version,
        description=DESCRIPTION,
        routes=[route for route in api.routes if getattr(route, "include_in_schema", True)],
    )
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            # FastAPI promises its own 422; here a parameter that does not fit is a 400 in OpenAI's shape.
            operation["responses"].pop("422", None)
            for status, response in error_responses(400, 401, 404, 500, 503).items():
                operation["responses"].setdefault(status, response)
    document["paths"] = _paths() | document.get("paths", {})
    components = document.setdefault("components", {})
    derived = {
        name: schema
        for name, schema in components.get("schemas", {}).items()
        if name not in ("HTTPValidationError", "ValidationError")
    }
    components["schemas"] = derived | PARTS_SCHEMAS | CHAT_SCHEMAS
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A virtual key, or the admin key."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    # The empty alternative: on loopback without a keys file no key is needed.
    document["security"] = SECURITY
    return document


def _paths() -> OpenApi:
    return {
        "/v1/chat/completions": {"post": chat_operation()},
        "/v1/route": {"post": _route_operation()},
        "/v1/models": {"get": _get("listModels", "What `model` may say", "models", "ModelList", 401)},
        "/v1/models/{model_id}": {
            "get": _get("getModel", "One model", "models", "Model", 401, 404) | {"parameters": [_in_path("model_id")]}
        },
        "/v1/decisions": {"get": _decisions_operation()},
        "/v1/decisions/{decision_id}": {
            "get": _get("getDecision", "The receipt and the real cost", "decisions", "Decision", 401, 404, 503)
            | {"parameters": [_in_path("decision_id")]}
        },
        "/v1/feedback": {"post": _feedback_operation()},
        "/healthz": {"get": _open(_get("healthz", "The process lives", "operations", "Health"))},
        "/readyz": {"get": _readyz_operation()},
        "/metrics": {
            "get": _open(
                {
                    "operationId": "metrics",
                    "summary": "Prometheus text",
                    "tags": ["operations"],
                    "responses": {
                        "200": {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}},
                        **error_responses(500),
                    },
                }
            )
        },
    }


def _get(name: str, summary: str, tag: str, schema: str, *errors: int) -> OpenApi:
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "responses": {
            "200": {"description": summary, "content": json_of(ref(schema))},
            **error_responses(*errors, 500),
        },
    }


def _open(operation: OpenApi) -> OpenApi:
    return operation | {"security": []}


def _in_path(name: str) -> OpenApi:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _decisions_operation() -> OpenApi:
    listed = _get(
        "listDecisions", "The latest decisions, newest first", "decisions", "DecisionList", 400, 401, 404, 503
    )
    limit = {"type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_DEFAULT}
    before = {"type": "string", "minLength": 1, "maxLength": DECISION_ID_MAX}
    return listed | {
        "parameters": [
            in_query("limit", "How many at most", limit),
            in_query("before", "Only decisions older than the one with this id: a page's `next_before`", before),
            in_query("from", "Only decisions since this time, such as `2026-11-01T00:00:00Z`", {"type": "string"}),
        ]
    }


def _route_operation() -> OpenApi:
    sent = chat_operation()
    return {
        "operationId": "route",
        "summary": "The decision for a request, without sending it",
        "tags": ["routing"],
        "parameters": sent["parameters"],
        "requestBody": sent["requestBody"],
        "responses": {
            "200": {"description": "The receipt", "content": json_of(ref("Receipt"))},
            **error_responses(400, 401, 403, 404, 408, 413, 422, 500),
        },
    }


def _feedback_operation() -> OpenApi:
    label = {
        "type": "object",
        "required": ["decision_id"],
        "properties": {
            "decision_id": {"type": "string"},
            "score": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "ok": {"type": ["boolean", "null"]},
            "source": {"type": "string", "pattern": f"^{SOURCE}$"},
        },
        "oneOf": [
            {"required": ["score"], "properties": {"score": {"type": "number"}, "ok": {"type": "null"}}},
            {"required": ["ok"], "properties": {"ok": {"type": "boolean"}, "score": {"type": "null"}}},
        ],
    }
    return {
        "operationId": "feedback",
        "summary": "An outcome label for a decision: `score` or `ok`, not both",
        "tags": ["decisions"],
        "requestBody": {"required": True, "content": json_of(label)},
        "responses": {
            "201": {"description": "Written down", "content": json_of(ref("Feedback"))},
            **error_responses(400, 401, 404, 408, 409, 413, 500, 503),
        },
    }


def _readyz_operation() -> OpenApi:
    ready = _get("readyz", "Whether requests can be answered and written down", "operations", "Readiness")
    why = "The ledger cannot be used, or budgets cannot be counted and the policy rejects meanwhile"
    ready["responses"]["503"] = {"description": why, "content": json_of(ref("Readiness"))}
    return _open(ready)
