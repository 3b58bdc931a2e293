"""Schemas that several operations of the OpenAPI document share."""

from __future__ import annotations

from typing import Any

OpenApi = dict[str, Any]

USD: OpenApi = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{9}$"}
USD_OR_NULL: OpenApi = {"type": ["string", "null"], "pattern": r"^-?[0-9]+\.[0-9]{9}$"}
TEXT: OpenApi = {"type": "string"}
TEXT_OR_NULL: OpenApi = {"type": ["string", "null"]}
COUNT: OpenApi = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: OpenApi = {"type": ["integer", "null"], "minimum": 0}
PROMISE: OpenApi = {"enum": ["calibrated", "shipped", "none"]}
SHARE_OR_NULL: OpenApi = {"type": ["number", "null"]}

ERROR: OpenApi = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": TEXT_OR_NULL,
                "code": {"type": "string", "description": "Stable: programs may rely on it."},
                "candidates": {
                    "type": "array",
                    "description": "With `no_eligible_model`: why each model may not serve.",
                    "items": {
                        "type": "object",
                        "required": ["model", "why_not"],
                        "properties": {"model": TEXT, "why_not": {"type": "array", "items": TEXT}},
                    },
                },
                "budget": {**TEXT, "description": "With `budget_exhausted`: the name of the budget."},
                "scope": {**TEXT, "description": "Whose budget: `all`, `team`, `key`, `tag:NAME` and so on."},
                "limit_usd": USD,
                "headroom_usd": USD,
                "resets_at": {**TEXT_OR_NULL, "description": "When its window ends; null where it has no end."},
            },
        }
    },
}

MEANINGS = {
    400: "What the caller sent: `invalid_request`, `invalid_quality_tolerance`, `unknown_quality_tier`, "
    "`context_length_exceeded`, `provider_rejected`",
    401: "`invalid_api_key`",
    402: "`budget_exhausted`",
    403: "`tier_not_allowed`, `model_not_allowed`",
    404: "`model_not_found`, `decision_not_found`",
    408: "`request_timeout`: the body came too slowly",
    409: "`idempotency_conflict`",
    413: "`request_too_large`",
    422: "`no_eligible_model`, with each candidate and why not",
    429: "`rate_limited`, with `Retry-After`",
    500: "`internal_error`, with a request id",
    502: "`provider_error`",
    503: "`provider_unavailable`, `ledger_unavailable`",
    504: "`provider_timeout`",
}

DECISION_HEADERS: OpenApi = {
    name: {"description": meaning, "required": is_always, "schema": schema}
    for name, meaning, is_always, schema in (
        ("X-Router-Decision-Id", "The decision's id in ledger and receipts", True, TEXT),
        ("X-Router-Model", "The policy's id of the model that answered", True, TEXT),
        ("X-Router-Reason", "Why that one: a stable code", True, TEXT),
        ("X-Router-Promise", "What the tolerance rests on: `calibrated`, `shipped` or `none`", False, PROMISE),
        ("X-Router-Complexity", "0..1", False, {"type": "number"}),
        ("X-Router-Expected-Loss", "Predicted quality loss against premium", False, {"type": "number"}),
        ("X-Router-Cost-Usd", "What it cost; in a stream's last chunk instead", False, USD),
        ("X-Router-Premium-Cost-Usd", "What premium would have cost, modelled", False, USD),
        ("X-Router-Savings-Usd", "The difference; may be negative", False, USD),
        ("X-Router-Budget-Remaining-Usd", "What the tightest hard budget had left beside this call's hold", False, USD),
        ("X-Router-Cascade", "How the checks went: `passed`, `escalated:CHECK`, `failed:CHECK`", False, TEXT),
        ("X-Router-Dropped", "Settings that were left out because the model refuses them", False, TEXT),
    )
}


