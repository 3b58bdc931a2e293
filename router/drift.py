"""Whether a workload's prompts are still like those that its calibration was graded on.

The population stability index compares how complex the newest prompts are with the graded ones, over ten bins that
held a tenth of those each. Above 0.25 a population is commonly called another one (Siddiqi, Credit Risk Scorecards,
2006). Of the same population it is about a chi-square variable of nine degrees of freedom times (1/n + 1/m) (Yurdakul
& Naranjo, Statistical properties of the population stability index, 2020): few prompts must be further off.
"""

from __future__ import annotations

from dataclasses import replace
from math import log
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.calibration import Calibration, Calibrations, Match
    from router.grading import Array
    from router.ledger import RequestRow

BINS: Final = 10
PSI_MAX: Final = 0.25
# The 99.9 % quantile of a chi-square variable of nine degrees of freedom.
CHI_SQUARE_999: Final = 27.877
PROMPTS_MIN: Final = 200
PROMPTS_MAX: Final = 500
# An alarm ends this far below the limit, so that it does not come and go.
CALM_SHARE: Final = 0.8
SMOOTHING: Final = 0.5
NO_RULES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


class Drift(NamedTuple):
    """How far the newest ``prompts`` of a workload are from those of the ``calibration``, name@version.

    From ``limit`` on that counts.
    """

    calibration: str
    prompts: int
    psi: float
    limit: float
    is_over: bool

    @property
    def why(self) -> str | None:
        """Why the calibration does not hold any more, in words; None while it does."""
        if not self.is_over:
            return None
        far = f"PSI {self.psi:.2f}, at most {self.limit:.2f}"
        return f"the newest {self.prompts} prompts are unlike the graded ones: {far}"


def cuts_of(complexity: Sequence[float] | Array | None) -> tuple[float, ...]:
    """The nine cuts between ten bins of as many graded prompts each; none where nobody asked how complex they are."""
    if complexity is None:
        return ()
    return tuple(float(cut) for cut in np.quantile(np.asarray(complexity, dtype=float), np.arange(1, BINS) / BINS))


def drift_of(complexity: Sequence[float], calibration: Calibration, *, was_over: bool = False) -> Drift | None:
    """How far prompts are from the calibration's; None where they are too few, or it does not say what it saw."""
    n = len(complexity)
    if n < PROMPTS_MIN or not calibration.complexity_cuts or not calibration.labels:
        return None
    places = np.searchsorted(np.asarray(calibration.complexity_cuts), np.asarray(complexity, dtype=float), side="right")
    counts = np.bincount(places, minlength=BINS)
    expected = 1 / BINS
    found = [(count + SMOOTHING) / (n + BINS * SMOOTHING) for count in counts.tolist()]
    psi = sum((share - expected) * log(share / expected) for share in found)
    limit = max(PSI_MAX, CHI_SQUARE_999 * (1 / n + 1 / calibration.labels))
    return Drift(calibration.id, n, psi, limit, psi > limit * (CALM_SHARE if was_over else 1.0))


def drifts_of(
    rows: Iterable[RequestRow],
    calibrations: Calibrations,
    quality_revision: str,
    before: Mapping[Match, Drift],
    rules: Mapping[str, tuple[str, ...]] = NO_RULES,
) -> dict[Match, Drift]:
    """The drift of each calibrated workload, from requests newest first; ``rules`` are those that each matched."""
    watched = {match for match, each in calibrations.by_match.items() if each.complexity_cuts}
    seen: dict[Match, list[float]] = {match: [] for match in watched}
    for row in rows:
        if row.complexity is None or row.arm != "routed" or row.quality_revision != quality_revision:
            continue
        found = calibrations.find(row.key_id, row.team, row.tags, rules.get(row.decision_id, ()))
        if found is not None and found.match in seen and len(seen[found.match]) < PROMPTS_MAX:
            seen[found.match].append(row.complexity)
    drifts: dict[Match, Drift] = {}
    for match, complexity in seen.items():
        calibration, known = calibrations.by_match[match], before.get(match)
        was_over = known is not None and known.calibration == calibration.id and known.is_over
        drift = drift_of(complexity, calibration, was_over=was_over)
        if drift is not None:
            drifts[match] = drift
    return drifts


def with_drifts(calibrations: Calibrations, drifts: Mapping[Match, Drift]) -> Calibrations:
    """The calibrations with what is known of their prompts; what was said of another version counts for nothing."""
    return replace(
        calibrations,
        drifts={
            match: drift.why
            for match, drift in drifts.items()
            if drift.why is not None
            and (mine := calibrations.by_match.get(match)) is not None
            and mine.id == drift.calibration
        },
    )
