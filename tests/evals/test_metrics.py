from __future__ import annotations

import numpy as np
import pytest

from evals.metrics import apgr, auc, auc_within, bootstrap, brier, cpt, expected_calibration_error, interval

STRONG = np.array([1.0, 1.0, 1.0, 0.0])
WEAK = np.array([1.0, 0.0, 0.0, 0.0])


def test_a_constant_score_is_worth_a_half_and_the_oracle_the_most() -> None:
    assert apgr(np.zeros(4), STRONG, WEAK) == pytest.approx(0.5)
    best = apgr(STRONG - WEAK, STRONG, WEAK)
    assert best == pytest.approx(0.75)
    assert apgr(WEAK - STRONG, STRONG, WEAK) == pytest.approx(0.25)
    assert all(apgr(np.random.default_rng(seed).random(4), STRONG, WEAK) <= best for seed in range(20))


def test_apgr_agrees_with_routing_step_by_step() -> None:
    rng = np.random.default_rng(1)
    strong, weak, score = (rng.random(50) for _ in range(3))
    strong = strong + 0.3
    order = np.argsort(-score)
    gaps = [(strong - weak)[order[:calls]].sum() / (strong - weak).sum() for calls in range(51)]
    assert apgr(score, strong, weak) == pytest.approx(np.trapezoid(gaps, np.arange(51) / 50))


def test_cpt_is_the_least_share_of_strong_calls() -> None:
    score = np.array([0.1, 0.9, 0.8, 0.2])
    assert cpt(score, STRONG, WEAK, 0.5) == pytest.approx(0.25)
    assert cpt(score, STRONG, WEAK, 1.0) == pytest.approx(0.5)
    assert cpt(np.zeros(4), STRONG, WEAK, 0.8) == pytest.approx(0.8)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    assert np.isnan(apgr(STRONG, WEAK, STRONG))
    assert np.isnan(cpt(STRONG, WEAK, STRONG, 0.5))


def test_auc_counts_ties_half_and_needs_both_sides() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3, 2, 1]), positive) == 1
    assert auc(np.array([1.0, 1, 1, 1]), positive) == 0.5
    assert auc(np.array([3.0, 1, 2, 0]), positive) == 0.75
    assert np.isnan(auc(np.arange(4.0), np.ones(4, dtype=bool)))


def test_within_categories_what_only_knows_the_category_is_worth_a_half() -> None:
    category = np.array(["a"] * 4 + ["b"] * 4)
    positive = np.array([True, True, True, False, False, False, False, True])
    score = np.where(category == "a", 1.0, 0.0)
    assert auc(score, positive) > 0.7
    assert auc_within(score, positive, category) == 0.5


def test_calibration_errors_of_known_predictions() -> None:
    realised = np.array([0.0, 1.0] * 50)
    assert expected_calibration_error(np.full(100, 0.5), realised, bins=1) == pytest.approx(0)
    assert expected_calibration_error(np.full(100, 0.8), realised, bins=1) == pytest.approx(0.3)
    assert brier(np.full(100, 0.5), realised) == 0.25


def test_the_bootstrap_draws_whole_groups() -> None:
    groups = np.array(["a", "a", "b", "c", "c", "c"])
    sizes = {"a": 2, "b": 1, "c": 3}

    def counted(at: np.ndarray) -> np.ndarray:
        drawn = {name: int((groups[at] == name).sum()) for name in sizes}
        assert all(count % sizes[name] == 0 for name, count in drawn.items())
        return np.array([float(len(at))])

    assert bootstrap(counted, groups, rounds=50).shape == (50, 1)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        values = rng.normal(size=60)
        groups = np.arange(60).astype(str)
        low, high = interval(bootstrap(lambda at, v=values: np.array([v[at].mean()]), groups, seed=seed)[:, 0])
        held += low <= 0 <= high
    assert 0.87 <= held / 200 <= 0.99
    assert all(np.isnan(interval(np.array([np.nan]))))
