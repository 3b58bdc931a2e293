"""What the promise of one request rests on: its workload's calibration, the shipped one, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from router.calibration import NO_LIMIT, labels_required, shifted
from router.quality import Placement

if TYPE_CHECKING:
    from router.calibration import Calibration, Promise
    from router.policy import Policy
    from router.quality import QualityModel, Scores


class Footing(NamedTuple):
    """The promise, and the numbers that the choice follows from.

    ``losses`` are in the order of the policy's models, None where the promise does not cover one. ``has_ground`` says
    whether any model but premium may be predicted at all. ``labels_needed`` is how many more graded prompts of this
    workload a calibration for the tolerance needs; ``calibration`` names the one in use. ``is_met`` is False where the
    policy demands one and there is none.
    """

    promise: Promise
    scores: Scores
    losses: tuple[float | None, ...]
    threshold: float
    has_ground: bool
    labels_needed: int
    calibration: str | None = None
    is_met: bool = True


def footing_of(
    quality: QualityModel, scores: Scores, policy: Policy, tolerance: float, calibration: Calibration | None
) -> Footing:
    """The workload's calibration where it has labels enough for the tolerance, else the shipped one where it may.

    A calibration was made for one quality model and one premium model, and says nothing beside others, nor of a prompt
    that is unlike those that were graded.
    """
    premium = tuple(policy.models).index(policy.premium)
    labels = 0
    threshold = quality.threshold(tolerance, scores.kind)
    if calibration is not None and _is_of(calibration, quality, policy, scores):
        labels = calibration.labels
        own = calibration.threshold(tolerance)
        if own is not None:
            moved, losses = _calibrated(calibration, scores, policy, premium)
            return Footing(
                "calibrated", moved, losses, own, has_ground=True, labels_needed=0, calibration=calibration.id
            )
        if calibration.contradicts():
            threshold = NO_LIMIT
    needed = max(0, labels_required(tolerance) - labels)
    is_known = scores.has_ground and scores.placement[premium].basis != "none"
    return Footing(
        "shipped" if is_known else "none",
        scores,
        quality.predicted_loss(scores, premium),
        threshold,
        has_ground=scores.has_ground,
        labels_needed=needed,
        is_met=policy.promise_min is None,
    )


def _is_of(calibration: Calibration, quality: QualityModel, policy: Policy, scores: Scores) -> bool:
    return (
        calibration.quality_revision == quality.revision
        and calibration.premium == policy.premium_model.provider_model
        and scores.support >= calibration.support_floor
    )


def _calibrated(
    calibration: Calibration, scores: Scores, policy: Policy, premium: int
) -> tuple[Scores, tuple[float | None, ...]]:
    """The scores as the labels move them, and the losses that follow; None for a model without labels."""
    shifts = [calibration.shifts.get(model.provider_model) for model in policy.models.values()]
    quality = tuple(
        each if shift is None else shifted(each, shift) for each, shift in zip(scores.quality, shifts, strict=True)
    )
    placement = tuple(
        each if shift is None else Placement("labels", (calibration.id,))
        for each, shift in zip(scores.placement, shifts, strict=True)
    )
    losses = tuple(
        None if shift is None else quality[premium] - each for each, shift in zip(quality, shifts, strict=True)
    )
    return replace(scores, quality=quality, placement=placement), losses
