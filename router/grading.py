"""Grading: from graded answers of one workload, how far each model's prediction is off and what keeps a tolerance.

Thresholds by Learn-then-Test (Angelopoulos et al. 2021) with a fixed order from strict to lax, as the shipped ones: a
threshold holds when the upper bound of the mean loss is within the tolerance at it and at every stricter one. Numbers
in, numbers out: no file, no prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from router.calibration import LABELS_MIN, LOSSLESS, NO_LIMIT, ODDS_FLOOR, labels_required

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.calibration import Calibration

    Array: TypeAlias = NDArray[Any]

TOLERANCES: Final = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.10, 0.15, 0.20, 0.30, 0.50, 1.0)
GRID: Final = np.round(np.linspace(-0.1, 0.7, 161), 4)
Z_95_ONE_SIDED: Final = 1.645
# The variance is stretched so that the bound says the same as the rule of three where nothing was lost.
CAUTION: Final = (LOSSLESS / Z_95_ONE_SIDED) ** 2
FOLDS: Final = 5
# A shift's prior deviation, in log-odds: chosen wide, so that some thirty answers outweigh it; not a measured figure.
SHIFT_DEVIATION: Final = 1.0
SHIFT_MAX: Final = 4.0
NEWTON_STEPS: Final = 20
SUPPORT_QUANTILE: Final = 0.02


def upper_bounds(losses: Array, member: Array, *, caution: float = 0.0) -> Array:
    """One-sided 95 % upper bounds of mean losses (k, n), clustered; ``member`` (n) numbers the groups from 0.

    ``caution``: so many more groups that lost everything stand in the variance, so that few routed prompts without a
    loss prove little.
    """
    n = losses.shape[1]
    count = np.bincount(member)
    mean = losses.mean(1)
    sums = np.zeros((len(losses), len(count)))
    np.add.at(sums.T, member, losses.T)
    error = np.sqrt(((sums - count * mean[:, None]) ** 2).sum(1) + caution) / n
    found: Array = mean + Z_95_ONE_SIDED * error
    return found


@dataclass(frozen=True, slots=True)
class Labels:
    """Graded answers of one workload. Shapes: prompts n, models m, the first of them premium.

    ``quality`` (n, m) as the shipped model predicts it; ``score`` (n, m) 0..1, not a number where nobody graded;
    ``cost_nanousd`` (n, m) expected; ``support`` (n); ``group`` (n) whole numbers, equal for twins; ``complexity`` (n),
    None where nobody asked.
    """

    models: tuple[str, ...]
    quality: Array
    score: Array
    cost_nanousd: Array
    support: Array
    group: Array
    complexity: Array | None = None

    def only(self, rows: Array) -> Labels:
        """The labels of some prompts."""
        return Labels(
            self.models, self.quality[rows], self.score[rows], self.cost_nanousd[rows], self.support[rows],
            self.group[rows], None if self.complexity is None else self.complexity[rows],
        )  # fmt: skip

    def usable(self) -> Labels:
        """The prompts that premium and another model have scores for."""
        graded = np.isfinite(self.score)
        return self.only(graded[:, 0] & graded[:, 1:].any(1))

    def count(self, index: int | None = None) -> int:
        """Groups of prompts with a loss: of any model, or of one beside premium."""
        graded = np.isfinite(self.score)
        others = graded[:, 1:].any(1) if index is None else graded[:, index]
        return len(np.unique(self.group[graded[:, 0] & others]))


@dataclass(frozen=True, slots=True)
class Fit:
    """Shifts (m) in log-odds, which models have labels enough (m), and thresholds by tolerance."""

    shifts: Array
    covers: Array
    thresholds: Mapping[float, float]

    def threshold(self, tolerance: float) -> float:
        """The threshold of the tolerance; minus infinity where the labels are too few."""
        return self.thresholds.get(tolerance, NO_LIMIT)


def shift_of(quality: Array, score: Array) -> float:
    """The shift that explains the scores best, drawn to 0 by a normal prior: ridge on the log-odds.

    A label pulls with a force of at most 1 against the prior's and all others' stiffness, so one noisy thumb moves
    little.
    """
    bounded = np.clip(quality, ODDS_FLOOR, 1 - ODDS_FLOOR)
    odds = np.log(bounded / (1 - bounded))
    stiffness = 1 / SHIFT_DEVIATION**2
    shift = 0.0
    for _ in range(NEWTON_STEPS):
        predicted = 1 / (1 + np.exp(-(odds + shift)))
        slope = float((score - predicted).sum()) - stiffness * shift
        curvature = float((predicted * (1 - predicted)).sum()) + stiffness
        shift = min(max(shift + slope / max(curvature, 0.05 * len(score)), -SHIFT_MAX), SHIFT_MAX)
    return shift


def shifts_of(labels: Labels) -> Array:
    """The shift of each model (m); 0 for one without a score."""
    found = np.zeros(len(labels.models))
    for index in range(len(labels.models)):
        graded = np.isfinite(labels.score[:, index])
        if graded.any():
            found[index] = shift_of(labels.quality[graded, index], labels.score[graded, index])
    return found


def predicted_losses(quality: Array, shifts: Array) -> Array:
    """Predicted loss (n, m) of each model against the first, from shifted qualities."""
    bounded = np.clip(quality, ODDS_FLOOR, 1 - ODDS_FLOOR)
    moved = 1 / (1 + np.exp(-(np.log(bounded / (1 - bounded)) + shifts)))
    losses: Array = moved[:, :1] - moved
    return losses


def chosen_at(predicted: Array, limits: Array, labels: Labels, covers: Array) -> Array:
    """The model (n) that each limit lets serve: the cheapest with a score within it, else premium, index 0."""
    within = (predicted <= np.asarray(limits)[..., None]) & covers & np.isfinite(labels.score)
    within[:, 0] = True
    chosen: Array = np.where(within, labels.cost_nanousd, np.inf).argmin(1)
    return chosen


def realised_losses(labels: Labels, chosen: Array) -> Array:
    """What the chosen models' scores (n) fall short of premium's."""
    rows = np.arange(len(chosen))
    return labels.score[:, 0] - labels.score[rows, chosen]


def folds_of(group: Array) -> Array:
    """A fold (n) for each prompt, twins in the same; the same for the same groups in the same order."""
    unique, member = np.unique(group, return_inverse=True)
    order = np.random.default_rng(len(unique)).permutation(len(unique))
    return order[member] % FOLDS


def fit(labels: Labels, tolerances: Sequence[float] = TOLERANCES) -> Fit:
    """Shifts and thresholds from the labels; premium alone, or no threshold at all, where they prove too little.

    Each prompt's loss is predicted with shifts that did not see it, so that the bound does not judge its own fit.
    """
    labels = labels.usable()
    covers = np.array([labels.count(index) >= LABELS_MIN for index in range(len(labels.models))], dtype=bool)
    shifts = shifts_of(labels)
    count = labels.count()
    reached = [t for t in tolerances if labels_required(t) <= count]
    if not reached or not covers[1:].any():
        return Fit(shifts, covers, {})
    fold = folds_of(labels.group)
    predicted = np.empty_like(labels.quality)
    for each in range(FOLDS):
        inside = fold == each
        predicted[inside] = predicted_losses(labels.quality[inside], shifts_of(labels.only(~inside)))
    worst = _worst_bounds(labels, predicted, covers)
    return Fit(shifts, covers, {t: float(GRID[worst <= t].max()) if (worst <= t).any() else NO_LIMIT for t in reached})


def _worst_bounds(labels: Labels, predicted: Array, covers: Array) -> Array:
    """The highest bound at each limit of the grid, or at a stricter one: of the choice among all, and of each alone."""
    sets = [covers]
    if covers[1:].sum() > 1:
        sets += [np.arange(len(covers)) == index for index in np.flatnonzero(covers[1:]) + 1]
    bounds = []
    for among in sets:
        part = np.asarray(np.isfinite(labels.score[:, among]).any(1))
        mine, losses = labels.only(part), predicted[part]
        chosen = np.stack([chosen_at(losses, np.full(len(losses), limit), mine, among) for limit in GRID])
        realised = np.stack([realised_losses(mine, each) for each in chosen])
        _, member = np.unique(mine.group, return_inverse=True)
        bounds.append(upper_bounds(realised, member, caution=CAUTION))
    return np.maximum.accumulate(np.max(bounds, axis=0))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What routing at one tolerance came to on graded prompts: loss, share and money away from premium.

    ``loss`` is the mean, ``loss_high`` its one-sided 95 % upper bound by group of twins.
    """

    loss: float
    loss_high: float
    routed_share: float
    saved_nanousd: int
    premium_nanousd: int


