from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from evals.placement import effort_of, load_levels, place

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
        levels, {name: (score - 60) / 20 + 0.02 * (at % 2) for at, (name, score) in enumerate(anchors.items())}
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
    placed, _ = place(levels, {name: score / 20 for name, score in anchors.items()})
    assert placed["bad"]["value"] < placed["old0"]["value"] < placed["old4"]["value"] < placed["good"]["value"]
