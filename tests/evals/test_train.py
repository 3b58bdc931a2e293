from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals.arrays import ONE_KIND, kinds_of
from evals.batch import batch_of
from evals.crossfit import cross_fitted, reference_gaps
from evals.dataset import split_of
from evals.fit import fit_lsa, project
from evals.fitted import fit_on, folds_fitted, folds_of, out_of_fold
from evals.metrics import apgr
from evals.network import fit_network, joined, outcomes_of
from evals.pairs import PAIRS, rows_of
from evals.select import cross_validated
from evals.small import small_dataset
from evals.train import train_on, write_artifact
from router.quality import load_quality_model
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel

TINY = replace(SMALL, members=1, structure_members=1, kind_members=1, epochs=2)


def test_the_small_data_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = (small_dataset(prompts_per_kind=20, seed=seed) for seed in (1, 1, 2))
    assert first.data_sha256 == again.data_sha256 != other.data_sha256
    assert np.array_equal(first.scores, again.scores, equal_nan=True)


def test_splits_go_by_group_and_keep_their_shares() -> None:
    splits = [split_of(f"group-{number}") for number in range(5_000)]
    shares = {name: splits.count(name) / 5_000 for name in ("train", "calibration", "test")}
    assert shares["train"] == pytest.approx(0.6, abs=0.03)
    assert shares["calibration"] == pytest.approx(0.2, abs=0.03)
    assert split_of("group-7") == split_of("group-7")


def test_directions_that_few_prompts_do_not_span_weigh_nothing(small: Prepared) -> None:
    rows = np.flatnonzero(small.dataset.splits == "train")[:300]
    lsa = fit_lsa([small.bare[row] for row in rows], dims=250)
    coordinates = project(small.bare[:50], lsa)
    assert np.abs(coordinates).max() < 100


def test_twins_share_a_fold() -> None:
    groups = np.array(["a", "b", "a", "c", "b"])
    folds = folds_of(groups, 3)
    assert folds[0] == folds[2]
    assert folds[1] == folds[4]
    assert set(folds_of(np.arange(100).astype(str), 3)) == {0, 1, 2}


def test_training_finds_the_difficulty_that_was_made(small: Prepared, trained: QualityModel) -> None:
    dataset = small.dataset
    is_test = dataset.splits == "test"
    values = []
    for pair in PAIRS:
        rows = rows_of(pair, dataset)
        rows = rows[is_test[rows]]
        strong, weak = (dataset.column(pair.source, name)[rows] for name in (pair.strong, pair.weak))
        batch = batch_of(trained, [small.bare[row] for row in rows])
        if pair.source in ("zeroeval", "mmlu_pro"):
            values.append(apgr(batch.rank(pair.strong, pair.weak), strong, weak))
    assert np.nanmean(values) > 0.55


def test_training_twice_gives_the_same_file(small: Prepared, artifact: Path, tmp_path: Path) -> None:
    again = train_on(small, out=tmp_path / "again.npz", recipe=SMALL)
    assert again.revision == load_quality_model(artifact).revision
    other = train_on(small, out=tmp_path / "other.npz", recipe=SMALL, seed=1)
    assert other.revision != again.revision


def test_the_artifact_says_what_it_was_made_of(small: Prepared, artifact: Path) -> None:
    with np.load(artifact) as archive:
        about = json.loads(archive["about"].tobytes())
    assert about["data_sha256"] == small.dataset.data_sha256
    assert sum(about["splits"].values()) == len(small.dataset.prompts)
    assert about["recipe"]["epochs"] == SMALL.epochs
    assert set(about["aliases"]) == set(about["names"]) >= {name for _, name in small.dataset.columns}


def test_what_is_left_out_teaches_nothing(small: Prepared, tmp_path: Path) -> None:
    model = train_on(small, out=tmp_path / "q.npz", recipe=SMALL, keep=small.dataset.sources != "zeroeval")
    assert not [kind for kind in model.kinds if kind.startswith("zeroeval")]
    assert "zeroeval" not in model.threshold_sources
    assert model.ability_of("claude-3-5-haiku-20241022").placement.basis == "none"


