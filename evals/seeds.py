"""`python -m evals seeds`: the judged figures on the test split over models that differ by their seed alone.

The shipped model is seed 0; the others are fitted in the same way and kept, so that a run that was stopped goes on
where it was. Seed and luck of the test split are two things: intervals over prompts stand in `python -m evals report`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.curves import aiq_of, portfolio_of, tolerance_rows
from evals.dataset import load_dataset, shared_data_path
from evals.judge import OURS, verdicts_of
from evals.kept import cache_folder
from evals.leftout import apart_from, model_without
from evals.pairs import PAIRS
from evals.prepare import prepare
from evals.prices import PORTFOLIOS
from evals.recipe import CHOSEN
from evals.reliability import calibration_rows, pair_tolerance_rows, steadiness
from evals.train import sayer, train_on
from evals.version import fit_name
from router.errors import ArtifactError
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.quality import QualityModel

TOLERANCES: Final = (0.02, 0.05, 0.10)
# Sources with fewer outcomes on the test split than these say nothing of calibration.
OUTCOMES_MIN: Final = 3000


@dataclass(frozen=True, slots=True)
class Seeded:
    """A figure over the seeds: ``values`` in their order."""

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.values))


def model_of_seed(
    prepared: Prepared,
    recipe: Recipe,
    seed: int,
    *,
    cache: Path,
    figures: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> QualityModel:
    """The model of a seed, fitted or read from ``cache``."""
    path = cache / f"seed-{seed}-{fit_name(prepared.dataset, recipe, seed, figures is None)}.npz"
    if path.exists():
        try:
            return load_quality_model(path)
        except ArtifactError:
            say(f"{path.name} is of another version: fitted again")
    return train_on(prepared, out=path, seed=seed, recipe=recipe, figures=figures)


def judged(prepared: Prepared, model: QualityModel) -> dict[str, float]:
    """Every judged figure of one model on the test split."""
    dataset = prepared.dataset
    is_test, known = dataset.splits == "test", dataset.splits == "train"
    ours = [each for each in verdicts_of(prepared, model, is_test, {}, known=known, rounds=1) if each.method == OURS]
    apgr, _, _, _, within = np.nanmean([each.values for each in ours], axis=0)
    found = {"APGR, sources seen": float(apgr), "AUC within category": float(within)}
    found |= {f"APGR, {each.pair.group}": float(each.values[0]) for each in ours if each.pair.source == "routellm"}
    every = [portfolio_of(prepared, model, source, is_test, known) for source in PORTFOLIOS]
    portfolios = [each for each in every if each is not None]
    for each in portfolios:
        found[f"AIQ gap closed, {each.source}"] = float(aiq_of(each, np.arange(len(each.scores)))[-1])
    tolerance = [*pair_tolerance_rows(prepared, model, is_test).values(), *map(tolerance_rows, portfolios)]
    for t in TOLERANCES:
        rows = [row for case in tolerance for row in case if row["tolerance"] == t]
        found[f"cases within t = {t:g}"] = float(sum(row["kept"] for row in rows))
        found[f"cases whose bound is within t = {t:g}"] = float(sum(row["kept_upper"] for row in rows))
        found[f"saved at t = {t:g}"] = float(np.mean([row["saved"] for row in rows]))
    for source, row in calibration_rows(prepared, model, is_test).items():
        if row["outcomes"] >= OUTCOMES_MIN:
            found[f"ECE, {source}"] = row["ece"]
    steady = steadiness(prepared, model, is_test)["unchanged_mean"]
    return found | {"unchanged under noise": steady["at_tolerance"], "unchanged, at the median": steady["at_median"]}


def left_out_of_seed(
    prepared: Prepared, recipe: Recipe, seed: int, *, cache: Path, figures: Path | None, say: Callable[[str], None]
) -> dict[str, float]:
    """APGR and AUC within category over the pairs, each source judged by a model of the seed that never saw it."""
    values = []
    for source in dict.fromkeys(pair.source for pair in PAIRS):
        keep, outside = apart_from(prepared.dataset, source)
        if keep.any():
            model = model_without(prepared, source, recipe, cache=cache, figures=figures, seed=seed, say=say)
            verdicts = verdicts_of(prepared, model, keep, {}, known=outside, rounds=1, only=source)
            values += [each.values for each in verdicts if each.method == OURS]
    apgr, _, _, _, within = np.nanmean(values, axis=0)
    return {"APGR, sources left out": float(apgr), "AUC within category, left out": float(within)}


def seeds_on(
    prepared: Prepared,
    recipe: Recipe,
    *,
    count: int,
    cache: Path,
    first: QualityModel | None = None,
    figures: Path | None = None,
    is_left_out: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Seeded]:
    """Every figure over so many seeds; ``first`` is seed 0's model where it is at hand."""
    rows: list[dict[str, float]] = []
    for seed in range(count):
        model = first if seed == 0 and first is not None else None
        model = model or model_of_seed(prepared, recipe, seed, cache=cache, figures=figures, say=say)
        row = judged(prepared, model)
        if is_left_out:
            row |= left_out_of_seed(prepared, recipe, seed, cache=cache, figures=figures, say=say)
        rows.append(row)
        say(f"seed {seed} of {count}: APGR {row['APGR, sources seen']:.4f}")
    return [Seeded(name, tuple(row[name] for row in rows)) for name in rows[0]]


def show_seeds(found: list[Seeded], console: Console | None = None) -> None:
    """Print the table."""
    console = console or Console(width=110)
    table = Table(title="the judged figures on the test split, by seed")
    for column in ("figure", "mean", "lowest", "highest", "each seed"):
        table.add_column(column)
    for each in found:
        low, high = min(each.values), max(each.values)
        table.add_row(
            each.name, f"{each.mean:.3f}", f"{low:.3f}", f"{high:.3f}", ", ".join(f"{v:.3f}" for v in each.values)
        )
    console.print(table)


def seeds(*, count: int, is_left_out: bool = False, out: Path | None = None) -> list[Seeded]:
    """Load, fit what is missing, judge, print, and write JSON where asked."""
    folder, say = shared_data_path(), sayer()
    shipped = load_quality_model()
    found = seeds_on(
        prepare(load_dataset()), CHOSEN, count=count, cache=cache_folder(), first=shipped, figures=folder,
        is_left_out=is_left_out, say=say,
    )  # fmt: skip
    show_seeds(found)
    if out is not None:
        said = {"model_revision": shipped.revision, "figures": {each.name: each.values for each in found}}
        out.write_text(json.dumps(said, indent=2), encoding="utf-8")
    return found
