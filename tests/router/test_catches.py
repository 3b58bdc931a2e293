"""The share of bad answers that checks catch, and what may be stated of it."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catches import Judged, catches_of, share_low
from tests.builders import request_of

REFUSAL = "I'm sorry, but I can't help with that."


def judged(score: float, text: str, model: str = "cheap") -> Judged:
    return Judged(model, score, request_of(), text)


def test_bad_answers_by_the_checks_that_they_fail_and_good_ones_that_fail_all_the_same() -> None:
    answers = [
        judged(0.0, REFUSAL), judged(0.2, ""), judged(0.0, "a wrong answer"), judged(1.0, "right"),
        judged(1.0, REFUSAL), Judged("cheap", 0.0, request_of(), "cut of", "length"),
    ]  # fmt: skip
    found = catches_of(answers, ("refusal", "empty", "truncation"))["cheap"]
    assert (found.bad, found.caught, found.good, found.false_alarms) == (4, 3, 2, 1)
    assert found.by_check == {"refusal": 1, "empty": 1, "truncation": 1}
    assert found.share == 0.75
    assert 0 < found.share_low < 0.75


def test_models_are_counted_apart_and_without_bad_answers_nothing_is_stated() -> None:
    found = catches_of([judged(1.0, "fine", "a"), judged(0.0, "", "b")], ("empty",))
    assert (found["a"].share, found["a"].share_low) == (None, 0.0)
    assert found["b"].caught == 1


@pytest.mark.parametrize(("hits", "count", "low"), [(0, 30, 0.0), (10, 10, 0.7411), (5, 10, 0.2224), (1, 20, 0.0026)])
def test_the_bound_is_clopper_and_pearsons(hits: int, count: int, low: float) -> None:
    assert share_low(hits, count) == pytest.approx(low, abs=1e-4)


@given(st.integers(1, 60), st.integers(0, 60))
def test_at_the_bound_so_many_hits_have_one_chance_in_twenty(count: int, hits: int) -> None:
    hits = min(hits, count)
    low = share_low(hits, count)
    assert 0 <= low <= hits / count
    if hits:
        tail = sum(comb(count, k) * low**k * (1 - low) ** (count - k) for k in range(hits, count + 1))
        assert tail == pytest.approx(0.05, abs=1e-6)
