"""`python -m evals select`: compares recipes by cross-validation inside the training and calibration splits.

Folds go by group of twins; each prompt is judged by a model that saw none of its twins. The test split is not read.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import sigmoid
from evals.dataset import load_dataset
from evals.fitted import out_of_fold
from evals.metrics import apgr, auc_within
from evals.pairs import PAIRS, rows_of
from evals.prepare import prepare
from evals.recipe import CANDIDATES, CHOSEN
from evals.train import sayer, splits_sha256
from router.quality.names import ability_key

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe

CURVE_SHARES: Final = (0.4, 0.6, 0.8, 1.0)
CURVE_FOLDS: Final = 5


def cross_validated(
    prepared: Prepared, recipe: Recipe, *, folds: int = 3, seed: int = 0, share: float = 1.0
) -> dict[str, Any]:
    """Mean and each pair's APGR and AUC within category over the prompts outside the test split.

    ``share`` of what a fold's model may see is shown to it.
    """
    rows = np.flatnonzero(prepared.is_dev)
    return judged(prepared, out_of_fold(prepared, rows, recipe, count=folds, seed=seed, share=share))


def judged(prepared: Prepared, logits: Any) -> dict[str, Any]:
    """The same from log-odds (prompts, models) of every prompt outside the test split."""
    dataset = prepared.dataset
    is_dev = prepared.is_dev
    pairs: dict[str, tuple[float, float]] = {}
    for pair in PAIRS:
        at = rows_of(pair, dataset)
        at = at[is_dev[at]]
        if not len(at):
            continue
        keys = [
            ability_key(dataset.column_model[dataset.columns.index((pair.source, name))])
            for name in (pair.strong, pair.weak)
        ]
        strong, weak = (dataset.column(pair.source, name)[at] for name in (pair.strong, pair.weak))
        gain = np.subtract(*(sigmoid(logits[at, prepared.models.index(key)]) for key in keys))
        pairs[pair.group] = (
            apgr(gain, strong, weak),
            auc_within(-gain, weak >= strong, dataset.categories[at]),
        )
    means = np.nanmean(list(pairs.values()), axis=0)
    return {"apgr": float(means[0]), "auc_within": float(means[1]), "pairs": pairs}


def learning_curve(*, out: Path | None, seeds: int = 1) -> dict[str, Any]:
    """What more data is worth: the chosen recipe shown shares of the data, judged on the same prompts."""
    say = sayer()
    prepared = prepare(load_dataset())
    found: dict[str, Any] = {"splits_sha256": splits_sha256(prepared.dataset), "folds": CURVE_FOLDS, "shares": {}}
    seen = int(prepared.is_dev.sum()) * (CURVE_FOLDS - 1) // CURVE_FOLDS
    for share in CURVE_SHARES:
        runs = [cross_validated(prepared, CHOSEN, folds=CURVE_FOLDS, seed=seed, share=share) for seed in range(seeds)]
        figures = {key: float(np.mean([run[key] for run in runs])) for key in ("apgr", "auc_within")}
        found["shares"][str(share)] = {**figures, "prompts": round(share * seen), "runs": runs}
        say(f"share {share:g} done")
        print(f"{share:4.0%}  about {share * seen:6.0f} prompts  {figures['apgr']:.4f} {figures['auc_within']:.4f}")
    if out is not None:
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def select(*, out: Path | None, seeds: int = 1) -> dict[str, Any]:
    """Judge every candidate, print one line each, write JSON where asked."""
    say = sayer()
    prepared = prepare(load_dataset())
    found: dict[str, Any] = {"splits_sha256": splits_sha256(prepared.dataset), "recipes": {}}
    for name, recipe in CANDIDATES.items():
        started = time.monotonic()
        runs = [cross_validated(prepared, recipe, seed=seed) for seed in range(seeds)]
        figures = {key: float(np.mean([run[key] for run in runs])) for key in ("apgr", "auc_within")}
        found["recipes"][name] = {
            **figures,
            "runs": runs,
            "recipe": {at: getattr(recipe, at) for at in recipe.__slots__},
        }
        say(f"{name}: APGR {figures['apgr']:.4f}, AUC within category {figures['auc_within']:.4f}")
        print(f"{name:28s} {figures['apgr']:.4f} {figures['auc_within']:.4f} {time.monotonic() - started:6.0f} s")
    if out is not None:
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found
