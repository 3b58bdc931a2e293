"""Calibrations as they are in force: which requests each is for, what it says of them, and what moved it since.

`router.grading` makes them from graded answers. Numbers in, numbers out: no file, no prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.verifier import Verifier

Promise: TypeAlias = Literal["shipped", "calibrated", "none"]
MatchKind: TypeAlias = Literal["key", "team", "tag", "rule", "all"]
MATCH_KINDS: tuple[MatchKind, ...] = ("key", "team", "tag", "rule", "all")

# Without one loss in n groups the mean may still be 3/n with 5 % chance: the rule of three.
LOSSLESS: Final = 3.0
LABELS_MIN: Final = 50
# Nobody grades more than this tolerance needs; smaller ones say the same number.
LABELS_TOLERANCE_MIN: Final = 1e-6
ODDS_FLOOR: Final = 1e-4
NO_LIMIT: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a calibration is for: a key's, a team's, those with a tag, those a rule matches, or all.

    ``value`` is a key's id, a team, a tag's value or a rule's name; ``tag`` the tag's name.
    """

    kind: MatchKind
    value: str = ""
    tag: str = ""

    def __str__(self) -> str:
        """As the command line takes it."""
        if self.kind == "all":
            return "all"
        return f"tag:{self.tag}={self.value}" if self.kind == "tag" else f"{self.kind}={self.value}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What graded answers of one workload say, as it is in force.

    ``shifts``: log-odds to add to a model's predicted quality, by ``provider_model``, premium among them; a model that
    is not named has no labels here, and the promise does not cover it. ``thresholds``: largest predicted loss by
    tolerance, minus infinity where only premium keeps it; a tolerance that is not named has too few labels.
    ``labels`` counts groups of prompts; prompts below ``support_floor`` are unlike the graded ones. ``complexity_cuts``
    divide the graded prompts into tenths by how complex they are; a version from before that was asked has none.
    """

    name: str
    version: int
    match: Match
    quality_revision: str
    premium: str
    shifts: Mapping[str, float]
    thresholds: Mapping[float, float]
    labels: int
    support_floor: float
    complexity_cuts: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        """Name and version, as receipts name it."""
        return f"{self.name}@{self.version}"

    def threshold(self, tolerance: float) -> float | None:
        """The threshold of the tolerance, or of its stricter neighbour; None where the labels are too few."""
        kept = [t for t in self.thresholds if t <= tolerance + 1e-9]
        return self.thresholds[max(kept)] if kept else None

    def contradicts(self) -> bool:
        """Whether not even the laxest tolerance in its reach is kept by anything but premium."""
        return bool(self.thresholds) and max(self.thresholds.values()) == NO_LIMIT


@dataclass(frozen=True, slots=True)
class Adjustment:
    """How far feedback moves one workload's calibration, or the shipped one, as ``router.feedback`` folds it.

    ``shifts``: log-odds on top of the calibration's, by ``provider_model``. ``alarm`` says in words why nothing is
    promised any more, None while the feedback agrees with the calibration. ``labels`` and ``voices`` count what it
    rests on; ``version`` is that of the whole set. ``verifier`` is what labels say of answers by their marks, None
    where no label is of an answer with marks.
    """

    match: Match
    shifts: Mapping[str, float]
    labels: int = 0
    voices: int = 0
    alarm: str | None = None
    version: int = 0
    verifier: Verifier | None = None

    @property
    def id(self) -> str:
        """As receipts name it."""
        return f"feedback@{self.version}"


def own_match(key_id: str | None) -> Match:
    """The workload of requests that no calibration is for: the key's own, so that nobody moves another's routing."""
    return Match("all") if key_id is None else Match("key", key_id)


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The calibrations in force, found by what they match, and what feedback has moved since.

    ``drifts`` says in words why a workload's prompts are not those any more that its calibration was graded on.
    """

    by_match: Mapping[Match, Calibration] = field(default_factory=dict)
    adjustments: Mapping[Match, Adjustment] = field(default_factory=dict)
    drifts: Mapping[Match, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.by_match or self.adjustments)

    def adjustment_of(self, calibration: Calibration | None, key_id: str | None) -> Adjustment | None:
        """What feedback says of the workload that the request belongs to; None where it says nothing."""
        return self.adjustments.get(own_match(key_id) if calibration is None else calibration.match)

    def drift_of(self, calibration: Calibration | None) -> str | None:
        """Why the workload's prompts are not those any more that were graded; None while they are."""
        return None if calibration is None else self.drifts.get(calibration.match)

    def find(
        self, key_id: str | None, team: str | None, tags: Mapping[str, str], rules: Sequence[str]
    ) -> Calibration | None:
        """The most specific match: key, team, tag, rule, all; among tags and rules the first by name."""
        wanted = [Match("key", key_id or ""), Match("team", team or "")]
        wanted += [Match("tag", tags[name], name) for name in sorted(tags)]
        wanted += [Match("rule", name) for name in sorted(rules)]
        wanted.append(Match("all"))
        return next((self.by_match[each] for each in wanted if each in self.by_match), None)


NO_CALIBRATIONS: Final = Calibrations()


def labels_required(tolerance: float) -> int:
    """How many graded prompts a tolerance needs before anything but premium can keep it; 0 for none."""
    return 0 if tolerance <= 0 else max(LABELS_MIN, ceil(LOSSLESS / max(tolerance, LABELS_TOLERANCE_MIN) - 1e-9))


def shifted(quality: float, shift: float) -> float:
    """A quality 0..1 moved by log-odds."""
    bounded = min(max(quality, ODDS_FLOOR), 1 - ODDS_FLOOR)
    return 1 / (1 + exp(-(log(bounded / (1 - bounded)) + shift)))
