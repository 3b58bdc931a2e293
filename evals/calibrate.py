"""Thresholds that keep a tolerance with confidence, complexity as a share, and where the model has no ground.

Learn-then-Test (Angelopoulos et al. 2021) with a fixed order from strict to lax: a threshold holds for a tolerance when
the upper bound of the realised mean loss is within it at this threshold and at every stricter one, for every judged
pair of the source, and for the choice among all of the source's priced models. Prompts are clustered by group of twins.
Then each pair and choice is looked at as a whole, as it would be served: where its bound lies above the tolerance, the
thresholds that it had no say in are tightened until it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import sigmoid
from evals.pairs import PAIRS, rows_of
from evals.prices import PORTFOLIOS, PREMIUM, usual_cost_usd
from router.grading import GRID, TOLERANCES, upper_bounds
from router.quality.names import ability_key

if TYPE_CHECKING:
    from evals.dataset import Dataset
    from evals.prepare import Prepared

# Fewer prompts of a pair say nothing that a normal bound could be read off.
PROMPTS_MIN: Final = 200
# As a whole a case may speak for itself from fewer.
CASE_PROMPTS_MIN: Final = 100
SUPPORT_QUANTILE: Final = 0.02
KNOTS: Final = 33
NEWTON_STEPS: Final = 12
# Pairs of a premium and an economy model over many kinds of task: what `complexity` is a share of.
COMPLEXITY_GROUPS: Final = ("Llama 405B / 8B", "Sonnet / Llama 8B", "Gemini Pro / Llama 8B, MMLU-Pro")


@dataclass(frozen=True, slots=True)
class Judged:
    """One pair, or a choice among several models, on prompts that no fit has seen.

    ``predicted`` and ``realised`` losses against premium (n, models), the cheapest model first; ``groups`` (n), and
    ``kind_sources`` (n), the source of each prompt's kind.
    """

    group: str
    source: str
    predicted: Any
    realised: Any
    groups: Any
    kind_sources: Any

    def losses_at(self, limit: Any, inside: Any) -> Any:
        """Realised losses of the cheapest model within the limit, 0 where none is and premium answers."""
        within = self.predicted[inside] <= limit
        first = np.argmax(within, axis=1)
        losses = self.realised[inside][np.arange(len(first)), first]
        return np.where(within.any(axis=1), losses, 0.0)


def upper_bound(losses: Any, groups: Any) -> float:
    """One-sided 95 % upper bound of a mean loss, clustered by group of twins."""
    _, member = np.unique(groups, return_inverse=True)
    return float(upper_bounds(np.asarray(losses)[None, :], member)[0])


def judged_sets(prepared: Prepared, kind_sources: Any, logits: Any, rows: Any) -> list[Judged]:
    """Each judged pair and portfolio over ``rows``, by models that saw none of them.

    ``kind_sources`` (prompts), the source of each prompt's nearest kind; ``logits`` (prompts, models).
    """
    dataset = prepared.dataset
    inside = np.zeros(len(dataset.prompts), dtype=bool)
    inside[rows] = True
    sets: list[tuple[str, str, str, tuple[str, ...], Any]] = [
        (pair.group, pair.source, pair.strong, (pair.weak,), rows_of(pair, dataset)) for pair in PAIRS
    ]
    for source, names in PORTFOLIOS.items():
        others = tuple(sorted((name for name in names if name != PREMIUM[source]), key=usual_cost_usd))
        sets.append(
            (f"portfolio of {source}", source, PREMIUM[source], others, answered_by_all(dataset, source, names))
        )
    found = []
    for group, source, premium, others, asked in sets:
        at = asked[inside[asked]]
        if len(at):
            columns = [dataset.columns.index((source, name)) for name in (premium, *others)]
            places = [prepared.models.index(ability_key(dataset.column_model[column])) for column in columns]
            quality = sigmoid(logits[np.ix_(at, np.array(places))])
            scores = dataset.scores[np.ix_(at, np.array(columns))]
            found.append(
                Judged(
                    group,
                    source,
                    quality[:, :1] - quality[:, 1:],
                    scores[:, :1] - scores[:, 1:],
                    dataset.groups[at],
                    kind_sources[at],
                )
            )
    return found


def answered_by_all(dataset: Dataset, source: str, names: tuple[str, ...]) -> Any:
    """Indices of the prompts that every one of a source's models answered with a score."""
    if any((source, name) not in dataset.columns for name in names):
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(np.isfinite(np.stack([dataset.column(source, name) for name in names])).all(0))


