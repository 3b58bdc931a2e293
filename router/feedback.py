"""What labels of answers that were given say: how far each workload's calibration is off, between two calibrations.

A label says how good one answer was, and nothing of what premium would have answered: it is a label of the model's
quality, against which the calibration's own expectation of premium stands. A workload's shift is a posterior mode
around the calibration, so labels move it by their number and never past a limit. Labels fade by half in
``HALF_LIFE_MS``. No key, and within it no source, weighs more than ``VOICE_WEIGHT`` labels where others share the
workload, so however often it speaks, it moves the log-odds by no more than ``VOICE_SHIFT_MAX``: the posterior is
strongly concave with at least ``STIFFNESS``, and a voice's pull is at most its weight.

A pure function of the ledger's lines, the calibrations and the time: folded again, the same comes out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from router.answer_marks import MARK_NAMES
from router.calibration import ODDS_FLOOR, Adjustment, Match, own_match, shifted
from router.ledger import Correction, Feedback, Intent, Settlement
from router.verifier import Lesson, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.calibration import Calibration, Calibrations
    from router.ledger import Line, RequestRow
    from router.verifier import Verifier

DAY_MS: Final = 86_400_000
HALF_LIFE_MS: Final = 14 * DAY_MS
# After eight half-lives a label weighs 1/256: no longer read.
WINDOW_MS: Final = 8 * HALF_LIFE_MS
LABELS_MAX: Final = 20_000
VOICE_WEIGHT: Final = 10.0
# A key's own workload is steered by nobody else, and steers nobody else: there the key, and its source, may say more.
OWN_WEIGHT: Final = 60.0
OWN_SOURCE_WEIGHT: Final = 30.0
# A prior that one label moves by at most 1/30 in log-odds; graded answers stiffen it by what a label can tell at most.
STIFFNESS: Final = 30.0
INFORMATION_MAX: Final = 0.25
VOICE_SHIFT_MAX: Final = VOICE_WEIGHT / STIFFNESS
TIGHTEN_MAX: Final = 1.0
LOOSEN_MAX: Final = 0.25
# A check that failed tells of a bad answer with less certainty than somebody who read it.
CHECK_WEIGHT: Final = 0.25
CHECK_SOURCE: Final = "tollgate:check"
# What labels taught is no label: it would teach itself.
TAUGHT: Final = "check_failed:verifier"
Z_95_ONE_SIDED: Final = 1.645
ALARM_BAND: Final = 0.10
ALARM_WEIGHT_MIN: Final = 20.0
ALARM_VOICES_MIN: Final = 3
STEPS: Final = 20
ROUNDED: Final = 4


class Voice(NamedTuple):
    """Who speaks: a key, and what it calls its source."""

    key_id: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Label:
    """One answer's score 0..1 beside what was expected of it and of premium, without any label's part in that.

    ``quality`` and ``premium_quality`` are the shipped model's, ``premium_width`` the half-width of the latter's 95 %
    interval; ``premium_expected`` is what the decision took it for, labels included. ``model`` and ``premium`` are the
    policy's names. ``key_id``, ``team``, ``tags`` and ``rules`` say whose request it was, ``voice`` who judged it, and
    ``is_check`` that a check of the cascade did. ``marks`` are those of the answer that was judged, None where it has
    none; ``prompt`` is the salted hash of its question, and ``session_id`` the conversation that it stands in.
    """

    decision_id: str
    time_ms: int
    score: float
    voice: Voice
    model: str
    quality: float
    premium: str
    premium_quality: float
    premium_width: float
    quality_revision: str
    premium_expected: float
    quality_tier: str | None = None
    tolerance: float | None = None
    key_id: str | None = None
    team: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()
    is_check: bool = False
    marks: tuple[float, ...] | None = None
    prompt: str = ""
    session_id: str | None = None


def labels_of(row: RequestRow, lines: Sequence[Line], until_ms: int = 2**62) -> list[Label]:
    """Every label of one request up to a moment: the newest word of each voice, and answers that failed a check.

    None where the receipt cannot say what was expected: then a score stands beside nothing.
    """
    intents = {each.attempt: each for each in lines if isinstance(each, Intent)}
    receipt = next((each.receipt for each in intents.values() if each.receipt), None)
    expected = _expected(receipt)
    if receipt is None or row.premium not in expected:
        return []
    premium_quality, premium_width, premium_expected = expected[row.premium]
    rules = receipt.get("rules")
    prompt = next((each.subject.prompt_hash for each in intents.values()), "")
    found: list[Label] = []

    def add(
        model: str | None,
        time_ms: int,
        score: float,
        voice: Voice,
        *,
        is_check: bool = False,
        marks: tuple[float, ...] | None = None,
    ) -> None:
        if model in expected and model is not None:
            found.append(
                Label(
                    row.decision_id, time_ms, score, voice, model, expected[model][0], row.premium, premium_quality,
                    premium_width, row.quality_revision, premium_expected, row.quality_tier, row.tolerance,
                    row.key_id, row.team,
                    tuple(sorted(row.tags.items())), tuple(map(str, rules)) if isinstance(rules, list | tuple) else (),
                    is_check, marks, prompt, row.session_id,
                )
            )  # fmt: skip

    newest = {
        Voice(each.key_id, each.source): each
        for each in lines
        if isinstance(each, Feedback) and each.time_ms <= until_ms
    }
    for voice, said in newest.items():
        add(row.model, said.time_ms, said.score, voice, marks=_marks_of(lines, until_ms))
    for end in (each for each in lines if isinstance(each, Settlement) and each.outcome == "escalated"):
        if end.time_ms > until_ms or end.error_code == TAUGHT:
            continue
        intent = intents.get(end.attempt)
        add(
            None if intent is None else intent.model,
            end.time_ms,
            0.0,
            Voice(row.key_id, CHECK_SOURCE),
            is_check=True,
        )
    return found


def _marks_of(lines: Sequence[Line], until_ms: int) -> tuple[float, ...] | None:
    """The marks of the answer that was given; None where it has none, or those of another release."""
    said = [each for each in lines if isinstance(each, Settlement | Correction) and each.time_ms <= until_ms]
    ends = [each.late if isinstance(each, Correction) else each for each in said]
    given = next((each for each in ends if each is not None and each.outcome == "answered"), None)
    return given.marks if given is not None and given.marks and len(given.marks) == len(MARK_NAMES) else None


def _expected(receipt: Mapping[str, object] | None) -> dict[str, tuple[float, float, float]]:
    """Quality before any label's part, width, and quality as it was taken, by the policy's name of the model."""
    rows = (receipt or {}).get("candidates")
    shifts = (receipt or {}).get("shifts")
    moved: Mapping[str, Any] = shifts if isinstance(shifts, dict) else {}
    found: dict[str, tuple[float, float, float]] = {}
    for row in rows if isinstance(rows, list | tuple) else ():
        quality, width = row.get("quality"), row.get("quality_width")
        if isinstance(quality, int | float):
            shift = moved.get(row["model"], 0.0)
            plain = shifted(quality, -shift) if shift else float(quality)
            found[str(row["model"])] = (plain, float(width or 0.0), float(quality))
    return found


# --- weights ---------------------------------------------------------------------------------------------------------


def weights_of(labels: Sequence[Label], now_ms: int, *, is_own: bool = False) -> list[float]:
    """Each label's weight at a time: faded by its age, within its source's cap, within its key's cap.

    ``is_own``: no key but the one that is judged for sends requests of the workload.
    """
    source_most, key_most = (OWN_SOURCE_WEIGHT, OWN_WEIGHT) if is_own else (VOICE_WEIGHT, VOICE_WEIGHT)
    aged = [
        0.5 ** (max(0, now_ms - each.time_ms) / HALF_LIFE_MS) * (CHECK_WEIGHT if each.is_check else 1.0)
        for each in labels
    ]
    by_voice: dict[Voice, float] = defaultdict(float)
    for label, weight in zip(labels, aged, strict=True):
        by_voice[label.voice] += weight
    by_key: dict[str | None, float] = defaultdict(float)
    for voice, weight in by_voice.items():
        by_key[voice.key_id] += min(source_most, weight)
    return [
        weight * _scale(by_voice[label.voice], source_most) * _scale(by_key[label.voice.key_id], key_most)
        for label, weight in zip(labels, aged, strict=True)
    ]


def _scale(weight: float, most: float) -> float:
    return 1.0 if weight <= most else most / weight


# --- the fold --------------------------------------------------------------------------------------------------------


def workload_of(label: Label, calibrations: Calibrations) -> tuple[Match, Calibration | None]:
    """The workload that the labelled request belongs to, as a decision finds it."""
    found = calibrations.find(label.key_id, label.team, dict(label.tags), label.rules)
    return (own_match(label.key_id), None) if found is None else (found.match, found)


def fold(
    labels: Iterable[Label],
    calibrations: Calibrations,
    models: Mapping[str, str],
    quality_revision: str,
    now_ms: int,
    *,
    forgotten_ms: int = 0,
) -> dict[Match, Adjustment]:
    """What the labels up to ``now_ms`` say of each workload; labels up to ``forgotten_ms`` count for nothing.

    ``models`` maps the policy's names to ``provider_model``. Labels of other quality models' predictions are not read.
    """
    since = max(forgotten_ms, now_ms - WINDOW_MS)
    usable = [
        each
        for each in labels
        if since < each.time_ms <= now_ms
        and each.quality_revision == quality_revision
        and each.model in models
        and each.premium in models
    ]
    usable.sort(key=lambda each: (each.time_ms, each.decision_id, each.voice.key_id or "", each.voice.source))
    parts: dict[Match, list[Label]] = defaultdict(list)
    known: dict[Match, Calibration | None] = {}
    for label in usable[-LABELS_MAX:]:
        match, calibration = workload_of(label, calibrations)
        parts[match].append(label)
        known[match] = calibration
    return {match: _adjustment(match, known[match], part, models, now_ms) for match, part in parts.items()}


def _adjustment(
    match: Match, calibration: Calibration | None, labels: Sequence[Label], models: Mapping[str, str], now_ms: int
) -> Adjustment:
    is_own = calibration is None or match.kind == "key"
    weights = weights_of(labels, now_ms, is_own=is_own)
    stiffness = STIFFNESS + INFORMATION_MAX * (calibration.labels if calibration is not None else 0)
    by_model: dict[str, list[tuple[Label, float, float]]] = defaultdict(list)
    for label, weight in zip(labels, weights, strict=True):
        name = models[label.model]
        known = calibration.shifts.get(name, 0.0) if calibration is not None else 0.0
        by_model[name].append((label, weight, _odds(label.quality) + known))
    shifts: dict[str, float] = {}
    for name, rows in sorted(by_model.items()):
        is_premium = models[rows[0][0].premium] == name
        shift = _used(*posterior([(odds, each.score, weight) for each, weight, odds in rows], stiffness), is_premium)
        if round(shift, ROUNDED):
            shifts[name] = round(shift, ROUNDED)
    routed = [row for rows in by_model.values() for row in rows if row[0].model != row[0].premium]
    every = [(label, odds + shifts.get(name, 0.0)) for name, rows in by_model.items() for label, _, odds in rows]
    return Adjustment(
        match=match,
        shifts=shifts,
        verifier=_verifier(every, now_ms, is_own=is_own),
        labels=len(labels),
        voices=len({each.voice.key_id for each in labels}),
        alarm=_alarm([row for row in routed if not row[0].is_check], is_own=is_own),
    )


def _verifier(rows: Sequence[tuple[Label, float]], now_ms: int, *, is_own: bool) -> Verifier | None:
    """What the labels say of answers by their marks, of rows (label, log-odds expected); None where none has marks.

    An answer that failed a check teaches nothing here: nobody read it.
    """
    read = [(label, odds) for label, odds in rows if label.marks is not None and not label.is_check]
    if not read:
        return None
    weights = weights_of([label for label, _ in read], now_ms, is_own=is_own)
    return fitted(
        [
            Lesson(odds, label.score, weight, label.marks, label.voice.key_id, label.prompt or label.decision_id)
            for (label, odds), weight in zip(read, weights, strict=True)
            if label.marks is not None
        ],
        is_own=is_own,
    )


def _odds(quality: float) -> float:
    bounded = min(max(quality, ODDS_FLOOR), 1 - ODDS_FLOOR)
    return log(bounded / (1 - bounded))


def posterior(rows: Sequence[tuple[float, float, float]], stiffness: float) -> tuple[float, float]:
    """Mode and standard deviation of a shift, of rows (log-odds, score, weight), around 0 with this prior precision.

    Newton's steps on a concave function. At the mode the prior's pull equals the labels', whose sizes are at most their
    weights: the mode is never further from 0 than the sum of weights over the stiffness.
    """
    odds, score, weight = np.array(rows, dtype=float).reshape(-1, 3).T
    reach = float(weight.sum()) / stiffness
    shift, curvature = 0.0, stiffness
    for _ in range(STEPS):
        predicted = 1 / (1 + np.exp(-(odds + shift)))
        slope = float((weight * (score - predicted)).sum()) - stiffness * shift
        curvature = float((weight * predicted * (1 - predicted)).sum()) + stiffness
        shift = min(max(shift + slope / curvature, -reach), reach)
    return shift, 1 / sqrt(curvature)


def _used(mode: float, deviation: float, is_premium: bool) -> float:  # noqa: FBT001  # the one thing that turns the sign
    """The shift in force: to the safe side what exceeds one standard deviation, to the other what is certain.

    Safe is down for a candidate and up for premium; each side has its limit. What a few voices say is within the first.
    """
    sign = 1 if is_premium else -1
    towards = sign * mode
    if towards >= 0:
        return sign * min(max(towards - deviation, 0.0), TIGHTEN_MAX)
    return sign * max(min(towards + Z_95_ONE_SIDED * deviation, 0.0), -LOOSEN_MAX)


def _alarm(rows: Sequence[tuple[Label, float, float]], *, is_own: bool) -> str | None:
    """Why the labels contradict what was expected of routed answers; None while they do not, or are too few.

    A workload that many share is judged by at least three keys.
    """
    total = sum(weight for _, weight, _ in rows)
    voices = len({label.voice.key_id for label, _, _ in rows})
    if total < ALARM_WEIGHT_MIN or (not is_own and voices < ALARM_VOICES_MIN):
        return None
    short = [(1 / (1 + exp(-odds)) - label.score, weight) for label, weight, odds in rows]
    mean = sum(gap * weight for gap, weight in short) / total
    error = sqrt(sum((weight * (gap - mean)) ** 2 for gap, weight in short)) / total
    if mean - Z_95_ONE_SIDED * error <= ALARM_BAND:
        return None
    return f"{len(rows)} labels fall {mean:.2f} short of what was expected"


def with_version(adjustments: Mapping[Match, Adjustment], version: int) -> dict[Match, Adjustment]:
    """The same, named by their version."""
    return {match: replace(each, version=version) for match, each in adjustments.items()}
