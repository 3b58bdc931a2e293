"""GET /v1/guards, and what an operator does about a trip: release it, or exempt its scope for a while."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from router.clock import iso_of
from router.errors import RequestError
from router.guards import Actor, trip_fields
from router.ledger import TripQuery
from router.money import usd_of
from router.server.auth import reader_of
from router.server.body import parse_json_object, read_body
from router.server.query import SPAN_NAMES, SPAN_PARAMETERS, in_query, parse_count, parse_span, require_known

if TYPE_CHECKING:
    from router.guards import Case, Keeper
    from router.server.auth import Reader
    from router.server.parts import ServerParts

TRIPS_DEFAULT, TRIPS_MAX = 100, 1_000
MOST = {"type": "integer", "minimum": 1, "maximum": TRIPS_MAX, "default": TRIPS_DEFAULT}
TRIPS_PARAMETERS = {"parameters": [*SPAN_PARAMETERS["parameters"], in_query("limit", "How many trips at most", MOST)]}
SCOPE_ID = re.compile(r"^(pattern|lineage|session|key)-[0-9a-f]{16}$")
SPAN = re.compile(r"^([1-9]\d{0,5})(m|h|d)$")
MS_OF_UNIT = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
EXEMPT_MAX_MS = 30 * 86_400_000
BODY_BYTES_MAX, BODY_TIMEOUT_S = 4_096, 30.0
FORBIDDEN: dict[int | str, dict[str, Any]] = {403: {"description": "Only the admin key may"}}
EXEMPT_SCHEMA = {
    "type": "object",
    "required": ["for"],
    "properties": {"for": {"type": "string", "pattern": SPAN.pattern, "examples": ["2h"]}},
}
EXEMPT_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": EXEMPT_SCHEMA}}}}
OPERATOR = Actor(None, None, None, None)


class ScopeNotFoundError(RequestError):
    """No guard knows of such a scope, or it is another team's."""

    code = "scope_not_found"
    http_status = 404


class OperatorOnlyError(RequestError):
    """Only an operator, with the admin key, may do this."""

    code = "operator_only"
    http_status = 403


def exempt_ms(text: object) -> int:
    """Milliseconds of `30m`, `2h` or `7d`. Raises RequestError."""
    match = SPAN.match(text) if isinstance(text, str) else None
    found = int(match[1]) * MS_OF_UNIT[match[2]] if match else 0
    if not 0 < found <= EXEMPT_MAX_MS:
        raise RequestError("for: must be a span such as 30m, 2h or 7d, at most 30d", param="for")
    return found


def case_fields(scope_id: str, case: Case, now_ms: int) -> dict[str, object]:
    """One scope that is on the ladder, or exempt."""
    is_exempt = case.exempt_until_ms > now_ms
    state = "exempt" if is_exempt else "stopped" if case.is_stopped else "watched"
    probe_ms = case.asked_ms + case.quiet_ms if case.is_stopped and not case.probe_ms else None
    return {
        "scope_id": scope_id,
        "scope": case.scope,
        "state": state,
        "guard": case.guard,
        "guard_id": case.guard_id,
        "team": case.team,
        "project": case.project,
        "key_id": case.key_id,
        "since": iso_of(case.opened_ms or case.asked_ms),
        "last_asked": iso_of(case.asked_ms),
        "tried_again_at": None if probe_ms is None else iso_of(probe_ms),
        "exempt_until": iso_of(case.exempt_until_ms) if is_exempt else None,
        "refused": case.refused,
        "leaked_usd": usd_of(case.spent_nanousd),
    }


def _may_see(reader: Reader, team: str | None, key_id: str | None) -> bool:
    if reader.sees_all:
        return True
    return reader.team == team if reader.team is not None else reader.key_id is not None and reader.key_id == key_id


async def trips_seen(
    parts: ServerParts, reader: Reader, from_ms: int, to_ms: int, limit: int
) -> list[dict[str, object]]:
    """The latest trips that the reader may see, newest first."""
    trips: list[dict[str, object]] = []
    async for trip in parts.ledger.trips(TripQuery(from_ms=from_ms, to_ms=to_ms, team=reader.team)):
        if len(trips) >= limit:
            break
        if _may_see(reader, trip.team, trip.key_id):
            trips.append(trip_fields(trip))
    return trips


def known(scope_id: str) -> str:
    """The scope's id. Raises ScopeNotFoundError for what is none."""
    if not SCOPE_ID.match(scope_id):
        raise ScopeNotFoundError("a scope is named as `tollgate guards list` names it: pattern-, lineage-, ...")
    return scope_id


def told(scope_id: str, case: Case | None, now_ms: int) -> dict[str, object]:
    """The scope as it is now. Raises ScopeNotFoundError where no guard knows it."""
    if case is None:
        raise ScopeNotFoundError(f"no guard knows of {scope_id}: `tollgate guards list` has those that it knows")
    return case_fields(scope_id, case, now_ms)


def require_operator(parts: ServerParts, request: Request) -> None:
    """Raises OperatorOnlyError without the admin key, where there is one or keys are in force."""
    if not reader_of(parts, request.headers).sees_all:
        raise OperatorOnlyError("releasing and exempting take the admin key (TOLLGATE_ADMIN_KEY)")


def guard_routes(parts: ServerParts, keeper: Keeper) -> APIRouter:
    """The routes of guards."""
    routes = APIRouter(tags=["guards"])

    @routes.get("/v1/guards", openapi_extra=TRIPS_PARAMETERS)
    async def guards(request: Request) -> dict[str, object]:
        """Scopes that are on the ladder or exempt, and the latest trips; a week by default. A key sees its own."""
        reader, now_ms = reader_of(parts, request.headers), parts.clock.now_ms()
        require_known(request.query_params, "limit", *SPAN_NAMES)
        from_ms, to_ms = parse_span(request.query_params, now_ms + 1)
        limit = parse_count(request.query_params.get("limit"), "limit", TRIPS_DEFAULT, TRIPS_MAX)
        cases = [
            case_fields(scope_id, case, now_ms)
            for scope_id, case in keeper.cases(now_ms)
            if _may_see(reader, case.team, case.key_id)
        ]
        trips = await trips_seen(parts, reader, from_ms, to_ms, limit)
        return {"as_of": iso_of(now_ms), "scopes": cases, "trips": trips}

    @routes.post("/v1/guards/{scope_id}/release", responses=FORBIDDEN)
    async def release(scope_id: str, request: Request) -> dict[str, object]:
        """End a stop or a throttle at once; what led to it counts no more."""
        require_operator(parts, request)
        now_ms = parts.clock.now_ms()
        return told(scope_id, keeper.release(known(scope_id), now_ms, OPERATOR), now_ms)

    @routes.post("/v1/guards/{scope_id}/exempt", responses=FORBIDDEN, openapi_extra=EXEMPT_BODY)
    async def exempt(scope_id: str, request: Request) -> dict[str, object]:
        """`{"for": "2h"}` lets everything of the scope pass meanwhile, also of one that no guard knows yet."""
        require_operator(parts, request)
        raw = await read_body(request.receive, request.headers, BODY_BYTES_MAX, BODY_TIMEOUT_S)
        span_ms, now_ms = exempt_ms(parse_json_object(raw).get("for")), parts.clock.now_ms()
        return told(scope_id, keeper.exempt(known(scope_id), now_ms, now_ms + span_ms, OPERATOR), now_ms)

    return routes
