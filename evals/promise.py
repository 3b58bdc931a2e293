"""`python -m evals promise`: how often a tolerance is broken, over random halves of known sources and on new ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from evals.dataset import load_dataset, shared_data_path
from evals.kept import cache_folder
from evals.prepare import prepare
from evals.recipe import CHOSEN
from evals.splits import (
    CONFIDENCE,
    METHODS,
    TOLERANCES,
    cached_cross_fit,
    cases_of,
    clopper_pearson,
    over_splits,
)
from evals.train import sayer, splits_sha256
from evals.unseen import CALIBRATION, REPEATS, summary, unseen
from router.quality import load_quality_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evals.prepare import Prepared
    from evals.recipe import Recipe

SPLITS: Final = 200
TITLES: Final = {
    "shipped": "one threshold a source by its upper bound, as shipped",
    "own": "the case's own threshold by its upper bound",
    "mean": "the case's own threshold on the mean, no bound (naive)",
}


def promise_on(
    prepared: Prepared,
    recipe: Recipe,
    *,
    cache: Path,
    figures: Path | None = None,
    splits: int = SPLITS,
    repeats: int = REPEATS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Both halves of the study, as JSON would hold them."""
    held = cached_cross_fit(prepared, recipe, cache=cache, say=say)
    seen = over_splits(cases_of(prepared, held), splits, say=say)
    apart = unseen(prepared, recipe, cache=cache, figures=figures, repeats=repeats, say=say)
    return {
        "data_sha256": prepared.dataset.data_sha256,
        "splits_sha256": splits_sha256(prepared.dataset),
        "splits": splits,
        "seen": seen,
        "seen_mean": {method: seen_means(seen, method, splits) for method in METHODS},
        "labels_calibrated_by": CALIBRATION,
        "unseen": apart,
        "unseen_mean": summary(apart),
    }


def seen_means(seen: dict[str, dict[str, list[dict[str, float]]]], method: str, splits: int) -> list[dict[str, float]]:
    """Over all cases at each tolerance: the mean share broken, the worst case's with its interval, the mean saving."""
    found = []
    for at, tolerance in enumerate(TOLERANCES):
        rows = [case[method][at] for case in seen.values()]
        worst = max(row["broken"] for row in rows)
        low, high = clopper_pearson(round(worst * splits), splits)
        found.append(
            {
                "tolerance": tolerance,
                "broken": sum(row["broken"] for row in rows) / len(rows),
                "broken_worst": worst,
                "broken_worst_low": low,
                "broken_worst_high": high,
                "saved": sum(row["saved"] for row in rows) / len(rows),
            }
        )
    return found


def show_promise(found: dict[str, Any], console: Console | None = None) -> None:
    """Print the tables."""
    console = console or Console(width=170)
    for method in METHODS:
        table = Table(title=f"{found['splits']} random halves, {TITLES[method]}: share broken (95 % interval), saved")
        for column in ("case", *(f"t = {t:.2f}" for t in TOLERANCES)):
            table.add_column(column)
        for case, methods in found["seen"].items():
            table.add_row(case, *map(_split_cell, methods[method]))
        table.add_row(
            "mean of all", *(f"{row['broken']:.1%}, saved {row['saved']:.0%}" for row in found["seen_mean"][method])
        )
        console.print(table)
    table = Table(
        title=f"sources left out of training, calibrated by {found['labels_calibrated_by']}: "
        "kept (abstained altogether), mean loss, saved"
    )
    for column in ("case", "labels", *(f"t = {t:.2f}" for t in TOLERANCES)):
        table.add_column(column)
    for case, counts in found["unseen"].items():
        for count, rows in counts.items():
            table.add_row(case, count, *map(_unseen_cell, rows))
    for count, row in found["unseen_mean"].items():
        saved = (f"saved {row[f'saved_{t:g}']:.0%}" for t in TOLERANCES)
        table.add_row(f"all: kept {row['kept']:.1%}, abstained {row['abstained']:.0%}", count, *saved)
    console.print(table)


def _split_cell(row: dict[str, float]) -> str:
    return f"{row['broken']:.1%} ({row['broken_low']:.1%}..{row['broken_high']:.1%}), saved {row['saved']:.0%}"


def _unseen_cell(row: dict[str, float]) -> str:
    return f"{row['kept']:.0%} ({row['abstained']:.0%}), {row['loss']:+.3f}, saved {row['saved']:.0%}"


def draw_promise(found: dict[str, Any], path: Path) -> None:
    """A picture: by case at each tolerance, the share of halves that broke it, by the bound and by the mean alone."""
    import matplotlib as mpl

    mpl.use("Agg")
    # The same bytes for the same figures.
    mpl.rcParams["svg.hashsalt"] = "tollgate"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(TOLERANCES), figsize=(12, 4.5), sharey=True)
    cases = list(found["seen"])
    colours = {"shipped": "#1b6e5a", "own": "#4c8fd0", "mean": "#c8553d"}
    for at, (axis, tolerance) in enumerate(zip(axes, TOLERANCES, strict=True)):
        for method, colour in colours.items():
            rows = [found["seen"][case][method][at] for case in cases]
            axis.plot([100 * row["broken"] for row in rows], range(len(cases)), "o", color=colour, label=method)
        axis.axvline(100 * (1 - CONFIDENCE), color="grey", linewidth=1, linestyle=":")
        axis.set_title(f"t = {tolerance:g}")
        axis.set_xlabel("% of halves broken")
        axis.set_xlim(-3, 103)
    axes[0].set_yticks(range(len(cases)), cases, fontsize=8)
    axes[0].invert_yaxis()
    axes[-1].legend(title="threshold", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def promise(*, splits: int = SPLITS, out: Path | None = None, picture: Path | None = None) -> dict[str, Any]:
    """Load, judge, print, and write JSON and the picture where asked."""
    folder = shared_data_path()
    prepared = prepare(load_dataset())
    found = promise_on(prepared, CHOSEN, cache=cache_folder(), figures=folder, splits=splits, say=sayer())
    found["model_revision"] = load_quality_model().revision
    show_promise(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if picture is not None:
        draw_promise(found, picture)
    return found