def test_a_prediction_out_of_fold_never_saw_its_prompt(small: Prepared) -> None:
    """Shuffled outcomes can be learned by heart and not foretold."""
    rows = np.flatnonzero(small.dataset.splits == "train")
    logits = out_of_fold(small, rows, SMALL)
    assert np.isfinite(logits[rows]).all()
    assert np.isnan(np.delete(logits, rows, axis=0)).all()


def test_cross_validation_reads_no_test_prompt(small: Prepared) -> None:
    blind = small.by_model.copy()
    blind[~small.is_dev] = np.nan
    scores = small.dataset.scores.copy()
    scores[~small.is_dev] = np.nan
    dataset = type(small.dataset)(
        small.dataset.prompts, small.dataset.columns, small.dataset.column_model, scores,
        small.dataset.response_chars, small.dataset.data_sha256,
    )  # fmt: skip
    hidden = type(small)(dataset, small.bare, small.templated, small.noisy, small.models, blind)
    assert cross_validated(hidden, SMALL) == cross_validated(small, SMALL)


def test_joined_networks_give_the_mean_in_log_odds(small: Prepared) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10)).astype(np.float32)
    scores = (rng.random((200, 4)) < 0.5).astype(np.float32)
    networks = [fit_network(x, outcomes_of(scores, [(0, 1)]), SMALL, seed=seed) for seed in range(3)]
    mean = np.mean([each.logits(x) for each in networks], axis=0)
    assert joined(networks).logits(x) == pytest.approx(mean, abs=1e-4)


