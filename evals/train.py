"""`python -m evals train`: from the shared outcomes to the artifact that the package ships."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.dataset import Dataset, load_dataset, shared_data_path
from evals.fit import fit_lsa, project
from evals.network import fit_network, joined
from evals.pairs import PAIRS, rows_of
from evals.placement import load_levels, place
from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT, Features, features_of
from router.quality.artifact import ARRAYS, FORMAT, arrays_sha256, load_quality_model
from router.quality.model import ability_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evals.network import Network
    from router.quality import QualityModel

LSA_DIMS = 128
# Networks that differ by their seed alone differ by 0.02 of APGR: their mean in log-odds is steadier than any.
MEMBERS = 5
TOLERANCES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.10, 0.15, 0.20, 0.30, 0.50, 1.0)
Z_95_ONE_SIDED = 1.645
ARTIFACT = Path(__file__).resolve().parent.parent / "router" / "artifacts" / "quality.npz"
STRONG_REFERENCE, WEAK_REFERENCE = "claude-3-5-sonnet", "llama-3.1-8b"


def say(text: str, started: float) -> None:
    """A line of progress."""
    print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data and the features of each prompt, bare and inside its template."""

    dataset: Dataset
    bare: list[Features]
    templated: list[Features | None]


def prepare(dataset: Dataset) -> Prepared:
    """Features of every prompt."""
    bare = [features_of(prompt.view) for prompt in dataset.prompts]
    templated = [features_of(prompt.templated) if prompt.templated is not None else None for prompt in dataset.prompts]
    return Prepared(dataset, bare, templated)


def structure_of(features: Sequence[Features]) -> Any:
    """The network's structural features of many prompts."""
    return np.stack([each.structure[:NETWORK_FEATURE_COUNT] for each in features])


def fit(prepared: Prepared, keep: Any, *, seed: int, started: float) -> dict[str, Any]:
    """Every array of the artifact but the thresholds, fitted on the prompts that ``keep`` names."""
    dataset = prepared.dataset
    rows = np.flatnonzero(keep)
    twins = [index for index in rows if prepared.templated[index] is not None]
    features = [prepared.bare[index] for index in rows] + [prepared.templated[index] for index in twins]
    labels = np.concatenate([rows, np.array(twins, dtype=int)])
    known = [each for each in features if each is not None]
    lsa = fit_lsa(known[: len(rows)], dims=LSA_DIMS, seed=seed)
    say(f"LSA over {len(lsa.buckets)} terms", started)
    structure = structure_of(known)
    center, spread = structure.mean(0), np.maximum(structure.std(0), 1e-3)
    scale = np.abs(lsa.basis).max(0) / 127
    basis = np.round(lsa.basis / scale).astype(np.int8)
    rounded = type(lsa)(lsa.buckets, lsa.idf, (basis * scale).astype(np.float32))
    x = np.hstack([project(known, rounded), np.clip((structure - center) / spread, -4, 4)]).astype(np.float32)
    models, by_model = outcomes_by_model(dataset)
    scores = by_model[labels]
    has = np.isfinite(scores).sum(0)
    usable = has >= 30
    scores = np.where(usable[None, :], scores, np.nan).astype(np.float32)
    # Each prompt counts alike, however many models answered it.
    weights = (1 / np.maximum(np.isfinite(scores).sum(1), 1)).astype(np.float32)
    networks = []
    for member in range(MEMBERS):
        networks.append(fit_network(x, scores, weights, seed=MEMBERS * seed + member))
        say(f"network {member + 1} of {MEMBERS}", started)
    network = joined(networks)
    abilities, slope, offset = abilities_of(models, network, x[: len(rows)], usable)
    chars = np.nanmean(np.where(np.isfinite(dataset.response_chars[labels]), dataset.response_chars[labels], np.nan), 1)
    is_known = np.isfinite(chars)
    logs = np.log(np.clip(chars[is_known] / 4, 1, 4000))
    ones = np.hstack([np.ones((is_known.sum(), 1)), x[is_known]])
    length = np.linalg.solve(ones.T @ ones + 10 * np.eye(ones.shape[1]), ones.T @ logs)
    kinds, centers = kinds_of(dataset, rows, x)
    return {
        "buckets": lsa.buckets, "idf": lsa.idf, "basis": basis, "basis_scale": scale.astype(np.float32),
        "center": center.astype(np.float32), "spread": spread.astype(np.float32), "hidden_w": network.hidden_w,
        "hidden_b": network.hidden_b, "skill_w": network.skill_w, "skill_b": network.skill_b, "slope": slope,
        "offset": offset, "length_w": length.astype(np.float32), "kind_centers": centers, "abilities": abilities,
        "kinds": kinds, "own_models": [each for each, kept in zip(models, usable, strict=True) if kept],
        "own_slope": network.slope[usable], "own_offset": network.offset[usable],
    }  # fmt: skip


