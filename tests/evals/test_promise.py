from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from evals.calibrate import Judged
from evals.promise import draw_promise, promise_on, show_promise
from evals.splits import TOLERANCES, Case, cached_cross_fit, cases_of, clopper_pearson, half_of, one_split, over_splits
from evals.unseen import LABEL_COUNTS, Workload, rows_over, with_labels, without_labels
from router.grading import Labels
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared

PREMIUM_USD = 1.0
OTHER_USD = 0.2


def case(predicted: np.ndarray, realised: np.ndarray) -> Case:
    """One pair of source "s" whose other model costs a fifth of premium."""
    n = len(predicted)
    groups = np.arange(n).astype(str)
    judged = Judged("pair", "s", predicted[:, None], realised[:, None], groups, np.full(n, "s", dtype=object))
    return Case(judged, np.full(n, PREMIUM_USD), np.full((n, 1), OTHER_USD))


def workload(quality: np.ndarray, score: np.ndarray) -> Workload:
    """A premium model that is always right beside another; nothing is promised without labels."""
    n = len(quality)
    labels = Labels(
        models=("premium", "other"),
        quality=np.stack([np.full(n, 0.99), quality], axis=1),
        score=np.stack([np.ones(n), score], axis=1),
        cost_nanousd=np.tile(np.array([10, 2]), (n, 1)),
        support=np.ones(n),
        group=np.arange(n),
    )
    losses = labels.quality[:, :1] - labels.quality
    return Workload("pair", "s", labels, losses, {t: np.full(n, -np.inf) for t in TOLERANCES})


@pytest.fixture(scope="module")
def found(small: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return promise_on(small, SMALL, cache=tmp_path_factory.mktemp("cache"), splits=4, repeats=2)


def test_perfect_predictions_keep_every_promise_and_save_what_the_oracle_saves() -> None:
    realised = (np.random.default_rng(0).random(2_000) < 0.3).astype(float)
    rows = over_splits([case(realised, realised)], 10)["pair"]
    oracle = (1 - realised.mean()) * (1 - OTHER_USD / PREMIUM_USD)
    for method in ("shipped", "own"):
        assert [row["broken"] for row in rows[method]] == [0, 0, 0]
        assert [row["loss"] for row in rows[method]] == [0, 0, 0]
        assert [row["saved"] for row in rows[method]] == pytest.approx([oracle] * 3, abs=0.01)


def test_where_predictions_are_noise_the_bound_abstains_and_the_mean_breaks_its_promise() -> None:
    rng = np.random.default_rng(0)
    realised = rng.permutation(np.arange(2_000) < 100).astype(float)
    rows = over_splits([case(np.full(2_000, 0.05), realised)], 60)["pair"]
    at = TOLERANCES.index(0.05)
    assert rows["own"][at]["routed"] <= 0.2
    assert rows["own"][at]["broken"] <= 0.2
    assert rows["mean"][at]["broken"] >= 0.3
    hopeless = over_splits([case(np.full(2_000, 0.2), np.ones(2_000))], 5)["pair"]
    assert [row["routed"] for method in hopeless.values() for row in method] == [0] * 9


def test_the_shipped_threshold_is_as_strict_as_the_hardest_case_of_its_source() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 0.4, 4_000)
    easy = case(predicted, (rng.random(4_000) < predicted / 4).astype(float))
    hard = case(predicted, (rng.random(4_000) < 2 * predicted).astype(float))
    hard = Case(
        Judged("hard", *(getattr(hard.judged, each) for each in hard.judged.__slots__[1:])), hard.premium, hard.others
    )
    rows = one_split([easy, hard], 0)
    assert rows["hard"]["shipped"] == rows["hard"]["own"]
    saved = [[at[1] for at in rows["pair"][method]] for method in ("shipped", "own")]
    assert all(shipped < own for shipped, own in zip(*saved, strict=True))


