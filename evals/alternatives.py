"""Other shapes of the model, each as log-odds of every model's outcome on prompts that it did not see."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from evals.batch import sigmoid
from evals.members import kind_means, members_of
from evals.recipe import CHOSEN
from evals.trees import fit_trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.fitted import Lesson
    from evals.recipe import Recipe

    Alternative: TypeAlias = Callable[["Asked"], Any]

RIDGE: Final = 100.0
HINGES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
ADDITIVE_DIMS: Final = 32
NEIGHBOURS: Final = 400
NEAR: Final = 8.0
TREES_DIMS: Final = 64
ONE: Final = replace(CHOSEN, members=1, structure_members=0, kind_members=0)


@dataclass(frozen=True, slots=True)
class Asked:
    """One fold: what may be learned from, and the inputs (h, I) of the prompts that are asked about.

    ``needed`` (M) marks the models that a judged pair asks about: where each model has a fit of its own, only these.
    """

    lesson: Lesson
    held: Any
    needed: Any
    seed: int = 0

    @property
    def seen(self) -> Any:
        """Inputs of the prompts as they are, without copies."""
        return self.lesson.x[: self.lesson.bare]

    @property
    def known(self) -> Any:
        """Which outcomes of these are known (n, M)."""
        return self.lesson.outcomes.weight[: self.lesson.bare] > 0

    @property
    def target(self) -> Any:
        """The outcomes of these, 0 where unknown."""
        return self.lesson.outcomes.target[: self.lesson.bare]


def logit(share: Any) -> Any:
    """Log-odds of shares, which may lie outside 0..1."""
    inside = np.clip(share, 0.01, 0.99)
    return np.log(inside / (1 - inside))


def each_model(asked: Asked, fit: Callable[[Any, Any, Any], Any], seen: Any, held: Any) -> Any:
    """Log-odds (h, M) where each model has its own fit of ``fit(seen, scores, held)``."""
    found = np.zeros((len(held), asked.known.shape[1]), dtype=np.float32)
    for model in np.flatnonzero(asked.needed & asked.lesson.shell.usable):
        known = asked.known[:, model]
        found[:, model] = logit(fit(seen[known], asked.target[known, model], held))
    return found


def _ridge(seen: Any, scores: Any, held: Any) -> Any:
    center, middle = seen.mean(0), scores.mean()
    x = (seen - center).astype(np.float64)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (scores - middle))
    return middle + (held - center) @ weights


def linear(asked: Asked) -> Any:
    """A ridge for each model."""
    return each_model(asked, _ridge, asked.seen, asked.held)


def additive(asked: Asked) -> Any:
    """A sum of piecewise linear curves, one an input: a ridge over hinges (GAM)."""
    dims = asked.lesson.shell.dims
    columns = np.r_[:ADDITIVE_DIMS, dims : asked.seen.shape[1]]
    seen, held = asked.seen[:, columns], asked.held[:, columns]
    hinges = np.quantile(seen, HINGES, axis=0)

    def spread(x: Any) -> Any:
        return np.hstack([x, *(np.maximum(x - hinge, 0) for hinge in hinges)])

    return each_model(asked, _ridge, spread(seen), spread(held))


def boosted_trees(asked: Asked) -> Any:
    """Gradient boosted trees for each model, as arrays."""
    dims = asked.lesson.shell.dims
    columns = np.r_[:TREES_DIMS, dims : asked.seen.shape[1]]
    return _trees(asked, columns)


def boosted_structure(asked: Asked) -> Any:
    """The same over structure alone."""
    return _trees(asked, np.arange(asked.lesson.shell.dims, asked.seen.shape[1]))


def _trees(asked: Asked, columns: Any) -> Any:
    def fit(seen: Any, scores: Any, held: Any) -> Any:
        return fit_trees(seen, scores, seed=asked.seed).predict(held)

    return each_model(asked, fit, asked.seen[:, columns], asked.held[:, columns])


def neighbours(asked: Asked) -> Any:
    """Outcomes of the nearest prompts by the angle between their words' coordinates."""
    dims = asked.lesson.shell.dims
    seen, held = (_directions(x[:, :dims]) for x in (asked.seen, asked.held))
    known = asked.known.astype(np.float32)
    overall = asked.target.sum(0) / np.maximum(known.sum(0), 1)
    residual = (asked.target - overall) * known
    found = np.zeros((len(held), known.shape[1]), dtype=np.float32)
    for start in range(0, len(held), 500):
        near = np.exp(NEAR * (held[start : start + 500] @ seen.T - 1))
        least = np.partition(near, -NEIGHBOURS, 1)[:, [-NEIGHBOURS]] if near.shape[1] > NEIGHBOURS else 0
        near = np.where(near >= least, near, 0)
        found[start : start + 500] = overall + (near @ residual) / (near @ known + 0.1)
    return logit(found)