def outcome_of(labels: Labels, chosen: Array) -> Outcome:
    """The outcome of a choice (n) on the labels' prompts."""
    rows = np.arange(len(chosen))
    cost, premium = labels.cost_nanousd[rows, chosen], labels.cost_nanousd[:, 0]
    realised = realised_losses(labels, chosen)
    _, member = np.unique(labels.group, return_inverse=True)
    return Outcome(
        loss=float(realised.mean()),
        loss_high=float(upper_bounds(realised[None], member, caution=CAUTION)[0]),
        routed_share=float((chosen != 0).mean()),
        saved_nanousd=int((premium - cost).sum()),
        premium_nanousd=int(premium.sum()),
    )


def held_back(labels: Labels, tolerances: Sequence[float]) -> dict[float, Outcome]:
    """Each tolerance's outcome on prompts that its own fit did not see, fold by fold, twins together."""
    labels = labels.usable()
    fold = folds_of(labels.group)
    chosen = {t: np.zeros(len(fold), dtype=np.intp) for t in tolerances}
    for each in range(FOLDS):
        inside = fold == each
        fitted = fit(labels.only(~inside), tolerances)
        mine = labels.only(inside)
        predicted = predicted_losses(mine.quality, fitted.shifts)
        for t in tolerances:
            limits = np.full(len(predicted), fitted.threshold(t))
            chosen[t][inside] = chosen_at(predicted, limits, mine, fitted.covers)
    return {t: outcome_of(labels, each) for t, each in chosen.items()}


