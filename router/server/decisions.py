"""GET /v1/decisions, one of them, and POST /v1/feedback: what was decided, what it cost, how good it turned out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from fastapi import APIRouter, Request

from router.answer_marks import MARK_NAMES
from router.clock import iso_of
from router.errors import DecisionNotFoundError, RequestError, TooManyLabelsError
from router.features import FEATURE_NAMES
from router.ledger import Feedback, Folio, Intent, Rejection, RequestQuery
from router.money import usd_of
from router.savings import usd_range
from router.server.auth import caller_of, is_admin, reader_of
from router.server.body import parse_json_object, read_body
from router.server.money_text import priced
from router.server.query import parse_count, parse_moment, require_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.ledger import Line, RequestRow
    from router.quality import QualityModel
    from router.server.auth import Reader
    from router.server.parts import ServerParts

DECISION_ID_MAX = 64
SOURCE = r"[A-Za-z0-9 _.:@/-]{1,64}"
FEEDBACK_BYTES_MAX = 65_536
FIELD_SHOWN_MAX = 64
FEEDBACK_FIELDS = ("decision_id", "score", "ok", "source")
# Every label of a decision is read again with the next, and by everybody's ledger: one key has no need of more.
LABELS_MAX = 100
LIST_DEFAULT, LIST_MAX = 50, 500


async def find_request(parts: ServerParts, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]] | None:
    """The request and its lines; None where there is none, or where the text cannot be an id."""
    is_id = 0 < len(decision_id) <= DECISION_ID_MAX and decision_id.isascii() and decision_id.isprintable()
    return await parts.ledger.request(decision_id) if is_id else None


def require_found(
    found: tuple[RequestRow, tuple[Line, ...]] | None, *, may_see: bool, param: str = "decision_id"
) -> tuple[RequestRow, tuple[Line, ...]]:
    """What was found. Raises DecisionNotFoundError alike for what is not there and for what is not the caller's."""
    if found is None or not may_see:
        raise DecisionNotFoundError("no such decision", param=param)
    return found


async def require_own(
    parts: ServerParts, headers: Mapping[str, str], decision_id: str
) -> tuple[RequestRow, tuple[Line, ...]]:
    """The request and its lines, if the key that asks made it; the admin key sees every one.

    Where no key is needed to ask, none is needed to look up what one was told: ids hold 64 bits of chance. Raises
    InvalidApiKeyError, and DecisionNotFoundError for what is not there or not the caller's.
    """
    sees_all = is_admin(parts, headers) or parts.keys is None
    key_id = None if sees_all else caller_of(parts, headers).key_id
    found = await find_request(parts, decision_id)
    return require_found(found, may_see=sees_all or (found is not None and found[0].key_id == key_id is not None))


async def require_readable(
    parts: ServerParts, headers: Mapping[str, str], decision_id: str
) -> tuple[RequestRow, tuple[Line, ...]]:
    """The same for reading: a key with a team also opens what its team's list shows."""
    if parts.keys is None:
        return await require_own(parts, headers, decision_id)
    reader = reader_of(parts, headers)
    found = await find_request(parts, decision_id)
    return require_found(found, may_see=found is not None and is_readable(found[0], reader))


def is_readable(row: RequestRow, reader: Reader) -> bool:
    """Whether the request is among those that the reader's list may show."""
    if reader.sees_all:
        return True
    if reader.team is not None:
        return row.team == reader.team
    return row.key_id is not None and row.key_id == reader.key_id


def query_of(reader: Reader) -> RequestQuery:
    """What the reader may see, as a query of the ledger: all, a team's, or a key's."""
    if reader.sees_all:
        return RequestQuery()
    return RequestQuery(team=reader.team) if reader.team is not None else RequestQuery(key_id=reader.key_id)


