"""A workload that the model never saw: is the tolerance kept without a label of it, and after some?

Each source in turn is the workload, judged by the model fitted on the others. Without labels the gateway's rule holds
with the thresholds fitted elsewhere; with labels, the product's own calibration (`router.calibration.fit`) on them
alone, and every other prompt of the source judges it. Labels are drawn by group of twins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import batch_of
from evals.leftout import model_without
from evals.splits import ROUNDING, TOLERANCES, costs_of, models_of, rows_judged
from router.grading import Labels, chosen_at, fit, outcome_of, predicted_losses, support_floor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.grading import Outcome
    from router.quality import QualityModel

LABEL_COUNTS: Final = (50, 100, 200)
REPEATS: Final = 50
# Fewer groups than these, left to judge by, say nothing: a count of labels that leaves fewer is not tried.
JUDGED_MIN: Final = 100
CALIBRATION: Final = "router.calibration.fit"


@dataclass(frozen=True, slots=True)
class Workload:
    """A case over a source that its model never saw.

    ``graded``: every outcome as labels, premium first; ``losses`` (n, m) predicted by the gateway's rule without a
    label, and ``limits`` (n) by tolerance, minus infinity where the model has no ground.
    """

    name: str
    source: str
    graded: Labels
    losses: Any
    limits: dict[float, Any]


def workload_of(prepared: Prepared, model: QualityModel, name: str, rows: Any) -> Workload:
    """The case ``name`` over the prompts at ``rows``, as ``model`` sees them."""
    dataset = prepared.dataset
    source, premium, others = models_of(name)
    names = (premium, *others)
    batch = batch_of(model, [prepared.bare[row] for row in rows])
    chars = np.array([dataset.prompts[row].chars for row in rows], dtype=float)
    asked, answered = costs_of(name, chars)
    usd = np.hstack([asked[:, None], answered])
    _, group = np.unique(dataset.groups[rows], return_inverse=True)
    graded = Labels(
        models=names,
        quality=batch.quality(names).astype(float),
        score=np.stack([dataset.column(source, each)[rows] for each in names], axis=1).astype(float),
        cost_nanousd=np.round(usd * 1e9).astype(np.int64),
        support=batch.support,
        group=group,
    )
    has_ground = batch.support >= model.support_floor
    limits = {t: np.where(has_ground, batch.thresholds(t), -np.inf) for t in TOLERANCES}
    return Workload(name, source, graded, batch.losses(names), limits)


def without_labels(work: Workload) -> list[Outcome]:
    """What the shipped thresholds come to on every prompt of the workload, one outcome a tolerance."""
    covers = np.ones(len(work.graded.models), dtype=bool)
    return [outcome_of(work.graded, chosen_at(work.losses, work.limits[t], work.graded, covers)) for t in TOLERANCES]


def with_labels(work: Workload, count: int, seed: int) -> list[Outcome]:
    """The same after ``count`` groups of labels, on the prompts that were not labelled."""
    groups = np.unique(work.graded.group)
    drawn = np.random.default_rng([29, seed]).choice(groups, count, replace=False)
    is_label = np.isin(work.graded.group, drawn)
    labels, rest = work.graded.only(is_label), work.graded.only(~is_label)
    fitted = fit(labels, TOLERANCES)
    predicted = predicted_losses(rest.quality, fitted.shifts)
    has_ground = rest.support >= support_floor_of(labels)
    found = []
    for t in TOLERANCES:
        limits = np.where(has_ground, fitted.threshold(t), -np.inf)
        found.append(outcome_of(rest, chosen_at(predicted, limits, rest, fitted.covers)))
    return found


def rows_over(draws: Sequence[Sequence[Outcome]]) -> list[dict[str, float]]:
    """One row a tolerance: shares of the draws that kept it and that abstained altogether, mean loss and saving."""
    rows = []
    for at, tolerance in enumerate(TOLERANCES):
        mine = [draw[at] for draw in draws]
        losses = np.array([each.loss for each in mine])
        saved = [each.saved_nanousd / each.premium_nanousd for each in mine]
        rows.append(
            {
                "tolerance": tolerance,
                "draws": float(len(mine)),
                "kept": float((losses <= tolerance + ROUNDING).mean()),
                "abstained": float(np.mean([each.routed_share == 0 for each in mine])),
                "loss": float(losses.mean()),
                "worst_loss": float(losses.max()),
                "saved": float(np.mean(saved)),
                "routed": float(np.mean([each.routed_share for each in mine])),
            }
        )
    return rows


def unseen(
    prepared: Prepared,
    recipe: Recipe,
    *,
    cache: Path,
    figures: Path | None = None,
    repeats: int = REPEATS,
    counts: tuple[int, ...] = LABEL_COUNTS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """By case and number of labels ("0" first), the rows of `rows_over`."""
    dataset = prepared.dataset
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    models: dict[str, QualityModel] = {}
    for name, asked in rows_judged(dataset).items():
        source = models_of(name)[0]
        # A twin in what the model was fitted on would make a prompt seen.
        outside = (dataset.sources != source) & prepared.is_dev
        rows = asked[~np.isin(dataset.groups[asked], dataset.groups[outside])]
        if source not in models:
            models[source] = model_without(prepared, source, recipe, cache=cache, figures=figures, say=say)
        work = workload_of(prepared, models[source], name, rows)
        found[name] = {"0": rows_over([without_labels(work)])}
        groups = len(np.unique(work.graded.group))
        for count in (each for each in counts if groups - each >= JUDGED_MIN):
            found[name][str(count)] = rows_over([with_labels(work, count, seed) for seed in range(repeats)])
        say(f"{name}: {len(rows)} prompts that the model without {source} never saw")
    return found


def summary(found: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, dict[str, float]]:
    """By number of labels: cases kept or abstained, over all cases and tolerances, and mean saving at each."""
    rows: dict[str, dict[str, float]] = {}
    for count in sorted({count for case in found.values() for count in case}, key=int):
        mine = [row for case in found.values() for row in case.get(count, [])]
        rows[count] = {
            "kept": float(np.mean([row["kept"] for row in mine])),
            "abstained": float(np.mean([row["abstained"] for row in mine])),
            **{
                f"saved_{t:g}": float(np.mean([row["saved"] for row in mine if row["tolerance"] == t]))
                for t in TOLERANCES
            },
        }
    return rows
