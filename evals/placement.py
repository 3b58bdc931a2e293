"""Today's models on the outcomes' scale: through independent figures that old and new models share.

A ridge fit (model level + benchmark level + what effort adds, shared by all models) puts every model of the figures on
one scale, at the effort that an ordinary request gets; a line through the models that have both figures and outcomes
carries it to the ability scale. A model whose figures all come from higher efforts is wider, one without figures takes
its predecessor's place, wider by how much one generation has moved so far.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.quality.names import ability_key

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


HIGH_EFFORT = re.compile(r"(?i)high|think|reasoning\)")
PLAIN = re.compile(r"(?i)no reasoning|low|base|minimal|^$")
OUTCOMES_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Level:
    """A model's level at plain effort on the figures' common scale, in percent points, and what it rests on."""

    value: float
    figures: int
    is_plain: bool
    sources: tuple[str, ...]


def effort_of(settings: str) -> int:
    """0 for what an ordinary request gets, 1 for a medium effort, 2 for a high one or a long thinking budget."""
    if PLAIN.search(settings):
        return 0
    if "medium" in settings:
        return 1
    return 2 if HIGH_EFFORT.search(settings) else 0


def load_levels(folder: Path) -> tuple[dict[str, Level], dict[str, str]]:
    """Levels of every model of `models/benchmarks.csv` by ability key, and the figures' own names onto these keys."""
    with (folder / "models" / "benchmarks.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [ability_key(row["litellm_name"] or row["model"]) for row in rows]
    efforts = [effort_of(row["settings"]) for row in rows]
    models, benchmarks = sorted(set(keys)), sorted({row["benchmark"] for row in rows})
    place_of = {name: at for at, name in enumerate([*models, *benchmarks, 1, 2])}
    design = np.zeros((len(rows), len(place_of)))
    target = np.array([float(row["score"]) for row in rows])
    for index, (row, key, effort) in enumerate(zip(rows, keys, efforts, strict=True)):
        design[index, [place_of[key], place_of[row["benchmark"]]]] = 1
        if effort:
            design[index, place_of[effort]] = 1
    solved = np.linalg.solve(design.T @ design + RIDGE * np.eye(len(place_of)), design.T @ (target - target.mean()))
    found: dict[str, Level] = {}
    for index, model in enumerate(models):
        mine = [at for at, key in enumerate(keys) if key == model]
        sources = sorted({f"{rows[at]['harness']} ({rows[at]['source_date']})" for at in mine})
        is_plain = any(efforts[at] == 0 for at in mine)
        found[model] = Level(float(solved[index]), len(mine), is_plain, tuple(sources))
    names = {row[column]: key for row, key in zip(rows, keys, strict=True) for column in ("model", "litellm_name")}
    names.pop("", None)
    return found, names


def place(levels: Mapping[str, Level], outcomes: Mapping[str, float]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Abilities as the artifact holds them, and lines of report. ``outcomes``: abilities fitted from outcomes."""
    placed: dict[str, dict[str, Any]] = {}
    report: list[str] = []
    if levels:
        placed, report = _through_figures(levels, outcomes)
    for key, value in outcomes.items():
        placed[key] = {
            "value": value, "standard_error": OUTCOMES_ERROR, "basis": "outcomes", "sources": ["shared outcomes"],
        }  # fmt: skip
    return placed, report


def _through_figures(
    levels: Mapping[str, Level], outcomes: Mapping[str, float]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
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
        error = spread if level.is_plain else float(np.hypot(spread, generation))
        notes = () if level.is_plain else ("no figure at plain effort",)
        placed[key] = {
            "value": float(start + slope * level.value), "standard_error": error, "basis": "own",
            "sources": [*level.sources, *notes],
        }  # fmt: skip
    for new, old in PREDECESSORS.items():
        before = placed.get(ability_key(old))
        if before is not None and ability_key(new) not in levels:
            error = float(np.hypot(before["standard_error"], generation))
            sources = [f"predecessor {old}", *before["sources"]]
            placed[ability_key(new)] = before | {
                "standard_error": error, "basis": "predecessor", "sources": sources,
            }  # fmt: skip
    return placed, [
        f"anchors with figures and outcomes: {len(both)} ({', '.join(both)})",
        f"ability = {start:.3f} + {slope:.4f} x level, residual sd {spread:.3f}; one generation moves {generation:.3f}",
    ]
