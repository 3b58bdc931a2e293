"""`python -m evals train`: from the shared outcomes to the artifact that the package ships.

The network and the LSA see the training split alone. Thresholds rest on the calibration split, and on the training
split through models that were each fitted without the prompts they are asked about. ``--with-calibration`` fits on both
splits, and cross-fits all that must not be read off prompts that a model has seen. The test split is not read.

Networks are kept as they are fitted, so a run that was stopped goes on; ``--anew`` fits every one again.
`python -m evals calibrate` is the second half alone: another rule for thresholds needs no other networks.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.arrays import arrays_of
from evals.calibrate import complexity_knots_of, judged_sets, support_floor_of, thresholds_of
from evals.crossfit import cross_fitted, held_out
from evals.dataset import Dataset, load_dataset, shared_data_path
from evals.fitted import Fitted, fit_on
from evals.placement import cells_of, load_levels, place
from evals.prepare import Prepared, prepare
from evals.recipe import CHOSEN
from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT
from router.grading import TOLERANCES
from router.quality.artifact import ARRAYS, FORMAT, arrays_sha256, load_quality_model
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.recipe import Recipe
    from router.quality import QualityModel

ARTIFACT: Final = Path(__file__).resolve().parent.parent / "router" / "artifacts" / "quality.npz"
ANCHORS_MIN: Final = 4
# What a model that is not calibrated yet promises: nothing.
UNCALIBRATED: Final[dict[str, Any]] = {
    "thresholds": np.full((1, len(TOLERANCES)), -np.inf, np.float32),
    "tolerances": np.array(TOLERANCES, np.float32),
    "complexity_knots": np.array([[0.0, 0.0], [1.0, 1.0]], np.float32),
}


def sayer() -> Callable[[str], None]:
    """Lines of progress with the time since the start."""
    started = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)


def write_artifact(path: Path, arrays: dict[str, Any], about: dict[str, Any]) -> str:
    """Write named arrays with their description and one hash over all; returns the hash."""
    raw = json.dumps(about, sort_keys=True).encode()
    named = {key: np.ascontiguousarray(arrays[key]) for key in ARRAYS}
    digest = arrays_sha256(named, raw)
    extra = {"about": np.frombuffer(raw, np.uint8), "sha256": np.frombuffer(digest.encode(), np.uint8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    everything: dict[str, Any] = {**named, **extra}
    part = path.with_name(f"part-{path.name}")  # whoever reads the artifact meanwhile reads the old one
    np.savez_compressed(part, **everything)
    part.replace(path)
    return digest


def placed_of(
    prepared: Prepared, rows: Any, abilities: dict[str, float], figures: Path | None, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Every model's place, by outcomes or through the figures where they are at hand, and the figures' names.

    ``rows``: the prompts that the abilities were fitted on.
    """
    cells = cells_of(prepared.by_model[rows], prepared.models, prepared.dataset.sources[rows])
    levels, aliases = load_levels(figures) if figures is not None else ({}, {})
    if len(set(levels) & set(abilities)) >= ANCHORS_MIN:
        placed, lines = place(levels, abilities, cells)
    else:
        placed, aliases = place({}, abilities, cells)[0], {}
        lines = ["no figures that share models with the outcomes: only models with outcomes are placed"]
    for line in lines:
        say(line)
    return placed, aliases


def about_of(
    prepared: Prepared,
    arrays: dict[str, Any],
    fitted: Fitted,
    recipe: Recipe,
    seed: int,
    placed: dict[str, Any],
    aliases: dict[str, str],
) -> dict[str, Any]:
    """The artifact's description; takes what is no array out of ``arrays``."""
    dataset = prepared.dataset
    del arrays["abilities"]
    aliases |= {
        name: ability_key(key)
        for (_, name), key in zip(dataset.columns, dataset.column_model, strict=True)
        if ability_key(key) in placed
    }
    return {
        "format": FORMAT,
        "features": list(FEATURE_NAMES[:NETWORK_FEATURE_COUNT]),
        "kinds": arrays.pop("kinds"),
        "own_models": np.array(prepared.models)[fitted.usable].tolist(),
        "names": sorted(aliases),
        "aliases": aliases,
        "abilities": placed,
        "recipe": {name: getattr(recipe, name) for name in recipe.__slots__},
        "data_sha256": dataset.data_sha256,
        "seed": seed,
        "splits": {name: int((dataset.splits == name).sum()) for name in ("train", "calibration", "test")},
        "splits_sha256": splits_sha256(dataset),
    }


