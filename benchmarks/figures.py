"""What rounds add up to, and which of the bars they meet. Pure: no clock, no process, no file."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between the least and the greatest that was seen."""

    median: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """For JSON, at four significant digits."""
        return {name: significant(getattr(self, name)) for name in ("median", "low", "high")}


def significant(value: float, digits: int = 4) -> float:
    """The value at so many significant digits: more would be noise."""
    return float(f"{value:.{digits}g}")


def spread_of(values: Iterable[float]) -> Spread:
    """The spread of some values. Raises ValueError without any."""
    found = sorted(values)
    if not found:
        raise ValueError("a spread of nothing")
    return Spread(statistics.median(found), found[0], found[-1])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0..1) of the values do not exceed: nearest rank."""
    if not values:
        raise ValueError("a percentile of nothing")
    found = sorted(values)
    rank = max(1, -(-len(found) * share // 1))
    return found[int(rank) - 1]


@dataclass(frozen=True, slots=True)
class Round:
    """One measured stretch of one system under one workload.

    ``cpu_s`` is the system's processes' own; ``load_share`` what the vendor and the load generator used of their core;
    ``others_share`` what anybody else used of the system's core, None where cores cannot be told apart.
    """

    number: int
    workload: str
    system: str
    requests: int
    elapsed_s: float
    cpu_s: float
    load_share: float
    others_share: float | None

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time a request."""
        return self.cpu_s * 1e6 / self.requests


def paired(rounds: Sequence[Round], workload: str, over: str, under: str, figure: str) -> Spread | None:
    """``over``'s figure divided by ``under``'s, round by round; None where the two never met."""
    mine, theirs = (
        {each.number: each for each in rounds if each.workload == workload and each.system == name}
        for name in (over, under)
    )
    shared = sorted(mine.keys() & theirs.keys())
    if not shared:
        return None
    return spread_of(getattr(mine[number], figure) / getattr(theirs[number], figure) for number in shared)


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach and what it is hoped to: at least, or, with ``is_ceiling``, at most."""

    key: str
    shows: str
    bar: float
    goal: float
    unit: str
    is_ceiling: bool = False

    def verdict(self, value: float) -> str:
        """One of: goal met, bar met, not met."""
        for limit, words in ((self.goal, "goal met"), (self.bar, "bar met")):
            if value <= limit if self.is_ceiling else value >= limit:
                return words
        return "not met"


BARS = (
    Bar("rate_plain", "requests per core-second / LiteLLM proxy with its complexity router, chat", 15, 40, "x"),
    Bar("rate_stream", "the same, stream of 20 events, unpaced", 25, 80, "x"),
    Bar("rate_paced", "the same, stream of 20 events, 5 ms apart", 12, 22, "x"),
    Bar("rate_claude", "the same, OpenAI request to Claude (translated)", 8, 20, "x"),
    Bar("cpu_over_floor", "CPU per request / plain ASGI proxy over aiohttp, chat", 3.0, 1.6, "x", is_ceiling=True),
    Bar("workers", "requests per core-second, two workers / one process, chat", 0.85, 0.95, "x"),
    Bar("added_p50_ms", "added latency at 50 req/s, p50", 2, 0.8, "ms", is_ceiling=True),
    Bar("added_p99_ms", "added latency at 50 req/s, p99", 8, 3, "ms", is_ceiling=True),
    Bar("score_200_us", "features + quality model, 200 tokens", 150, 60, "us", is_ceiling=True),
    Bar("score_2000_us", "features + quality model, 2k tokens", 400, 150, "us", is_ceiling=True),
    Bar("score_40000_us", "features + quality model, 40k tokens", 2000, 600, "us", is_ceiling=True),
    Bar("ready_s", "ready after start", 3, 1, "s", is_ceiling=True),
    Bar("rss_mb", "memory of a worker with native vendors, after the load", 150, 90, "MB", is_ceiling=True),
    Bar("memory_growth", "memory at the end / after 10,000 requests", 1.1, 1.02, "x", is_ceiling=True),
)


def judged(values: Mapping[str, Spread]) -> list[dict[str, object]]:
    """Each bar whose figure was measured, with its value and verdict, in the order of the table."""
    return [
        {
            "figure": bar.key,
            "shows": bar.shows,
            "unit": bar.unit,
            **values[bar.key].as_dict(),
            "bar": bar.bar,
            "goal": bar.goal,
            "verdict": bar.verdict(values[bar.key].median),
        }
        for bar in BARS
        if bar.key in values
    ]
