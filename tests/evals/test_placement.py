from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from evals.placement import BETWEEN_UNKNOWN, Cell, between_sources, cells_of, effort_of, load_levels, place

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "model,litellm_name,vendor,benchmark,kind,score,unit,settings,harness,source,source_date,trust\n"


def figures(folder: Path, rows: list[tuple[str, str, float, str]]) -> Path:
    (folder / "models").mkdir()
    lines = [
        f"{model},,v,{bench},k,{score},percent,{settings},Bench,s,2026-01-08,independent"
        for model, bench, score, settings in rows
    ]
    (folder / "models" / "benchmarks.csv").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("settings", "effort"),
    [
        ("", 0), ("base", 0), ("minimal", 0), ("low-effort", 0), ("(no reasoning)", 0), ("medium-effort", 1),
        ("high", 2), ("xhigh-effort", 2), ("thinking-64k", 2), ("(high reasoning)", 2), ("highthinking", 2),
    ],
)  # fmt: skip
def test_effort_is_read_off_the_settings(settings: str, effort: int) -> None:
    assert effort_of(settings) == effort


def test_effort_is_not_taken_for_ability(tmp_path: Path) -> None:
    """Both models gain twenty points by thinking; only one was measured without."""
    rows = [
        ("alpha", "a", 50.0, ""), ("alpha", "a", 70.0, "high"), ("alpha", "b", 40.0, ""), ("alpha", "b", 60.0, "high"),
        ("beta", "a", 70.0, "high"), ("beta", "b", 60.0, "high"),
    ]  # fmt: skip
    levels, names = load_levels(figures(tmp_path, rows * 20))
    assert levels["beta"].value == pytest.approx(levels["alpha"].value, abs=0.5)
    assert levels["alpha"].is_plain
    assert not levels["beta"].is_plain
    assert levels["alpha"].sources == ("Bench (2026-01-08)",)
    assert names == {"alpha": "alpha", "beta": "beta"}


def test_a_predecessors_place_is_wider_and_named(tmp_path: Path) -> None:
    anchors = {f"old{number}": 40.0 + 8 * number for number in range(5)}
    rows = [(name, bench, score, "") for name, score in anchors.items() for bench in ("a", "b")]
    rows += [
        ("claude-opus-4-7", "a", 80.0, ""),
        ("claude-opus-4-8", "a", 84.0, ""),
        ("claude-sonnet-5", "a", 80.0, "high"),
    ]
    levels, _ = load_levels(figures(tmp_path, rows))
    placed, report = place(
        levels, {name: (score - 60) / 20 + 0.02 * (at % 2) for at, (name, score) in enumerate(anchors.items())}, []
    )
    old, new = placed["claudeopus48"], placed["claudeopus55"]
    assert new["value"] == old["value"]
    assert new["standard_error"] > old["standard_error"]
    assert new["basis"] == "predecessor"
    assert new["sources"][0] == "predecessor claude-opus-4-8"
    assert placed["claudesonnet5"]["standard_error"] > old["standard_error"], "no figure at plain effort"
    assert placed["old3"]["basis"] == "outcomes"
    assert placed["old3"]["value"] > placed["old0"]["value"]
    assert "anchors with figures and outcomes: 5" in report[0]


def test_better_figures_mean_a_higher_place(tmp_path: Path) -> None:
    anchors = {f"old{number}": 40.0 + 8 * number for number in range(5)}
    rows = [(name, "a", score, "") for name, score in anchors.items()] + [
        ("good", "a", 90.0, ""),
        ("bad", "a", 30.0, ""),
    ]
    levels, _ = load_levels(figures(tmp_path, rows))
    placed, _ = place(levels, {name: score / 20 for name, score in anchors.items()}, [])
    assert placed["bad"]["value"] < placed["old0"]["value"] < placed["old4"]["value"] < placed["good"]["value"]


def test_a_place_through_few_models_is_as_wide_as_students_prediction_interval(tmp_path: Path) -> None:
    """Against the textbook's formula: t(n - 2) s sqrt(1 + 1/n + (x - mean)^2 / Sxx), 1.96 standard errors wide."""
    anchors = {f"old{number}": 40.0 + 8 * number for number in range(5)}
    rows = [(name, "a", score, "") for name, score in anchors.items()] + [
        ("new", "a", 95.0, ""),
        ("mid", "a", 57.0, ""),
    ]
    levels, _ = load_levels(figures(tmp_path, rows))
    off = dict(zip(anchors, (0.1, -0.2, 0.05, 0.15, -0.1), strict=True))
    placed, _ = place(levels, {name: score / 20 + off[name] for name, score in anchors.items()}, [])
    x = np.array([levels[name].value for name in anchors])
    y = np.array([score / 20 + off[name] for name, score in anchors.items()])
    slope, start = np.polyfit(x, y, 1)
    s = float(np.sqrt(((y - start - slope * x) ** 2).sum() / 3))
    for name in ("new", "mid"):
        away = (levels[name].value - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
        half = 3.182446 * s * float(np.sqrt(1 + 1 / 5 + away))
        assert placed[name]["standard_error"] * 1.96 == pytest.approx(half, rel=1e-6)
    assert placed["new"]["standard_error"] > placed["mid"]["standard_error"]


def cells(between: float, *, models: int = 12, sources: int = 5, seed: int = 3) -> list[Cell]:
    rng = np.random.default_rng(seed)
    return [
        Cell(f"m{model}", f"s{source}", float(0.3 * model - 0.5 * source + between * rng.standard_normal()), 0.0)
        for model in range(models)
        for source in range(sources)
    ]


def test_how_far_models_move_between_sources_is_what_level_and_source_do_not_say() -> None:
    assert between_sources(cells(0.0))[0] == pytest.approx(0.0, abs=1e-9)
    found, freedom = between_sources(cells(0.4, models=60))
    assert found == pytest.approx(0.4, rel=0.1)
    assert freedom == 59 * 4
    noisy = [Cell(each.model, each.source, each.log_odds, 0.16) for each in cells(0.4, models=60)]
    assert between_sources(noisy)[0] < 0.15, "sampling alone makes as much"


def test_where_no_model_stands_in_several_sources_a_wide_guess_holds() -> None:
    alone = [Cell(f"m{number}", f"s{number % 2}", 0.1 * number, 0.01) for number in range(8)]
    assert between_sources(alone) == (BETWEEN_UNKNOWN, 0)
    assert between_sources([])[0] == BETWEEN_UNKNOWN


def test_outcomes_of_more_sources_place_a_model_more_firmly() -> None:
    known = cells(0.4)
    one = [each for each in known if each.model != "m0" or each.source == "s0"]
    firm, alone = (place({}, {"m0": 0.5}, each)[0]["m0"] for each in (known, one))
    assert alone["standard_error"] > 1.8 * firm["standard_error"]
    assert alone["sources"] == ["s0"]
    assert firm["sources"] == [f"s{number}" for number in range(5)]


def test_a_cell_needs_enough_outcomes() -> None:
    scores = np.full((80, 2), np.nan)
    scores[:40, 0], scores[:29, 1], scores[40:, 1] = 1.0, 0.0, 0.5
    sources = np.repeat(["a", "b"], 40)
    found = cells_of(scores, ["x", "y"], sources)
    assert [(each.model, each.source) for each in found] == [("x", "a"), ("y", "b")]
    assert found[0].log_odds == pytest.approx(np.log(41))
    assert found[1].log_odds == pytest.approx(0.0)
    assert found[1].variance == pytest.approx(0.1)