def splits_sha256(dataset: Dataset) -> str:
    """The hash of every prompt's split, in order."""
    return hashlib.sha256("".join(dataset.splits).encode()).hexdigest()


def train(
    *, seed: int = 0, out: Path = ARTIFACT, is_calibration_fitted: bool = False, cache: Path | None = None
) -> QualityModel:
    """Load, fit what ``cache`` does not hold, calibrate, write."""
    say = sayer()
    dataset = load_dataset()
    say(f"{len(dataset.prompts)} prompts, {int(np.isfinite(dataset.scores).sum())} outcomes")
    folder = shared_data_path()
    figures = folder if (folder / "models").is_dir() else None
    return train_on(
        prepare(dataset),
        seed=seed,
        out=out,
        say=say,
        figures=figures,
        is_calibration_fitted=is_calibration_fitted,
        cache=cache,
    )


def train_on(
    prepared: Prepared,
    *,
    out: Path,
    seed: int = 0,
    recipe: Recipe = CHOSEN,
    say: Callable[[str], None] = lambda _: None,
    keep: Any = True,
    figures: Path | None = None,
    is_calibration_fitted: bool = False,
    cache: Path | None = None,
) -> QualityModel:
    """The same over prepared data.

    ``keep`` masks the prompts that fitting and calibrating may see; ``figures`` is the folder that holds
    ``models/benchmarks.csv``, None to place models by their outcomes alone. ``is_calibration_fitted``: the fit sees the
    calibration split too.
    """
    splits = prepared.dataset.splits
    rows = np.flatnonzero((prepared.is_dev if is_calibration_fitted else splits == "train") & keep)
    calibration = rows if is_calibration_fitted else np.flatnonzero((splits == "calibration") & keep)
    fitted = fit_on(prepared, rows, recipe, seed=seed, say=say, cache=cache)
    arrays = arrays_of(prepared, fitted, rows)
    placed, aliases = placed_of(prepared, rows, arrays["abilities"], figures, say)
    about = about_of(prepared, arrays, fitted, recipe, seed, placed, aliases)
    if is_calibration_fitted:
        held = cross_fitted(prepared, rows, recipe, seed=seed, say=say, cache=cache)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / out.name
            write_artifact(path, arrays | UNCALIBRATED, about | {"support_floor": 0.0, "threshold_sources": []})
            first = load_quality_model(path)
        held = held_out(prepared, first, fitted, rows, calibration, recipe, seed=seed, cache=cache)
        say("predictions of the training split by models that did not see it")
    arrays["tolerances"] = np.array(TOLERANCES, np.float32)
    arrays["complexity_knots"] = complexity_knots_of(prepared, held.gaps, calibration)
    about["support_floor"] = support_floor_of(held.support[calibration])
    judged = judged_sets(prepared, held.kind_sources, held.logits, np.union1d(rows, calibration))
    about["threshold_sources"], arrays["thresholds"] = thresholds_of(judged)
    write_artifact(out, arrays, about)
    for source, line in zip([*about["threshold_sources"], "others"], arrays["thresholds"], strict=True):
        say(f"thresholds, {source}: " + ", ".join(f"{t:g}: {v:.3f}" for t, v in zip(TOLERANCES, line, strict=True)))
    say(f"support floor {about['support_floor']:.3f}; wrote {out.name}: {out.stat().st_size} bytes")
    return load_quality_model(out)
