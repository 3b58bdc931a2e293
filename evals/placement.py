"""Today's models on the outcomes' scale: through independent figures that old and new models share.

A two-way fit (model level + benchmark level, ridge) puts every model of the figures on one scale; a line through the
models that have both figures and outcomes carries it to the ability scale. A model without figures takes its
predecessor's place, wider by how much one generation has moved so far.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.quality.model import ability_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RIDGE = 0.5
# The newest generation has no independent figure: each takes the place of the one before it in its family.
PREDECESSORS: dict[str, str] = {
    "claude-opus-5-5": "claude-opus-4-8",
    "claude-opus-5": "claude-opus-4-8",
    "claude-sonnet-5-5": "claude-sonnet-5",
    "claude-haiku-5-5": "claude-haiku-4-5",
    "claude-fable-5-1": "claude-fable-5",
    "gemini-3.6-flash": "gemini-3.5-flash",
    "gemini-3.7-flash": "gemini-3.5-flash",
    "gemini-3.8-flash": "gemini-3.5-flash",
    "gemini-4-argon": "gemini-3.1-pro",
}
# Rises within a family from one generation to the next, to see how far one step has moved.
GENERATIONS = (
    ("claude-opus-4-5", "claude-opus-4-6"), ("claude-opus-4-6", "claude-opus-4-7"),
    ("claude-opus-4-7", "claude-opus-4-8"), ("claude-sonnet-4-5", "claude-sonnet-4-6"),
    ("claude-sonnet-4-6", "claude-sonnet-5"), ("gemini-2.5-pro", "gemini-3.1-pro"),
    ("gemini-2.5-flash", "gemini-3-flash"), ("gemini-3-flash", "gemini-3.5-flash"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """A model's level on the figures' common scale, in percent points, and which sources it rests on."""

    value: float
    figures: int
    sources: tuple[str, ...]


def load_levels(folder: Path) -> dict[str, Level]:
    """Levels of every model of `models/benchmarks.csv`, by ability key; settings of one model are averaged."""
    with (folder / "models" / "benchmarks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    models = sorted({ability_key(row["litellm_name"] or row["model"]) for row in rows})
    benchmarks = sorted({row["benchmark"] for row in rows})
    design = np.zeros((len(rows), len(models) + len(benchmarks)))
    target = np.array([float(row["score"]) for row in rows])
    for index, row in enumerate(rows):
        design[index, models.index(ability_key(row["litellm_name"] or row["model"]))] = 1
        design[index, len(models) + benchmarks.index(row["benchmark"])] = 1
    middle = target.mean()
    solved = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ (target - middle))
    found: dict[str, Level] = {}
    for index, model in enumerate(models):
        mine = [row for row in rows if ability_key(row["litellm_name"] or row["model"]) == model]
        sources = sorted({f"{row['harness']} ({row['source_date']})" for row in mine})
        found[model] = Level(float(solved[index]), len(mine), tuple(sources))
    return found


def place(levels: Mapping[str, Level], outcomes: Mapping[str, float]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Abilities as the artifact holds them, and lines of report. ``outcomes``: abilities fitted from outcomes."""
    both = sorted(set(levels) & set(outcomes))
    x = np.array([levels[key].value for key in both])
    y = np.array([outcomes[key] for key in both])
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.std(y - (start + slope * x), ddof=2))
    steps = [
        levels[ability_key(new)].value - levels[ability_key(old)].value
        for old, new in GENERATIONS
        if ability_key(old) in levels and ability_key(new) in levels
    ]
    generation = float(np.sqrt(np.mean(np.square(steps)))) * abs(slope) if steps else spread
    placed: dict[str, dict[str, Any]] = {}
    for key, level in levels.items():
        value = float(start + slope * level.value)
        placed[key] = {"value": value, "standard_error": spread, "basis": "own", "sources": list(level.sources)}
    for new, old in PREDECESSORS.items():
        before = placed.get(ability_key(old))
        if before is not None and ability_key(new) not in levels:
            error = float(np.hypot(before["standard_error"], generation))
            sources = [f"predecessor {old}", *before["sources"]]
            placed[ability_key(new)] = before | {
                "standard_error": error, "basis": "predecessor", "sources": sources,
            }  # fmt: skip
    for key, value in outcomes.items():
        placed[key] = {"value": value, "standard_error": 0.05, "basis": "outcomes", "sources": ["shared outcomes"]}
    report = [
        f"anchors with figures and outcomes: {len(both)} ({', '.join(both)})",
        f"ability = {start:.3f} + {slope:.4f} x level, residual sd {spread:.3f}; one generation moves {generation:.3f}",
    ]
    return placed, report
