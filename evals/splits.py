"""Random halves of what no model has seen: does a threshold from one half keep its tolerance on the other?

Every prompt of the data, whatever its split, is judged by a cross-fitted model that saw no twin of it, so that halves
can be drawn again and again. Halves go by group of twins. Thresholds are the project's own (`calibrate.thresholds_of`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.calibrate import Judged, answered_by_all, judged_sets, thresholds_of
from evals.crossfit import FOLDS, CrossFitted, cross_fitted
from evals.pairs import PAIRS, rows_of
from evals.prices import PORTFOLIOS, PREMIUM, usual_cost_usd
from evals.reliability import pair_costs
from evals.version import fit_name
from router.grading import GRID
from router.grading import TOLERANCES as FITTED_TOLERANCES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.dataset import Dataset
    from evals.prepare import Prepared
    from evals.recipe import Recipe

TOLERANCES: Final = (0.02, 0.05, 0.10)
# What a threshold may rest on: the source's one threshold as it is shipped, the case's own, and the mean alone.
METHODS: Final = ("shipped", "own", "mean")
CONFIDENCE: Final = 0.95
PORTFOLIO: Final = "portfolio of "
# What single precision may add to a mean that lies on the tolerance.
ROUNDING: Final = 1e-9


def cached_cross_fit(
    prepared: Prepared,
    recipe: Recipe,
    *,
    cache: Path,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> CrossFitted:
    """Cross-fitted predictions of every prompt, read from ``cache`` where the same data and recipe made them before."""
    name = fit_name(prepared.dataset, recipe, FOLDS, seed)
    path = cache / f"crossfit-{name}.npz"
    if path.exists():
        say(f"cross-fitted predictions read from {path.name}")
        with np.load(path) as kept:
            return CrossFitted(kept["logits"], kept["gaps"], kept["support"], kept["kind_sources"].astype(object))
    found = cross_fitted(prepared, np.arange(len(prepared.dataset.prompts)), recipe, seed=seed, say=say)
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    np.savez(
        part,
        logits=found.logits,
        gaps=found.gaps,
        support=found.support,
        kind_sources=found.kind_sources.astype(str),
    )
    part.replace(path)
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """A judged pair or portfolio with its costs in USD, of ``premium`` (n) and, in its order, of ``others`` (n, m)."""

    judged: Judged
    premium: Any
    others: Any

    def take(self, at: Any) -> Case:
        """The prompts at these places."""
        one = self.judged
        part = replace(
            one,
            predicted=one.predicted[at],
            realised=one.realised[at],
            groups=one.groups[at],
            kind_sources=one.kind_sources[at],
        )
        return Case(part, self.premium[at], self.others[at])

    def outcome_at(self, limits: Any) -> tuple[float, float, float]:
        """Mean realised loss, share of dollars saved and share of prompts routed away from premium, at limits (n)."""
        limits = np.broadcast_to(np.asarray(limits, dtype=float), (len(self.premium),))[:, None]
        losses = self.judged.losses_at(limits, slice(None))
        within = self.judged.predicted <= limits
        is_routed = within.any(1)
        cost = np.where(is_routed, self.others[np.arange(len(within)), np.argmax(within, axis=1)], self.premium)
        return float(losses.mean()), float(1 - cost.sum() / self.premium.sum()), float(is_routed.mean())


def rows_judged(dataset: Dataset) -> dict[str, Any]:
    """The prompts (indices) of each pair and portfolio by its name, in the order of `calibrate.judged_sets`."""
    rows = {pair.group: rows_of(pair, dataset) for pair in PAIRS}
    rows |= {f"{PORTFOLIO}{source}": answered_by_all(dataset, source, names) for source, names in PORTFOLIOS.items()}
    return {name: at for name, at in rows.items() if len(at)}


def models_of(name: str) -> tuple[str, str, tuple[str, ...]]:
    """Source, premium and the other models, the cheapest first, of a pair or portfolio."""
    for pair in PAIRS:
        if pair.group == name:
            return pair.source, pair.strong, (pair.weak,)
    source = name.removeprefix(PORTFOLIO)
    premium = PREMIUM[source]
    return source, premium, tuple(sorted((each for each in PORTFOLIOS[source] if each != premium), key=usual_cost_usd))


def costs_of(name: str, chars: Any) -> tuple[Any, Any]:
    """List cost in USD of premium (n) and of the others (n, m), the cheapest first, with answers of usual length."""
    _, premium, others = models_of(name)
    pairs = [pair_costs(premium, each, chars) for each in others]
    return pairs[0][0], np.stack([weak for _, weak in pairs], axis=1)


def cases_of(prepared: Prepared, held: CrossFitted) -> list[Case]:
    """Every pair and portfolio over all prompts that were asked about."""
    dataset = prepared.dataset
    chars = np.array([prompt.chars for prompt in dataset.prompts], dtype=float)
    rows = rows_judged(dataset)
    judged = judged_sets(prepared, held.kind_sources, held.logits, np.arange(len(dataset.prompts)))
    return [Case(each, *costs_of(each.group, chars[rows[each.group]])) for each in judged]


def own_limits(judged: Judged) -> Any:
    """Thresholds (tolerances of the artifact) from one case alone; minus infinity where it promises nothing."""
    own = np.full(len(judged.groups), judged.source, dtype=object)
    return thresholds_of([replace(judged, kind_sources=own)])[1][-1]


def mean_limits(judged: Judged) -> Any:
    """The naive thresholds: the laxest at which the mean loss itself is within each tolerance, bound or no bound."""
    means = np.array([judged.losses_at(limit, slice(None)).mean() for limit in GRID])
    return np.array([GRID[means <= t].max() if (means <= t).any() else -np.inf for t in FITTED_TOLERANCES])


def half_of(groups: Any, seed: int) -> Any:
    """A set of about half of the groups, for all cases of a split alike."""
    distinct = np.unique(groups)
    return distinct[np.random.default_rng([17, seed]).random(len(distinct)) < 0.5]


def one_split(cases: list[Case], seed: int) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Thresholds from one half; on the other, by case and method, loss, saved and routed at each of `TOLERANCES`."""
    chosen = half_of(np.concatenate([case.judged.groups for case in cases]), seed)
    sides = [np.isin(case.judged.groups, chosen) for case in cases]
    fitted = [case.take(np.flatnonzero(side)).judged for case, side in zip(cases, sides, strict=True)]
    sources, rows = thresholds_of(fitted)
    places = [FITTED_TOLERANCES.index(t) for t in TOLERANCES]
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for case, side, mine in zip(cases, sides, fitted, strict=True):
        rest = case.take(np.flatnonzero(~side))
        at = [sources.index(kind) if kind in sources else -1 for kind in rest.judged.kind_sources]
        limits = {"shipped": rows[at], "own": own_limits(mine), "mean": mean_limits(mine)}
        found[case.judged.group] = {
            method: [rest.outcome_at(each[..., place]) for place in places] for method, each in limits.items()
        }
    return found


def clopper_pearson(hits: int, count: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    outside = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(outside, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - outside, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def over_splits(
    cases: list[Case], count: int, *, say: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """By case and method, at each tolerance: the share of ``count`` random splits that broke it, and what was saved."""
    drawn = []
    for seed in range(count):
        drawn.append(one_split(cases, seed))
        if (seed + 1) % 20 == 0:
            say(f"split {seed + 1} of {count}")
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for case in cases:
        group = case.judged.group
        found[group] = {
            method: [_row(t, np.array([each[group][method][at] for each in drawn])) for at, t in enumerate(TOLERANCES)]
            for method in METHODS
        }
    return found


def _row(tolerance: float, draws: Any) -> dict[str, float]:
    """``draws`` (splits, 3): loss, saved, routed."""
    broken = int((draws[:, 0] > tolerance + ROUNDING).sum())
    low, high = clopper_pearson(broken, len(draws))
    loss, saved, routed = draws.mean(0)
    return {
        "tolerance": tolerance,
        "broken": broken / len(draws),
        "broken_low": low,
        "broken_high": high,
        "worst_loss": float(draws[:, 0].max()),
        "loss": float(loss),
        "saved": float(saved),
        "routed": float(routed),
    }
