from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.cli.check import check_policy
from router.errors import ConfigError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "policies"
CASES = sorted(GOLDEN.glob("*.yaml"))
PINNED_ON = date(2026, 11, 25)
SECRETS = ("not-to-be-repeated", "NotToBeRepeated", "NOTTOBEREPEATED", "hunter2", "deadbeef")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def laid_out(case: Path, folder: Path) -> str:
    """The case's files in the folder; its keys file is the owner's alone, but where that is the mistake."""
    shutil.copyfile(case, folder / case.name)
    keys = case.with_suffix(".keys")
    if keys.exists():
        shutil.copyfile(keys, folder / keys.name)
        (folder / keys.name).chmod(0o644 if case.stem == "keys-readable-by-others" else 0o600)
    return case.name


def test_there_are_golden_mistakes_of_every_kind() -> None:
    assert len(CASES) >= 80
    assert {each.stem for each in CASES} == {each.stem for each in GOLDEN.glob("*.txt")}
    assert {each.stem for each in GOLDEN.glob("*.keys")} <= {each.stem for each in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_mistake_is_named_by_its_place(case: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = case.with_suffix(".txt").read_text()
    is_wrong = any("(warning)" not in line for line in golden.splitlines() if line.startswith(f"{case.stem}."))
    assert check_policy(laid_out(case, folder), as_json=False, today=PINNED_ON) == (1 if is_wrong else 0)
    said = capsys.readouterr().out
    assert said == golden
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_json_says_the_same(case: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_policy(laid_out(case, folder), as_json=True, is_strict=True, today=PINNED_ON) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    golden = case.with_suffix(".txt").read_text().splitlines()
    for number, each in enumerate(said["findings"]):
        mark = " (warning)" if each["severity"] == "warning" else ""
        assert f"{each['text']}{mark}" in golden, number
        assert each["text"].startswith(f"{each['file']}:{each['line']}: ")
        assert 1 <= each["line"] <= 20
    assert len(said["findings"]) == sum(f"{case.stem}." in line for line in golden)


def test_findings_stand_in_the_order_of_the_file() -> None:
    lines = [
        [
            int(line.split(":")[1])
            for line in case.with_suffix(".txt").read_text().splitlines()
            if f"{case.stem}." in line
        ]
        for case in CASES
    ]
    assert all(each == sorted(each) for each in lines)
    assert max(len(each) for each in lines) >= 10


@pytest.mark.parametrize("name", ["default", "strict", "local"])
def test_shipped_policies_are_sound(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_policy(name, as_json=False, today=PINNED_ON) == 0
    assert capsys.readouterr().out.startswith(f"policy {name}: sound\n")
    assert check_policy(name, as_json=True, today=PINNED_ON) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["findings"], said["name"]) == (True, [], name)
    assert len(said["revision"]) == 64
    assert said["models"][0]["input_usd_per_mtok"] == "4"


def test_a_file_that_cannot_be_read_is_no_finding(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        check_policy("gone.yaml", as_json=False)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        check_policy(str(folder), as_json=False)
    with pytest.raises(ConfigError, match="none of the policies that Tollgate ships: default, local, strict"):
        check_policy("strickt", as_json=False)


def test_the_command_exits_with_its_findings(folder: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["check", "default"]).exit_code == 0
    case = laid_out(GOLDEN / "premium-unknown.yaml", folder)
    done = runner.invoke(app, ["check", case])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_without_an_argument_the_policy_of_the_settings_is_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOLLGATE_POLICY", laid_out(GOLDEN / "version-2.yaml", folder))
    assert check_policy(None, as_json=False) == 1
    assert capsys.readouterr().out == "version-2.yaml:1: version: this Tollgate reads version 1\n"