def chosen_by(calibration: Calibration, labels: Labels, tolerance: float) -> Array:
    """The model (n) that a calibration lets serve each prompt; premium, index 0, where it does not cover one."""
    covers = np.array([model in calibration.shifts for model in labels.models], dtype=bool)
    shifts = np.array([calibration.shifts.get(model, 0.0) for model in labels.models])
    limit = calibration.threshold(tolerance)
    limits = np.where(labels.support >= calibration.support_floor, NO_LIMIT if limit is None else limit, NO_LIMIT)
    return chosen_at(predicted_losses(labels.quality, shifts), limits, labels, covers)


def why_not_replace(
    former: Calibration, fitted: Fit, before: Mapping[float, Outcome], after: Mapping[float, Outcome]
) -> str | None:
    """Why a version should stay instead of the one that follows, by what both came to on the same prompts; else None.

    It stays where it has labels enough for a tolerance and the other has not, where its bound keeps one that the
    other's does not, and where it keeps them all and saves more.
    """
    bare = [t for t in after if former.threshold(t) is not None and t not in fitted.thresholds]
    if bare:
        return f"it has labels enough for {', '.join(f'{t:g}' for t in bare)}, the new one has not"
    lost = [t for t in after if after[t].loss_high > t >= before[t].loss_high]
    if lost:
        return f"its bound is within {', '.join(f'{t:g}' for t in lost)}, that of the new one is not"
    gains = [before[t].saved_nanousd - after[t].saved_nanousd for t in after]
    if all(before[t].loss_high <= t for t in after) and min(gains) >= 0 < max(gains):
        return "it keeps every tolerance and saves more"
    return None


def support_floor_of(labels: Labels) -> float:
    """The support below which lie only the oddest of the graded prompts."""
    return float(np.quantile(labels.usable().support, SUPPORT_QUANTILE))