def thresholds_of(judged: list[Judged]) -> tuple[list[str], Any]:
    """Sources, and thresholds (sources + 1, tolerances); the last row is the strictest of all."""
    sources, rows = [], []
    for source in dict.fromkeys(each.source for each in judged):
        bounds = []
        for each in judged:
            inside = each.kind_sources == source
            if inside.sum() < PROMPTS_MIN:
                continue
            _, member = np.unique(each.groups[inside], return_inverse=True)
            losses = np.stack([each.losses_at(limit, inside) for limit in GRID])
            bounds.append(upper_bounds(losses, member, caution=1.0))
        if bounds:
            worst = np.maximum.accumulate(np.max(bounds, axis=0))
            sources.append(source)
            rows.append([float(GRID[worst <= t].max()) if (worst <= t).any() else -np.inf for t in TOLERANCES])
    if not rows:
        return [], np.full((1, len(TOLERANCES)), -np.inf, dtype=np.float32)
    tightened = np.array([*rows, np.min(rows, axis=0)])
    for each in judged:
        if len(each.groups) >= CASE_PROMPTS_MIN:
            _tighten(tightened, each, sources)
    # A stricter tolerance never has the laxer threshold, and no kind is freer than the rest by lack of a row.
    tightened = np.minimum.accumulate(tightened[:, ::-1], axis=1)[:, ::-1]
    tightened[-1] = tightened.min(axis=0)
    return sources, tightened.astype(np.float32)


def _tighten(rows: Any, case: Judged, sources: list[str]) -> None:
    """Lower thresholds that a case had no say in until it holds as a whole: the row of other kinds first, then all."""
    others = len(sources)
    place = np.array([sources.index(kind) if kind in sources else others for kind in case.kind_sources])
    counts = np.bincount(place, minlength=len(rows))
    mute = [row for row, count in enumerate(counts) if count and (row == others or count < PROMPTS_MIN)]
    if not mute:
        return
    _, member = np.unique(case.groups, return_inverse=True)
    ladder = np.append(-np.inf, GRID)
    for column, tolerance in enumerate(TOLERANCES):
        for lowered in ([others], mute) if others in mute else (mute,):
            limits = rows[place, column]
            now = case.losses_at(limits[:, None], slice(None))
            if upper_bounds(now[None, :], member)[0] <= tolerance:
                continue
            free = np.isin(place, lowered)
            tried = [np.where(free, np.minimum(limits, each), limits) for each in ladder]
            losses = np.stack([case.losses_at(each[:, None], slice(None)) for each in tried])
            kept = ladder[np.maximum.accumulate(upper_bounds(losses, member)) <= tolerance]
            rows[lowered, column] = np.minimum(rows[lowered, column], kept.max() if len(kept) else -np.inf)


def complexity_knots_of(prepared: Prepared, gaps: Any, rows: Any) -> Any:
    """Predicted gap of the reference models onto the share of prompts where an economy model falls short.

    ``gaps`` (prompts) by models that saw none of ``rows``.
    """
    dataset = prepared.dataset
    seen, short = [], []
    for pair in PAIRS:
        if pair.group in COMPLEXITY_GROUPS:
            at = np.intersect1d(rows_of(pair, dataset), rows)
            seen.append(gaps[at])
            short.append(dataset.column(pair.source, pair.weak)[at] < dataset.column(pair.source, pair.strong)[at])
    if sum(map(len, seen)) < PROMPTS_MIN:
        return np.array([[0.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    slope, start = logistic_line(np.concatenate(seen), np.concatenate(short).astype(float))
    edges = np.linspace(-1, 1, KNOTS)
    return np.stack([edges, sigmoid(slope * edges + start)], 1).astype(np.float32)


def logistic_line(x: Any, y: Any) -> tuple[float, float]:
    """Slope and start of a logistic regression of y (0..1) on one number, by Newton's method."""
    design = np.stack([x, np.ones_like(x)], 1)
    solved = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        predicted = sigmoid(design @ solved)
        curvature = design.T @ (design * (predicted * (1 - predicted))[:, None]) + 1e-6 * np.eye(2)
        solved += np.linalg.solve(curvature, design.T @ (y - predicted))
    return float(solved[0]), float(solved[1])


def support_floor_of(support: Any) -> float:
    """The support below which lie only the oddest prompts, from what models that saw none of them know of each."""
    return float(np.quantile(support, SUPPORT_QUANTILE))
