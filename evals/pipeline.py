"""`python -m evals all` and `calibrate`: the whole way from raw outcomes to the report, and its second half alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from evals.dataset import load_dataset, shared_data_path
from evals.facts import facts_of, show_facts
from evals.markdown import ROOT
from evals.prepare import prepare
from evals.recipe import CHOSEN
from evals.report import draw_on, report_on
from evals.tables import show
from evals.train import ARTIFACT, sayer, train, train_on
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe
    from router.quality import QualityModel

RESULTS: Final = ROOT / "evals" / "results"
PICTURES: Final = ROOT / "docs" / "images"


def everything(*, seed: int, artifact: Path | None, folder: Path | None, cache: Path) -> dict[str, Any]:
    """Load the shared outcomes and go the whole way; goes on where it was stopped."""
    data = shared_data_path()
    figures = data if (data / "models").is_dir() else None
    return everything_on(
        prepare(load_dataset()), seed=seed, artifact=artifact or ARTIFACT, folder=folder or RESULTS,
        pictures=folder or PICTURES, cache=cache, figures=figures, say=sayer(),
    )  # fmt: skip


def everything_on(
    prepared: Prepared,
    *,
    artifact: Path,
    folder: Path,
    pictures: Path,
    cache: Path,
    seed: int = 0,
    recipe: Recipe = CHOSEN,
    figures: Path | None = None,
    rounds: int = 200,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The same over prepared data: what it holds, the model, its report with left-out sources, JSON and pictures."""
    facts = facts_of(prepared.dataset)
    show_facts(facts)
    _write(folder / "dataset.json", facts)
    say("1 of 3: the data")
    model = train_on(prepared, out=artifact, seed=seed, recipe=recipe, figures=figures, cache=cache, say=say)
    say(f"2 of 3: model {model.revision}")
    found = report_on(prepared, model, is_left_out=True, rounds=rounds, cache=cache, figures=figures, say=say)
    found["artifact_bytes"] = artifact.stat().st_size
    show(found)
    _write(folder / "report.json", found)
    draw_on(prepared, model, pictures)
    say("3 of 3: the report")
    return found


def calibrate(*, seed: int, out: Path | None, is_calibration_fitted: bool, cache: Path) -> QualityModel:
    """Thresholds, complexity and support again over the networks that `train` kept, beside the artifact in place."""
    out = out or ARTIFACT
    before = load_quality_model(out if out.exists() else ARTIFACT)
    after = train(seed=seed, out=out, is_calibration_fitted=is_calibration_fitted, cache=cache)
    show_thresholds(before, after)
    return after


def show_thresholds(before: QualityModel, after: QualityModel, console: Console | None = None) -> None:
    """Print every threshold, a tolerance a line, and in brackets what it was where it moved."""
    console = console or Console(width=120)
    table = Table(title=f"thresholds on predicted loss: model {after.revision} (before: {before.revision})")
    table.add_column("tolerance", justify="right")
    sources = [*after.threshold_sources, "others"]
    for source in sources:
        table.add_column(source, justify="right")
    old = dict(zip([*before.threshold_sources, "others"], before.thresholds, strict=True))
    for at, tolerance in enumerate(after.tolerances):
        now = after.thresholds[:, at]
        was = [old[source][at] if source in old else np.nan for source in sources]
        table.add_row(f"{tolerance:g}", *(_moved(*pair) for pair in zip(now, was, strict=True)))
    console.print(table)
    console.print(f"support floor {after.support_floor:.4f} ({before.support_floor:.4f})")


def _moved(now: float, then: float) -> str:
    return f"{now:.3f}" if now == then else f"{now:.3f} ({then:.3f})"


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2), encoding="utf-8")
