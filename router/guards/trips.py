"""A trip as a ledger entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.clock import iso_of
from router.guards.events import Ruled
from router.ledger import GuardTrip
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.guards.state import Case


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose request it was that a trip is about, or which operator acted."""

    team: str | None
    project: str | None
    key_id: str | None
    decision_id: str | None


# A trip as an event of the ladder. A throttle is a strike where the next rung is a stop.
WHATS = {"stop": "stop", "throttle": "strike", "probe": "probe", "release": "release", "exempt": "exempt"}
NEVER_STOP = ("retry_storm", "dollar_velocity")


def ruled_of(trip: GuardTrip) -> Ruled | None:
    """What another gateway has to know of an entry; None where it moved nothing that lasts."""
    what = WHATS.get(trip.action)
    if what is None or (what == "strike" and trip.guard in NEVER_STOP):
        return None
    until_ms = trip.until_ms or 0
    return Ruled(
        time_ms=trip.time_ms,
        what=what,
        scope_id=trip.scope_id,
        scope=trip.scope,
        guard=trip.guard,
        guard_id=trip.guard_id,
        quiet_ms=max(until_ms - trip.time_ms, 0) if what == "stop" else 0,
        until_ms=until_ms if what == "exempt" else 0,
        team=trip.team,
        project=trip.project,
        key_id=trip.key_id,
    )


def trip_of(
    case: Case,
    scope_id: str,
    action: str,
    owner: Actor,
    now_ms: int,
    *,
    evidence: Mapping[str, object],
    leaked_nanousd: int | None = None,
    until_ms: int | None = None,
    guard: str | None = None,
    by: str = "guard",
) -> GuardTrip:
    """The entry of a scope that went up or down the ladder."""
    return GuardTrip(
        guard_id=case.guard_id,
        time_ms=now_ms,
        guard=guard or case.guard,
        action=action,
        scope=case.scope,
        scope_id=scope_id,
        team=owner.team,
        project=owner.project,
        key_id=owner.key_id,
        decision_id=owner.decision_id,
        leaked_nanousd=case.spent_nanousd if leaked_nanousd is None else leaked_nanousd,
        evidence=dict(evidence),
        until_ms=until_ms,
        by=by,
    )


def trip_fields(trip: GuardTrip) -> dict[str, object]:
    """An entry as the API, the webhook and the log tell it."""
    return {
        "time": iso_of(trip.time_ms),
        "guard_id": trip.guard_id,
        "guard": trip.guard,
        "action": trip.action,
        "scope": trip.scope,
        "scope_id": trip.scope_id,
        "team": trip.team,
        "project": trip.project,
        "key_id": trip.key_id,
        "decision_id": trip.decision_id,
        "leaked_usd": usd_of(trip.leaked_nanousd),
        "evidence": dict(trip.evidence),
        "until": None if trip.until_ms is None else iso_of(trip.until_ms),
        "by": trip.by,
    }
