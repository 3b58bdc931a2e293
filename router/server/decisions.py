"""GET /v1/decisions/{id} and POST /v1/feedback: what was decided, what it cost, and how good it turned out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from router.clock import iso_of
from router.errors import DecisionNotFoundError, RequestError
from router.ledger import Feedback, Intent, Rejection, Settlement
from router.money import usd_of
from router.server.auth import caller_of, is_admin
from router.server.body import parse_json_object, read_body
from router.server.money_text import priced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ledger import Line, RequestRow
    from router.server.parts import ServerParts

DECISION_ID_MAX = 64
SOURCE = r"[A-Za-z0-9 _.:@/-]{1,64}"
FEEDBACK_BYTES_MAX = 65_536


async def require_own(
    parts: ServerParts, headers: Mapping[str, str], decision_id: str
) -> tuple[RequestRow, tuple[Line, ...]]:
    """The request and its lines, if the key that asks made it; the admin key sees every one.

    Where no key is needed to ask, none is needed to look up what one was told: ids hold 64 bits of chance. Raises
    InvalidApiKeyError, and DecisionNotFoundError for what is not there or not the caller's.
    """
    sees_all = is_admin(parts, headers) or parts.keys is None
    key_id = None if sees_all else caller_of(parts, headers).key_id
    is_id = 0 < len(decision_id) <= DECISION_ID_MAX and decision_id.isascii() and decision_id.isprintable()
    found = await parts.ledger.request(decision_id) if is_id else None
    if found is None or not (sees_all or found[0].key_id == key_id is not None):
        raise DecisionNotFoundError("no such decision", param="decision_id")
    return found


def decision_routes(parts: ServerParts) -> APIRouter:
    """The routes, described by hand in the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/v1/decisions/{decision_id}")
    async def decision(request: Request, decision_id: str) -> dict[str, object]:
        """The receipt of a past decision, its attempts, and what it really cost."""
        return decision_fields(*await require_own(parts, request.headers, decision_id))

    @routes.post("/v1/feedback", status_code=201)
    async def feedback(request: Request) -> dict[str, object]:
        """An outcome label: `{decision_id, score 0..1 or ok true/false, source}`."""
        key_id = None if is_admin(parts, request.headers) else caller_of(parts, request.headers).key_id
        timeout_s = parts.gateway.policy.limits.body_timeout_s
        raw = await read_body(request.receive, request.headers, FEEDBACK_BYTES_MAX, timeout_s)
        decision_id, score, source = parse_feedback(parse_json_object(raw))
        row, _ = await require_own(parts, request.headers, decision_id)
        await parts.ledger.append(Feedback(row.decision_id, parts.clock.now_ms(), score, source, key_id))
        return {"decision_id": row.decision_id, "score": score, "source": source}

    return routes


def parse_feedback(body: Mapping[str, object]) -> tuple[str, float, str]:
    """Decision id, score and source. Raises RequestError naming the field."""
    decision_id, ok, score = body.get("decision_id"), body.get("ok"), body.get("score")
    source = body.get("source", "client")
    if not isinstance(decision_id, str):
        raise RequestError("decision_id: must be text", param="decision_id")
    if not isinstance(source, str) or re.fullmatch(SOURCE, source) is None:
        raise RequestError("source: must be 1 to 64 letters, digits, blanks or any of `_.:@/-`", param="source")
    if ok is not None:
        if not isinstance(ok, bool):
            raise RequestError("ok: must be true or false", param="ok")
        if score is not None:
            raise RequestError("score: stands beside `ok`: send one of them", param="score")
        score = int(ok)
    elif isinstance(score, bool):
        score = None
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise RequestError("score: must be a number in 0..1, or say `ok` true or false", param="score")
    return decision_id, float(score), source


def decision_fields(row: RequestRow, lines: tuple[Line, ...]) -> dict[str, object]:
    """A request as its lines tell it: the receipt, each attempt, the sums."""
    receipt = next((each.receipt for each in lines if isinstance(each, Intent | Rejection) and each.receipt), None)
    savings = row.premium_point_nanousd - row.cost_nanousd
    return {
        "decision_id": row.decision_id,
        "time": iso_of(row.time_ms),
        "model": row.model,
        "reason": row.reason,
        "quality_tier": row.quality_tier,
        "tolerance": row.tolerance,
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
        "usage_source": row.usage_source,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "latency_ms": row.latency_ms,
        "attempts": _attempts(lines),
        "feedback": [
            {"time": iso_of(each.time_ms), "score": each.score, "source": each.source}
            for each in lines
            if isinstance(each, Feedback)
        ],
        "receipt": priced(receipt) if receipt is not None else None,
    }


def _attempts(lines: tuple[Line, ...]) -> list[dict[str, object]]:
    """Each attempt with how it ended; one that still runs, or that a crash left open, has no end yet."""
    ends = {each.attempt: each for each in lines if isinstance(each, Settlement)}
    found: list[dict[str, object]] = []
    for intent in (each for each in lines if isinstance(each, Intent)):
        end = ends.get(intent.attempt)
        found.append(
            {
                "attempt": intent.attempt,
                "model": intent.model,
                "outcome": "open" if end is None else end.outcome,
                "cost_usd": None if end is None else usd_of(end.cost_nanousd),
                "usage_source": None if end is None else end.usage_source,
                "error_code": None if end is None else end.error_code,
                "latency_ms": None if end is None else end.latency_ms,
            }
        )
    return found