async def page_of(parts: ServerParts, query: RequestQuery, limit: int, before: RequestRow | None) -> list[RequestRow]:
    """The newest rows of the query, at most ``limit``; with ``before`` only rows that are older than it."""
    read = parts.ledger.requests
    same_moment: list[RequestRow] = []
    if before is not None:
        moment = replace(query, from_ms=max(query.from_ms, before.time_ms), to_ms=before.time_ms + 1)
        rows = [row async for row in read(moment, newest_first=True)]
        same_moment = [row for row in rows if row.decision_id < before.decision_id]
        query = replace(query, to_ms=before.time_ms)
    return [*same_moment, *[row async for row in read(query, limit=limit, newest_first=True)]][:limit]


def decision_routes(parts: ServerParts) -> APIRouter:
    """The routes, described by hand in the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)
    # Labels of one decision are counted and written one after the other, or a hundred at once would all be the last.
    turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @routes.get("/v1/decisions")
    async def decisions(request: Request) -> dict[str, object]:
        """The latest decisions that the key may see, newest first, page by page."""
        reader, asked = reader_of(parts, request.headers), request.query_params
        require_known(asked, "limit", "from", "before")
        limit = parse_count(asked.get("limit"), "limit", LIST_DEFAULT, LIST_MAX)
        query = replace(query_of(reader), from_ms=parse_moment(asked.get("from"), "from", 0))
        before = None
        if "before" in asked:
            found = await find_request(parts, asked["before"])
            before, _ = require_found(
                found, may_see=found is not None and is_readable(found[0], reader), param="before"
            )
        rows = await page_of(parts, query, limit + 1, before)
        shown = rows[:limit]
        return {
            "object": "list",
            "data": [row_fields(row) for row in shown],
            "has_more": len(rows) > limit,
            "next_before": shown[-1].decision_id if len(rows) > limit else None,
        }

    @routes.get("/v1/decisions/{decision_id}")
    async def decision(request: Request, decision_id: str) -> dict[str, object]:
        """The receipt of a past decision, its attempts, and what it really cost."""
        row, lines = await require_readable(parts, request.headers, decision_id)
        found = decision_fields(row, lines)
        return found | {"feature_deviations": deviations_of(found["receipt"], parts.gateway.quality)}

    @routes.post("/v1/feedback", status_code=201)
    async def feedback(request: Request) -> dict[str, object]:
        """An outcome label: `{decision_id, score 0..1 or ok true/false, source}`."""
        key_id = None if is_admin(parts, request.headers) else caller_of(parts, request.headers).key_id
        timeout_s = parts.gateway.policy.limits.body_timeout_s
        raw = await read_body(request.receive, request.headers, FEEDBACK_BYTES_MAX, timeout_s)
        decision_id, score, source = parse_feedback(parse_json_object(raw))
        async with turns.setdefault(decision_id, asyncio.Lock()):
            row, lines = await require_own(parts, request.headers, decision_id)
            label = news_of(Feedback(row.decision_id, parts.clock.now_ms(), score, source, key_id), lines)
            if label is not None:
                await parts.ledger.append(label)
        return {"decision_id": row.decision_id, "score": score, "source": source}

    return routes


def news_of(label: Feedback, lines: Sequence[Line]) -> Feedback | None:
    """The label as it is to be written, None where its voice said the same last.

    Raises TooManyLabelsError where its key has said too much.
    """
    own = [each for each in lines if isinstance(each, Feedback) and each.key_id == label.key_id]
    last = next((each for each in reversed(own) if each.source == label.source), None)
    if last is not None and last.score == label.score:
        return None
    if len(own) >= LABELS_MAX:
        raise TooManyLabelsError(
            f"the decision has {len(own)} labels of this key already, at most {LABELS_MAX}", param="decision_id"
        )
    # Later than the voice's last word: which is the newest could else not be told within one millisecond.
    return label if last is None else replace(label, time_ms=max(label.time_ms, last.time_ms + 1))


def parse_feedback(body: Mapping[str, object]) -> tuple[str, float, str]:
    """Decision id, score and source. Raises RequestError naming the field, one that nothing would keep among them."""
    for name in body:
        if name not in FEEDBACK_FIELDS:
            param = name if name.isidentifier() and len(name) <= FIELD_SHOWN_MAX else "body"
            raise RequestError(f"{param}: unknown field; a label has {', '.join(FEEDBACK_FIELDS)}", param=param)
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


def row_fields(row: RequestRow) -> dict[str, object]:
    """A request as the ledger's row tells it: names, numbers and amounts, no content."""
    savings = row.premium_point_nanousd - row.cost_nanousd
    return {
        "decision_id": row.decision_id,
        "time": iso_of(row.time_ms),
        "surface": row.surface,
        "is_streamed": row.is_streamed,
        "team": row.team,
        "project": row.project,
        "key_id": row.key_id,
        "tags": dict(row.tags),
        "model": row.model,
        "vendor": row.vendor,
        "premium": row.premium,
        "reason": row.reason,
        "quality_tier": row.quality_tier,
        "tolerance": row.tolerance,
        "complexity": row.complexity,
        "expected_loss": row.expected_loss,
        "outcome": row.outcome,
        "error_code": row.error_code,
        "cost_usd": usd_of(row.cost_nanousd),
        "premium_cost_usd": usd_range(row.premium_low_nanousd, row.premium_point_nanousd, row.premium_high_nanousd)
        if row.is_modelled
        else None,
        "savings_usd": usd_of(savings) if row.is_modelled else None,
        "usage_source": row.usage_source,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cache_read_tokens": row.cache_read_tokens,
        "latency_ms": row.latency_ms,
        "first_byte_ms": row.first_byte_ms,
    }


