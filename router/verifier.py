"""A small verifier fitted on labels: how likely an answer is good, by what was expected of it and by its marks.

Log-odds of good = log-odds of the quality that was expected of the model for the prompt + intercept + weights . marks.
Intercept and weights are the mode of a posterior around 0, where expectation alone speaks. The posterior is strongly
concave: a voice whose labels weigh at most W pulls by at most W times the length of what it looked at, so it moves the
log-odds of any answer by no more than W (1 / stiffness of the intercept + REACH^2 / stiffness of the weights),
``VOICE_ODDS_MAX`` of a voice of ten labels in a workload that others share, whatever it says (the marks' length is cut
to ``REACH``). A key's own workload is steered by nobody else, so there the prior is softer.

It is in force only once labels prove it: on labels that they were not fitted on, marks must lower the log-loss that
the intercept alone has, and surely so; where others share the workload, on the labels of all but any one key, for a
loud one agrees with what it taught. Where it is not in force, every answer passes. Numbers in, numbers out; the same
labels give the same verifier.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from math import ceil, exp, fsum, log, sqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from router.answer_marks import MARK_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

WhyNot: TypeAlias = Literal[
    "no_labels",  # no label of an answer with marks
    "too_few_keys",  # others share the workload, and fewer than three keys speak
    "too_few_labels",  # fewer answers were judged than a proof can rest on
    "too_few_bad",  # or too few of them as bad
    "too_few_good",  # or as good
    "faded",  # there were enough, but what is left of their weight is too little
    "not_proven",  # on labels that it was not fitted on it is no better than expectation alone, or not surely
]


class Stiffness(NamedTuple):
    """Precision of the prior around 0, of the intercept and of each weight."""

    intercept: float
    weights: float


REACH: Final = 3.0
SHARED: Final = Stiffness(intercept=30.0, weights=90.0)
OWN: Final = Stiffness(intercept=5.0, weights=15.0)
# Where marks are put to the proof the level moves freely on both sides: else marks that most answers bear would win by
# doing the work of a stiff intercept.
PROOF_INTERCEPT: Final = 1.0
VOICE_ODDS_MAX: Final = 10.0 * (1 / SHARED.intercept + REACH**2 / SHARED.weights)
LABELS_MIN: Final = 50
BAD_MIN: Final = 10
GOOD_MIN: Final = 10
BAD_BELOW: Final = 0.5
WEIGHT_MIN: Final = 20.0
KEYS_MIN: Final = 3
FOLDS: Final = 5
# Each of the keys that a gain rests on most is left out in turn; the others carry less of it.
LEFT_OUT_MAX: Final = 10
LABELS_NEEDED_MAX: Final = 10_000
# Sterner than the usual 95 %, since every new label is another look: see docs/quality.md for how often chance passes.
Z_99_ONE_SIDED: Final = 2.326
QUALITY_FLOOR: Final = 1e-4
STEPS: Final = 30
STEP_END: Final = 1e-9
HALVINGS: Final = 30
ROUNDED: Final = 4
NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


class Lesson(NamedTuple):
    """One label of one answer: log-odds expected of it, score 0..1, weight, marks, who judged, and of which prompt.

    ``group`` names the prompt, or the decision where its prompt is not known: who asks the same again, and who judges
    the same answer twice, proves nothing twice.
    """

    odds: float
    score: float
    weight: float
    marks: tuple[float, ...]
    key_id: str | None
    group: str


class Verifier(NamedTuple):
    """What labels say of a workload's answers, and whether that is proven.

    ``why_not`` is None where it is in force; only then there are weights, by the marks' names. ``labels`` counts the
    prompts that were judged; ``labels_needed`` is how many more are needed, None where more of them promise nothing.
    ``gain`` is by how many nats a label's log-loss falls on labels held out, without those of the key that it rests on
    most where others share the workload; ``gain_low`` is its one-sided 99 % bound. A decision adds the ``version`` that
    it found, and ``chance_min``, what the policy wants of an answer.
    """

    why_not: WhyNot | None = "no_labels"
    labels: int = 0
    labels_needed: int | None = LABELS_MIN
    gain: float | None = None
    gain_low: float | None = None
    intercept: float = 0.0
    weights: Mapping[str, float] = NO_WEIGHTS
    version: str | None = None
    chance_min: float = 0.0

    @property
    def is_in_force(self) -> bool:
        """Whether it may fail an answer."""
        return self.why_not is None

    def chance(self, quality: float, marks: Sequence[float]) -> float:
        """How likely an answer with these marks is good, 0..1, of a model expected to be good with ``quality``."""
        scale = _scale_of(marks)
        # An exact sum: Python's own adds floats in another way since 3.12, and a receipt gives its verdict anywhere.
        weighed = fsum(self.weights[name] * mark * scale for name, mark in zip(MARK_NAMES, marks, strict=True))
        return 1 / (1 + exp(-(odds_of(quality) + self.intercept + weighed)))

    def doubts(self, quality: float | None, marks: Sequence[float]) -> bool:
        """Whether the answer fails; never where it is not in force, or where nothing was expected of the model."""
        return self.is_in_force and quality is not None and self.chance(quality, marks) < self.chance_min

    def differs_from(self, other: Verifier | None, trifle: float) -> bool:
        """Whether it says anything else by more than a trifle in log-odds, or by a quarter of the labels needed."""
        if other is None or self.why_not != other.why_not:
            return True
        if self.is_in_force:
            moved = [abs(self.weights[name] - other.weights[name]) for name in MARK_NAMES]
            return max(abs(self.intercept - other.intercept), *moved) >= trifle
        mine, theirs = (
            LABELS_NEEDED_MAX if each.labels_needed is None else each.labels_needed for each in (self, other)
        )
        return abs(mine - theirs) * 4 >= max(mine, theirs, 4 * GOOD_MIN)


NO_VERIFIER: Final = Verifier()


def odds_of(quality: float) -> float:
    """Log-odds of a quality 0..1, kept from infinity."""
    bounded = min(max(quality, QUALITY_FLOOR), 1 - QUALITY_FLOOR)
    return log(bounded / (1 - bounded))


def _scale_of(marks: Sequence[float]) -> float:
    """What the marks are multiplied by, so that no answer is further from nothing notable than ``REACH``."""
    length = sqrt(fsum(mark * mark for mark in marks))
    return 1.0 if length <= REACH else REACH / length


def fitted(lessons: Sequence[Lesson], *, is_own: bool) -> Verifier:
    """What the lessons of one workload teach, in force or with why it is not.

    ``is_own``: no key but the one that is judged for sends requests of the workload.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for each in lessons:
        scores[each.group].append(each.score)
    bad = sum(sum(found) / len(found) < BAD_BELOW for found in scores.values())
    missing = _missing(lessons, len(scores), bad, is_own=is_own)
    if missing is not None:
        return missing
    stiffness = OWN if is_own else SHARED
    rows = _Rows(lessons, stiffness.weights)
    gain, error = rows.proof(rows.held_out_gains(), is_own=is_own)
    low = gain - Z_99_ONE_SIDED * error
    found = Verifier(None, len(scores), 0, round(gain, ROUNDED), round(low, ROUNDED))
    # Rounded first, so that a machine's last bit puts nothing in force at one replica that is not at another.
    if round(low, ROUNDED) <= 0:
        return found._replace(why_not="not_proven", labels_needed=_more(len(scores), gain, error))
    intercept, *weights = rows.mode(rows.everything, stiffness.intercept, with_marks=True).tolist()
    named = {name: round(weight, ROUNDED) for name, weight in zip(MARK_NAMES, weights, strict=True)}
    return found._replace(intercept=round(intercept, ROUNDED), weights=named)


