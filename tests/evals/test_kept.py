from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals import fitted as fitting
from evals.fitted import Fitted, fit_on
from evals.kept import keep, kept
from evals.train import train_on
from evals.version import networks_name
from router.quality import load_quality_model
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared

TINY = replace(SMALL, members=1, structure_members=1, kind_members=1, epochs=2)


def _no_more(*_: object, **__: object) -> None:
    raise AssertionError


def _rows(small: Prepared) -> np.ndarray:
    return np.flatnonzero(small.dataset.splits == "train")


def test_what_is_kept_is_what_was_fitted(small: Prepared, tmp_path: Path) -> None:
    made = fit_on(small, _rows(small), TINY)
    keep(tmp_path / "one.npz", made)
    read = kept(tmp_path / "one.npz", Fitted)
    assert read is not None
    features = small.bare[:20]
    assert np.array_equal(read.network.logits(read.inputs(features)), made.network.logits(made.inputs(features)))
    assert np.array_equal(read.carried.slope, made.carried.slope)
    assert np.array_equal(read.usable, made.usable)
    assert [each.name for each in tmp_path.iterdir()] == ["one.npz"]


def test_what_was_fitted_before_is_not_fitted_again(
    small: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fit_on(small, _rows(small), TINY, cache=tmp_path)
    monkeypatch.setattr(fitting, "members_of", _no_more)
    read = fit_on(small, _rows(small), TINY, cache=tmp_path)
    assert np.array_equal(read.network.hidden_w, made.network.hidden_w)
    for rows, recipe, seed in (
        (_rows(small)[1:], TINY, 0),
        (_rows(small), replace(TINY, epochs=3), 0),
        (_rows(small), TINY, 1),
    ):
        with pytest.raises(AssertionError):
            fit_on(small, rows, recipe, seed=seed, cache=tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"half"])
def test_a_damaged_fit_is_fitted_again(small: Prepared, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / f"networks-{networks_name(small.dataset, _rows(small), TINY, 0)}.npz"
    path.write_bytes(damage)
    made = fit_on(small, _rows(small), TINY, cache=tmp_path)
    read = kept(path, Fitted)
    assert read is not None
    assert np.array_equal(read.network.slope, made.network.slope)


def test_half_an_archive_and_one_of_other_fields_are_no_fit(small: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    keep(path, fit_on(small, _rows(small), TINY))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert kept(path, Fitted) is None
    np.savez(path, other=np.zeros(3))
    assert kept(path, Fitted) is None
    assert kept(tmp_path / "none.npz", Fitted) is None


def test_a_training_that_was_stopped_goes_on_to_the_same_model(
    small: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_on(small, out=tmp_path / "whole.npz", recipe=TINY)
    fit, count = fitting.members_of, [0]

    def stopped(*given: object, **named: object) -> object:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return fit(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "members_of", stopped)
    out = tmp_path / "again.npz"
    with pytest.raises(KeyboardInterrupt):
        train_on(small, out=out, recipe=TINY, cache=tmp_path / "cache")
    assert not out.exists(), "half a model must not lie where a whole one is read"
    again = train_on(small, out=out, recipe=TINY, cache=tmp_path / "cache")
    assert again.revision == whole.revision == load_quality_model(out).revision
    # Four fits make a model: the two before the stop are not made again.
    assert count[0] == 3 + 2