def abilities_of(models: Sequence[str], network: Network, x: Any, usable: Any) -> tuple[dict[str, float], Any, Any]:
    """One ability a model, from its predicted mean on one common set of prompts, and lines from ability to a and b."""
    sample = x[:: max(1, len(x) // 4000)]
    mean = np.clip(network.quality(sample).mean(0), 0.01, 0.99)
    theta = np.log(mean / (1 - mean))
    design = np.stack([np.ones_like(theta), theta], 1)[usable]
    slope = np.linalg.lstsq(design, network.slope[usable], rcond=None)[0]
    offset = np.linalg.lstsq(
        np.stack([np.ones_like(theta), theta, theta**2], 1)[usable], network.offset[usable], rcond=None
    )[0]
    abilities = {model: float(theta[index]) for index, model in enumerate(models) if usable[index]}
    return abilities, slope.astype(np.float32), offset.astype(np.float32)


def outcomes_by_model(dataset: Dataset) -> tuple[list[str], Any]:
    """Prompts x models: the columns of one model, of several hosts and sources, become one."""
    keys = [ability_key(model) for model in dataset.column_model]
    models = sorted(set(keys))
    merged = np.full((len(dataset.prompts), len(models)), np.nan, dtype=np.float32)
    for index, model in enumerate(models):
        columns = dataset.scores[:, [at for at, key in enumerate(keys) if key == model]]
        count = np.isfinite(columns).sum(1)
        merged[count > 0, index] = np.nansum(columns, 1)[count > 0] / count[count > 0]
    return models, merged


def kinds_of(dataset: Dataset, rows: Any, x: Any) -> tuple[list[str], Any]:
    """Kinds of task by name, and the direction of each in the LSA's space."""
    names = np.array([f"{prompt.source}:{prompt.category}".split("/")[0] for prompt in dataset.prompts])[rows]
    kinds = sorted(set(names))
    centers = np.stack([x[: len(rows)][names == kind][:, :LSA_DIMS].mean(0) for kind in kinds])
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


def losses_on(model: QualityModel, prepared: Prepared, keep: Any) -> list[tuple[str, Any, Any, Any, Any]]:
    """For each judged pair: source, predicted loss, realised loss, group and row of its prompts that ``keep`` names."""
    found = []
    splits = prepared.dataset.groups
    for pair in PAIRS:
        rows = rows_of(pair, prepared.dataset)
        rows = rows[keep[rows]]
        if not len(rows):
            continue
        strong, weak = (column_key(prepared.dataset, pair.source, name) for name in (pair.strong, pair.weak))
        predicted = np.array(
            [
                scores.quality[0] - scores.quality[1]
                for scores in (model.score(prepared.bare[row], (strong, weak)) for row in rows)
            ]
        )
        dataset = prepared.dataset
        realised = dataset.column(pair.source, pair.strong)[rows] - dataset.column(pair.source, pair.weak)[rows]
        found.append((pair.source, predicted, realised, splits[rows], rows))
    return found


def column_key(dataset: Dataset, source: str, name: str) -> str:
    """The model key that a source's column goes by."""
    return dataset.column_model[dataset.columns.index((source, name))]


def upper_bound(losses: Any, groups: Any) -> float:
    """One-sided 95 % upper bound of a mean loss, clustered by group of twins."""
    _, at = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(at, losses), np.bincount(at)
    mean = losses.mean()
    error = np.sqrt(np.sum((sums - counts * mean) ** 2)) / len(losses)
    return float(mean + Z_95_ONE_SIDED * error)


def thresholds_of(judged: list[tuple[str, Any, Any, Any, Any]]) -> Any:
    """For each tolerance the largest threshold at which every pair's upper bound keeps it; fixed order from strict."""
    grid = np.linspace(-0.05, 0.6, 131)
    bounds = np.array(
        [
            [upper_bound(np.where(predicted <= limit, realised, 0.0), groups) for limit in grid]
            for _, predicted, realised, groups, _ in judged
        ]
    )
    worst = np.maximum.accumulate(bounds.max(0))
    kept = [(t, grid[worst <= t].max() if (worst <= t).any() else -1.0) for t in TOLERANCES]
    return np.array(kept, dtype=np.float32)


def complexity_knots_of(model: QualityModel, prepared: Prepared, keep: Any) -> Any:
    """Predicted gap of the reference models onto the share of prompts where the weak one falls short."""
    pairs = [
        pair
        for pair in PAIRS
        if pair.source in ("zeroeval", "mmlu_pro") and "8B" in pair.group.replace("Llama 8B", "8B")
    ]
    gaps, short = [], []
    for pair in pairs:
        rows = rows_of(pair, prepared.dataset)
        for row in rows[keep[rows]]:
            x, _ = model.inputs_of(prepared.bare[row])
            strong, weak = model.quality_at(model.skills_of(x), model.references)
            gaps.append(strong - weak)
            column = prepared.dataset
            short.append(column.column(pair.source, pair.weak)[row] < column.column(pair.source, pair.strong)[row])
    from sklearn.isotonic import IsotonicRegression

    edges = np.quantile(gaps, np.linspace(0, 1, 33))
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(gaps, short)
    return np.stack([edges, fitted.predict(edges)], 1).astype(np.float32)


def train(*, seed: int = 0, out: Path = ARTIFACT, leave_out: str | None = None) -> QualityModel:
    """Fit, calibrate, write; ``leave_out`` keeps one source out of training and calibration."""
    started = time.monotonic()
    dataset = load_dataset()
    say(f"{len(dataset.prompts)} prompts, {int(np.isfinite(dataset.scores).sum())} outcomes", started)
    return train_on(prepare(dataset), seed=seed, out=out, leave_out=leave_out, started=started)


def train_on(prepared: Prepared, *, seed: int, out: Path, started: float, leave_out: str | None = None) -> QualityModel:
    """The same over prepared data."""
    dataset = prepared.dataset
    inside = dataset.sources != leave_out
    arrays = fit(prepared, (dataset.splits == "train") & inside, seed=seed, started=started)
    outcomes = arrays.pop("abilities")
    folder = shared_data_path()
    levels = load_levels(folder) if (folder / "models").is_dir() else {}
    if len(set(levels) & set(outcomes)) > 3:
        placed, lines = place(levels, outcomes)
    else:
        placed = {
            key: {"value": v, "standard_error": 0.1, "basis": "outcomes", "sources": []} for key, v in outcomes.items()
        }
        lines = ["no figures: only models with outcomes are placed"]
    for line in lines:
        say(line, started)
    references = [outcomes.get(ability_key(name), 0.0) for name in (STRONG_REFERENCE, WEAK_REFERENCE)]
    arrays |= {
        "references": np.array(references, np.float32),
        "thresholds": np.array([[1.0, 1.0]], np.float32),
        "complexity_knots": np.array([[0.0, 0.0], [1.0, 1.0]], np.float32),
    }
    about = {
        "format": FORMAT,
        "features": list(FEATURE_NAMES[:NETWORK_FEATURE_COUNT]),
        "kinds": arrays.pop("kinds"),
        "own_models": arrays.pop("own_models"),
        "models": sorted(placed),
        "abilities": placed,
        "support_floor": 0.0,
        "data_sha256": dataset.data_sha256,
        "seed": seed,
        "left_out": leave_out,
        "splits": {name: int((dataset.splits == name).sum()) for name in ("train", "calibration", "test")},
        "splits_sha256": hashlib.sha256("".join(dataset.splits).encode()).hexdigest(),
    }
    write_artifact(out, arrays, about)
    model = load_quality_model(out)
    calibration = (dataset.splits == "calibration") & inside
    arrays["complexity_knots"] = complexity_knots_of(model, prepared, calibration)
    arrays["thresholds"] = thresholds_of(losses_on(model, prepared, calibration))
    support = [model.inputs_of(prepared.bare[row])[1] for row in np.flatnonzero(calibration)]
    about["support_floor"] = float(np.quantile(support, 0.02))
    write_artifact(out, arrays, about)
    say(f"thresholds {arrays['thresholds'].tolist()}; support floor {about['support_floor']:.3f}", started)
    say(f"wrote {out.name}: {out.stat().st_size} bytes", started)
    return load_quality_model(out)
