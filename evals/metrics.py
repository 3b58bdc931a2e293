"""How a router is judged on a strong/weak pair, and intervals that respect twins.

APGR and CPT: RouteLLM (arXiv 2406.18665). Ties in a score are broken at random there; here their expectation is taken,
so that a constant score is worth exactly 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def recovered_curve(score: Floats, gain: Floats) -> tuple[Floats, Floats]:
    """Share of calls to the strong model against the gap recovered, at every distinct score, both from 0 to 1."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    recovered = np.cumsum(gain[order])[ends]
    calls = (ends + 1) / len(score)
    return np.append(0.0, calls), np.append(0.0, recovered / recovered[-1])


def apgr(score: Floats, strong: Floats, weak: Floats) -> float:
    """Mean share of the quality gap recovered over all shares of strong calls; NaN where there is no gap.

    ``score``: the higher, the sooner a prompt goes to the strong model.
    """
    gain = strong - weak
    if len(gain) == 0 or gain.sum() <= 0:
        return float("nan")
    calls, recovered = recovered_curve(score, gain)
    return float(np.trapezoid(recovered, calls))


def cpt(score: Floats, strong: Floats, weak: Floats, share: float) -> float:
    """Least share of strong calls that recovers at least ``share`` of the gap, NaN where there is no gap."""
    gain = strong - weak
    if len(gain) == 0 or gain.sum() <= 0:
        return float("nan")
    calls, recovered = recovered_curve(score, gain)
    above = np.flatnonzero(recovered >= share)
    at = int(above[0])
    if at == 0:
        return 0.0
    rise = recovered[at] - recovered[at - 1]
    part = (share - recovered[at - 1]) / rise if rise > 0 else 1.0
    return float(calls[at - 1] + part * (calls[at] - calls[at - 1]))


def auc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Chance that a positive outranks a negative (ties count half); NaN where one side is empty."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    total = float(ranks[inverse][positive].sum())
    return (total - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)


def auc_within(score: Floats, positive: NDArray[np.bool_], category: NDArray[np.str_]) -> float:
    """AUC inside each category, weighted by how many pairs of prompts it compares."""
    total, weight = 0.0, 0.0
    for name in np.unique(category):
        inside = category == name
        value = auc(score[inside], positive[inside])
        pairs = float(positive[inside].sum()) * float((~positive[inside]).sum())
        if pairs:
            total += value * pairs
            weight += pairs
    return total / weight if weight else float("nan")


def expected_calibration_error(predicted: Floats, realised: Floats, bins: int = 10) -> float:
    """Mean gap between predicted and realised over bins of equal count, weighted by count."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(float(predicted[part].mean() - realised[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(predicted)


def brier(predicted: Floats, realised: Floats) -> float:
    """Mean squared error of a predicted score."""
    return float(np.mean((predicted - realised) ** 2))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    groups: NDArray[np.str_],
    *,
    rounds: int = 200,
    seed: int = 7,
) -> Floats:
    """Draws (rounds, k) of a statistic of prompt indices that gives k numbers, resampling whole groups of twins."""
    _, member = np.unique(groups, return_inverse=True)
    n_groups = int(member.max()) + 1
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(n_groups + 1))
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        drawn = generator.integers(0, n_groups, n_groups)
        counts = bounds[drawn + 1] - bounds[drawn]
        starts = np.repeat(bounds[drawn] - np.append(0, np.cumsum(counts)[:-1]), counts)
        values.append(statistic(order[starts + np.arange(counts.sum())]))
    return np.array(values)


def interval(draws: Floats) -> tuple[float, float]:
    """95 % percentile interval of one statistic's draws; NaN where none is a number."""
    sound = draws[np.isfinite(draws)]
    if not len(sound):
        return float("nan"), float("nan")
    low, high = np.quantile(sound, [0.025, 0.975])
    return float(low), float(high)
