"""The context report as a picture: what inputs are made of, and what is paid for again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from router.cli.picture import GROUPS_SHOWN, LINE, STYLE, bare, finished
from router.context import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = {
    "system": "#0b6e5f",
    "tools": "#5b9f93",
    "history": "#8a6d3b",
    "results": "#c39a52",
    "retrieved": "#b4532a",
    "question": "#3d5a80",
    "other": "#cfcac2",
}
AGAIN = (("again", "sent before, behind something that differs"), ("twice", "twice in one request"))


def draw(report: dict[str, Any], form: str) -> bytes:
    """The picture's bytes, ``png`` or ``svg``. Floats place what is drawn; the amounts in words are exact."""
    names, totals = report["group_by"], report["totals"]
    rows = [(_label(each["group"], names), each) for each in report["groups"][:GROUPS_SHOWN]] or [("all", totals)]
    with rc_context(STYLE):
        height = 0.5 + 0.42 * len(rows)
        figure = Figure(figsize=(9.6, 2.4 + 2 * height), layout="constrained", facecolor="white")
        made_of, paid_again = figure.subplots(2, 1)
        figure.suptitle(
            f"Input cost {totals['input_cost_usd']} USD, by what it is made of", x=0.01, ha="left", weight="bold"
        )
        _draw_parts(made_of, rows, len(report["groups"]) - len(rows))
        _draw_again(paid_again, rows)
        covered = report["coverage"]
        return finished(
            figure,
            f"{report['from'][:16]}Z to {report['to'][:16]}Z; {covered['explained']} of {covered['requests']} requests "
            f"have inputs long enough to explain\ncache breaks: {totals['cache_breaks']['lost_usd_per_30_days']} USD "
            "in thirty days at this rate",
            form,
        )


def _label(values: dict[str, Any], names: Sequence[str]) -> str:
    return " / ".join("unallocated" if values[name] is None else str(values[name]) for name in names)


def _draw_parts(axes: Any, rows: Sequence[tuple[str, dict[str, Any]]], hidden: int) -> None:  # noqa: ANN401  # matplotlib carries no types
    more = f"; {hidden} smaller groups are not drawn" if hidden > 0 else ""
    bare(axes, f"Input cost by part, USD{more}")
    axes.grid(axis="x", color=LINE)
    places = range(len(rows))
    done = [0.0] * len(rows)
    for part in PARTS:
        costs = [float(row["parts"][part]["cost_usd"]) for _, row in rows]
        axes.barh(places, costs, left=done, height=0.6, color=COLOURS[part], label=part)
        done = [before + cost for before, cost in zip(done, costs, strict=True)]
    _finish(axes, rows)
    axes.legend(ncols=len(PARTS), fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _draw_again(axes: Any, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:  # noqa: ANN401
    bare(axes, "Paid for again, USD: what a prompt cache did not serve")
    axes.grid(axis="x", color=LINE)
    places = range(len(rows))
    lost = [float(row["cache_breaks"]["lost_usd"]) for _, row in rows]
    series = [(words, [float(row["sent_before"][name]["cost_usd"]) for _, row in rows]) for name, words in AGAIN]
    series.append(("behind a time or number that moved", lost))
    for index, (words, costs) in enumerate(series):
        at = [place + (index - 1) * 0.24 for place in places]
        axes.barh(at, costs, height=0.22, color=("#b4532a", "#c39a52", "#3d5a80")[index], label=words)
    _finish(axes, rows)
    axes.legend(ncols=3, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _finish(axes: Any, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:  # noqa: ANN401
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
