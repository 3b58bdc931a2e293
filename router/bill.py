"""What the caller is told a request cost, equal to the ledger's rows to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.calibration import Promise
    from router.decision import CostRange


@dataclass(frozen=True, slots=True)
class Bill:
    """The figures of the headers and of a stream's last chunk. ``cost_nanousd`` covers every attempt.

    ``cascade`` says how the checks went, None where the answer was not checked. ``budget_remaining_nanousd`` is what
    the tightest hard budget had left beside what the answer was held at, None where no budget counts it. ``lineage`` is
    the ticket for calls that descend from this one, ``guard`` what a guard noticed, ``context`` which bound on the
    input was passed.
    """

    decision_id: str
    model: str
    reason: str
    complexity: float | None
    expected_loss: float | None
    cost_nanousd: int
    premium_cost: CostRange | None
    dropped: tuple[str, ...]
    attempts: int
    usage_source: str
    cascade: str | None = None
    promise: Promise | None = None
    budget_remaining_nanousd: int | None = None
    lineage: str | None = None
    guard: str | None = None
    context: str | None = None

    @property
    def savings_nanousd(self) -> int | None:
        """Premium's point cost less ours; negative where routing cost more; None where premium is not modelled."""
        return None if self.premium_cost is None else self.premium_cost.point_nanousd - self.cost_nanousd
