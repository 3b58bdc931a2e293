"""Today's models on the outcomes' scale: through independent figures that old and new models share.

A ridge fit (model level + benchmark level + what effort adds, shared by all models) puts every model of the figures on
one scale, at the effort that an ordinary request gets; a line through the models that have both figures and outcomes
carries it to the ability scale. The line rests on few models, so that a place through it is as wide as Student's
prediction interval there, the wider the further it lies from them. A model whose figures all come from higher efforts
is wider, one without figures takes its predecessor's place, wider by how much one generation has moved so far. A model
with outcomes stands where they put it, as wide as models move against each other from source to source.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
Z_95 = 1.96
# Fewer outcomes of a model in a source say nothing of how it does there.
CELL_MIN = 30
# How far a model moves from source to source where the outcomes hold too few models of several sources to tell.
BETWEEN_UNKNOWN = 0.5
BETWEEN_FREEDOM_MIN = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """How one model did in one source: its mean outcome in log-odds, and the variance of that by sampling."""

    model: str
    source: str
    log_odds: float
    variance: float


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


def cells_of(scores: Any, models: Sequence[str], sources: Any) -> list[Cell]:
    """Every model in every source where it has enough outcomes; ``scores`` (n, models), NaN where unknown."""
    found = []
    for source in sorted(set(sources.tolist())):
        inside = scores[sources == source]
        for at, model in enumerate(models):
            known = inside[np.isfinite(inside[:, at]), at].astype(float)
            if len(known) >= CELL_MIN:
                share = (known.sum() + 1) / (len(known) + 2)
                spread = 1 / (len(known) * share * (1 - share))
                found.append(Cell(model, source, float(np.log(share / (1 - share))), float(spread)))
    return found


def between_sources(cells: Sequence[Cell]) -> tuple[float, int]:
    """How far a model's log-odds move from one source to another beside all others', and its degrees of freedom.

    What an additive fit (a level a model, one a source) leaves, less what sampling makes of it.
    """
    models, sources = (sorted({getattr(cell, name) for cell in cells}) for name in ("model", "source"))
    design = np.zeros((len(cells), len(models) + len(sources)))
    for row, cell in enumerate(cells):
        design[row, [models.index(cell.model), len(models) + sources.index(cell.source)]] = 1
    residual_of = np.eye(len(cells)) - design @ np.linalg.pinv(design)
    freedom = round(float(np.trace(residual_of)))
    if freedom < BETWEEN_FREEDOM_MIN:
        return BETWEEN_UNKNOWN, freedom
    left = residual_of @ np.array([cell.log_odds for cell in cells])
    sampled = float(np.diag(residual_of) @ np.array([cell.variance for cell in cells]))
    return float(np.sqrt(max(0.0, float(left @ left) - sampled) / freedom)), freedom


def student_factor(freedom: int) -> float:
    """What a standard error is multiplied by, so that 1.96 of it make Student's 95 % interval."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom)) / Z_95


def place(
    levels: Mapping[str, Level], outcomes: Mapping[str, float], cells: Sequence[Cell]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Abilities as the artifact holds them, and lines of report.

    ``outcomes``: abilities fitted from outcomes, ``cells`` how their models did in each source.
    """
    placed: dict[str, dict[str, Any]] = {}
    report: list[str] = []
    if levels:
        placed, report = _through_figures(levels, outcomes)
    between, freedom = between_sources(cells)
    factor = student_factor(freedom) if freedom >= BETWEEN_FREEDOM_MIN else 1.0
    for key, value in outcomes.items():
        mine = [cell for cell in cells if cell.model == key]
        sampled = float(np.mean([cell.variance for cell in mine])) if mine else 4 / CELL_MIN
        error = float(np.sqrt((between**2 + sampled) / max(1, len(mine)))) * factor
        sources = [cell.source for cell in mine]
        placed[key] = {"value": value, "standard_error": error, "basis": "outcomes", "sources": sources}
    return placed, [*report, f"from source to source a model moves by {between:.3f} ({freedom} degrees of freedom)"]


def _through_figures(
    levels: Mapping[str, Level], outcomes: Mapping[str, float]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    both = sorted(set(levels) & set(outcomes))
    x = np.array([levels[key].value for key in both])
    y = np.array([outcomes[key] for key in both])
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.std(y - (start + slope * x), ddof=2))
    factor, middle = student_factor(len(both) - 2), float(x.mean())
    width = float(((x - middle) ** 2).sum())

    def error_at(level: float) -> float:
        return spread * factor * float(np.sqrt(1 + 1 / len(both) + (level - middle) ** 2 / width))

    steps = [
        levels[ability_key(new)].value - levels[ability_key(old)].value
        for old, new in GENERATIONS
        if ability_key(old) in levels and ability_key(new) in levels
    ]
    generation = float(np.sqrt(np.mean(np.square(steps)))) * abs(slope) if steps else spread
    placed: dict[str, dict[str, Any]] = {}
    for key, level in levels.items():
        error = error_at(level.value) if level.is_plain else float(np.hypot(error_at(level.value), generation))
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
        f"ability = {start:.3f} + {slope:.4f} x level, residual sd {spread:.3f} (times {factor:.2f})",
        f"one generation moves {generation:.3f}",
    ]
