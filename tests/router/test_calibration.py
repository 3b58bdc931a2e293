"""The statistics of a workload's calibration: what it promises on made-up workloads whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.calibration import LABELS_MIN, NO_LIMIT, Calibration, Calibrations, Match, labels_required, shifted
from router.grading import (
    CAUTION,
    Fit,
    Labels,
    Outcome,
    chosen_at,
    fit,
    held_back,
    outcome_of,
    predicted_losses,
    shift_of,
    upper_bounds,
    why_not_replace,
)

MODELS = ("v/premium", "v/middle", "v/cheap")
COSTS = np.array([100, 30, 5])


def workload(n: int, rng: np.random.Generator, off: tuple[float, ...] = (0.5, -0.5, -1.0)) -> Labels:
    """Binary grades whose log-odds are the prediction's plus a shift for each model and noise for each prompt."""
    odds = rng.normal(2.0, 1.2, (n, 1)) + np.array([0.6, 0.3, 0.0]) + rng.normal(0, 0.5, (n, 3))
    truth = 1 / (1 + np.exp(-(odds + np.array(off) + rng.normal(0, 0.7, (n, 1)))))
    score = (rng.random((n, 3)) < truth).astype(float)
    return Labels(MODELS, 1 / (1 + np.exp(-odds)), score, np.tile(COSTS, (n, 1)), np.full(n, 0.9), np.arange(n))


@pytest.mark.parametrize("labels", [100, 200])
def test_the_promise_is_kept_in_95_of_100_workloads(labels: int) -> None:
    rng = np.random.default_rng(11)
    big = workload(20_000, rng)
    broken = dict.fromkeys((0.05, 0.10), 0)
    routed = 0.0
    for _ in range(200):
        fitted = fit(workload(labels, rng), tuple(broken))
        predicted = predicted_losses(big.quality, fitted.shifts)
        for t in broken:
            limits = np.full(len(predicted), fitted.threshold(t))
            came = outcome_of(big, chosen_at(predicted, limits, big, fitted.covers))
            broken[t] += came.loss > t
            routed += came.routed_share
    # 5 % of 200 and two standard errors of Monte Carlo.
    assert max(broken.values()) <= 10 + 2 * (200 * 0.05 * 0.95) ** 0.5
    assert routed > 0


def test_an_easy_workload_saves_most_of_the_money() -> None:
    came = held_back(workload(200, np.random.default_rng(3), (3.0, 3.0, 3.0)), (0.05,))[0.05]
    assert came.loss <= 0.05
    assert came.saved_nanousd > came.premium_nanousd * 0.5


def test_a_workload_where_all_cheaper_models_fail_stays_with_premium() -> None:
    came = held_back(workload(300, np.random.default_rng(5), (3.0, -5.0, -5.0)), (0.05,))[0.05]
    assert came.loss <= 0.05
    assert came.routed_share < 0.15


def test_too_few_labels_abstain() -> None:
    rng = np.random.default_rng(5)
    assert fit(workload(LABELS_MIN - 1, rng), (0.10,)).thresholds == {}
    assert set(fit(workload(100, rng), (0.02, 0.03, 0.10)).thresholds) == {0.03, 0.10}
    assert [labels_required(t) for t in (0.0, 0.01, 0.02, 0.05, 0.10)] == [0, 300, 150, 60, 50]


def test_a_model_with_few_labels_is_not_covered() -> None:
    labels = workload(200, np.random.default_rng(6))
    labels.score[LABELS_MIN - 1 :, 2] = np.nan
    assert fit(labels).covers.tolist() == [True, True, False]


def test_twins_count_once() -> None:
    one = workload(40, np.random.default_rng(7))
    twins = one.only(np.repeat(np.arange(40), 5))
    assert twins.count() == 40
    assert fit(twins, (0.10,)).thresholds == {}


