"""Leave-one-source-out: each source judged by a model that never saw it, fitted again and kept in a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evals.judge import tables_of, verdicts_of
from evals.kept import cache_folder
from evals.reliability import calibration_rows, pair_tolerance_rows
from evals.train import train_on
from evals.version import fit_name
from router.errors import ArtifactError
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.dataset import Dataset
    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.quality import QualityModel


def model_without(
    prepared: Prepared,
    source: str,
    recipe: Recipe,
    *,
    cache: Path,
    figures: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> QualityModel:
    """The model fitted on every other source; read from ``cache`` where the same data and recipe made one before."""
    name = fit_name(prepared.dataset, recipe, source, figures is None, *([seed] if seed else []))
    path = cache / f"without-{source}-{name}.npz"
    if path.exists():
        try:
            return load_quality_model(path)
        except ArtifactError:
            say(f"{path.name} is of another version: fitted again")
    keep = prepared.dataset.sources != source
    return train_on(prepared, out=path, seed=seed, recipe=recipe, keep=keep, figures=figures, cache=cache)


def apart_from(dataset: Dataset, source: str) -> tuple[Any, Any]:
    """Masks: the test prompts of a source without a twin in another, and what a fit without the source may see."""
    outside = (dataset.sources != source) & (dataset.splits != "test")
    # A twin in another source would make the source seen.
    seen = np.isin(dataset.groups, dataset.groups[outside])
    return (dataset.sources == source) & (dataset.splits == "test") & ~seen, outside


def left_out(
    prepared: Prepared,
    recipe: Recipe,
    litellm: dict[str, Any],
    *,
    cache: Path | None = None,
    figures: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    rounds: int = 200,
) -> dict[str, Any]:
    """By left-out source: every method on its test prompts, tolerance kept without a label, calibration."""
    dataset = prepared.dataset
    sources = dict.fromkeys(dataset.sources.tolist())
    folder = cache or cache_folder()
    found, verdicts = {}, []
    for source in sources:
        keep, outside = apart_from(dataset, source)
        if not keep.any():
            continue
        model = model_without(prepared, source, recipe, cache=folder, figures=figures, say=say)
        mine = verdicts_of(prepared, model, keep, litellm, known=outside, rounds=rounds, only=source)
        verdicts += mine
        found[source] = {
            "model_revision": model.revision,
            "tolerance": pair_tolerance_rows(prepared, model, keep),
            "calibration": calibration_rows(prepared, model, keep),
        }
        say(f"without {source}: judged on {int(keep.sum())} of its prompts")
    return {"sources": found, "pairs": tables_of(verdicts)}
