from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from evals import facts as telling
from evals import pipeline
from evals.__main__ import main
from evals.dataset import SOURCES
from evals.facts import facts_of, show_facts
from evals.kept import cache_folder
from evals.small import small_dataset
from evals.train import train_on
from router.quality import load_quality_model
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.dataset import Dataset
    from evals.prepare import Prepared

TINY = replace(SMALL, members=1, structure_members=1, kind_members=1, epochs=2)


def test_the_facts_add_up(small: Prepared) -> None:
    found = facts_of(small.dataset)
    rows, whole = found["sources"], found["all"]
    assert set(rows) <= set(SOURCES)
    for name in ("prompts", "outcomes", "train", "calibration", "test", "categories"):
        assert sum(row[name] for row in rows.values()) == whole[name] > 0
    assert whole["train"] + whole["calibration"] + whole["test"] == whole["prompts"]
    assert found["groups_in_several_splits"] == 0
    assert found["data_sha256"] == small.dataset.data_sha256


def test_twins_on_two_sides_are_found(
    small: Prepared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = small.dataset
    sides = {each: next(p for p, s in zip(dataset.prompts, dataset.splits, strict=True) if s == each) for each in
             ("train", "test")}  # fmt: skip

    class Torn(type(dataset)):  # type: ignore[misc]
        """One group's name stands on both sides."""

        @property
        def groups(self) -> object:
            found = dataset.groups.astype(object)
            found[found == sides["test"].group] = sides["train"].group
            return found

    torn: Dataset = Torn(*(getattr(dataset, name) for name in dataset.__slots__))
    assert facts_of(torn)["groups_in_several_splits"] == 1
    monkeypatch.setattr(telling, "load_dataset", lambda: torn)
    with pytest.raises(SystemExit) as ended:
        main(["dataset"])
    assert ended.value.code == 1
    assert "in more than one split: 1" in capsys.readouterr().out


def test_the_dataset_command_writes_what_it_prints(
    small: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "load_dataset", lambda: small.dataset)
    main(["dataset", "--out", str(tmp_path / "a" / "facts.json")])
    said = json.loads((tmp_path / "a" / "facts.json").read_text())
    text = io.StringIO()
    show_facts(said, Console(file=text, width=120))
    assert f"{said['all']['outcomes']:,}" in text.getvalue()


def test_one_command_goes_from_outcomes_to_the_report(
    small: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "show", lambda _: None)
    said: list[str] = []
    found = pipeline.everything_on(
        small, artifact=tmp_path / "quality.npz", folder=tmp_path, pictures=tmp_path, cache=tmp_path / "cache",
        recipe=TINY, rounds=3, say=said.append,
    )  # fmt: skip
    assert {"1 of 3: the data", "3 of 3: the report"} <= set(said)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["model_revision"] == found["model_revision"] == load_quality_model(tmp_path / "quality.npz").revision
    assert set(written["left_out"]["sources"]) <= set(SOURCES)
    assert json.loads((tmp_path / "dataset.json").read_text())["data_sha256"] == small.dataset.data_sha256
    assert (tmp_path / "quality-curves.svg").exists()


def test_calibrating_again_fits_no_network_and_says_what_moved(
    small: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "quality.npz", tmp_path / "cache"
    first = train_on(small, out=out, recipe=TINY, cache=cache)

    def no_more(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("evals.fitted.members_of", no_more)
    monkeypatch.setattr(
        pipeline, "train", lambda *, seed, out, is_calibration_fitted, cache: train_on(
            small, out=out, seed=seed, recipe=TINY, is_calibration_fitted=is_calibration_fitted, cache=cache
        ),
    )  # fmt: skip
    main(["calibrate", "--out", str(out), "--cache", str(cache)])
    assert load_quality_model(out).revision == first.revision
    assert "(-inf)" not in capsys.readouterr().out

    stricter = replace(first, thresholds=first.thresholds - 0.25, revision="other")
    pipeline.show_thresholds(stricter, first)
    assert f"({stricter.thresholds[-1, -1]:.3f})" in capsys.readouterr().out


def test_fits_are_kept_apart_by_data() -> None:
    one, two = (small_dataset(prompts_per_kind=20, seed=seed) for seed in (1, 2))
    assert one.data_sha256 != two.data_sha256
    assert cache_folder().name == "tollgate-evals"