def _missing(lessons: Sequence[Lesson], labels: int, bad: int, *, is_own: bool) -> Verifier | None:
    """What is missing before anything can be proven; None where nothing is."""
    keys = len({each.key_id for each in lessons})
    good, most = labels - bad, LABELS_MIN - labels
    weight = sum(each.weight for each in lessons)
    needed = max(most, BAD_MIN - bad, GOOD_MIN - good)
    if not lessons:
        return NO_VERIFIER
    if not is_own and keys < KEYS_MIN:
        return Verifier("too_few_keys", labels, max(needed, KEYS_MIN - keys))
    if most > 0:
        return Verifier("too_few_labels", labels, needed)
    if needed > 0:
        return Verifier("too_few_bad" if bad < BAD_MIN else "too_few_good", labels, needed)
    return Verifier("faded", labels, ceil(WEIGHT_MIN - weight)) if weight < WEIGHT_MIN else None


def _more(labels: int, gain: float, error: float) -> int | None:
    """About how many more labels would prove a gain of this size; None where there is none, or far too many."""
    if gain <= 0:
        return None
    needed = ceil(labels * ((Z_99_ONE_SIDED * error / gain) ** 2 - 1)) + 1
    return needed if needed <= LABELS_NEEDED_MAX else None


def fold_of(group: str) -> int:
    """The fold that a prompt's labels are held out in: by its hash, so that it never changes."""
    return hashlib.sha256(group.encode()).digest()[0] % FOLDS


