"""The leak benchmark as a picture: dollars let through of each runaway, by guard, on a logarithmic scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CENT = 0.01


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture: one group of bars for each runaway."""
    from matplotlib.figure import Figure

    runaways = [row for row in rows if row["is_runaway"]]
    names = ["Tollgate", *runaways[0]["others_usd"], "least possible"]
    figure = Figure(figsize=(10, 0.55 * len(runaways) + 1.6))
    axes = figure.add_subplot()
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        amounts = [max(_amount(row, name), CENT) for row in runaways]
        places = [place + index * height for place in range(len(runaways))]
        axes.barh(places, amounts, height=height, label=name)
    axes.set_xscale("log")
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(runaways))], [row["scenario"] for row in runaways])
    axes.invert_yaxis()
    axes.set_xlabel("USD let through (S1 and S7 of the others: within one hour)")
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _amount(row: dict[str, Any], name: str) -> float:
    if name == "Tollgate":
        return float(row["leaked_usd"])
    if name == "least possible":
        return float(row["bound_usd"] or row["leaked_usd"])
    return float(row["others_usd"][name])
