"""Fitting: LSA, standardised structure and the joined networks, over any set of prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.fit import Lsa, fit_lsa, project
from evals.kept import keep, kept
from evals.members import members_of
from evals.network import Network, Outcomes, outcomes_of
from evals.prepare import LABELS_MIN, structure_of
from evals.version import networks_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.features import Features

# The fewest distinct values that an int8 column of the basis is rounded to, each side of zero.
INT8_MAX = 127
CLIP = 4.0
# Shares of the prompts are counted in these.
SHARES = 1000


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model. ``lsa`` is rounded to what int8 holds; ``usable`` marks models with enough outcomes.

    ``carried`` is the network as complexity reads it: the same hidden layer and skills, with other weights.
    """

    lsa: Lsa
    scale: Any
    center: Any
    spread: Any
    network: Network
    carried: Network
    usable: Any

    @property
    def dims(self) -> int:
        """How many of the inputs are the LSA's."""
        return int(self.lsa.basis.shape[1])

    def inputs(self, features: Sequence[Features]) -> Any:
        """The network's inputs (n, I) of many prompts."""
        structure = np.clip((structure_of(features) - self.center) / self.spread, -CLIP, CLIP)
        return np.hstack([project(features, self.lsa), structure]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a fit learns from: a shell without a network, inputs (n, I), outcomes, and each row's prompt and category.

    The first ``bare`` rows are the prompts as they are; templates and noise follow.
    """

    shell: Fitted
    x: Any
    outcomes: Outcomes
    rows: Any
    kinds: Any
    bare: int


def lesson_of(
    prepared: Prepared,
    rows: Any,
    recipe: Recipe,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Lesson:
    """Inputs and outcomes of the prompts at ``rows``; models with fewer than `LABELS_MIN` outcomes teach nothing."""
    bare = [prepared.bare[row] for row in rows]
    lsa = fit_lsa(bare, dims=recipe.dims, seed=seed)
    scale = np.maximum(np.abs(lsa.basis).max(0) / INT8_MAX, 1e-12).astype(np.float32)
    lsa = Lsa(lsa.buckets, lsa.idf, (np.round(lsa.basis / scale) * scale).astype(np.float32))
    say(f"LSA over {len(lsa.buckets)} terms")
    structure = structure_of(bare)
    center, spread = structure.mean(0), np.maximum(structure.std(0), 1e-3)
    features, labels = list(bare), [rows]
    if recipe.templates:
        twins = [row for row in rows if prepared.templated[row] is not None]
        features += [each for row in twins if (each := prepared.templated[row]) is not None]
        labels.append(np.array(twins, dtype=np.intp))
    if recipe.noise:
        features += [prepared.noisy[row] for row in rows]
        labels.append(rows)
    usable = np.isfinite(prepared.by_model[rows]).sum(0) >= min(LABELS_MIN, len(rows))
    taught = np.concatenate(labels)
    learned = np.where(usable, prepared.by_model[taught], np.nan).astype(np.float32)
    shell = Fitted(lsa, scale, center.astype(np.float32), spread.astype(np.float32), _NOTHING, _NOTHING, usable)
    pairs = [pair for pair in prepared.trained_pairs() if usable[list(pair)].all()]
    outcomes = outcomes_of(learned, pairs)
    kinds = prepared.dataset.categories[taught]
    return Lesson(shell, shell.inputs(features), outcomes, taught, kinds, len(rows))


def fit_on(
    prepared: Prepared,
    rows: Any,
    recipe: Recipe,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    cache: Path | None = None,
) -> Fitted:
    """Fit on the prompts at ``rows``, or read from ``cache`` what the same data, recipe and code fitted before."""
    path = None if cache is None else cache / f"networks-{networks_name(prepared.dataset, rows, recipe, seed)}.npz"
    if path is not None and (found := kept(path, Fitted)) is not None:
        say(f"networks read from {path.name}")
        return found
    lesson = lesson_of(prepared, rows, recipe, seed=seed, say=say)
    dims = lesson.shell.dims
    network, carried = members_of(lesson.x, lesson.outcomes, lesson.kinds, recipe, dims=dims, seed=seed, say=say)
    fitted = replace(lesson.shell, network=network, carried=carried)
    if path is not None:
        keep(path, fitted)
    return fitted


_EMPTY = np.zeros((0, 0), dtype=np.float32)
_NOTHING = Network(_EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY)


def folds_of(groups: Any, count: int, salt: str = "tollgate-fold-1") -> Any:
    """A fold 0..count-1 for each prompt by a hash of its group of twins."""
    import hashlib

    return np.array(
        [int.from_bytes(hashlib.sha256(f"{salt}:{group}".encode()).digest()[:8], "big") % count for group in groups]
    )


def folds_fitted(
    prepared: Prepared,
    rows: Any,
    recipe: Recipe,
    *,
    count: int,
    seed: int = 0,
    share: float = 1.0,
    cache: Path | None = None,
) -> Iterator[tuple[Fitted, Any, Any]]:
    """For each fold: a fit, the prompts it saw, and those it is to be asked about, no twin of which it saw.

    ``share`` of the other folds' groups of twins is seen, a smaller share being part of every larger one.
    """
    groups = prepared.dataset.groups[rows]
    folds = folds_of(groups, count)
    is_shared = folds_of(groups, SHARES, salt="tollgate-share-1") < round(share * SHARES)
    for fold in range(count):
        seen = rows[(folds != fold) & is_shared]
        yield fit_on(prepared, seen, recipe, seed=seed, cache=cache), seen, rows[folds == fold]


def out_of_fold(
    prepared: Prepared,
    rows: Any,
    recipe: Recipe,
    *,
    count: int = 3,
    seed: int = 0,
    share: float = 1.0,
    cache: Path | None = None,
) -> Any:
    """Log-odds (prompts, models) of each prompt at ``rows`` by a model that saw no twin of it; NaN elsewhere."""
    logits = np.full(prepared.by_model.shape, np.nan, dtype=np.float32)
    for fitted, _, held in folds_fitted(prepared, rows, recipe, count=count, seed=seed, share=share, cache=cache):
        logits[held] = fitted.network.logits(fitted.inputs([prepared.bare[row] for row in held]))
    return logits
