"""`python -m evals train`: from the shared outcomes to the artifact that the package ships.

The network and the LSA see the training split alone. Thresholds rest on the calibration split, and on the training
split through models that were each fitted without the prompts they are asked about. The test split is not read.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.calibrate import TOLERANCES, complexity_knots_of, judged_sets, support_floor_of, thresholds_of
from evals.dataset import Dataset, load_dataset, shared_data_path
from evals.fitted import Fitted, fit_on, out_of_fold
from evals.placement import load_levels, place
from evals.prepare import Prepared, prepare
from evals.recipe import CHOSEN
from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT
from router.quality.artifact import ARRAYS, FORMAT, arrays_sha256, load_quality_model
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.recipe import Recipe
    from router.quality import QualityModel

ARTIFACT: Final = Path(__file__).resolve().parent.parent / "router" / "artifacts" / "quality.npz"
STRONG_REFERENCE: Final = "claude-3-5-sonnet"
WEAK_REFERENCE: Final = "llama-3.1-8b"
ANCHORS_MIN: Final = 4
KIND_PROMPTS_MIN: Final = 20
SAMPLE: Final = 4000
OUTPUT_TOKENS_MAX: Final = 4000
BYTES_PER_TOKEN: Final = 4
LENGTH_RIDGE: Final = 30.0


def sayer() -> Callable[[str], None]:
    """Lines of progress with the time since the start."""
    started = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)


def arrays_of(prepared: Prepared, fitted: Fitted, rows: Any) -> dict[str, Any]:
    """Every array of the artifact that the fit alone gives, from the prompts it was fitted on."""
    network, dims = fitted.network, fitted.lsa.basis.shape[1]
    x = fitted.inputs([prepared.bare[row] for row in rows])
    kinds, centers = kinds_of(prepared.dataset, rows, x[:, :dims])
    abilities, slope, offset = abilities_of(prepared, fitted, x)
    return {
        "buckets": fitted.lsa.buckets, "idf": fitted.lsa.idf, "basis_scale": fitted.scale,
        "basis": np.round(fitted.lsa.basis / fitted.scale).astype(np.int8),
        "center": fitted.center, "spread": fitted.spread,
        "hidden_w": network.hidden_w, "hidden_b": network.hidden_b,
        "skill_w": network.skill_w, "skill_b": network.skill_b, "slope": slope, "offset": offset,
        "own_slope": network.slope[fitted.usable], "own_offset": network.offset[fitted.usable],
        "length_w": length_weights(prepared, rows, x), "kind_centers": centers, "kinds": kinds, "abilities": abilities,
    }  # fmt: skip


def abilities_of(prepared: Prepared, fitted: Fitted, x: Any) -> tuple[dict[str, float], Any, Any]:
    """One ability a model, from its predicted mean on one common set of prompts, and lines from ability to a and b."""
    usable, network = fitted.usable, fitted.network
    mean = np.clip(network.quality(x[:: max(1, len(x) // SAMPLE)]).mean(0), 0.01, 0.99)
    theta = np.log(mean / (1 - mean))
    powers = np.stack([np.ones_like(theta), theta, theta**2], 1)[usable]
    slope = np.linalg.lstsq(powers[:, :2], network.slope[usable], rcond=None)[0]
    offset = np.linalg.lstsq(powers, network.offset[usable], rcond=None)[0]
    names = np.array(prepared.models)[usable]
    abilities = dict(zip(names.tolist(), theta[usable].tolist(), strict=True))
    return abilities, slope.astype(np.float32), offset.astype(np.float32)


def length_weights(prepared: Prepared, rows: Any, x: Any) -> Any:
    """A ridge from the network's inputs to the logarithm of the mean answer's tokens; the constant first."""
    chars = prepared.dataset.response_chars[rows]
    known = np.isfinite(chars).sum(1) > 0
    if not known.any():
        return np.concatenate([[np.log(200.0)], np.zeros(x.shape[1])]).astype(np.float32)
    logs = np.log(np.clip(np.nanmean(chars[known], 1) / BYTES_PER_TOKEN, 1, OUTPUT_TOKENS_MAX))
    ones = np.hstack([np.ones((len(logs), 1)), x[known]])
    return np.linalg.solve(ones.T @ ones + LENGTH_RIDGE * np.eye(ones.shape[1]), ones.T @ logs).astype(np.float32)


def kinds_of(dataset: Dataset, rows: Any, coordinates: Any) -> tuple[list[str], Any]:
    """Kinds of task by name, and the direction of each in the LSA's space."""
    names = np.array([f"{prompt.source}:{prompt.category}" for prompt in dataset.prompts])[rows]
    found, counts = np.unique(names, return_counts=True)
    kinds = [str(name) for name, count in zip(found, counts, strict=True) if count >= min(KIND_PROMPTS_MIN, len(rows))]
    centers = np.stack([coordinates[names == kind].mean(0) for kind in kinds])
    return kinds, (centers / np.maximum(np.linalg.norm(centers, axis=1), 1e-6)[:, None]).astype(np.float32)


