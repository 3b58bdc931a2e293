"""Pictures of the report: what each share of strong calls recovers, and whether predicted scores are realised ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.baselines import simple_scores
from evals.batch import batch_of
from evals.metrics import recovered_curve
from evals.pairs import PAIRS, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel

BINS: Final = 10
COLOURS: Final = {
    "ours": "#1b6e5a",
    "LiteLLM heuristic": "#c8553d",
    "prompt length": "#8a6fb0",
    "oracle": "#9a9a9a",
}
OUTCOMES_MIN: Final = 500
# More points than these a plot of this size cannot show.
SHOWN: Final = np.linspace(0, 1, 101)


def curves_by_pair(
    prepared: Prepared, model: QualityModel, keep: Any, litellm: dict[str, Any]
) -> Iterator[tuple[str, dict[str, tuple[Any, Any]]]]:
    """Of each pair, by method: shares of strong calls and of the gap that they recover."""
    dataset = prepared.dataset
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[keep[rows]]
        strong, weak = (dataset.column(pair.source, name)[rows].astype(float) for name in (pair.strong, pair.weak))
        if not len(rows) or (strong - weak).sum() <= 0:
            continue
        batch = batch_of(model, [prepared.bare[row] for row in rows])
        scores = {
            "ours": batch.rank(pair.strong, pair.weak),
            **{name: values[rows] for name, values in litellm.items()},
            **simple_scores(dataset, rows),
            "oracle": strong - weak,
        }
        yield pair.group, {name: recovered_curve(scores[name], strong - weak) for name in COLOURS if name in scores}


def reliability_of(prepared: Prepared, model: QualityModel, keep: Any) -> dict[str, tuple[Any, Any]]:
    """By source: mean predicted and mean realised score in each tenth of its outcomes."""
    dataset = prepared.dataset
    found: dict[str, tuple[Any, Any]] = {}
    for source in dict.fromkeys(dataset.sources.tolist()):
        rows = np.flatnonzero((dataset.sources == source) & keep)
        columns = np.array([at for at, (each, _) in enumerate(dataset.columns) if each == source], dtype=np.intp)
        realised = dataset.scores[np.ix_(rows, columns)]
        known = np.isfinite(realised)
        if known.sum() < OUTCOMES_MIN:
            continue
        names = [dataset.columns[at][1] for at in columns]
        predicted = batch_of(model, [prepared.bare[row] for row in rows]).quality(names)[known].astype(float)
        parts = np.array_split(np.argsort(predicted, kind="stable"), BINS)
        truth = realised[known].astype(float)
        means = [np.array([each[part].mean() for part in parts]) for each in (predicted, truth)]
        found[source] = (means[0], means[1])
    return found


def _started() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    # The same bytes for the same figures.
    mpl.rcParams["svg.hashsalt"] = "tollgate"
    from matplotlib import pyplot as plt

    return plt


def draw_curves(curves: list[tuple[str, dict[str, tuple[Any, Any]]]], path: Path) -> None:
    """One small plot a pair."""
    plt = _started()
    figure, axes = plt.subplots(2, 5, figsize=(15, 6.4), sharex=True, squeeze=False)
    for axis, (group, methods) in zip(axes.flat, curves, strict=False):
        for name, (calls, recovered) in methods.items():
            width = 2.0 if name == "ours" else 1.1
            shown = np.interp(SHOWN, calls, recovered)
            axis.plot(100 * SHOWN, 100 * shown, color=COLOURS[name], linewidth=width, label=name)
        axis.plot([0, 100], [0, 100], color="black", linewidth=0.6, linestyle=":", label="random")
        axis.set_title(group, fontsize=9)
        axis.set_ylim(-20, 160)
    for axis in axes[-1]:
        axis.set_xlabel("% of calls to the strong model")
    for axis in axes[:, 0]:
        axis.set_ylabel("% of the gap recovered")
    axes[0, 0].legend(fontsize=7)
    _write(figure, path)


def draw_reliability(points: dict[str, tuple[Any, Any]], path: Path) -> None:
    """One line a source, the diagonal is perfect."""
    plt = _started()
    figure, axis = plt.subplots(figsize=(5.2, 5))
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle=":")
    for source, (predicted, realised) in points.items():
        axis.plot(predicted, realised, "o-", markersize=3, linewidth=1.2, label=source)
    axis.set_xlabel("predicted score, mean of a tenth of the outcomes")
    axis.set_ylabel("realised score")
    axis.legend(fontsize=8)
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw(prepared: Prepared, model: QualityModel, keep: Any, litellm: dict[str, Any], folder: Path) -> None:
    """Write ``quality-curves.svg`` and ``quality-reliability.svg`` into a folder."""
    draw_curves(list(curves_by_pair(prepared, model, keep, litellm)), folder / "quality-curves.svg")
    draw_reliability(reliability_of(prepared, model, keep), folder / "quality-reliability.svg")
