"""Calibration per source, tolerance per pair, and how steady decisions are under changes that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import batch_of
from evals.curves import TOLERANCES, tolerance_row
from evals.metrics import brier, expected_calibration_error
from evals.pairs import PAIRS, rows_of
from evals.perturb import PERTURBATIONS, perturbed
from evals.prices import CHARS_PER_TOKEN, OUTPUT_CHARS_DEFAULT, USD_PER_MTOK
from router.features import PromptView, features_of

if TYPE_CHECKING:
    from evals.prepare import Prepared
    from router.quality import QualityModel

SEED: Final = 3
PROMPTS_PER_SOURCE: Final = 400
# A pair without list prices: the weak model at a tenth of the strong one's, so that a saving can be named at all.
WEAK_SHARE_OF_COST: Final = 0.1


def calibration_rows(prepared: Prepared, model: QualityModel, keep: Any) -> dict[str, dict[str, float]]:
    """ECE and Brier of every model's predicted score, beside the Brier of its mean in the source, by source."""
    dataset = prepared.dataset
    found: dict[str, dict[str, float]] = {}
    for source in dict.fromkeys(dataset.sources.tolist()):
        rows = np.flatnonzero((dataset.sources == source) & keep)
        columns = np.array([at for at, (each, _) in enumerate(dataset.columns) if each == source], dtype=np.intp)
        if not len(rows):
            continue
        predicted = batch_of(model, [prepared.bare[row] for row in rows]).quality(
            [dataset.columns[at][1] for at in columns]
        )
        realised = dataset.scores[np.ix_(rows, columns)]
        known = np.isfinite(realised)
        rate = np.array(
            [np.mean(column[seen]) if seen.any() else 0 for column, seen in zip(realised.T, known.T, strict=True)]
        )
        flat, truth = predicted[known].astype(float), realised[known].astype(float)
        found[source] = {
            "prompts": len(rows),
            "outcomes": int(known.sum()),
            "ece": expected_calibration_error(flat, truth),
            "brier": brier(flat, truth),
            "brier_base_rate": brier(np.broadcast_to(rate, known.shape)[known], truth),
        }
    return found


def pair_tolerance_rows(prepared: Prepared, model: QualityModel, keep: Any) -> dict[str, list[dict[str, Any]]]:
    """Each judged pair at each tolerance: weak within the threshold of the prompt's kind, else strong."""
    dataset = prepared.dataset
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[keep[rows]]
        if not len(rows):
            continue
        batch = batch_of(model, [prepared.bare[row] for row in rows])
        losses = batch.losses((pair.strong, pair.weak))[:, 1]
        has_ground = batch.support >= model.support_floor
        realised = dataset.column(pair.source, pair.strong)[rows] - dataset.column(pair.source, pair.weak)[rows]
        strong_cost, weak_cost = pair_costs(
            pair.strong, pair.weak, np.array([dataset.prompts[row].chars for row in rows])
        )
        found[pair.group] = []
        for tolerance in TOLERANCES:
            routed = (losses <= batch.thresholds(tolerance)) & has_ground
            found[pair.group].append(
                tolerance_row(
                    tolerance,
                    np.where(routed, realised, 0.0),
                    dataset.groups[rows],
                    np.where(routed, weak_cost, strong_cost),
                    strong_cost,
                    ~routed,
                    ~has_ground,
                )
            )
    return found


def pair_costs(strong: str, weak: str, chars: Any) -> tuple[Any, Any]:
    """Both models' list cost of each prompt with an answer of usual length."""
    if strong not in USD_PER_MTOK or weak not in USD_PER_MTOK:
        return np.ones(len(chars)), np.full(len(chars), WEAK_SHARE_OF_COST)
    costs = [
        (chars * USD_PER_MTOK[name][0] + OUTPUT_CHARS_DEFAULT * USD_PER_MTOK[name][1]) / CHARS_PER_TOKEN / 1e6
        for name in (strong, weak)
    ]
    return costs[0], costs[1]


def steadiness(prepared: Prepared, model: QualityModel, keep: Any, *, tolerance: float = 0.05) -> dict[str, Any]:
    """Share of weak-or-strong decisions that stay the same under each perturbation.

    Twice: with the calibrated threshold at ``tolerance``, and with each pair's median as the threshold, where as many
    prompts stand close to it as can.
    """
    dataset = prepared.dataset
    same: dict[str, list[tuple[float, float]]] = {}
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[keep[rows]][:PROMPTS_PER_SOURCE]
        if not len(rows):
            continue
        views = [dataset.prompts[row].view for row in rows]
        loss, limit = _losses(model, views, (pair.strong, pair.weak), tolerance)
        middle = float(np.median(loss))
        for name in PERTURBATIONS:
            changed, changed_limit = _losses(
                model, [perturbed(view, name, seed=SEED) for view in views], (pair.strong, pair.weak), tolerance
            )
            stays = (
                ((loss <= limit) == (changed <= changed_limit)).mean(),
                ((loss <= middle) == (changed <= middle)).mean(),
            )
            same.setdefault(name, []).append((float(stays[0]), float(stays[1])))
    means = {name: np.mean(rows, axis=0) for name, rows in same.items()}
    return {
        "unchanged": {name: {"at_tolerance": float(a), "at_median": float(b)} for name, (a, b) in means.items()},
        "unchanged_mean": {
            "at_tolerance": float(np.mean([each[0] for each in means.values()])),
            "at_median": float(np.mean([each[1] for each in means.values()])),
        },
    }


def _losses(model: QualityModel, views: list[PromptView], names: tuple[str, str], tolerance: float) -> tuple[Any, Any]:
    batch = batch_of(model, [features_of(view) for view in views])
    limit = np.where(batch.support >= model.support_floor, batch.thresholds(tolerance), -np.inf)
    return batch.losses(names)[:, 1], limit
