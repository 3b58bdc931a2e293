from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

import evals.__main__ as command
from evals.curves import area
from evals.dataset import load_dataset, shared_data_path
from evals.perturb import PERTURBATIONS, perturbed
from evals.prepare import prepare
from evals.report import report_on
from evals.small import small_dataset
from evals.tables import show
from evals.train import splits_sha256
from router.features import PromptView
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared
    from router.quality import QualityModel


@pytest.fixture(scope="module")
def found(small: Prepared, trained: QualityModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    patched = pytest.MonkeyPatch()
    patched.setattr("evals.report.CHOSEN", SMALL)
    with patched.context():
        return report_on(small, trained, is_left_out=True, rounds=10, cache=tmp_path_factory.mktemp("cache"))


def test_every_method_stands_beside_ours_on_every_pair(found: dict) -> None:
    scopes = found["pairs"]
    assert sum(scope.startswith("pair: ") for scope in scopes) == 10
    assert {"source: zeroeval", "source: routellm", "all pairs"} <= set(scopes)
    for rows in scopes.values():
        assert {"random", "prompt length", "category prior", "LiteLLM heuristic", "ours", "oracle"} <= set(
            rows["methods"]
        )
        oracle = rows["methods"]["oracle"]["apgr"]["value"]
        assert all(row["apgr"]["value"] <= oracle + 1e-9 for row in rows["methods"].values())


def test_the_curve_lies_between_the_zero_router_and_the_oracle(found: dict) -> None:
    for row in found["aiq"].values():
        assert row["zero_router"]["value"] <= row["ours"]["value"] <= row["oracle"]["value"]
        assert row["gap_closed"]["low"] <= row["gap_closed"]["high"]


def test_a_laxer_tolerance_saves_no_less(found: dict) -> None:
    for rows in found["tolerance"].values():
        saved = [row["saved"] for row in rows]
        assert saved == sorted(saved)
        assert all(row["loss"] <= row["upper"] for row in rows)
        assert all(row["kept"] for row in rows if row["premium_share"] == 1)


def test_a_left_out_source_is_judged_by_a_model_without_it(found: dict, trained: QualityModel) -> None:
    sources = found["left_out"]["sources"]
    assert set(sources) == {"zeroeval", "mmlu_pro", "routellm", "arena_hard_v01"}
    assert trained.revision not in {row["model_revision"] for row in sources.values()}


def test_the_report_is_json_and_prints(found: dict, small: Prepared) -> None:
    assert found["splits_sha256"] == splits_sha256(small.dataset)
    assert json.loads(json.dumps(found))["model_revision"] == found["model_revision"]
    console = Console(width=200, file=io.StringIO())
    show(found, console)
    text = console.file.getvalue()
    for part in ("APGR, test split", "AIQ", "tolerance on the test split", "ECE", "left out", "microseconds"):
        assert part in text


def test_the_area_under_a_hull_is_read_off_it() -> None:
    assert area(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0, 1) == pytest.approx(0.5)
    assert area(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.2]), 0, 1) == pytest.approx(0.5), "below the hull"
    assert area(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.9]), 0, 1) > 0.6
    assert area(np.array([0.0, 1.0]), np.array([0.8, 0.1]), 0, 1) == pytest.approx(0.8), (
        "dearer and worse is not bought"
    )


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("text", [b"", b"x", b"Why is the sky blue? Say it\nin two lines.", bytes(range(256))])
def test_a_perturbation_changes_the_question_alone_and_the_same_way_each_time(name: str, text: bytes) -> None:
    view = PromptView(question=text, system=b"s", n_turns=2)
    first, again = (perturbed(view, name, seed=1) for _ in range(2))
    assert first == again
    assert (first.system, first.n_turns) == (b"s", 2)
    letters = sorted(first.question.lower())
    if name in ("typos", "lower case", "upper case"):
        assert letters == sorted(text.lower())


def test_typos_are_few_and_there(small: Prepared) -> None:
    text = b"the quick brown fox jumps over the lazy dog " * 100
    changed = perturbed(PromptView(question=text), "typos", seed=1).question
    wrong = sum(a != b for a, b in zip(text.split(), changed.split(), strict=True)) / 900
    assert 0.01 < wrong < 0.06


def test_without_the_shared_data_the_command_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLGATE_SHARED_DATA", str(tmp_path / "away"))
    with pytest.raises(FileNotFoundError, match="set TOLLGATE_SHARED_DATA"):
        command.main(["train", "--out", str(tmp_path / "q.npz")])


@pytest.mark.shared
def test_real_outcomes_keep_twins_on_one_side(capsys: pytest.CaptureFixture[str]) -> None:
    if (shared_data_path() / "routing").is_dir():
        dataset = load_dataset()
        assert len(dataset.prompts) > 20_000
    else:
        dataset = small_dataset()
        print("no shared data here: fell back to the project's own small data")
    splits: dict[str, set[str]] = {}
    for group, split in zip(dataset.groups, dataset.splits, strict=True):
        splits.setdefault(group, set()).add(split)
    assert all(len(each) == 1 for each in splits.values())
    names = {name for _, name in dataset.columns}
    assert {"claude-3-5-sonnet-20241022", "Meta-Llama-3.1-8B-Instruct", "gpt-4-1106-preview"} <= names
    assert prepare(dataset.only(dataset.splits == "test")).by_model.shape[0] == int((dataset.splits == "test").sum())
