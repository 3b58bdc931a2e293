"""What guards are shown of a decision, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from router.errors import FanoutExceededError, LoopDetectedError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.errors import AdmissionError
    from router.guards.events import Asked
    from router.guards.ladder import Action
    from router.guards.rules import Finding
    from router.guards.state import Case
    from router.policy import Guards


class Costed(Protocol):
    """What a model is expected to cost for a request."""

    @property
    def expected_cost_nanousd(self) -> int | None:
        """Nano-USD; None where it has no price."""
        ...


class Decided(Protocol):
    """What guards look at in a decision."""

    @property
    def decision_id(self) -> str:
        """Its id."""
        ...

    @property
    def order(self) -> Sequence[str]:
        """The models that will be asked, in turn."""
        ...

    @property
    def is_pinned(self) -> bool:
        """Whether the caller named the model."""
        ...

    def candidate(self, model: str) -> Costed:
        """What is known of a model for this request."""
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """What must be told when the request ends."""

    asked: Asked
    key: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """A request may go on: as it is, or (``downgrade``) to the cheapest model that may serve it.

    ``ticket`` is for the response's `X-Router-Lineage`. ``lineage_id`` is the ledger's name of the lineage.
    """

    action: Action
    guard: str | None
    evidence: Mapping[str, int | float]
    ticket: str
    lineage_id: str
    mark: Mark | None
    guard_id: str | None = None


def refusal_of(action: Action, finding: Finding, guard_id: str, bounds: Guards) -> AdmissionError:
    """What a call is refused with as its scope reaches the rung."""
    data = {"guard": finding.guard, "guard_id": guard_id, "scope": finding.scope, **finding.evidence}
    counts = ", ".join(f"{name} {value:g}" for name, value in finding.evidence.items())
    if finding.is_hard and finding.most == "stop":
        return FanoutExceededError(f"{finding.guard} ({counts}): agents call agents without end?", data=data)
    if action == "throttle":
        wait_s = finding.retry_after_s or bounds.window_ms / bounds.repeats_max / 1000
        message = f"slowed down by the guard {finding.guard} ({counts}); come back in {wait_s:.0f} s"
        return RateLimitedError(message, data={**data, "retry_after_s": wait_s})
    return LoopDetectedError(f"stopped by the guard {finding.guard} ({counts}) as a loop: {guard_id}", data=data)


def stopped_again(case: Case, scope_id: str) -> AdmissionError:
    """What every further call of a stopped scope is refused with."""
    data = {"guard": case.guard, "guard_id": case.guard_id, "scope": case.scope, "refused": case.refused}
    message = (
        f"this {case.scope} was stopped by the guard {case.guard} ({case.guard_id}); it is tried again after "
        f"{case.quiet_ms // 1000} s of silence, or released by `tollgate guards release {scope_id}`"
    )
    if case.guard in ("fan_out", "lineage_depth"):
        return FanoutExceededError(message, data=data)
    return LoopDetectedError(message, data=data)
