"""The savings report as a picture: savings over time with their band, and cost by group beside premium."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from router.cli.report import unnamed
from router.clock import parse_time_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
INK, MUTED, LINE, SAVED, PREMIUM = "#1c1b19", "#605c56", "#e6e3de", "#0b6e5f", "#cfcac2"
GROUPS_SHOWN = 20
LABEL_ROOM = 1.12
POINTS_MARKED = 40
# The same report gives the same file: no date in it, and identifiers from a fixed salt.
STYLE: Any = {"svg.hashsalt": "tollgate", "font.size": 9.5, "text.color": INK, "axes.labelcolor": MUTED}
METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {}}


def moments_of(report: dict[str, Any]) -> list[tuple[datetime, tuple[float, float, float]]]:
    """Each moment of the span, quiet ones too, and its savings low, point, high in USD; none without any request."""
    (name,) = report["group_by"]
    known = {_time_of(row[name]): row["savings_usd"] for row in report["groups"]}
    if not known:
        return []
    found: list[tuple[datetime, tuple[float, float, float]]] = []
    since, until = _time_of(report["from"]), _time_of(report["to"])
    moment = since - (since - EPOCH) % STEPS[name]
    while moment < until:
        savings = known.get(moment)
        low, point, high = (float(savings[end]) if savings else 0.0 for end in ("low", "point", "high"))
        found.append((moment, (low, point, high)))
        moment += STEPS[name]
    return found


def _time_of(text: str) -> datetime:
    return EPOCH + timedelta(milliseconds=parse_time_ms(text))


def draw(by_group: dict[str, Any], by_moment: dict[str, Any], form: str) -> bytes:
    """The picture's bytes, ``png`` or ``svg``. Floats place what is drawn; the amounts in words are exact."""
    names, groups = by_group["group_by"], by_group["groups"]
    dearest = sorted(groups, key=lambda row: float(row["premium_cost_usd"]["point"]), reverse=True)[:GROUPS_SHOWN]
    with rc_context(STYLE):
        rows = max(len(dearest), 1)
        figure = Figure(figsize=(9.6, 4.6 + 0.36 * rows), layout="constrained", facecolor="white")
        over_time, over_groups = figure.subplots(2, 1, height_ratios=(2.6, 0.4 + 0.36 * rows))
        totals = by_group["totals"]
        savings = totals["savings_usd"]
        figure.suptitle(
            f"Saved {savings['point']} USD ({savings['low']} to {savings['high']})", x=0.01, ha="left", weight="bold"
        )
        draw_moments(over_time, moments_of(by_moment), by_moment)
        draw_groups(over_groups, dearest, names, len(groups) - len(dearest))
        return finished(
            figure,
            f"{by_group['from'][:16]}Z to {by_group['to'][:16]}Z, {totals['requests']} requests; realised "
            f"{totals['realized_cost_usd']} USD, premium {totals['premium_cost_usd']['point']} USD\n"
            f"{totals['measured_why']}",
            form,
        )


def finished(figure: Figure, words: str, form: str) -> bytes:
    """The picture's bytes, with words under it."""
    figure.supxlabel(words, fontsize=8, color=MUTED, x=0.01, ha="left")
    out = io.BytesIO()
    figure.savefig(out, format=form, dpi=150, metadata=METADATA[form])
    return out.getvalue()


def bare(axes: Any, title: str) -> None:  # noqa: ANN401  # matplotlib carries no types
    """Axes without what says nothing."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(length=0, colors=MUTED)
    axes.set_axisbelow(True)


def draw_moments(axes: Any, moments: Sequence[tuple[datetime, tuple[float, float, float]]], report: Any) -> None:  # noqa: ANN401
    """Savings over time, the band from low to high."""
    bare(axes, f"Savings by {report['group_by'][0]} (UTC), USD, low to high")
    axes.grid(axis="y", color=LINE)
    if not moments:
        axes.text(0.5, 0.5, "no requests in this span", transform=axes.transAxes, ha="center", color=MUTED)
        axes.set_xticks([])
        return
    times = [moment for moment, _ in moments]
    low, point, high = zip(*(amounts for _, amounts in moments), strict=True)
    if len(times) == 1:
        # A band has no width at one moment.
        errors = [[point[0] - low[0]], [high[0] - point[0]]]
        axes.errorbar(times, point, yerr=errors, color=SAVED, elinewidth=6, alpha=0.3)
    axes.fill_between(times, low, high, color=SAVED, alpha=0.16, linewidth=0)
    axes.plot(times, point, color=SAVED, linewidth=1.8, marker="o" if len(times) <= POINTS_MARKED else "", markersize=3)
    axes.axhline(0, color=MUTED, linewidth=0.6)
    step = STEPS[report["group_by"][0]]
    # Without limits of its own a lone moment would stand between years.
    axes.set_xlim(times[0] - step / 2, times[-1] + step / 2)
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, show_offset=False))  # type: ignore[no-untyped-call]


def draw_groups(axes: Any, groups: Sequence[dict[str, Any]], names: Sequence[str], hidden: int) -> None:  # noqa: ANN401
    """Realised cost in front of premium's, with premium's low and high as a whisker; the dearest first."""
    more = f"; {hidden} smaller groups are not drawn" if hidden else ""
    bare(axes, f"Cost by {', '.join(names)}, USD: realised in front of premium, low to high{more}")
    axes.grid(axis="x", color=LINE)
    if not groups:
        axes.set_yticks([])
        return
    places = range(len(groups))
    premium = [{end: float(row["premium_cost_usd"][end]) for end in ("low", "point", "high")} for row in groups]
    points = [each["point"] for each in premium]
    errors = [[each["point"] - each["low"] for each in premium], [each["high"] - each["point"] for each in premium]]
    whiskers = {"ecolor": MUTED, "elinewidth": 0.9, "capsize": 2.5}
    axes.barh(places, points, height=0.62, color=PREMIUM, xerr=errors, error_kw=whiskers)
    axes.barh(places, [float(row["realized_cost_usd"]) for row in groups], height=0.3, color=SAVED)
    labels = [" / ".join(unnamed(name) if row[name] is None else str(row[name]) for name in names) for row in groups]
    axes.set_yticks(places, labels, color=INK)
    axes.invert_yaxis()
    for place, row, each in zip(places, groups, premium, strict=True):
        if row["savings_share"] is not None:
            axes.annotate(
                f"{row['savings_share']:.1%} saved",
                (max(each["high"], float(row["realized_cost_usd"])), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=MUTED,
            )
    most = max([each["high"] for each in premium] + [float(row["realized_cost_usd"]) for row in groups])
    axes.set_xlim(0, most * LABEL_ROOM or 1)
    axes.margins(y=0.5 / len(groups))
