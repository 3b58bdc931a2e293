"""What labels may teach of bad answers, what a single voice cannot, and that chance alone puts hardly any in force."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.verifier import TELLING, drawn_marks
from evals.verifier import drawn as drawn_of
from router.answer_marks import MARK_MAX, MARK_NAMES
from router.feedback import VOICE_WEIGHT
from router.verifier import (
    BAD_MIN,
    KEYS_MIN,
    LABELS_MIN,
    NO_VERIFIER,
    REACH,
    VOICE_ODDS_MAX,
    Lesson,
    Stiffness,
    Verifier,
    _Rows,
    fitted,
    fold_of,
    odds_of,
)

NONE = (0.0,) * len(MARK_NAMES)
SHARED_STIFFNESS = Stiffness(30.0, 90.0)


def marked(**marks: float) -> tuple[float, ...]:
    return tuple(marks.get(name, 0.0) for name in MARK_NAMES)


def drawn(seed: int, count: int, *, keys: int = 40, weight: float = 1.0, **effects: float) -> list[Lesson]:
    return drawn_of(seed, count, effects, keys=keys, weight=weight)


# --- in force or not -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "is_own", "weight"), [(60, False, 1.0), (150, False, 1.0), (150, True, 0.2)])
def test_labels_that_nothing_tells_put_hardly_any_in_force(count: int, is_own: bool, weight: float) -> None:
    found = [fitted(drawn(seed, count, weight=weight), is_own=is_own) for seed in range(200)]
    assert sum(each.is_in_force for each in found) <= 8  # 4 %; the bound is a one-sided 99 % one
    assert sum(each.why_not == "not_proven" for each in found) >= 170
    assert all(each.why_not != "not_proven" or (each.gain_low or 0) <= 0 for each in found)


def test_a_level_that_is_off_is_no_sign_in_any_mark() -> None:
    def worse(seed: int) -> list[Lesson]:
        # Everything is worse than expected, and most answers bear the same mark: an intercept says as much.
        return [
            each._replace(odds=each.odds + 1.0, marks=marked(length=-1.5, echo=each.marks[6]))
            for each in drawn(seed, 150)
        ]

    assert sum(fitted(worse(seed), is_own=False).is_in_force for seed in range(100)) <= 4


def test_signs_that_tell_are_learned_and_say_so_of_answers_like_them() -> None:
    found = [fitted(drawn(seed, 300, **TELLING), is_own=False) for seed in range(20)]
    assert all(each.is_in_force and (each.gain_low or 0) > 0 and each.labels == 300 for each in found)
    for each in found:
        told = each._replace(chance_min=0.6)
        assert told.weights["cut_off"] < -0.1
        assert told.doubts(0.75, marked(cut_off=2.0, mid_sentence=2.0))
        assert not told.doubts(0.75, NONE)
        assert not told.doubts(None, marked(cut_off=2.0, mid_sentence=2.0)), "nothing was expected of the model"


def test_a_key_of_its_own_learns_from_fewer_for_it_moves_nobody_else() -> None:
    lessons = drawn(1, 200, keys=1, weight=0.3, **TELLING)
    own, shared = fitted(lessons, is_own=True), fitted(drawn(1, 200, keys=3, weight=0.15, **TELLING), is_own=False)
    assert own.is_in_force
    bad = marked(cut_off=2.0, mid_sentence=2.0)
    assert own.chance(0.75, bad) < 0.6
    assert not shared.is_in_force or shared.chance(0.75, bad) > own.chance(0.75, bad)


def test_what_is_missing_is_said() -> None:
    lessons = drawn(2, 200, **TELLING)
    assert fitted([], is_own=True) == NO_VERIFIER
    two = [each._replace(key_id=f"k{index % 2}") for index, each in enumerate(lessons)]
    assert fitted(two, is_own=False) == Verifier("too_few_keys", 200, KEYS_MIN - 2)
    assert fitted([each._replace(weight=0.3) for each in two], is_own=True).is_in_force
    assert fitted(lessons[:31], is_own=False)[:3] == ("too_few_labels", 31, LABELS_MIN - 31)
    good = [each._replace(score=1.0 if index else 0.0) for index, each in enumerate(lessons)]
    assert fitted(good, is_own=False)[:3] == ("too_few_bad", 200, BAD_MIN - 1)
    assert fitted([each._replace(score=0.2) for each in lessons], is_own=False).why_not == "too_few_good"
    old = [each._replace(weight=0.05) for each in lessons]
    assert fitted(old, is_own=False)[:3] == ("faded", 200, 10)


def test_where_a_gain_shows_it_says_how_many_more_would_prove_it() -> None:
    found = [fitted(drawn(seed, 60, cut_off=-0.8), is_own=False) for seed in range(40)]
    waiting = [each for each in found if each.why_not == "not_proven"]
    said = [each for each in waiting if each.labels_needed is not None]
    assert 0 < len(said) < len(waiting)
    assert all((each.labels_needed or 0) > 0 and (each.gain or 0) > 0 for each in said)
    assert all((each.gain or 0) < 0.001 for each in waiting if each not in said)
    needed = {(each.gain or 0) / ((each.gain or 0) - (each.gain_low or 0)): each.labels_needed or 0 for each in said}
    assert [needed[key] for key in sorted(needed, reverse=True)] == sorted(needed.values()), "the surer, the fewer"


def test_who_judges_one_answer_or_asks_one_prompt_again_and_again_proves_nothing_by_it() -> None:
    lessons = drawn(3, 20, **TELLING)
    many = [each._replace(key_id=f"k{copy}") for each in lessons for copy in range(30)]
    assert fitted(many, is_own=False)[:2] == ("too_few_labels", 20)
    sixty = drawn(5, 60, cut_off=-0.5)
    once = fitted(sixty, is_own=False)
    again = fitted([each._replace(weight=each.weight / 20) for each in sixty for _ in range(20)], is_own=False)
    assert (again.gain, again.gain_low) == pytest.approx((once.gain, once.gain_low), abs=2e-4)


@pytest.mark.parametrize(("keys", "count"), [(3, 90), (8, 160)])
def test_one_voice_that_agrees_with_itself_proves_nothing_to_the_others(keys: int, count: int) -> None:
    def loud(seed: int) -> list[Lesson]:
        return [
            Lesson(
                0.0,
                float(number % 2),
                VOICE_WEIGHT / 1_000,
                marked(digits=3.0 * (number % 2)),
                "loud",
                f"{seed}l{number}",
            )
            for number in range(1_000)
        ]

    # Nothing tells among the others; the loud one's labels follow a mark without fail.
    weight = VOICE_WEIGHT * keys / count
    found = [fitted([*drawn(seed, count, keys=keys, weight=weight), *loud(seed)], is_own=False) for seed in range(60)]
    assert sum(each.is_in_force for each in found) <= 3


def test_the_folds_are_by_prompt_and_about_as_large() -> None:
    counts = np.bincount([fold_of(f"prompt{number}") for number in range(5_000)])
    assert len(counts) == 5
    assert counts.min() > 850


def test_the_same_lessons_give_the_same() -> None:
    lessons = drawn(4, 200, **TELLING)
    assert fitted(lessons, is_own=False) == fitted(list(lessons), is_own=False)


# --- what one voice can do -------------------------------------------------------------------------------------------


def _odds_under(lessons: list[Lesson], marks: tuple[float, ...]) -> float:
    rows = _Rows(lessons, SHARED_STIFFNESS.weights)
    intercept, *weights = rows.mode(rows.everything, SHARED_STIFFNESS.intercept, with_marks=True).tolist()
    named = dict(zip(MARK_NAMES, weights, strict=True))
    chance = Verifier(None, intercept=intercept, weights=named).chance(0.5, marks)
    return odds_of(chance)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.floats(-MARK_MAX, MARK_MAX), min_size=len(NONE), max_size=len(NONE)),
    st.sampled_from([0.0, 1.0]),
    st.integers(1, 400),
)
def test_one_voice_moves_no_answer_further_than_the_bound(
    seed: int, said: list[float], score: float, times: int
) -> None:
    honest = drawn(seed, 30)
    marks = tuple(said)
    # Whatever it says of whatever answers, its labels weigh ten in all.
    loud = [Lesson(4.0 * (0.5 - score), score, VOICE_WEIGHT / times, marks, "loud", f"l{n}") for n in range(times)]
    for asked in (marks, NONE, marked(cut_off=2.0)):
        assert abs(_odds_under([*honest, *loud], asked) - _odds_under(honest, asked)) <= VOICE_ODDS_MAX + 1e-6


def test_the_bound_is_what_is_said_of_it() -> None:
    assert VOICE_WEIGHT == 10  # what the bound is stated for
    assert pytest.approx(4 / 3) == VOICE_ODDS_MAX
    # An answer expected to be good with 0.8 cannot be failed at 0.5 by one voice.
    assert odds_of(0.8) - VOICE_ODDS_MAX > 0
    loud = [Lesson(3.0, 0.0, VOICE_WEIGHT / 50, marked(cut_off=3.0), "loud", f"l{n}") for n in range(50)]
    assert -VOICE_ODDS_MAX < _odds_under(loud, marked(cut_off=3.0)) < -0.5


def test_no_answer_is_further_away_than_the_reach() -> None:
    judge = Verifier(None, weights=dict.fromkeys(MARK_NAMES, 0.5))
    far, near = (MARK_MAX,) * len(NONE), marked(length=REACH)
    assert odds_of(judge.chance(0.5, far)) == pytest.approx(0.5 * REACH * len(NONE) ** 0.5)
    assert odds_of(judge.chance(0.5, near)) == pytest.approx(0.5 * REACH)


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_without_proof_every_answer_passes() -> None:
    for why in ("no_labels", "not_proven"):
        judge = Verifier(why, intercept=-9.0, weights=dict.fromkeys(MARK_NAMES, -1.0), chance_min=0.9)  # type: ignore[arg-type]
        assert not judge.doubts(0.1, marked(cut_off=2.0))
    judge = Verifier(None, weights=dict.fromkeys(MARK_NAMES, 0.0), chance_min=0.5)
    assert judge.doubts(0.49, NONE)
    assert not judge.doubts(0.5, NONE)


def test_a_verdict_is_the_same_bit_for_bit_after_json() -> None:
    judge = fitted(drawn(6, 300, **TELLING), is_own=False)
    again = Verifier(**json.loads(json.dumps({**judge._asdict(), "weights": dict(judge.weights)}, sort_keys=True)))
    rng = np.random.default_rng(1)
    for _ in range(50):
        marks = drawn_marks(rng)
        assert judge.chance(0.7, marks) == again.chance(0.7, tuple(json.loads(json.dumps(marks))))


def test_a_trifle_is_no_difference() -> None:
    judge: Any = fitted(drawn(6, 300, **TELLING), is_own=False)
    near = judge._replace(weights={**judge.weights, "echo": judge.weights["echo"] + 0.01})
    far = judge._replace(intercept=judge.intercept + 0.03)
    assert not judge.differs_from(near, 0.02)
    assert judge.differs_from(far, 0.02)
    assert judge.differs_from(None, 0.02)
    waiting = Verifier("too_few_labels", 20, 30)
    assert not waiting.differs_from(Verifier("too_few_labels", 22, 28), 0.02)
    assert waiting.differs_from(Verifier("too_few_labels", 30, 20), 0.02)
    assert waiting.differs_from(judge, 0.02)
    assert Verifier("not_proven", 60, None).differs_from(Verifier("not_proven", 60, 5), 0.02)
