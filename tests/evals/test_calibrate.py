from __future__ import annotations

import numpy as np
import pytest

from evals.calibrate import Judged, logistic_line, thresholds_of, upper_bound
from router.grading import GRID, TOLERANCES


def judged(rng: np.random.Generator, n: int, *, source: str = "s", slope: float = 1.0) -> Judged:
    """Prompts whose expected loss is ``slope`` times the predicted one."""
    predicted = rng.uniform(0, 0.4, n)
    realised = (rng.random(n) < slope * predicted).astype(float)
    groups = np.arange(n).astype(str)
    return Judged("pair", source, predicted[:, None], realised[:, None], groups, np.full(n, source, dtype=object))


def test_the_upper_bound_covers_the_true_mean_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(300).astype(str)
    held = [upper_bound((rng.random(300) < 0.1).astype(float), groups) >= 0.1 for _ in range(400)]
    assert 0.92 <= np.mean(held) <= 0.98


def test_twins_do_not_fake_certainty() -> None:
    losses = (np.random.default_rng(0).random(100) < 0.2).astype(float)
    single = upper_bound(losses, np.arange(100).astype(str))
    twins = upper_bound(np.repeat(losses, 5), np.repeat(np.arange(100), 5).astype(str))
    assert twins == pytest.approx(single)
    assert upper_bound(np.repeat(losses, 5), np.arange(500).astype(str)) < single


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_tolerance_is_kept_on_new_prompts_19_times_in_20_whatever_the_predictions_are_worth(slope: float) -> None:
    broken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        _, thresholds = thresholds_of([judged(rng, 1_500, slope=slope)])
        limit = thresholds[0][TOLERANCES.index(0.05)]
        fresh = judged(rng, 20_000, slope=slope)
        broken += fresh.losses_at(limit, slice(None)).mean() > 0.05
    assert broken <= 5


def test_good_predictions_leave_something_to_save() -> None:
    _, thresholds = thresholds_of([judged(np.random.default_rng(0), 3_000)])
    assert thresholds[0][TOLERANCES.index(0.05)] > 0.1


def test_thresholds_rise_with_the_tolerance_and_the_strictest_source_stands_last() -> None:
    rng = np.random.default_rng(0)
    sources, thresholds = thresholds_of([judged(rng, 2_000, source="a"), judged(rng, 2_000, source="b", slope=3.0)])
    assert sources == ["a", "b"]
    assert (np.diff(thresholds, axis=1) >= 0).all()
    assert (thresholds[-1] == thresholds[:-1].min(axis=0)).all()
    assert (thresholds[1] <= thresholds[0]).all()


def test_too_few_prompts_promise_nothing() -> None:
    sources, thresholds = thresholds_of([judged(np.random.default_rng(0), 50)])
    assert sources == []
    assert (thresholds == -np.inf).all()


def test_a_pair_that_always_loses_is_never_routed() -> None:
    one = judged(np.random.default_rng(0), 1_000)
    hopeless = Judged("pair", "s", np.full((1_000, 1), -0.2), np.ones((1_000, 1)), one.groups, one.kind_sources)
    _, thresholds = thresholds_of([hopeless])
    assert (thresholds[0][: TOLERANCES.index(0.5)] == -np.inf).all()
    assert thresholds.max() <= GRID[-1]


def test_a_logistic_line_finds_its_own_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-(2.0 * x - 0.5)))).astype(float)
    slope, start = logistic_line(x, y)
    assert slope == pytest.approx(2.0, abs=0.15)
    assert start == pytest.approx(-0.5, abs=0.08)


def test_the_cheapest_within_the_limit_answers_and_premium_where_none_is() -> None:
    predicted = np.array([[0.1, 0.0], [0.3, 0.1], [0.3, 0.3]])
    realised = np.array([[1.0, 0.5], [1.0, 0.5], [1.0, 0.5]])
    chosen = Judged("choice", "s", predicted, realised, np.arange(3).astype(str), np.full(3, "s", dtype=object))
    assert chosen.losses_at(0.1, slice(None)).tolist() == [1.0, 0.5, 0.0]
    assert chosen.losses_at(-0.1, slice(None)).tolist() == [0.0, 0.0, 0.0]


def served_at(one: Judged, sources: list[str], thresholds: np.ndarray, tolerance: float) -> float:
    """The realised mean loss of a case whose prompts take their kinds' thresholds."""
    place = [sources.index(kind) if kind in sources else -1 for kind in one.kind_sources]
    limits = thresholds[place, TOLERANCES.index(tolerance)]
    return float(one.losses_at(limits[:, None], slice(None)).mean())


@pytest.mark.parametrize("tolerance", [0.02, 0.05, 0.1])
def test_a_case_with_no_threshold_of_its_own_holds_as_a_whole(tolerance: float) -> None:
    """Kinds of no row, and few prompts of another's kinds: both lose more than their predictions say."""
    broken, routed = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        good = judged(rng, 3_000, source="a", slope=0.5)
        kinds = np.where(rng.random(400) < 0.3, "a", "web").astype(object)
        chat = judged(rng, 400, source="chat", slope=3.0)
        chat = Judged("chat", "chat", chat.predicted, chat.realised, chat.groups, kinds)
        sources, thresholds = thresholds_of([good, chat])
        assert sources == ["a"]
        fresh = judged(rng, 20_000, source="chat", slope=3.0)
        fresh = Judged("chat", "chat", fresh.predicted, fresh.realised, fresh.groups, np.resize(kinds, 20_000))
        broken += served_at(fresh, sources, thresholds, tolerance) > tolerance
        routed += thresholds[0][TOLERANCES.index(tolerance)] > -np.inf
    assert broken <= 3
    assert routed == 20


def test_the_row_of_other_kinds_is_tightened_before_a_sources_own() -> None:
    rng = np.random.default_rng(0)
    good = judged(rng, 3_000, source="a", slope=0.5)
    alone = thresholds_of([good])[1][0]
    chat = judged(rng, 400, source="chat", slope=3.0)
    kinds = np.full(400, "web", dtype=object)
    kinds[:20] = "a"
    _, thresholds = thresholds_of([good, Judged("chat", "chat", chat.predicted, chat.realised, chat.groups, kinds)])
    at = TOLERANCES.index(0.1)
    assert thresholds[0][at] == alone[at]
    assert thresholds[1][at] < alone[at]
