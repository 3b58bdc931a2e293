from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from evals.newcomer import Fit, fit_without, judged_columns, most_likely_ability, newcomer_on, prior_of, show_newcomer
from tests.evals.conftest import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from evals.prepare import Prepared


def lines(n: int, *, prior: tuple[float, float] = (0.0, 0.3)) -> Fit:
    """Prompts of one skill, and a model whose log-odds are its ability plus that skill."""
    skills = np.random.default_rng(0).normal(size=(n, 1))
    return Fit(skills, np.zeros((n, 1)), np.array([[1.0], [0.0]]), np.array([0.0, 1.0, 0.0]), prior, "own", 0.0)


def answers(fit: Fit, ability: float, rows: np.ndarray, seed: int = 1) -> np.ndarray:
    chance = 1 / (1 + np.exp(-fit.logits(ability, rows)))
    return (np.random.default_rng(seed).random(len(rows)) < chance).astype(float)


def test_without_labels_the_prior_stands() -> None:
    assert most_likely_ability(lines(10, prior=(0.7, 0.2)), np.arange(0), np.zeros(0)) == pytest.approx(0.7)


def test_one_graded_answer_moves_the_ability_by_no_more_than_the_prior_allows() -> None:
    fit = lines(10)
    moved = most_likely_ability(fit, np.arange(1), np.zeros(1))
    assert -(0.3**2) < moved < 0


def test_many_graded_answers_find_the_ability_however_wrong_the_prior() -> None:
    fit = lines(4_000)
    rows = np.arange(4_000)
    assert most_likely_ability(fit, rows, answers(fit, 1.2, rows)) == pytest.approx(1.2, abs=0.1)


def test_the_maximum_is_one_even_where_every_answer_is_right() -> None:
    fit = lines(200)
    found = most_likely_ability(fit, np.arange(200), np.ones(200))
    odds = fit.logits(found, np.arange(200))
    assert float((1 - 1 / (1 + np.exp(-odds))).sum()) == pytest.approx(found / 0.3**2, rel=1e-3), "the slope is 0 there"


def test_without_figures_the_average_model_is_the_prior() -> None:
    prior, basis = prior_of("x", {"a": 0.0, "b": 2.0}, [], None)
    assert prior == (1.0, 1.0)
    assert basis == "the average model"


def test_the_fit_does_not_see_the_newcomer(small: Prepared, tmp_path: Path) -> None:
    at = small.models.index("gemini15flash")
    turned = small.by_model.copy()
    turned[:, at] = 1 - turned[:, at]
    plain = fit_without(small, "gemini15flash", SMALL, cache=tmp_path / "a")
    other = fit_without(replace(small, by_model=turned), "gemini15flash", SMALL, cache=tmp_path / "b")
    assert np.array_equal(plain.skills, other.skills)
    everyone = fit_without(replace(small, by_model=turned), None, SMALL, cache=tmp_path / "b")
    assert not np.array_equal(plain.skills, everyone.skills)


def test_graded_answers_close_the_gap_on_known_kinds(small: Prepared, tmp_path: Path) -> None:
    said: list[str] = []
    found = newcomer_on(
        small, SMALL, cache=tmp_path, newcomers=("gemini-1.5-flash", "claude-3-5-haiku", "nobody-9"), draws=4,
        say=said.append,
    )  # fmt: skip
    assert set(found["models"]) == {"gemini-1.5-flash", "claude-3-5-haiku"}
    mean = found["mean"]
    assert mean["200"]["loss_error"] < mean["0"]["loss_error"]
    assert mean["0"]["gap_closed"] < mean["200"]["gap_closed"]
    assert mean["200"]["loss_error"] < 0.1
    assert json.loads(json.dumps(found)) == found
    console = Console(width=200, file=io.StringIO())
    show_newcomer(found, console)
    assert "gemini-1.5-flash" in console.file.getvalue()
    said.clear()
    again = newcomer_on(small, SMALL, cache=tmp_path, newcomers=("gemini-1.5-flash",), draws=4, say=said.append)
    assert again["models"]["gemini-1.5-flash"] == found["models"]["gemini-1.5-flash"]
    assert not any("fitted" in line for line in said), "the cache holds every fit"


def test_a_newcomer_is_judged_where_a_premium_model_answered_too(small: Prepared) -> None:
    assert [source for source, _, _ in judged_columns(small, "gemini15flash")] == ["zeroeval"]
    assert {source for source, _, _ in judged_columns(small, "llama3170b")} == {"zeroeval", "mmlu_pro"}
    assert judged_columns(small, "mixtral8x7b") == []
