"""Cross-fitting: what models that never saw a prompt or its twins say of it, for every prompt that the fit may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.arrays import abilities_of, kinds_of, reference_lines
from evals.batch import batch_of, known_shares, sigmoid
from evals.fitted import folds_fitted, out_of_fold
from router.quality.model import support_factor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.fitted import Fitted
    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.quality import QualityModel

FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Of each prompt, by a model that saw no twin of it; NaN or "" for prompts that were not asked about.

    ``logits`` (prompts, models); ``gaps`` (prompts), the reference models' predicted gap; ``support`` (prompts), what
    the vocabulary knows of it; ``kind_sources`` (prompts), the source of its nearest kind of task.
    """

    logits: Any
    gaps: Any
    support: Any
    kind_sources: Any


def cross_fitted(
    prepared: Prepared,
    rows: Any,
    recipe: Recipe,
    *,
    count: int = FOLDS,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    cache: Path | None = None,
) -> CrossFitted:
    """Fit once a fold, and ask each fit about the fold it did not see."""
    prompts = len(prepared.dataset.prompts)
    found = CrossFitted(
        logits=np.full(prepared.by_model.shape, np.nan, dtype=np.float32),
        gaps=np.full(prompts, np.nan),
        support=np.full(prompts, np.nan),
        kind_sources=np.full(prompts, "", dtype=object),
    )
    folds = folds_fitted(prepared, rows, recipe, count=count, seed=seed, cache=cache)
    for number, (fitted, seen, held) in enumerate(folds, 1):
        features = [prepared.bare[row] for row in held]
        x_seen, x, dims = fitted.inputs([prepared.bare[row] for row in seen]), fitted.inputs(features), fitted.dims
        kinds, centers = kinds_of(prepared.dataset, seen, x_seen[:, :dims])
        sources = np.array([kind.split(":", 1)[0] for kind in kinds], dtype=object)
        found.kind_sources[held] = sources[np.argmax(x[:, :dims] @ centers.T, axis=1)]
        found.logits[held] = fitted.network.logits(x)
        found.gaps[held] = reference_gaps(prepared, fitted, x_seen, x)
        factors = np.array([support_factor(each) for each in features])
        found.support[held] = known_shares(features, fitted.lsa.buckets) * factors
        say(f"fold {number} of {count}")
    return found


def held_out(
    prepared: Prepared,
    model: QualityModel,
    fitted: Fitted,
    rows: Any,
    calibration: Any,
    recipe: Recipe,
    *,
    seed: int = 0,
    cache: Path | None = None,
) -> CrossFitted:
    """The same where ``calibration`` was held back from the fit on ``rows``: it is asked of the model itself.

    Gaps and support are those of the calibration's prompts alone; the others' log-odds are cross-fitted.
    """
    prompts, both = len(prepared.dataset.prompts), np.concatenate([rows, calibration])
    features = [prepared.bare[row] for row in calibration]
    found = CrossFitted(
        logits=out_of_fold(prepared, rows, recipe, seed=seed, cache=cache),
        gaps=np.full(prompts, np.nan),
        support=np.full(prompts, np.nan),
        kind_sources=np.full(prompts, "", dtype=object),
    )
    found.logits[calibration] = fitted.network.logits(fitted.inputs(features))
    batch, bound = batch_of(model, features), model.bound_to((model.names[0],))
    references = sigmoid(batch.hidden @ bound.weights[-2:].T + bound.offsets[-2:])
    found.gaps[calibration] = references[:, 0] - references[:, 1]
    found.support[calibration] = batch.support
    found.kind_sources[both] = batch_of(model, [prepared.bare[row] for row in both]).kind_sources
    return found


def reference_gaps(prepared: Prepared, fitted: Fitted, x_seen: Any, x: Any) -> Any:
    """How much worse the weak reference model is expected to answer than the strong one (n), -1..1."""
    slope, offset = reference_lines(prepared, fitted, abilities_of(prepared, fitted, x_seen)[0], x_seen)
    network = replace(fitted.carried, slope=slope, offset=offset)
    quality = network.quality(x)
    return quality[:, 0] - quality[:, 1]
