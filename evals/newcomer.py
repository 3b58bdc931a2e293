"""`python -m evals newcomer`: a model left out of training is entered with few graded answers; how far off is it?

The fit sees no outcome of the newcomer. Its ability starts where its public figures place it (`evals.placement`, whose
width is the prior's) and moves to the maximum a posteriori of its graded answers: a normal prior on the ability, and a
Bernoulli likelihood in log-odds on the lines that the artifact holds for models without outcomes. Labels come from the
training and calibration prompts of a source, the judgement from its test prompts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.arrays import abilities_of
from evals.batch import sigmoid
from evals.dataset import load_dataset, shared_data_path
from evals.fitted import fit_on
from evals.kept import cache_folder
from evals.placement import Cell, cells_of, load_levels, place
from evals.prepare import prepare
from evals.prices import PREMIUM
from evals.recipe import CHOSEN
from evals.train import ANCHORS_MIN, sayer, splits_sha256
from evals.version import fit_name
from router.quality import load_quality_model
from router.quality.names import ability_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe

NEWCOMERS: Final = ("claude-3-5-haiku", "gemini-1.5-flash", "llama-3.1-70b", "llama-3.1-405b")
LABEL_COUNTS: Final = (0, 50, 200)
DRAWS: Final = 20
NEWTON_STEPS: Final = 25
STEP_MAX: Final = 0.5
# A stand-in for the derivative of the lines, whose offset is a square in the ability.
SLOPE_STEP: Final = 1e-3
TEST_PROMPTS_MIN: Final = 50


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit without the newcomer. ``skills`` (prompts, K) of all prompts; ``quality`` (prompts, models) of the others.

    ``slope`` (2, K) and ``offset`` (3) are the lines in the ability; ``prior`` its mean and standard deviation, and
    ``basis`` what they rest on; ``nobody`` is the ability of the average model.
    """

    skills: Any
    quality: Any
    slope: Any
    offset: Any
    prior: tuple[float, float]
    basis: str
    nobody: float

    def logits(self, ability: float, rows: Any) -> Any:
        """Log-odds (n) of a model of this ability on the prompts at ``rows``."""
        slope = self.slope[0] + ability * self.slope[1]
        return self.skills[rows] @ slope + self.offset[0] + ability * self.offset[1] + ability**2 * self.offset[2]


def most_likely_ability(fit: Fit, rows: Any, scores: Any) -> float:
    """Maximum a posteriori of the ability by scores 0..1 (n) of the prompts at ``rows``; for none the prior's mean."""
    mean, width = fit.prior
    at = mean
    for _ in range(NEWTON_STEPS):
        odds = fit.logits(at, rows)
        moves = (fit.logits(at + SLOPE_STEP, rows) - fit.logits(at - SLOPE_STEP, rows)) / (2 * SLOPE_STEP)
        predicted = sigmoid(odds)
        force = float(((scores - predicted) * moves).sum()) - (at - mean) / width**2
        stiffness = float((predicted * (1 - predicted) * moves**2).sum()) + 1 / width**2
        at += float(np.clip(force / stiffness, -STEP_MAX, STEP_MAX))
    return at