def test_a_network_learns_a_gain_that_is_there() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2_000, 5)).astype(np.float32)
    strong = np.ones(2_000)
    weak = (rng.random(2_000) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(float)
    network = fit_network(x, outcomes_of(np.stack([strong, weak], 1).astype(np.float32), [(0, 1)]), SMALL, seed=0)
    quality = network.quality(x)
    assert np.corrcoef(quality[:, 0] - quality[:, 1], -x[:, 0])[0, 1] > 0.8


def test_an_artifact_that_cannot_be_written_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_artifact(tmp_path / "q.npz", {}, {})
    assert not (tmp_path / "q.npz").exists()


def test_cross_fitting_asks_about_every_prompt_a_model_that_saw_no_twin_of_it(small: Prepared) -> None:
    rows = np.flatnonzero(small.is_dev)
    groups = small.dataset.groups
    asked = []
    for _, seen, held in folds_fitted(small, rows, SMALL, count=3):
        assert not set(groups[seen]) & set(groups[held])
        asked += held.tolist()
    assert sorted(asked) == rows.tolist()


def test_a_smaller_share_is_part_of_every_larger_one_and_judged_on_the_same_prompts(small: Prepared) -> None:
    rows = np.flatnonzero(small.is_dev)
    parts = [
        [(set(seen), set(held)) for _, seen, held in folds_fitted(small, rows, TINY, count=2, share=share)]
        for share in (0.4, 0.8, 1.0)
    ]
    for few, more, every in zip(*parts, strict=True):
        assert few[0] < more[0] < every[0]
        assert few[1] == more[1] == every[1]
        assert len(few[0]) == pytest.approx(0.4 * len(every[0]), rel=0.15)


def test_what_is_cross_fitted_is_there_for_the_prompts_asked_about_and_no_others(small: Prepared) -> None:
    rows = np.flatnonzero(small.dataset.splits == "train")
    held = cross_fitted(small, rows, TINY, count=2)
    others = np.delete(np.arange(len(small.dataset.prompts)), rows)
    assert ((held.support[rows] >= 0) & (held.support[rows] <= 1)).all()
    assert (np.abs(held.gaps[rows]) <= 1).all()
    assert set(held.kind_sources[rows]) <= set(small.dataset.sources)
    assert np.isnan(held.gaps[others]).all()
    assert np.isnan(held.logits[others]).all()
    assert set(held.kind_sources[others]) == {""}


def test_the_reference_gap_of_a_fit_is_that_of_the_artifact_made_of_it(small: Prepared, trained: QualityModel) -> None:
    """The complexity line is read off cross-fitted gaps, and the gateway feeds it gaps of the artifact."""
    rows = np.flatnonzero(small.dataset.splits == "train")
    fitted = fit_on(small, rows, SMALL)
    x = fitted.inputs([small.bare[row] for row in rows])
    gaps = reference_gaps(small, fitted, x, x)
    knots = trained.complexity_knots
    expected = np.interp(gaps, knots[:, 0], knots[:, 1])
    assert batch_of(trained, [small.bare[row] for row in rows]).complexity == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("is_calibration_fitted", [False, True])
def test_training_reads_no_test_prompt(small: Prepared, tmp_path: Path, *, is_calibration_fitted: bool) -> None:
    blind = small.by_model.copy()
    blind[~small.is_dev] = np.nan
    scores, chars = small.dataset.scores.copy(), small.dataset.response_chars.copy()
    scores[~small.is_dev], chars[~small.is_dev] = np.nan, np.nan
    hidden = replace(small, dataset=replace(small.dataset, scores=scores, response_chars=chars), by_model=blind)
    blinded, open_eyed = (
        train_on(each, out=tmp_path / "q.npz", recipe=TINY, is_calibration_fitted=is_calibration_fitted)
        for each in (hidden, small)
    )
    assert blinded.revision == open_eyed.revision


def test_the_calibration_split_teaches_only_where_it_is_asked_for(small: Prepared, tmp_path: Path) -> None:
    """With its outcomes turned round, the network stays as it was and what it promises does not, or both change."""
    turned = small.by_model.copy()
    is_calibration = small.dataset.splits == "calibration"
    turned[is_calibration] = 1 - turned[is_calibration]
    scores = small.dataset.scores.copy()
    scores[is_calibration] = 1 - scores[is_calibration]
    other = replace(small, dataset=replace(small.dataset, scores=scores), by_model=turned)
    for is_fitted in (False, True):
        first, second = (
            train_on(each, out=tmp_path / "q.npz", recipe=TINY, is_calibration_fitted=is_fitted)
            for each in (small, other)
        )
        assert np.array_equal(first.hidden_w, second.hidden_w) is not is_fitted
        assert not np.array_equal(first.complexity_knots, second.complexity_knots)


def test_two_names_of_the_same_prompts_are_one_kind(small: Prepared) -> None:
    dataset = small.dataset
    rows = np.arange(60)
    first, second = (replace(dataset.prompts[at], source="a", category=name) for at, name in ((0, "x"), (1, "y")))
    twin = replace(first, source="b", category="z")
    three = replace(dataset, prompts=(first,) * 20 + (second,) * 20 + (twin,) * 20, columns=(("a", "m"), ("b", "n")))
    coordinates = np.repeat([[1.0, 0.0], [0.6, 0.8], [3.0, 1e-4]], 20, axis=0)
    kinds, centers = kinds_of(three, rows, coordinates)
    assert kinds == ["a:x", "a:y"]
    assert centers == pytest.approx(np.array([[1.0, 0.0], [0.6, 0.8]]))
    more = replace(three, columns=(("a", "m"), ("b", "m"), ("b", "n")))
    assert kinds_of(more, rows, coordinates)[0] == ["a:y", "b:z"], "the source with more models names it"


def test_no_two_kinds_of_the_shipped_model_are_alike() -> None:
    """Which of two like kinds is nearer is decided by the last bit, another on each processor."""
    centers = load_quality_model().kind_centers
    likeness = centers @ centers.T - np.eye(len(centers))
    assert likeness.max() < ONE_KIND