def decision_fields(row: RequestRow, lines: tuple[Line, ...]) -> dict[str, object]:
    """A request as its lines tell it: the row, each attempt, the labels, the receipt."""
    receipt = next((each.receipt for each in lines if isinstance(each, Intent | Rejection) and each.receipt), None)
    return {
        **row_fields(row),
        "attempts": _attempts(lines),
        "feedback": [
            {"time": iso_of(each.time_ms), "score": each.score, "source": each.source}
            for each in lines
            if isinstance(each, Feedback)
        ],
        "receipt": priced(receipt) if receipt is not None else None,
    }


def deviations_of(receipt: object, quality: QualityModel) -> dict[str, float] | None:
    """How far each feature that is scored stands from the usual prompt's, in spreads of the training data.

    None without a receipt's features, and where another quality model decided: its usual is not this one's.
    """
    if not isinstance(receipt, dict) or receipt.get("quality_revision") != quality.revision:
        return None
    features = receipt["features"]
    usual = zip(FEATURE_NAMES, quality.center.tolist(), quality.spread.tolist(), strict=False)
    return {name: round((features[name] - center) / spread, 3) for name, center, spread in usual if name in features}


def marks_by_name(marks: Sequence[float] | None) -> dict[str, float] | None:
    """An answer's marks by their names; None without any, or with another release's."""
    return dict(zip(MARK_NAMES, marks, strict=True)) if marks and len(marks) == len(MARK_NAMES) else None


def _attempts(lines: tuple[Line, ...]) -> list[dict[str, object]]:
    """Each attempt as its lines stand, corrections included; one that still runs has no end yet."""
    folio = Folio()
    for line in lines:
        folio.add(line)
    found: list[dict[str, object]] = []
    for each in folio.attempts.values():
        end = each.settlement
        found.append(
            {
                "attempt": each.number,
                "model": each.model,
                "outcome": "open" if end is None else end.outcome,
                "cost_usd": None if end is None else usd_of(each.cost_nanousd),
                "usage_source": None if end is None else end.usage_source,
                "error_code": None if end is None else end.error_code,
                "latency_ms": None if end is None else end.latency_ms,
                "marks": None if end is None else marks_by_name(end.marks),
            }
        )
    return found