def fit_without(
    prepared: Prepared,
    key: str | None,
    recipe: Recipe,
    *,
    cache: Path,
    figures: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fit without any outcome of the model (None: with all), or read the same from ``cache``; prior by ``figures``."""
    name = fit_name(prepared.dataset, recipe, key)
    path = cache / f"newcomer-{key or 'nobody'}-{name}.npz"
    if not path.exists():
        rows = np.flatnonzero(prepared.is_dev)
        blind = prepared.by_model.copy()
        if key is not None:
            blind[:, prepared.models.index(key)] = np.nan
        hidden = replace(prepared, by_model=blind)
        fitted = fit_on(hidden, rows, recipe)
        x = fitted.inputs(prepared.bare)
        abilities, slope, offset = abilities_of(hidden, fitted, x[rows])
        network = fitted.network
        skills = np.maximum(x @ network.hidden_w + network.hidden_b, 0) @ network.skill_w + network.skill_b
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{path.name}")
        np.savez(
            part, skills=skills, quality=network.quality(x), slope=slope, offset=offset,
            names=np.array(list(abilities)), abilities=np.array(list(abilities.values())),
        )  # fmt: skip
        part.replace(path)
        say(f"fitted without {key or 'nobody'}")
    with np.load(path) as kept:
        abilities = dict(zip(kept["names"].tolist(), kept["abilities"].tolist(), strict=True))
        seen = prepared.is_dev
        cells = cells_of(prepared.by_model[seen], prepared.models, prepared.dataset.sources[seen])
        prior, basis = prior_of(key or "", abilities, [cell for cell in cells if cell.model != key], figures)
        nobody = float(np.mean(list(abilities.values())))
        return Fit(kept["skills"], kept["quality"], kept["slope"], kept["offset"], prior, basis, nobody)


def prior_of(
    key: str, abilities: dict[str, float], cells: list[Cell], figures: Path | None
) -> tuple[tuple[float, float], str]:
    """Mean and width of a model's ability from its public figures, else from the spread of all models' abilities."""
    levels = load_levels(figures)[0] if figures is not None else {}
    if len(set(levels) & set(abilities)) >= ANCHORS_MIN:
        placed = place(levels, abilities, cells)[0].get(key)
        if placed is not None:
            return (placed["value"], placed["standard_error"]), placed["basis"]
    values = list(abilities.values())
    return (float(np.mean(values)), float(np.std(values))), "the average model"


def judged_columns(prepared: Prepared, key: str) -> list[tuple[str, int, int]]:
    """Sources where the newcomer answered beside a premium model: source, its column and premium's."""
    dataset = prepared.dataset
    found = []
    for source, premium in PREMIUM.items():
        mine = [
            at
            for at, (each, _) in enumerate(dataset.columns)
            if each == source and ability_key(dataset.column_model[at]) == key
        ]
        if mine and (source, premium) in dataset.columns:
            fullest = max(mine, key=lambda at: int(np.isfinite(dataset.scores[:, at]).sum()))
            found.append((source, fullest, dataset.columns.index((source, premium))))
    return found


def judge(
    prepared: Prepared, fit: Fit, full: Any, column: int, premium: int, *, draws: int = DRAWS
) -> dict[str, dict[str, float]] | None:
    """By number of labels: error of the mean predicted loss against premium, and the share of the Brier gap closed.

    ``full`` (prompts, models) is the quality predicted by the fit that saw the newcomer. The gap runs from the average
    model's ability to that fit. None where the test split holds too few prompts.
    """
    dataset = prepared.dataset
    score, reference = dataset.scores[:, column], dataset.scores[:, premium]
    both = np.isfinite(score) & np.isfinite(reference)
    test = np.flatnonzero(both & ~prepared.is_dev)
    pool = np.flatnonzero(np.isfinite(score) & prepared.is_dev)
    if len(test) < TEST_PROMPTS_MIN:
        return None
    key, premium_key = (ability_key(dataset.column_model[at]) for at in (column, premium))
    strong = fit.quality[test, prepared.models.index(premium_key)]
    realised = float((reference[test] - score[test]).mean())
    known = full[test, prepared.models.index(key)]
    ends = [float(((each - score[test]) ** 2).mean()) for each in (sigmoid(fit.logits(fit.nobody, test)), known)]
    found = {}
    for count in LABEL_COUNTS:
        errors, briers = [], []
        for seed in range(draws if count else 1):
            rows = np.random.default_rng([31, count, seed]).choice(pool, min(count, len(pool)), replace=False)
            quality = sigmoid(fit.logits(most_likely_ability(fit, rows, score[rows]), test))
            errors.append(abs(float((strong - quality).mean()) - realised))
            briers.append(float(((quality - score[test]) ** 2).mean()))
        found[str(count)] = {
            "loss_error": float(np.mean(errors)),
            "loss_error_worst": float(np.max(errors)),
            "brier": float(np.mean(briers)),
            "gap_closed": (ends[0] - float(np.mean(briers))) / (ends[0] - ends[1]),
        }
    loss = float((strong - known).mean())
    error = abs(loss - realised)
    found["all"] = {"loss_error": error, "loss_error_worst": error, "brier": ends[1], "gap_closed": 1.0}
    return found


def newcomer_on(
    prepared: Prepared,
    recipe: Recipe,
    *,
    cache: Path,
    figures: Path | None = None,
    newcomers: tuple[str, ...] = NEWCOMERS,
    draws: int = DRAWS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Every newcomer in every source that holds it beside a premium model, as JSON would hold it."""
    full = fit_without(prepared, None, recipe, cache=cache, say=say).quality
    models: dict[str, Any] = {}
    for name in newcomers:
        key = ability_key(name)
        if key not in prepared.models:
            continue
        fit = fit_without(prepared, key, recipe, cache=cache, figures=figures, say=say)
        sources = {
            source: judged
            for source, column, premium in judged_columns(prepared, key)
            if (judged := judge(prepared, fit, full, column, premium, draws=draws)) is not None
        }
        models[name] = {"prior": fit.prior[0], "prior_width": fit.prior[1], "basis": fit.basis, "sources": sources}
        say(f"{name}: judged in {', '.join(sources) or 'no source'}")
    rows = [row for each in models.values() for row in each["sources"].values()]
    return {
        "data_sha256": prepared.dataset.data_sha256,
        "splits_sha256": splits_sha256(prepared.dataset),
        "draws": draws,
        "models": models,
        "mean": {
            count: {key: float(np.mean([row[count][key] for row in rows])) for key in ("loss_error", "gap_closed")}
            for count in (*map(str, LABEL_COUNTS), "all")
        }
        if rows
        else {},
    }


def show_newcomer(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console(width=150)
    counts = [*map(str, LABEL_COUNTS), "all"]
    table = Table(
        title=f"a model left out of training, {found['draws']} draws: error of the mean loss against premium, "
        "share of the Brier gap closed"
    )
    for column in ("model (prior)", "source", *(f"{count} labels" for count in counts)):
        table.add_column(column)
    for name, one in found["models"].items():
        prior = f"{name} ({one['prior']:.2f} +- {one['prior_width']:.2f}, {one['basis']})"
        for source, rows in one["sources"].items():
            table.add_row(prior, source, *map(_cell, (rows[count] for count in counts)))
    if found["mean"]:
        table.add_row("mean", "", *map(_cell, (found["mean"][count] for count in counts)))
    console.print(table)


def _cell(row: dict[str, float]) -> str:
    return f"{row['loss_error']:.3f}, {row['gap_closed']:.0%}"


def newcomer(*, draws: int = DRAWS, out: Path | None = None) -> dict[str, Any]:
    """Load, judge, print, and write JSON where asked."""
    folder = shared_data_path()
    prepared = prepare(load_dataset())
    found = newcomer_on(prepared, CHOSEN, cache=cache_folder(), figures=folder, draws=draws, say=sayer())
    found["model_revision"] = load_quality_model().revision
    show_newcomer(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found
