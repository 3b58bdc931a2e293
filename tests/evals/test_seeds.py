from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from evals.judge import OURS, verdicts_of
from evals.leftout import apart_from
from evals.seeds import Seeded, judged, left_out_of_seed, seeds_on, show_seeds
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel

TINY = replace(SMALL, members=1, structure_members=1, kind_members=1, epochs=2)


def test_a_figure_is_that_of_the_report(small: Prepared, trained: QualityModel) -> None:
    splits = small.dataset.splits
    found = judged(small, trained)
    verdicts = verdicts_of(small, trained, splits == "test", {}, known=splits == "train", rounds=1)
    ours = [each for each in verdicts if each.method == OURS]
    assert found["APGR, sources seen"] == pytest.approx(np.mean([each.values[0] for each in ours]))
    assert found["APGR, GPT-4 / Mixtral, MMLU"] == next(
        each.values[0] for each in ours if each.pair.group == "GPT-4 / Mixtral, MMLU"
    )
    assert 0 < found["AIQ gap closed, zeroeval"] < 1
    assert found["cases whose bound is within t = 0.1"] <= found["cases within t = 0.1"] <= 12


def test_seeds_differ_and_are_kept(small: Prepared, trained: QualityModel, tmp_path: Path) -> None:
    said: list[str] = []
    found = seeds_on(small, TINY, count=2, cache=tmp_path, first=trained, is_left_out=True, say=said.append)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sum(name.startswith("seed-1-") for name in kept) == 1
    assert sum(name.startswith("without-zeroeval-") for name in kept) == 2, "one for each seed"
    by_name = {each.name: each for each in found}
    apgr = by_name["APGR, sources seen"]
    assert apgr.values[0] == judged(small, trained)["APGR, sources seen"]
    assert apgr.values[0] != apgr.values[1]
    assert len(set(by_name["APGR, sources left out"].values)) == 2
    again = seeds_on(small, TINY, count=2, cache=tmp_path, first=trained, is_left_out=True)
    assert again == found
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    out = io.StringIO()
    show_seeds([Seeded("a figure", (0.25, 0.75))], Console(file=out, width=100))
    assert "0.500" in out.getvalue()
    assert "0.250, 0.750" in out.getvalue()


def test_a_left_out_source_is_judged_on_prompts_without_a_twin_elsewhere(small: Prepared, tmp_path: Path) -> None:
    dataset = small.dataset
    keep, outside = apart_from(dataset, "zeroeval")
    assert keep.any()
    assert set(dataset.sources[keep]) == {"zeroeval"}
    assert set(dataset.splits[keep]) == {"test"}
    assert "zeroeval" not in set(dataset.sources[outside])
    assert not np.isin(dataset.groups[keep], dataset.groups[outside]).any()
    found = left_out_of_seed(small, TINY, 0, cache=tmp_path, figures=None, say=print)
    assert 0 < found["APGR, sources left out"] < 1
