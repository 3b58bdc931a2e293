from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.members import LENGTH, kind_means, mean_logits, members_of, moved, pull_of, pulled, sharpened
from evals.network import fit_network, joined, outcomes_of
from evals.recipe import CHOSEN
from router.features import FEATURE_NAMES

RECIPE = replace(CHOSEN, members=1, structure_members=1, kind_members=1, hidden=16, epochs=8)
MODELS = 4


def made(seed: int = 0, n: int = 600, inputs: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.clip(rng.standard_normal((n, inputs)), -4, 4).astype(np.float32)
    ability = np.linspace(-1, 2, MODELS)
    scores = (rng.random((n, MODELS)) < 1 / (1 + np.exp(-(ability + x[:, [0]])))).astype(np.float32)
    return x, scores


def test_length_is_the_logarithm_of_the_bytes() -> None:
    assert FEATURE_NAMES[LENGTH] == "log_bytes"


def test_the_pull_is_the_harder_the_weaker_the_model() -> None:
    _, scores = made()
    pull = pull_of(outcomes_of(scores, []), 0.3)
    assert (np.diff(pull) < 0).all()
    assert (pull > 0).all()
    assert (pull_of(outcomes_of(scores, []), 0.0) == 0).all()


def test_a_pulled_network_adds_length_to_its_log_odds_and_nothing_else() -> None:
    x, scores = made()
    outcomes = outcomes_of(scores, [])
    network, pull = fit_network(x, outcomes, RECIPE, seed=0), pull_of(outcomes, 0.3)
    expected = network.logits(x) - x[:, [2]] * pull
    assert pulled(network, pull, 2).logits(x) == pytest.approx(expected, abs=1e-4)


def test_where_length_says_nothing_the_fit_unlearns_the_pull() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4_000, 3)).astype(np.float32)
    scores = (rng.random((4_000, 2)) < np.array([0.8, 0.4])).astype(np.float32)
    outcomes = outcomes_of(scores, [(0, 1)])
    pull = pull_of(outcomes, 1.0)
    recipe = replace(RECIPE, epochs=40, dropout=0.0, input_dropout=0.0, decay=0.0)
    learned = pulled(fit_network(x, outcomes, recipe, seed=0, fixed=-x[:, [0]] * pull), pull, 0).quality(x)
    ends = [learned[x[:, 0] > 1].mean(0), learned[x[:, 0] < -1].mean(0)]
    assert np.abs(ends[0] - ends[1]).max() < 0.1


def test_members_join_with_their_weights() -> None:
    x, scores = made()
    outcomes = outcomes_of(scores, [])
    networks = [fit_network(x, outcomes, replace(RECIPE, skills=skills), seed=0) for skills in (2, 5)]
    expected = (networks[0].logits(x) + 3 * networks[1].logits(x)) / 4
    assert joined(networks, (1.0, 3.0)).logits(x) == pytest.approx(expected, abs=1e-4)


def test_a_kinds_mean_stands_between_what_it_saw_and_what_the_model_does_elsewhere() -> None:
    scores = np.full((400, 2), np.nan, dtype=np.float32)
    scores[:200, 0] = 1.0
    scores[200:, 0] = 0.0
    scores[0, 1] = 0.0
    scores[300:, 1] = 1.0
    means = kind_means(outcomes_of(scores, []), np.repeat(["a", "b"], 200))
    assert (means[:200, 0] > 2).all()
    assert (means[200:, 0] < -2).all()
    # One outcome of a kind is no verdict on it.
    assert means[0, 1] > 0
    assert np.isfinite(means).all()


def test_all_members_are_in_the_model_and_the_same_for_a_seed() -> None:
    x, scores = made(inputs=len(FEATURE_NAMES) + 3)
    kinds = np.where(x[:, 1] > 0, "a", "b")
    outcomes = outcomes_of(scores, [(MODELS - 1, 0)])
    (first, carried), (again, _) = (members_of(x, outcomes, kinds, RECIPE, dims=3) for _ in range(2))
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in first.__slots__)
    assert first.hidden_w.shape == (x.shape[1], 3 * RECIPE.hidden + 1)
    assert first.skill_w.shape == (3 * RECIPE.hidden + 1, 3 * RECIPE.skills + 1)
    assert np.array_equal(first.hidden_w, carried.hidden_w)
    assert np.array_equal(first.skill_w, carried.skill_w)
    own, words = slice(RECIPE.skills, 2 * RECIPE.skills + 1), slice(RECIPE.skills)
    assert (np.abs(carried.slope[:, own]) > np.abs(first.slope[:, own])).all()
    assert (np.abs(carried.slope[:, words]) < np.abs(first.slope[:, words])).all()
    other = members_of(x, outcomes, kinds, RECIPE, dims=3, seed=1)[0]
    assert not np.array_equal(first.hidden_w, other.hidden_w)


def test_moved_log_odds_move_by_the_mean() -> None:
    x, scores = made()
    outcomes = outcomes_of(scores, [])
    network = fit_network(x, outcomes, RECIPE, seed=0)
    by = mean_logits(outcomes)
    assert moved(network, by).logits(x) == pytest.approx(network.logits(x) + by, abs=1e-5)


def test_sharpened_log_odds_keep_their_mean_and_widen() -> None:
    x, scores = made()
    network = fit_network(x, outcomes_of(scores, []), RECIPE, seed=0)
    before, after = network.logits(x), sharpened(network, x, 1.3).logits(x)
    assert after.mean(0) == pytest.approx(before.mean(0), abs=1e-4)
    assert after.std(0) == pytest.approx(1.3 * before.std(0), rel=1e-3)
