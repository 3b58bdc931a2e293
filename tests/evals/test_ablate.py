from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals.ablate import SCOPES, ablate_on, folds_to_ask, show_ablation
from evals.alternatives import ALTERNATIVES, STACKS, Asked
from evals.fitted import lesson_of
from evals.trees import fit_trees
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared

TINY = replace(SMALL, members=1, structure_members=1, kind_members=1, epochs=2)
FAST = {
    name: ALTERNATIVES[name]
    for name in ("linear: a ridge a model", "neighbours over LSA", "item response, 1 dimension")
}
PAIR = {"stack": ("linear: a ridge a model", "neighbours over LSA")}


def test_trees_read_as_arrays_are_the_librarys() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    x, held = (rng.standard_normal((n, 6)).astype(np.float32) for n in (800, 200))
    y = (x[:, 0] * x[:, 1] > 0).astype(float)
    theirs = HistGradientBoostingRegressor(
        max_iter=20, learning_rate=0.05, max_leaf_nodes=12, min_samples_leaf=40, l2_regularization=5.0,
        random_state=0, max_features=0.3, early_stopping=False,
    ).fit(x, y)  # fmt: skip
    assert fit_trees(x, y, rounds=20).predict(held) == pytest.approx(theirs.predict(held), abs=1e-9)


def test_no_fold_sees_a_twin_of_what_it_is_asked_nor_the_test_split(small: Prepared) -> None:
    dataset = small.dataset
    asked = {scope: np.zeros(len(dataset.prompts), dtype=int) for scope in SCOPES}
    for fold in folds_to_ask(small):
        assert small.is_dev[fold.seen].all()
        assert small.is_dev[fold.held].all()
        assert not np.isin(dataset.groups[fold.held], dataset.groups[fold.seen]).any()
        if fold.source:
            assert (dataset.sources[fold.held] == fold.source).all()
            assert (dataset.sources[fold.seen] != fold.source).all()
        asked[SCOPES[bool(fold.source)]][fold.held] += 1
    assert (asked["seen"] == small.is_dev).all()
    assert asked["left out"].max() == 1


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_every_alternative_tells_the_made_up_difficulty(small: Prepared, name: str) -> None:
    fold = next(folds_to_ask(small))
    lesson = lesson_of(small, fold.seen, TINY)
    held = lesson.shell.inputs([small.bare[row] for row in fold.held])
    needed = np.ones(len(small.models), dtype=bool)
    logits = ALTERNATIVES[name](Asked(lesson, held, needed))
    assert logits.shape == (len(fold.held), len(small.models))
    assert np.isfinite(logits).all()
    scores = small.by_model[fold.held]
    told = [
        np.corrcoef(logits[known, at], scores[known, at])[0, 1]
        for at in range(len(small.models))
        if (known := np.isfinite(scores[:, at])).sum() > 50 and scores[known, at].std() > 0
    ]
    # The made-up kinds are alike hard, so a mixture over them has nothing to tell.
    assert np.mean(told) > (-0.1 if "kinds of task" in name else 0.05)


def test_a_run_that_was_stopped_goes_on_where_it_was(small: Prepared, tmp_path: Path) -> None:
    said: list[str] = []
    first = ablate_on(small, cache=tmp_path, recipe=TINY, alternatives=FAST, stacks=PAIR, rounds=5, say=said.append)
    fitted = [line for line in said if not line.startswith("judged")]
    assert len(fitted) == len(FAST) * sum(1 for _ in folds_to_ask(small))
    one = min(tmp_path.glob("ablate-*.npz"))
    one.unlink()
    said.clear()
    again = ablate_on(small, cache=tmp_path, recipe=TINY, alternatives=FAST, stacks=PAIR, rounds=5, say=said.append)
    assert len([line for line in said if not line.startswith("judged")]) == 1
    assert again == first
    assert set(first["alternatives"]) == {"prompt length", *FAST, *PAIR}
    show_ablation(first)


def test_stacks_are_made_of_alternatives() -> None:
    assert {part for parts in STACKS.values() for part in parts} <= set(ALTERNATIVES)
    assert len(ALTERNATIVES) + len(STACKS) >= 8