def test_no_loss_in_n_groups_still_may_be_3_of_n() -> None:
    bound = upper_bounds(np.zeros((1, 100)), np.arange(100), caution=CAUTION)
    assert bound[0] == pytest.approx(0.03)


def test_one_noisy_label_moves_little() -> None:
    quality, score = np.full(100, 0.8), np.array([1.0] * 80 + [0.0] * 20)
    noisy = score.copy()
    noisy[0] = 0.0
    assert abs(shift_of(quality, score)) < 0.01
    assert 0 < shift_of(quality, score) - shift_of(quality, noisy) < 0.1
    assert abs(shift_of(quality[:1], score[:1])) < abs(shift_of(quality, np.ones(100)))


def test_fit_is_the_same_whenever_it_runs() -> None:
    labels = workload(150, np.random.default_rng(8))
    one, other = fit(labels), fit(labels)
    assert one.thresholds == other.thresholds
    assert one.shifts.tolist() == other.shifts.tolist()


def test_shifting_by_nothing_changes_nothing() -> None:
    assert shifted(0.7, 0.0) == pytest.approx(0.7)
    assert shifted(0.7, 1.0) > 0.7 > shifted(0.7, -1.0)
    assert 0 < shifted(0.0, 1.0) < shifted(1.0, -1.0) < 1


def calibration(match: Match, **changes: Any) -> Calibration:
    about = {
        "name": str(match), "version": 1, "quality_revision": "q", "premium": "v/premium", "shifts": {},
        "thresholds": {0.05: 0.02, 0.10: NO_LIMIT}, "labels": 100, "support_floor": 0.5, **changes,
    }  # fmt: skip
    return Calibration(match=match, **about)


def test_the_most_specific_match_wins() -> None:
    matches = [
        Match("all"), Match("rule", "r"), Match("tag", "x", "feature"), Match("team", "legal"), Match("key", "k1"),
    ]  # fmt: skip
    for last in range(1, len(matches) + 1):
        found = Calibrations({each: calibration(each) for each in matches[:last]}).find(
            "k1", "legal", {"feature": "x", "a": "b"}, ("r",)
        )
        assert found is not None
        assert found.match == matches[last - 1]
    assert Calibrations({matches[3]: calibration(matches[3])}).find(None, None, {}, ()) is None
    assert [str(each) for each in matches] == ["all", "rule=r", "tag:feature=x", "team=legal", "key=k1"]


def test_a_tolerance_takes_its_stricter_neighbour() -> None:
    found = calibration(Match("all"))
    assert found.threshold(0.04) is None
    assert [found.threshold(t) for t in (0.05, 0.07, 0.5)] == [0.02, 0.02, NO_LIMIT]
    assert not found.contradicts()
    assert calibration(Match("all"), thresholds={0.1: NO_LIMIT}).contradicts()


def test_a_version_stays_only_where_it_is_better_on_the_same_prompts() -> None:
    former = Calibration("c", 1, Match("all"), "q", "premium", {}, {0.05: 0.1}, 100, 0.0)
    fitted = Fit(np.zeros(2), np.ones(2, dtype=bool), {0.05: 0.1})

    def outcome(high: float, saved: int) -> Outcome:
        return Outcome(high / 2, high, 0.5, saved, 1000)

    def why(before: Outcome, after: Outcome, fit: Fit = fitted) -> str | None:
        return why_not_replace(former, fit, {0.05: before}, {0.05: after})

    assert why(outcome(0.04, 10), outcome(0.06, 900)) == "its bound is within 0.05, that of the new one is not"
    assert why(outcome(0.04, 90), outcome(0.04, 10)) == "it keeps every tolerance and saves more"
    assert why(outcome(0.04, 10), outcome(0.04, 10)) is None
    assert why(outcome(0.06, 90), outcome(0.04, 10)) is None
    assert why(outcome(0.06, 90), outcome(0.07, 10)) is None
    assert "labels enough" in str(why(outcome(0.06, 0), outcome(0.01, 90), Fit(fitted.shifts, fitted.covers, {})))
