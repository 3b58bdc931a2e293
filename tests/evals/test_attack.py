from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals.attack import ATTACKS, attacks

if TYPE_CHECKING:
    from evals.prepare import Prepared
    from router.quality import QualityModel


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("text", [b"", b"Why is the sky blue?", bytes(range(256))])
def test_an_attack_changes_any_bytes_the_same_way_each_time(name: str, text: bytes) -> None:
    changed = ATTACKS[name](text)
    assert changed == ATTACKS[name](text)
    assert isinstance(changed, bytes)
    assert name == "the first 60 bytes alone" or changed != text or not text


def test_base64_is_what_it_says() -> None:
    assert base64.b64decode(ATTACKS["base64"](b"What is 2 + 2?")) == b"What is 2 + 2?"


def test_no_attack_flips_nothing_and_words_without_ground_route_nothing(small: Prepared, trained: QualityModel) -> None:
    found = attacks(small, trained, small.dataset.splits == "test", tolerance=0.5)
    assert set(found) == {"none", *ATTACKS}
    assert (found["none"]["to_weak"], found["none"]["to_strong"]) == (0.0, 0.0)
    assert found["base64"]["routed"] == 0
    assert found["base64"]["loss"] == 0
    for row in found.values():
        assert all(np.isfinite(value) for value in row.values())
        assert row["loss"] <= row["upper"]


def test_a_model_that_routes_all_is_told_by_its_loss(small: Prepared, trained: QualityModel) -> None:
    """What the table says of an attack that works: everything goes to the weak model, and is lost there."""
    free = replace(trained, thresholds=np.full_like(trained.thresholds, 9.0), support_floor=0.0)
    found = attacks(small, free, small.dataset.splits == "test")
    assert found["none"]["routed"] == 1
    assert found["none"]["loss"] > attacks(small, trained, small.dataset.splits == "test")["none"]["loss"]