def test_twins_fall_into_the_same_half_and_each_split_is_another() -> None:
    groups = np.repeat(np.arange(500).astype(str), 3)
    first, second = half_of(groups, 0), half_of(groups, 1)
    assert 200 < len(first) < 300
    assert set(first) != set(second)
    assert np.array_equal(first, half_of(groups[::-1], 0))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 200, 0.0, 0.0183), (10, 200, 0.0242, 0.0900), (5, 5, 0.4782, 1.0)]
)
def test_the_interval_of_a_share_is_the_exact_one(hits: int, count: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_predictions_are_kept_and_cover_every_prompt(small: Prepared, tmp_path: Path) -> None:
    said: list[str] = []
    first = cached_cross_fit(small, SMALL, cache=tmp_path, say=said.append)
    again = cached_cross_fit(small, SMALL, cache=tmp_path, say=said.append)
    assert said[-1].startswith("cross-fitted predictions read")
    assert np.isfinite(first.logits).all()
    assert np.array_equal(first.logits, again.logits)
    assert first.kind_sources.tolist() == again.kind_sources.tolist()
    assert {each.judged.group for each in cases_of(small, again)} >= {"portfolio of zeroeval", "Llama 405B / 8B"}


def test_labels_of_a_workload_earn_what_its_predictions_are_worth() -> None:
    rng = np.random.default_rng(0)
    score = (rng.random(1_500) < 0.6).astype(float)
    work = workload(np.where(score > 0, 0.97, 0.05), score)
    before = rows_over([without_labels(work)])
    after = rows_over([with_labels(work, 200, seed) for seed in range(5)])
    assert [row["abstained"] for row in before] == [1, 1, 1]
    assert [row["kept"] for row in after] == [1, 1, 1]
    assert after[-1]["saved"] == pytest.approx(0.6 * 0.8, abs=0.02)
    few = rows_over([with_labels(work, 50, 0)])
    assert few[TOLERANCES.index(0.02)]["abstained"] == 1, "50 labels cannot prove a loss below 0.02"


def test_labels_that_predictions_say_nothing_of_earn_no_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    work = workload(rng.uniform(0.3, 0.7, 1_500), (rng.random(1_500) < 0.5).astype(float))
    rows = rows_over([with_labels(work, 200, seed) for seed in range(10)])
    assert [row["kept"] for row in rows] == [1, 1, 1]
    by_chance = [0.8 * t / 0.5 for t in TOLERANCES]
    assert all(row["saved"] < most for row, most in zip(rows, by_chance, strict=True))


def test_a_loss_beyond_the_tolerance_is_no_kept_promise() -> None:
    work = workload(np.full(400, 0.98), np.zeros(400))
    open_door = Workload(work.name, work.source, work.graded, work.losses, {t: np.ones(400) for t in TOLERANCES})
    rows = rows_over([without_labels(open_door)])
    assert [(row["kept"], row["abstained"], row["loss"]) for row in rows] == [(0, 0, 1.0)] * 3


def test_every_case_is_judged_in_both_ways(found: dict) -> None:
    assert len(found["seen"]) == len(found["unseen"]) == 12
    assert set(found["unseen_mean"]) == {"0", *map(str, LABEL_COUNTS)}
    for case_rows in found["seen"].values():
        assert all(
            row["broken_low"] <= row["broken"] <= row["broken_high"] for rows in case_rows.values() for row in rows
        )
    for rows in found["unseen"].values():
        assert all(row["abstained"] <= row["kept"] for each in rows.values() for row in each)


def test_the_study_is_json_prints_and_draws(found: dict, tmp_path: Path) -> None:
    assert json.loads(json.dumps(found)) == found
    console = Console(width=200, file=io.StringIO())
    show_promise(found, console)
    text = console.file.getvalue()
    for part in ("4 random halves", "no bound (naive)", "router.calibration.fit", "portfolio of mmlu_pro"):
        assert part in text
    draw_promise(found, tmp_path / "promise.png")
    assert (tmp_path / "promise.png").read_bytes().startswith(b"\x89PNG")
