"""What quality was lost for what was saved, by quality tier, from the labels of answers that were given.

Premium's own answer to a routed request is not known, so a label is compared with what premium is expected to reach:
loss = expected premium - score. How far that expectation may be off is in the interval: a normal prior with the width
of premium's place, narrowed by labels of answers that premium gave itself. Requests that premium answered lose nothing.
Requests of one session are alike and say less than as many of others: intervals are clustered by session.
"""

from __future__ import annotations

from collections import defaultdict
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.feedback import Label
    from router.ledger import RequestTotals

LABELS_MIN: Final = 30
# The newest so many labelled requests are read for a report: more would narrow the interval by little.
REQUESTS_MAX: Final = 2_000
Z_95: Final = 1.96
DEVIATION_MIN: Final = 1e-9
PROMISES: Final = ("none", "shipped", "calibrated")
DIGITS: Final = 4


class Tier(NamedTuple):
    """How a tier's answered requests went: how many, how many not by premium, and what those rested on."""

    answered: int
    routed: int
    promises: Mapping[str, int]

    @property
    def promise(self) -> str | None:
        """The weakest that a cheaper model answered under, models that the caller named aside; ``none`` without any.

        None where nothing was routed: there is nothing that a promise could be of.
        """
        if not self.routed:
            return None
        return next((name for name in PROMISES[1:] if self.promises.get(name)), "none")


def tiers_of(totals: Sequence[RequestTotals], premium: str) -> dict[str | None, Tier]:
    """Each tier's counts from sums by tier, model and promise."""
    answered: dict[str | None, int] = defaultdict(int)
    routed: dict[str | None, int] = defaultdict(int)
    promises: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in totals:
        tier, model, promise = each.group
        answered[tier] += each.answered
        if model != premium:
            routed[tier] += each.answered
            promises[tier][promise or "none"] += each.answered
    return {tier: Tier(count, routed[tier], dict(promises[tier])) for tier, count in answered.items()}


def quality_rows(
    tolerances: Mapping[str, float], tiers: Mapping[str | None, Tier], labels: Iterable[Label]
) -> list[dict[str, object]]:
    """A row a tier: the realised loss with its 95 % interval, or how many labels it lacks."""
    by_tier: dict[str | None, list[Label]] = defaultdict(list)
    for label in labels:
        if not label.is_check:
            by_tier[label.quality_tier].append(label)
    nothing = Tier(0, 0, {})
    return [
        _row(tier, tolerance, tiers.get(tier, nothing), by_tier.get(tier, [])) for tier, tolerance in tolerances.items()
    ]


def _row(name: str, tolerance: float, tier: Tier, labels: Sequence[Label]) -> dict[str, object]:
    losses = _by_request([each for each in labels if each.model != each.premium])
    sessions = len({each.cluster for each in losses})
    loss, needed, why = None, 0, None
    if tier.answered and not tier.routed:
        loss = {"low": 0.0, "point": 0.0, "high": 0.0}
    elif not tier.answered:
        why = "no request was answered"
    elif sessions < LABELS_MIN:
        needed = LABELS_MIN - sessions
        what = "requests" if len(losses) < LABELS_MIN else "sessions"
        why = f"too few labels: POST /v1/feedback for {needed} more {what} that a cheaper model answered"
    else:
        premium = _by_request([each for each in labels if each.model == each.premium])
        width = max(each.premium_width for each in labels)
        loss = realised_loss(losses, premium, width, tier.routed / tier.answered)
    return {
        "tier": name,
        "tolerance": tolerance,
        "realised_loss": loss,
        "labels": len(losses),
        "labels_needed": needed,
        "why": why,
        "promise": tier.promise,
        "answered": tier.answered,
        "routed_share": round(tier.routed / tier.answered, DIGITS) if tier.answered else None,
    }


class Gap(NamedTuple):
    """How far one request's answer fell short of what premium is expected to reach, and the session that it is of."""

    loss: float
    cluster: str


def _by_request(labels: Sequence[Label]) -> list[Gap]:
    """One gap a request, the mean over those who judged it: who says it twice proves nothing twice."""
    found: dict[str, list[Label]] = defaultdict(list)
    for each in labels:
        found[each.decision_id].append(each)
    return [
        Gap(
            sum(each.premium_expected - each.score for each in judged) / len(judged),
            decision_id if judged[0].session_id is None else f"session {judged[0].session_id}",
        )
        for decision_id, judged in found.items()
    ]


def realised_loss(
    losses: Sequence[Gap], premium: Sequence[Gap], premium_width: float, routed_share: float
) -> dict[str, float]:
    """Mean loss over all requests of a tier, of which a share was routed, with a 95 % interval."""
    mean, variance = _mean_and_variance(losses)
    bias, doubt = premium_bias([each._replace(loss=-each.loss) for each in premium], premium_width / Z_95)
    half = Z_95 * sqrt(variance + doubt)
    point = mean + bias
    return {
        end: round(min(max(routed_share * value, -1.0), 1.0), DIGITS)
        for end, value in (("low", point - half), ("point", point), ("high", point + half))
    }


def premium_bias(residuals: Sequence[Gap], deviation: float) -> tuple[float, float]:
    """How far premium is off what was expected, mean and variance: a normal prior around 0, and its own labels."""
    prior = max(deviation, DEVIATION_MIN) ** 2
    if len(residuals) < 2:  # noqa: PLR2004  # one value has no variance
        return 0.0, prior
    mean, variance = _mean_and_variance(residuals)
    weight = prior / (prior + variance)
    return weight * mean, prior * (1 - weight)


def _mean_and_variance(values: Sequence[Gap]) -> tuple[float, float]:
    """Mean, and the variance of the mean, as if the largest session once more had been wholly off.

    Equal values are not certain ones. Source: the cluster-robust variance of a mean (Liang and Zeger 1986).
    """
    count = len(values)
    mean = sum(each.loss for each in values) / count
    sums: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = defaultdict(int)
    for each in values:
        sums[each.cluster] += each.loss - mean
        sizes[each.cluster] += 1
    spread = sum(each**2 for each in sums.values())
    return mean, (spread + max(sizes.values()) ** 2) / count**2