def ref(name: str) -> OpenApi:
    """A reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_of(schema: OpenApi) -> OpenApi:
    """Content of type JSON."""
    return {"application/json": {"schema": schema}}


def error_responses(*statuses: int) -> OpenApi:
    """The responses of these errors, all of one shape."""
    return {str(each): {"description": MEANINGS[each], "content": json_of(ref("Error"))} for each in statuses}


def _object(properties: OpenApi, *optional: str) -> OpenApi:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


MODEL = _object(
    {
        "id": TEXT,
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": TEXT,
        "tier": {"enum": ["economy", "standard", "premium"]},
        "context_window": COUNT_OR_NULL,
        "output_tokens_max": COUNT_OR_NULL,
        "is_reachable": {"type": "boolean"},
    },
    "tier",
    "context_window",
    "output_tokens_max",
    "is_reachable",
)
CANDIDATE = _object(
    {
        "model": TEXT,
        "is_eligible": {"type": "boolean"},
        "why_not": {"type": "array", "items": TEXT},
        "quality": SHARE_OR_NULL,
        "predicted_loss": SHARE_OR_NULL,
        "expected_cost_nanousd": {"type": "integer"},
        "expected_cost_usd": USD,
        "dropped": {"type": "array", "items": TEXT},
        "cached_tokens": {"type": "integer"},
    }
)
RECEIPT = _object(
    {
        "decision_id": TEXT,
        "model": TEXT,
        "order": {"type": "array", "items": TEXT},
        "reason": TEXT,
        "is_pinned": {"type": "boolean"},
        "quality_tier": TEXT_OR_NULL,
        "tolerance": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "The mean loss that requests sent with it may have.",
        },
        "threshold": {
            **SHARE_OR_NULL,
            "description": "The predicted loss that one request may have, calibrated for the tolerance on prompts of "
            "its kind; null: premium alone.",
        },
        "premium": TEXT,
        "complexity": {"type": "number"},
        "expected_loss": SHARE_OR_NULL,
        "expected_cost_nanousd": {"type": "integer"},
        "expected_cost_usd": USD,
        "candidates": {"type": "array", "items": ref("Candidate")},
        "features": {"type": "object", "additionalProperties": {"type": "number"}},
        "promise": PROMISE,
        "labels_needed": COUNT,
        "calibration": {"type": ["string", "null"], "description": "The workload's own, as name@version."},
        "is_promise_met": {"type": "boolean"},
        "cascade": {
            "type": ["object", "null"],
            "description": "The plan of a cascade: which models answer in turn, and from what that follows.",
        },
        "policy_revision": TEXT,
        "price_revision": TEXT,
        "quality_revision": TEXT,
    }
)
ATTEMPT = _object(
    {
        "attempt": {"type": "integer", "minimum": 1},
        "model": TEXT,
        "outcome": TEXT,
        "cost_usd": USD_OR_NULL,
        "usage_source": TEXT_OR_NULL,
        "error_code": TEXT_OR_NULL,
        "latency_ms": COUNT_OR_NULL,
        "marks": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "number"},
            "description": "Numbers of the answer that the check `verifier` reads, where the policy has it.",
        },
    }
)
ROW_FIELDS: OpenApi = {
    "decision_id": TEXT,
    "time": {"type": "string", "format": "date-time"},
    "surface": TEXT,
    "is_streamed": {"type": "boolean"},
    "team": TEXT_OR_NULL,
    "project": TEXT_OR_NULL,
    "key_id": TEXT_OR_NULL,
    "tags": {"type": "object", "additionalProperties": TEXT},
    "model": TEXT_OR_NULL,
    "vendor": TEXT_OR_NULL,
    "premium": TEXT,
    "reason": TEXT,
    "quality_tier": TEXT_OR_NULL,
    "tolerance": SHARE_OR_NULL,
    "complexity": SHARE_OR_NULL,
    "expected_loss": SHARE_OR_NULL,
    "outcome": TEXT,
    "error_code": TEXT_OR_NULL,
    "cost_usd": USD,
    "premium_cost_usd": {"anyOf": [{"type": "null"}, _object({"low": USD, "point": USD, "high": USD})]},
    "savings_usd": USD_OR_NULL,
    "usage_source": TEXT,
    "input_tokens": COUNT,
    "output_tokens": COUNT,
    "cache_read_tokens": COUNT,
    "latency_ms": COUNT_OR_NULL,
    "first_byte_ms": COUNT_OR_NULL,
}
DECISION_LIST = _object(
    {
        "object": {"const": "list"},
        "data": {"type": "array", "items": ref("DecisionRow")},
        "has_more": {"type": "boolean"},
        "next_before": {"type": ["string", "null"], "description": "The `before` of the next page."},
    }
)
DECISION = _object(
    ROW_FIELDS
    | {
        "attempts": {"type": "array", "items": ref("Attempt")},
        "feedback": {"type": "array", "items": _object({"time": TEXT, "score": {"type": "number"}, "source": TEXT})},
        "receipt": {"anyOf": [{"type": "null"}, {"type": "object"}]},
        "feature_deviations": {
            "anyOf": [{"type": "null"}, {"type": "object", "additionalProperties": {"type": "number"}}],
            "description": "How far each scored feature stands from the usual, in spreads of the training data.",
        },
    }
)

PARTS_SCHEMAS: OpenApi = {
    "Error": ERROR,
    "Model": MODEL,
    "ModelList": _object({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}),
    "Candidate": CANDIDATE,
    "Receipt": RECEIPT,
    "Attempt": ATTEMPT,
    "Decision": DECISION,
    "DecisionRow": _object(ROW_FIELDS),
    "DecisionList": DECISION_LIST,
    "Feedback": _object({"decision_id": TEXT, "score": {"type": "number", "minimum": 0, "maximum": 1}, "source": TEXT}),
    "Health": _object({"status": {"const": "ok"}}),
    "Readiness": _object(
        {
            "status": {"enum": ["ready", "not ready"]},
            "policy": _object({"revision": TEXT, "broken": TEXT_OR_NULL}),
            "calibrations": _object({"refused": {"type": "array", "items": TEXT}}),
            "ledger": TEXT,
            "budget_store": {**TEXT, "description": "`ok`, or why budgets cannot be counted now."},
            "guard_state": {**TEXT, "description": "`ok`, or that what other gateways saw cannot be read."},
        }
    ),
}
