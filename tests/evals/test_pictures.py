from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals.pictures import curves_by_pair, draw, reliability_of

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel


def test_pictures_are_the_same_bytes_for_the_same_model(small: Prepared, trained: QualityModel, tmp_path: Path) -> None:
    keep = small.dataset.splits == "test"
    litellm = {"LiteLLM heuristic": np.arange(len(keep), dtype=float)}
    for folder in ("a", "b"):
        draw(small, trained, keep, litellm, tmp_path / folder)
    for name in ("quality-curves.svg", "quality-reliability.svg"):
        first, again = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert first == again
        assert b"<svg" in first


def test_a_curve_starts_at_nothing_and_ends_at_the_whole_gap(small: Prepared, trained: QualityModel) -> None:
    keep = small.dataset.splits == "test"
    curves = list(curves_by_pair(small, trained, keep, {}))
    assert curves
    for _, methods in curves:
        assert set(methods) == {"ours", "prompt length", "oracle"}
        for calls, recovered in methods.values():
            assert (calls[0], recovered[0]) == (0, 0)
            assert (calls[-1], recovered[-1]) == (pytest.approx(1), pytest.approx(1))


def test_reliability_is_read_in_rising_order(small: Prepared, trained: QualityModel) -> None:
    for predicted, realised in reliability_of(small, trained, small.is_dev).values():
        assert (np.diff(predicted) >= 0).all()
        assert ((realised >= 0) & (realised <= 1)).all()
