"""A trip as a ledger entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.ledger import GuardTrip

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