def _directions(x: Any) -> Any:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)


def kinds_mixed(asked: Asked) -> Any:
    """How likely each kind of task is, times its mean outcome for each model."""
    from sklearn.linear_model import LogisticRegression

    lesson = asked.lesson
    kinds = lesson.kinds[: lesson.bare]
    names, first = np.unique(kinds, return_index=True)
    means = sigmoid(kind_means(lesson.outcomes, lesson.kinds)[: lesson.bare][first])
    with warnings.catch_warnings():
        # Sixty steps are as good as more here, and the solver says that it could go on.
        warnings.simplefilter("ignore")
        chances = LogisticRegression(C=0.05, max_iter=60).fit(asked.seen, kinds).predict_proba(asked.held)
    return logit(chances @ means) if len(names) > 1 else np.repeat(logit(means), len(asked.held), axis=0)


def network_of(recipe: Recipe) -> Alternative:
    """The networks of a recipe."""

    def predicted(asked: Asked) -> Any:
        lesson = asked.lesson
        dims = lesson.shell.dims
        network, _ = members_of(lesson.x, lesson.outcomes, lesson.kinds, recipe, dims=dims, seed=asked.seed)
        return network.logits(asked.held)

    return predicted


ALTERNATIVES: Final[dict[str, Alternative]] = {
    "linear: a ridge a model": linear,
    "additive: piecewise linear curves (GAM)": additive,
    "boosted trees": boosted_trees,
    "boosted trees, structure alone": boosted_structure,
    "neighbours over LSA": neighbours,
    "mixture over kinds of task": kinds_mixed,
    "item response, 1 dimension": network_of(replace(ONE, skills=1)),
    "item response, 2 dimensions": network_of(replace(ONE, skills=2)),
    "item response, 4 dimensions": network_of(replace(ONE, skills=4)),
    "item response, 8 dimensions": network_of(replace(ONE, skills=8)),
    "MLP: 64 skills, outcomes alone": network_of(replace(ONE, skills=64, pair_weight=0.0)),
    "one network of the recipe": network_of(ONE),
    "three networks": network_of(replace(ONE, members=3)),
    "structure alone": network_of(replace(ONE, members=0, structure_members=3, length_pull=0.0)),
    "structure alone, pull of length": network_of(replace(ONE, members=0, structure_members=3)),
    "chosen, without the pull of length": network_of(replace(CHOSEN, length_pull=0.0)),
    "chosen": network_of(CHOSEN),
}
# Means in log-odds of others' predictions.
STACKS: Final[dict[str, tuple[str, ...]]] = {
    "stack: networks, trees": ("three networks", "boosted trees"),
    "stack: networks, trees, kinds, neighbours": (
        "three networks",
        "boosted trees",
        "mixture over kinds of task",
        "neighbours over LSA",
    ),
    "stack: chosen, trees on structure": ("chosen", "boosted trees, structure alone"),
}
