"""`python -m evals verifier`, small: chance puts hardly any in force, signs do, and bad answers fail more often."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals import verifier as module
from evals.small import small_dataset
from evals.verifier import KEYS, SHOWN, by_length, drawn, failed_shares, length_marks, looked_at, verifier
from router.answer_marks import marks_of
from router.quality import load_quality_model
from tests.builders import request_of
from tests.router.scripted import reply_of

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_measured_at_each_number_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_dataset", small_dataset)
    monkeypatch.setattr(module, "LABELLED_MIN", 50)
    monkeypatch.setattr(module, "TAUGHT", (40,))
    found = verifier(draws=8, out=tmp_path / "verifier.json")
    assert json.loads((tmp_path / "verifier.json").read_text()) == found
    assert set(found["workloads"]) == set(KEYS)
    for rows in found["workloads"].values():
        assert list(rows) == [str(count) for count in SHOWN]
        ever = [row["by_chance_ever"] for row in rows.values()]
        assert ever == sorted(ever)
        assert rows["500"]["by_chance"] <= 0.25
        assert rows["500"]["telling"] == 1.0
        assert rows["500"]["bad_failed"] > rows["500"]["good_failed"]


def test_a_look_is_of_the_labels_that_have_come() -> None:
    assert looked_at(1, 40, {"cut_off": -2.0})[500]
    assert failed_shares(1, 500, 40) is not None
    assert {each.weight for each in drawn(1, 500, {}, keys=40)} == {0.8}


def test_length_alone_is_marked_as_the_gateway_marks_it() -> None:
    text = "word " * 60
    marks = marks_of(reply_of(text), request_of(), 200)
    assert length_marks(len(text), 200.0)[:2] == pytest.approx(marks[:2], abs=1e-3)
    assert length_marks(12, 200.0)[1] == 1.6
    assert length_marks(10**9, 0.0)[0] == 3.0


def test_real_lengths_that_tell_are_worth_something_and_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCES", ("zeroeval",))
    monkeypatch.setattr(module, "LABELLED_MIN", 100)
    monkeypatch.setattr(module, "TAUGHT", (80,))
    dataset = small_dataset(prompts_per_kind=300)
    random = np.random.default_rng(0)
    scored = np.where(np.isnan(dataset.scores), np.nan, random.random(dataset.scores.shape) < 0.8).astype(np.float32)
    telling = np.where(scored >= 0.5, 4_000.0, 300.0).astype(np.float32)
    mute = (1_000 * random.random(dataset.scores.shape)).astype(np.float32)
    rows = {}
    for name, chars in (("telling", telling), ("mute", mute)):
        found = by_length(replace(dataset, scores=scored, response_chars=chars), load_quality_model(), 2)["zeroeval"]
        assert found["workloads"] >= 2
        rows[name] = found["80"]
    assert rows["telling"]["in_force"] >= 0.9
    assert rows["telling"]["auc_taught"] > rows["telling"]["auc_expected"] + 0.1
    assert rows["mute"]["in_force"] <= 0.25
    assert abs(rows["mute"]["auc_taught"] - rows["mute"]["auc_expected"]) < 0.05
