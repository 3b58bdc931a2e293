from __future__ import annotations

import importlib.util
import json
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.config.prices import load_catalog

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
OPUS = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 4e-06,
    "output_cost_per_token": 2e-05,
    "max_output_tokens": 128_000,
    "supports_vision": True,
}


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_prices", ROOT / "scripts" / "refresh_prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["refresh_prices"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def written(path: Path, entries: dict[str, object]) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def lines_of(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if not line.startswith("shipped policy")]


def test_each_kind_of_difference_is_a_row(
    refresh: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = written(tmp_path / "pinned.json", {"opus": OPUS, "gone": OPUS, "same": OPUS})
    dearer = OPUS | {"input_cost_per_token": 5e-06, "input_cost_per_token_above_200k_tokens": 1e-05}
    dearer |= {"supports_vision": False, "deprecation_date": "2027-01-01"}
    newer = written(tmp_path / "newer.json", {"opus": dearer, "same": OPUS, "new": {"mode": "embedding"}})
    assert refresh.main(["--source", str(newer), "--snapshot", str(pinned)]) == 0
    rows = lines_of(capsys.readouterr().out)
    assert rows[0] == ["model", "what", "old", "new"]
    assert ["gone", "removed", "chat,", "4", "in,", "20", "out"] in rows
    assert ["new", "added", "embedding,", "no", "price", "per", "token"] in rows
    assert ["opus", "input", "4", "5"] in rows
    assert ["opus", "input", "above", "200000", "-", "10"] in rows
    assert ["opus", "can", "vision", "yes", "-"] in rows
    assert ["opus", "deprecation_date", "-", "2027-01-01"] in rows
    assert not [row for row in rows if row[0] == "same"]
    assert rows[-1][3:] == ["1", "added,", "1", "removed,", "1", "changed"]
    assert pinned.read_bytes() == newer.read_bytes()


def test_check_writes_nothing_and_tells_by_its_exit_code(refresh: ModuleType, tmp_path: Path) -> None:
    pinned = written(tmp_path / "pinned.json", {"opus": OPUS})
    before = pinned.read_bytes()
    newer = written(tmp_path / "newer.json", {})
    assert refresh.main(["--check", "--source", str(newer), "--snapshot", str(pinned)]) == 1
    assert refresh.main(["--check", "--source", str(pinned), "--snapshot", str(pinned)]) == 0
    assert pinned.read_bytes() == before


def test_a_first_snapshot_is_all_added(refresh: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "map.json", {"opus": OPUS})
    assert refresh.main(["--source", str(source), "--snapshot", str(tmp_path / "pinned.json")]) == 0
    assert ["opus", "added", "chat,", "4", "in,", "20", "out"] in lines_of(capsys.readouterr().out)


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_a_map_that_cannot_be_read_changes_nothing(
    refresh: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    pinned = written(tmp_path / "pinned.json", {"opus": OPUS})
    before, source = pinned.read_bytes(), tmp_path / "map.json"
    if content is not None:
        source.write_text(content, encoding="utf-8")
    assert refresh.main(["--source", str(source), "--snapshot", str(pinned)]) == 3
    assert "refresh_prices:" in capsys.readouterr().err
    assert pinned.read_bytes() == before


def test_the_pinned_map_is_the_locked_litellms_own(refresh: ModuleType) -> None:
    assert refresh.SNAPSHOT.read_bytes() == refresh.installed_map().read_bytes()


def test_the_prices_of_a_dozen_models_are_as_written_down(refresh: ModuleType) -> None:
    golden = (ROOT / "tests" / "golden" / "prices.txt").read_text(encoding="utf-8")
    assert "missing:" not in golden
    assert refresh.golden_of(load_catalog()) == golden


def test_the_lint_names_models_that_the_map_does_not_know(refresh: ModuleType) -> None:
    lines = refresh.routable_findings(
        load_catalog(),
        ["anthropic/claude-opus-5-5", "anthropic/no-such", "gemini/gemini-exp-1206"],
        date(2026, 11, 24),
    )
    assert lines[0] == "anthropic/no-such: not in the catalogue, so it needs a price of its own"
    assert {line.split(": ")[0] for line in lines[1:]} == {"gemini/gemini-exp-1206"}
    assert any(": price_zero: " in line for line in lines)


def test_the_shipped_policies_models_are_found(refresh: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "models:\n  x:\n    provider_model: anthropic/x   # a remark\n  y:\n    provider_model: 'gemini/y'\n"
    )
    assert refresh.shipped_models(tmp_path) == ["anthropic/x", "gemini/y"]
    assert "anthropic/claude-opus-5-5" in refresh.shipped_models(ROOT / "policies")