class _Rows:
    """Lessons as arrays: inputs (n, 1 + marks) with a column of ones first, and what each prompt's labels add up to."""

    def __init__(self, lessons: Sequence[Lesson], stiffness: float) -> None:
        marks = np.array([[mark * _scale_of(each.marks) for mark in each.marks] for each in lessons])
        self._inputs = np.hstack([np.ones((len(lessons), 1)), marks])
        self._odds = np.array([each.odds for each in lessons])
        self._score = np.array([each.score for each in lessons])
        self._weight = np.array([each.weight for each in lessons])
        self._folds = np.array([fold_of(each.group) for each in lessons])
        _, self._groups = np.unique([each.group for each in lessons], return_inverse=True)
        _, self._keys = np.unique([each.key_id or "" for each in lessons], return_inverse=True)
        self.everything = np.ones(len(lessons), dtype=bool)
        self._stiffness = np.full(self._inputs.shape[1], stiffness)

    def mode(self, kept: NDArray[np.bool_], intercept_stiffness: float, *, with_marks: bool) -> Floats:
        """Mode of the posterior of intercept and weights over the kept rows; without marks the weights are 0.

        Newton's steps on a concave function, each halved until it climbs.
        """
        columns = self._inputs.shape[1] if with_marks else 1
        inputs, prior = self._inputs[kept, :columns], self._stiffness[:columns].copy()
        prior[0] = intercept_stiffness
        odds, score, weight = self._odds[kept], self._score[kept], self._weight[kept]

        def height(at: Floats) -> float:
            return -float(weight @ _log_loss(odds + inputs @ at, score)) - 0.5 * float(prior @ (at * at))

        found = np.zeros(columns)
        now = height(found)
        for _ in range(STEPS):
            predicted = 1 / (1 + np.exp(-(odds + inputs @ found)))
            slope = inputs.T @ (weight * (score - predicted)) - prior * found
            curvature = inputs.T @ (inputs * (weight * predicted * (1 - predicted))[:, None]) + np.diag(prior)
            step = np.linalg.solve(curvature, slope)
            for _ in range(HALVINGS):
                after = height(found + step)
                if after >= now:
                    found, now = found + step, after
                    break
                step = step / 2
            if float(np.abs(step).max()) < STEP_END:
                break
        return np.concatenate([found, np.zeros(self._inputs.shape[1] - columns)])

    def held_out_gains(self) -> Floats:
        """By how many nats each label's log-loss is lower with marks than without, in folds by prompt, held out."""
        gained = np.zeros(len(self._odds))
        for fold in range(FOLDS):
            out = self._folds == fold
            if not out.any():
                continue
            without, with_marks = (
                self._odds[out] + self._inputs[out] @ self.mode(~out, PROOF_INTERCEPT, with_marks=each)
                for each in (False, True)
            )
            gained[out] = _log_loss(without, self._score[out]) - _log_loss(with_marks, self._score[out])
        return gained

    def proof(self, gained: Floats, *, is_own: bool) -> tuple[float, float]:
        """The mean gain of a label and its standard error; where keys share, without the one that it rests on most."""
        if is_own:
            return self._mean_of(gained, self.everything)
        resting = np.bincount(self._keys, self._weight * gained)
        left = [self._mean_of(gained, self._keys != key) for key in np.argsort(-resting, kind="stable")[:LEFT_OUT_MAX]]
        return min(left, key=lambda each: each[0] - Z_99_ONE_SIDED * each[1])

    def _mean_of(self, gained: Floats, kept: NDArray[np.bool_]) -> tuple[float, float]:
        """Weighted mean over the kept rows, and its error, which counts a prompt once, however often it was judged."""
        weight = self._weight[kept]
        total = float(weight.sum())
        mean = float(weight @ gained[kept]) / total
        by_group = np.bincount(self._groups[kept], weight * (gained[kept] - mean))
        return mean, sqrt(float(by_group @ by_group)) / total


def _log_loss(odds: Floats, score: Floats) -> Floats:
    """Cross-entropy in nats of scores 0..1 under log-odds."""
    found: Floats = np.logaddexp(0.0, odds) - score * odds
    return found
