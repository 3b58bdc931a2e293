"""The item-response network, trained with Adam in numpy: prompts' inputs -> skills -> every model's outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evals.recipe import Recipe

    Floats: TypeAlias = NDArray[np.float32]

B1: Final = 0.9
B2: Final = 0.999
DECAYED: Final = (0, 2)


@dataclass(frozen=True, slots=True)
class Network:
    """Weights: I x H, H, H x K, K, then each model's slope M x K and offset M."""

    hidden_w: Floats
    hidden_b: Floats
    skill_w: Floats
    skill_b: Floats
    slope: Floats
    offset: Floats

    def behind(self, unseen: int) -> Network:
        """The same network over inputs that begin with so many that it does not look at."""
        nothing = np.zeros((unseen, self.hidden_w.shape[1]), dtype=np.float32)
        return replace(self, hidden_w=np.vstack([nothing, self.hidden_w]))

    def logits(self, x: Floats) -> Floats:
        """Predicted outcome in log-odds (n, M)."""
        skills = np.maximum(x @ self.hidden_w + self.hidden_b, 0) @ self.skill_w + self.skill_b
        return np.asarray(skills @ self.slope.T + self.offset, dtype=np.float32)

    def quality(self, x: Floats) -> Floats:
        """Predicted outcome (n, M)."""
        return np.asarray(1 / (1 + np.exp(-self.logits(x))), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a network learns from: ``target`` (n, M) with zeros where ``weight`` (n, M) is 0.

    ``pairs`` (P, M) holds +1 at a pair's strong and -1 at its weak model; ``gain`` (n, P) the strong model's gain where
    ``gain_known`` (n, P) is 1.
    """

    target: Floats
    weight: Floats
    pairs: Floats
    gain: Floats
    gain_known: Floats


def outcomes_of(scores: Floats, pairs: Sequence[tuple[int, int]]) -> Outcomes:
    """Outcomes from scores (NaN where unknown); each prompt counts alike, however many models answered it."""
    known = np.isfinite(scores)
    target = np.nan_to_num(scores).astype(np.float32)
    weight = known / np.maximum(known.sum(1, keepdims=True), 1)
    signs = np.zeros((len(pairs), scores.shape[1]), dtype=np.float32)
    for row, (strong, weak) in enumerate(pairs):
        signs[row, strong], signs[row, weak] = 1.0, -1.0
    both = (known.astype(np.float32) @ np.abs(signs).T) == 2
    return Outcomes(target, weight.astype(np.float32), signs, target @ signs.T, both.astype(np.float32))


def fit_network(x: Floats, outcomes: Outcomes, recipe: Recipe, *, seed: int, fixed: Floats | None = None) -> Network:
    """Fit by cross-entropy of the outcomes and squared error of the pairs' gains; the same for a seed on one machine.

    ``fixed`` (n, M): log-odds that stand beside the network's while it learns, so that it learns what they leave.
    """
    rng = np.random.default_rng(seed)
    n, inputs = x.shape
    p = _start(inputs, outcomes, recipe, rng)
    first = [np.zeros_like(each) for each in p]
    second = [np.zeros_like(each) for each in p]
    step = 0
    for epoch in range(recipe.epochs):
        rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * epoch / recipe.epochs))
        order = rng.permutation(n)
        for start in range(0, n, recipe.batch):
            step += 1
            grads = _gradients(p, x, outcomes, order[start : start + recipe.batch], recipe, rng, fixed)
            for index, grad in enumerate(grads):
                pulled = grad + np.float32(recipe.decay) * p[index] if index in DECAYED else grad
                first[index] = B1 * first[index] + (1 - B1) * pulled
                second[index] = B2 * second[index] + (1 - B2) * pulled * pulled
                scaled = first[index] / (1 - B1**step) / (np.sqrt(second[index] / (1 - B2**step)) + 1e-8)
                p[index] = (p[index] - rate * scaled).astype(np.float32)
    return Network(*p)


def _start(inputs: int, outcomes: Outcomes, recipe: Recipe, rng: np.random.Generator) -> list[Floats]:
    models = outcomes.target.shape[1]
    known = outcomes.weight > 0
    rate = np.clip(outcomes.target.sum(0) / np.maximum(known.sum(0), 1), 0.02, 0.98)
    start = [
        rng.standard_normal((inputs, recipe.hidden)) * np.sqrt(2 / inputs),
        np.zeros(recipe.hidden),
        rng.standard_normal((recipe.hidden, recipe.skills)) * np.sqrt(1 / recipe.hidden),
        np.zeros(recipe.skills),
        np.eye(1, recipe.skills) + 0.3 * rng.standard_normal((models, recipe.skills)),
        np.log(rate / (1 - rate)),
    ]
    return [each.astype(np.float32) for each in start]


def _kept(shape: tuple[int, int], dropped: float, rng: np.random.Generator) -> Floats:
    """A mask that keeps the expectation."""
    return (rng.random(shape, dtype=np.float32) > dropped) * np.float32(1 / (1 - dropped))


def _gradients(
    p: list[Floats],
    inputs: Floats,
    outcomes: Outcomes,
    rows: NDArray[np.intp],
    recipe: Recipe,
    rng: np.random.Generator,
    fixed: Floats | None,
) -> list[Floats]:
    w1, b1, w2, b2, slope, offset = p
    x = inputs[rows]
    if recipe.input_dropout:
        x = x * _kept(x.shape, recipe.input_dropout, rng)
    kept = _kept((len(x), w1.shape[1]), recipe.dropout, rng)
    raw = x @ w1 + b1
    hidden = np.maximum(raw, 0) * kept
    skills = hidden @ w2 + b2
    logits = skills @ slope.T + offset
    if fixed is not None:
        logits += fixed[rows]
    predicted = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    d_logits = outcomes.weight[rows] * (predicted - outcomes.target[rows])
    if recipe.pair_weight and len(outcomes.pairs):
        miss = outcomes.gain_known[rows] * (predicted @ outcomes.pairs.T - outcomes.gain[rows])
        d_logits += np.float32(recipe.pair_weight) * (miss @ outcomes.pairs) * predicted * (1 - predicted)
    d_logits /= np.float32(len(x))
    d_skills = d_logits @ slope
    d_hidden = (d_skills @ w2.T) * kept * (raw > 0)
    return [x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_skills, d_skills.sum(0), d_logits.T @ skills, d_logits.sum(0)]


def joined(networks: Sequence[Network], weights: Sequence[float] | None = None) -> Network:
    """The networks' weighted mean in log-odds, as one network of the same arrays: their skills stand side by side."""
    given = np.ones(len(networks)) if weights is None else np.asarray(weights, dtype=float)
    shares = (given / given.sum()).astype(np.float32)
    skill_w = np.zeros([sum(each.skill_w.shape[axis] for each in networks) for axis in (0, 1)], dtype=np.float32)
    row, column = 0, 0
    for each in networks:
        rows, columns = each.skill_w.shape
        skill_w[row : row + rows, column : column + columns] = each.skill_w
        row, column = row + rows, column + columns
    return Network(
        np.hstack([each.hidden_w for each in networks]),
        np.hstack([each.hidden_b for each in networks]),
        skill_w,
        np.hstack([each.skill_b for each in networks]),
        np.hstack([each.slope * share for each, share in zip(networks, shares, strict=True)]),
        np.sum([each.offset * share for each, share in zip(networks, shares, strict=True)], axis=0),
    )
