"""The decision: which model answers, and why each other did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Reason: TypeAlias = Literal[
    "cheapest_within_tolerance",  # a cheaper model's predicted loss is within the threshold
    "premium_is_cheapest",  # premium itself costs least of all that qualify
    "zero_tolerance",  # the caller accepts no loss
    "no_ground",  # the prompt is unlike anything calibrated: abstained upward
    "none_within_tolerance",  # every cheaper candidate is predicted to lose too much
    "premium_not_eligible",  # premium may not serve it: the best of what may
    "pinned",  # the caller named the model
]


@dataclass(frozen=True, slots=True)
class CostRange:
    """An amount with its uncertainty, in nano-USD; ``low <= point <= high``."""

    low_nanousd: int
    point_nanousd: int
    high_nanousd: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model of the policy, weighed for one request.

    ``why_not`` holds stable codes, each ``name`` or ``name:detail``; empty for the chosen model. ``is_eligible`` means
    that it *may* serve; an eligible candidate can still lose on ``loss_above_threshold`` or ``dearer``.
    ``predicted_loss`` is against premium on the score's scale 0..1; None where the quality model knows nothing of it.
    """

    model: str
    is_eligible: bool
    why_not: tuple[str, ...]
    quality: float | None
    quality_width: float | None
    predicted_loss: float | None
    input_tokens: int
    output_tokens: int
    expected_cost_nanousd: int
    placement: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one request, complete enough to be decided again from it.

    ``order`` is the models to ask, the chosen one first, then the fallbacks. ``features`` are numbers only.
    """

    decision_id: str
    model: str
    order: tuple[str, ...]
    reason: Reason
    quality_tier: str | None
    tolerance: float
    threshold: float
    premium: str
    complexity: float
    support: float
    kind: str
    expected_loss: float
    expected_cost_nanousd: int
    premium_cost: CostRange
    candidates: tuple[Candidate, ...]
    rules: tuple[str, ...]
    features: Mapping[str, float]
    output_tokens_max: int
    policy_revision: str
    price_revision: str
    quality_revision: str

    def candidate(self, model: str) -> Candidate:
        """The candidate with this id; asserts that it was weighed."""
        found = next((each for each in self.candidates if each.model == model), None)
        assert found is not None, model
        return found
