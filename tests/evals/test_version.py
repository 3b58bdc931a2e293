from __future__ import annotations

import importlib
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import evals
from evals import version
from evals.recipe import CHOSEN, Recipe
from evals.version import FITTING, code_sha256, fit_name

if TYPE_CHECKING:
    from evals.prepare import Prepared


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_every_part_of_the_recipe_names_another_fit(small: Prepared, field: str) -> None:
    other = replace(CHOSEN, **{field: not getattr(CHOSEN, field)})
    assert fit_name(small.dataset, CHOSEN, "a") != fit_name(small.dataset, other, "a")
    assert fit_name(small.dataset, CHOSEN, "a") == fit_name(small.dataset, CHOSEN, "a")
    assert fit_name(small.dataset, CHOSEN, "a") != fit_name(small.dataset, CHOSEN, "b")


def test_another_line_of_the_code_that_fits_names_another_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_sha256()
    for name in ("network", "report"):
        (tmp_path / f"{name}.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(version, "_HERE", tmp_path)
    code_sha256.cache_clear()
    other = code_sha256()
    (tmp_path / "network.py").write_text("x = 2\n", encoding="utf-8")
    code_sha256.cache_clear()
    changed = code_sha256()
    (tmp_path / "report.py").write_text("x = 2\n", encoding="utf-8")
    code_sha256.cache_clear()
    assert code_sha256() == changed
    code_sha256.cache_clear()
    assert len({before, other, changed}) == 3


def test_every_module_that_a_fit_runs_through_is_there_and_counts() -> None:
    for name in FITTING:
        importlib.import_module(f"evals.{name}")
    used = set()
    for name in FITTING:
        text = Path(str(evals.__file__)).with_name(f"{name}.py").read_text(encoding="utf-8")
        used |= {line.split()[1].removeprefix("evals.") for line in text.splitlines() if line.startswith("from evals.")}
    assert used <= FITTING
