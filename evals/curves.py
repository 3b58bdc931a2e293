"""Many models with list prices: AIQ beside the zero router and the oracle, and what a tolerance saves.

AIQ (RouterBench, arXiv 2403.12031): the mean quality over the range of cost that the single models span, read off the
router's non-decreasing concave hull. The zero router mixes single models at random; beating it is the real bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evals.batch import batch_of
from evals.calibrate import upper_bound
from evals.metrics import bootstrap, interval
from evals.prices import CHARS_PER_TOKEN, OUTPUT_CHARS_DEFAULT, PORTFOLIOS, PREMIUM, USD_PER_MTOK

if TYPE_CHECKING:
    from evals.prepare import Prepared
    from router.quality import QualityModel

TOLERANCES: Final = (0.01, 0.02, 0.05, 0.10)
PRICES_OF_QUALITY: Final = np.concatenate([[0.0], np.logspace(-2, 6, 81)])
ROUNDS: Final = 100


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Prompts that all models of a source's portfolio answered.

    All (n, m): ``scores``, ``costs`` in USD as answered, ``expected`` in USD before the answer, ``quality`` and
    ``losses`` predicted.
    """

    source: str
    names: tuple[str, ...]
    scores: Any
    costs: Any
    expected: Any
    quality: Any
    losses: Any
    thresholds: dict[float, Any]
    has_ground: Any
    groups: Any


def portfolio_of(prepared: Prepared, model: QualityModel, source: str, keep: Any, known: Any) -> Portfolio | None:
    """The portfolio over the prompts that ``keep`` masks; answer lengths are expected from those ``known`` masks."""
    dataset = prepared.dataset
    names = tuple(name for name in PORTFOLIOS[source] if (source, name) in dataset.columns)
    if PREMIUM[source] not in names:
        return None
    columns = np.array([dataset.columns.index((source, name)) for name in names], dtype=np.intp)
    everywhere = np.isfinite(dataset.scores[:, columns]).all(1)
    rows = np.flatnonzero(everywhere & keep)
    if not len(rows):
        return None
    chars = dataset.response_chars[:, columns]
    means = np.array([_mean(column[known]) for column in chars.T])
    answered = np.where(np.isfinite(chars[rows]), chars[rows], means)
    prices = np.array([USD_PER_MTOK[name] for name in names]) / 1e6
    asked = np.array([dataset.prompts[row].chars for row in rows])[:, None] / CHARS_PER_TOKEN * prices[:, 0]
    batch = batch_of(model, [prepared.bare[row] for row in rows])
    return Portfolio(
        source=source,
        names=names,
        scores=dataset.scores[np.ix_(rows, columns)].astype(float),
        costs=asked + answered / CHARS_PER_TOKEN * prices[:, 1],
        expected=asked + means / CHARS_PER_TOKEN * prices[:, 1],
        quality=batch.quality(names),
        losses=batch.losses(names, names.index(PREMIUM[source])),
        thresholds={t: batch.thresholds(t) for t in TOLERANCES},
        has_ground=batch.support >= model.support_floor,
        groups=dataset.groups[rows],
    )


def _mean(values: Any) -> float:
    sound = values[np.isfinite(values)]
    return float(sound.mean()) if len(sound) else OUTPUT_CHARS_DEFAULT


def area(costs: Any, qualities: Any, low: float, high: float) -> float:
    """Mean height of the points' non-decreasing concave hull between two costs."""
    order = np.lexsort((-qualities, costs))
    hull: list[tuple[float, float]] = []
    for cost, quality in zip(costs[order], qualities[order], strict=True):
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], (cost, quality)):
            hull.pop()
        hull.append((float(cost), float(quality)))
    x, y = (np.array(each) for each in zip(*hull, strict=True))
    grid = np.linspace(low, high, 501)
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (high - low))


def _turns_up(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    return (middle[1] - first[1]) * (last[0] - first[0]) <= (last[1] - first[1]) * (middle[0] - first[0])


def swept(value: Any, price: Any, scores: Any, costs: Any) -> tuple[Any, Any]:
    """Mean realised cost and quality of picking by value less price, at every price of quality."""
    picks = [np.argmax(value - rate * price, axis=1) for rate in PRICES_OF_QUALITY]
    at = np.arange(len(scores))
    return np.array([costs[at, pick].mean() for pick in picks]), np.array([scores[at, pick].mean() for pick in picks])


def aiq_of(portfolio: Portfolio, at: Any) -> Any:
    """AIQ of zero router, ours and oracle over the prompts at ``at``, and the share of the gap that ours closes."""
    scores, costs = portfolio.scores[at], portfolio.costs[at]
    single_costs, single_scores = costs.mean(0), scores.mean(0)
    low, high = float(single_costs.min()), float(single_costs.max())
    zero = area(single_costs, single_scores, low, high)
    found = [zero]
    for value, price in ((portfolio.quality[at], portfolio.expected[at]), (scores, costs)):
        x, y = swept(value, price, scores, costs)
        found.append(area(np.append(x, single_costs), np.append(y, single_scores), low, high))
    return np.array([*found, (found[1] - zero) / (found[2] - zero)])


def aiq_row(portfolio: Portfolio, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """AIQ with intervals over groups of twins."""
    values = aiq_of(portfolio, np.arange(len(portfolio.scores)))
    draws = bootstrap(lambda at: aiq_of(portfolio, at), portfolio.groups, rounds=rounds)
    found: dict[str, Any] = {"prompts": len(portfolio.scores), "models": list(portfolio.names)}
    for index, name in enumerate(("zero_router", "ours", "oracle", "gap_closed")):
        low, high = interval(draws[:, index])
        found[name] = {"value": float(values[index]), "low": low, "high": high}
    return found


def tolerance_rows(portfolio: Portfolio) -> list[dict[str, Any]]:
    """The gateway's rule at each tolerance: the cheapest model within the threshold, else premium."""
    premium = portfolio.names.index(PREMIUM[portfolio.source])
    at = np.arange(len(portfolio.scores))
    found = []
    for tolerance in TOLERANCES:
        within = (portfolio.losses <= portfolio.thresholds[tolerance][:, None]) & portfolio.has_ground[:, None]
        within[:, premium] = True
        pick = np.argmin(np.where(within, portfolio.expected, np.inf), axis=1)
        losses = portfolio.scores[:, premium] - portfolio.scores[at, pick]
        found.append(
            tolerance_row(
                tolerance,
                losses,
                portfolio.groups,
                portfolio.costs[at, pick],
                portfolio.costs[:, premium],
                pick == premium,
                ~portfolio.has_ground,
            )
        )
    return found


def tolerance_row(
    tolerance: float, losses: Any, groups: Any, cost: Any, premium_cost: Any, is_premium: Any, is_abstained: Any
) -> dict[str, Any]:
    """Realised loss with its upper bound, what was saved, and how often nothing but premium was trusted."""
    upper = upper_bound(losses, groups)
    return {
        "tolerance": tolerance,
        "loss": float(losses.mean()),
        "upper": upper,
        "kept": bool(losses.mean() <= tolerance),
        "kept_upper": bool(upper <= tolerance),
        "saved": float(1 - cost.sum() / premium_cost.sum()),
        "premium_share": float(is_premium.mean()),
        "abstained": float(is_abstained.mean()),
    }
