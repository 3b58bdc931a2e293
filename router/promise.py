"""What the promise of one request rests on: its workload's calibration, the shipped one, or nothing."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from router.calibration import NO_LIMIT, labels_required, shifted
from router.quality import Placement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.calibration import Adjustment, Calibration, Promise
    from router.policy import Policy
    from router.quality import QualityModel, Scores

NO_SHIFTS: Mapping[str, float] = MappingProxyType({})


class Footing(NamedTuple):
    """The promise, and the numbers that the choice follows from.

    ``losses`` are in the order of the policy's models, None where the promise does not cover one. ``has_ground`` says
    whether any model but premium may be predicted at all. ``labels_needed`` is how many more graded prompts of this
    workload a calibration for the tolerance needs; ``calibration`` names the one in use. ``is_met`` is False where the
    policy demands one and there is none. ``shifts`` are the log-odds by which labels moved each model's quality, by
    the policy's name of it; ``feedback`` names the version that had a part in them, and ``alarm`` says why it takes the
    promise away.
    """

    promise: Promise
    scores: Scores
    losses: tuple[float | None, ...]
    threshold: float
    has_ground: bool
    labels_needed: int
    calibration: str | None = None
    is_met: bool = True
    shifts: Mapping[str, float] = NO_SHIFTS
    feedback: str | None = None
    alarm: str | None = None


def footing_of(
    quality: QualityModel,
    scores: Scores,
    policy: Policy,
    tolerance: float,
    calibration: Calibration | None,
    adjustment: Adjustment | None = None,
    drift: str | None = None,
) -> Footing:
    """The workload's calibration where it has labels enough for the tolerance, else the shipped one where it may.

    A calibration was made for one quality model and one premium model, and says nothing beside others, nor of a prompt
    that is unlike those that were graded. Feedback moves a calibration both ways, the shipped one only to the safe
    side: no thumb proves a loss that nobody graded. Where it contradicts either, nothing is promised, and premium
    answers. Where the workload's prompts have drifted from those that were graded, its calibration says
    nothing any more, and the shipped one holds, if it may.
    """
    premium = tuple(policy.models).index(policy.premium)
    labels = 0
    threshold = quality.threshold(tolerance, scores.kind)
    alarm = None if adjustment is None else adjustment.alarm
    if calibration is not None and drift is None and _is_of(calibration, quality, policy, scores):
        labels = calibration.labels
        own = calibration.threshold(tolerance)
        if own is not None and alarm is None:
            return _calibrated(calibration, own, scores, policy, premium, adjustment)
        if calibration.contradicts():
            threshold = NO_LIMIT
    if alarm is not None:
        threshold = NO_LIMIT
    needed = max(0, labels_required(tolerance) - labels)
    is_known = scores.has_ground and scores.placement[premium].basis != "none" and alarm is None
    losses: tuple[float, ...] = quality.predicted_loss(scores, premium)
    shifts: Mapping[str, float] = NO_SHIFTS
    if adjustment is not None and adjustment.shifts:
        scores, losses, shifts = _tightened(quality, scores, losses, policy, premium, adjustment)
    return Footing(
        "shipped" if is_known else "none",
        scores,
        losses,
        threshold,
        has_ground=scores.has_ground,
        labels_needed=needed,
        is_met=policy.promise_min is None,
        shifts=shifts,
        feedback=adjustment.id if adjustment is not None and (shifts or alarm) else None,
        alarm=alarm or drift,
    )


def _is_of(calibration: Calibration, quality: QualityModel, policy: Policy, scores: Scores) -> bool:
    return (
        calibration.quality_revision == quality.revision
        and calibration.premium == policy.premium_model.provider_model
        and scores.support >= calibration.support_floor
    )


def _calibrated(
    calibration: Calibration,
    threshold: float,
    scores: Scores,
    policy: Policy,
    premium: int,
    adjustment: Adjustment | None,
) -> Footing:
    """The scores as labels and feedback move them, and the losses that follow; None for a model without labels."""
    learned = NO_SHIFTS if adjustment is None else adjustment.shifts
    shifts = [
        calibration.shifts[model.provider_model] + learned.get(model.provider_model, 0.0)
        if model.provider_model in calibration.shifts
        else None
        for model in policy.models.values()
    ]
    quality = _moved(scores.quality, shifts)
    placement = tuple(
        each if shift is None else Placement("labels", (calibration.id,))
        for each, shift in zip(scores.placement, shifts, strict=True)
    )
    losses = tuple(
        None if shift is None else quality[premium] - each for each, shift in zip(quality, shifts, strict=True)
    )
    return Footing(
        "calibrated",
        replace(scores, quality=quality, placement=placement),
        losses,
        threshold,
        has_ground=True,
        labels_needed=0,
        calibration=calibration.id,
        shifts=_named(policy, shifts),
        feedback=adjustment.id if adjustment is not None and learned else None,
    )


def _tightened(
    quality: QualityModel,
    scores: Scores,
    losses: tuple[float, ...],
    policy: Policy,
    premium: int,
    adjustment: Adjustment,
) -> tuple[Scores, tuple[float, ...], Mapping[str, float]]:
    """The shipped scores as feedback moves them; no loss is below the shipped one for it."""
    shifts = [adjustment.shifts.get(model.provider_model) for model in policy.models.values()]
    moved = replace(scores, quality=_moved(scores.quality, shifts))
    after = quality.predicted_loss(moved, premium)
    return moved, tuple(map(max, losses, after)), _named(policy, shifts)


def _moved(quality: tuple[float, ...], shifts: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(each if shift is None else shifted(each, shift) for each, shift in zip(quality, shifts, strict=True))


def _named(policy: Policy, shifts: Sequence[float | None]) -> Mapping[str, float]:
    return {name: shift for name, shift in zip(policy.models, shifts, strict=True) if shift is not None}