def write_artifact(path: Path, arrays: dict[str, Any], about: dict[str, Any]) -> str:
    """Write named arrays with their description and one hash over all; returns the hash."""
    raw = json.dumps(about, sort_keys=True).encode()
    named = {key: np.ascontiguousarray(arrays[key]) for key in ARRAYS}
    digest = arrays_sha256(named, raw)
    extra = {"about": np.frombuffer(raw, np.uint8), "sha256": np.frombuffer(digest.encode(), np.uint8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    everything: dict[str, Any] = {**named, **extra}
    np.savez_compressed(path, **everything)
    return digest


def placed_of(
    abilities: dict[str, float], figures: Path | None, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Every model's place, by outcomes or through the figures where they are at hand, and the figures' names."""
    levels, aliases = load_levels(figures) if figures is not None else ({}, {})
    if len(set(levels) & set(abilities)) >= ANCHORS_MIN:
        placed, lines = place(levels, abilities)
    else:
        placed, aliases = place({}, abilities)[0], {}
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
    abilities = arrays.pop("abilities")
    aliases |= {
        name: ability_key(key)
        for (_, name), key in zip(dataset.columns, dataset.column_model, strict=True)
        if ability_key(key) in placed
    }
    references = [abilities.get(ability_key(name), default) for name, default in _REFERENCES]
    arrays["references"] = np.array(references, np.float32)
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


_REFERENCES: Final = ((STRONG_REFERENCE, 1.5), (WEAK_REFERENCE, 0.0))


def splits_sha256(dataset: Dataset) -> str:
    """The hash of every prompt's split, in order."""
    return hashlib.sha256("".join(dataset.splits).encode()).hexdigest()


def train(*, seed: int = 0, out: Path = ARTIFACT) -> QualityModel:
    """Load, fit, calibrate, write."""
    say = sayer()
    dataset = load_dataset()
    say(f"{len(dataset.prompts)} prompts, {int(np.isfinite(dataset.scores).sum())} outcomes")
    folder = shared_data_path()
    figures = folder if (folder / "models").is_dir() else None
    return train_on(prepare(dataset), seed=seed, out=out, say=say, figures=figures)


def train_on(
    prepared: Prepared,
    *,
    out: Path,
    seed: int = 0,
    recipe: Recipe = CHOSEN,
    say: Callable[[str], None] = lambda _: None,
    keep: Any = True,
    figures: Path | None = None,
) -> QualityModel:
    """The same over prepared data.

    ``keep`` masks the prompts that fitting and calibrating may see; ``figures`` is the folder that holds
    ``models/benchmarks.csv``, None to place models by their outcomes alone.
    """
    splits = prepared.dataset.splits
    rows = np.flatnonzero((splits == "train") & keep)
    calibration = np.flatnonzero((splits == "calibration") & keep)
    fitted = fit_on(prepared, rows, recipe, seed=seed, say=say)
    arrays = arrays_of(prepared, fitted, rows)
    placed, aliases = placed_of(arrays["abilities"], figures, say)
    about = about_of(prepared, arrays, fitted, recipe, seed, placed, aliases)
    arrays |= {
        "thresholds": np.full((1, len(TOLERANCES)), -np.inf, np.float32),
        "tolerances": np.array(TOLERANCES, np.float32),
        "complexity_knots": np.array([[0.0, 0.0], [1.0, 1.0]], np.float32),
    }
    about |= {"support_floor": 0.0, "threshold_sources": []}
    write_artifact(out, arrays, about)
    model = load_quality_model(out)
    arrays["complexity_knots"] = complexity_knots_of(model, prepared, calibration)
    about["support_floor"] = support_floor_of(model, prepared, calibration)
    logits = out_of_fold(prepared, rows, recipe, seed=seed)
    logits[calibration] = fitted.network.logits(fitted.inputs([prepared.bare[row] for row in calibration]))
    say("predictions of the training split by models that did not see it")
    judged = judged_sets(prepared, model, logits, np.concatenate([rows, calibration]))
    about["threshold_sources"], arrays["thresholds"] = thresholds_of(judged)
    write_artifact(out, arrays, about)
    for source, line in zip([*about["threshold_sources"], "others"], arrays["thresholds"], strict=True):
        say(f"thresholds, {source}: " + ", ".join(f"{t:g}: {v:.3f}" for t, v in zip(TOLERANCES, line, strict=True)))
    say(f"support floor {about['support_floor']:.3f}; wrote {out.name}: {out.stat().st_size} bytes")
    return load_quality_model(out)
