from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router import __version__
from router.cli import EXIT_CONFIGURATION, EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, app, main
from tests.docs.facts import commands

REPO = Path(__file__).resolve().parents[3]
BROKEN = "version: 1\nname: x\nmodels: 7\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "TOLLGATE_LEDGER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text(BROKEN)
    return tmp_path


def exit_of(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tollgate", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("command", list(commands()))
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_fits_a_terminal_and_names_everything(command: str, flag: str) -> None:
    done = CliRunner().invoke(app, [*command.split()[1:], flag], env={"COLUMNS": "80"})
    assert done.exit_code == EXIT_OK
    lines = done.output.splitlines()
    assert lines[0].startswith(f"Usage: {command} [OPTIONS]") or lines[0].startswith(f"Usage: root {command[9:]}")
    assert max(map(len, lines)) <= 80
    assert all(name.split()[0] in done.output for name in commands()[command])


@pytest.mark.parametrize("words", [[], ["keys"], ["ledger"]])
def test_a_group_alone_lists_its_commands(words: list[str]) -> None:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    names = [command.split()[1 + len(words)] for command in commands() if command.split()[1 : 1 + len(words)] == words]
    listed = done.output.split("Commands:")[1]
    assert all(f"\n  {name} " in listed for name in names)
    assert "..." not in listed


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk that anybody may write to is Linux's own")
@pytest.mark.parametrize("words", [["schema"], ["check", "default"], ["explain", "Hi", "--json"]])
def test_output_that_has_no_room_is_one_line_and_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "router.cli", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == EXIT_CONFIGURATION
    assert done.stderr == "the output: cannot be written: No space left on device\n"


def test_help_needs_neither_numpy_nor_a_policy() -> None:
    code = "import sys\nfrom router.cli import app\napp(['--help'], standalone_mode=False)\n"
    code += "sys.exit(any(name in sys.modules for name in ('numpy', 'litellm', 'fastapi', 'ruamel.yaml')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(monkeypatch, "--version") == EXIT_OK
    assert capsys.readouterr().out == f"tollgate {__version__}\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["schema"], EXIT_OK),
        (["check", "strict"], EXIT_OK),
        (["check", "broken.yaml"], EXIT_FINDINGS),
        (["check", "gone.yaml"], EXIT_CONFIGURATION),
        (["check", "--colour"], EXIT_USAGE),
        (["explain", "hi", "--policy", "broken.yaml"], EXIT_CONFIGURATION),
        (["explain", "hi", "--tier", "gold"], EXIT_USAGE),
        (["score", "gone.jsonl"], EXIT_CONFIGURATION),
        (["score"], EXIT_USAGE),
        (["report", "--policy", "broken.yaml"], EXIT_CONFIGURATION),
        (["keys", "create", "--policy", "broken.yaml"], EXIT_CONFIGURATION),
        (["keys", "create", "--home", "broken.yaml"], EXIT_CONFIGURATION),
        (["keys", "list"], EXIT_OK),
        (["keys", "revoke", "nobody"], EXIT_USAGE),
        (["keys", "steal"], EXIT_USAGE),
        (["ledger", "verify"], EXIT_CONFIGURATION),
        (["ledger", "export"], EXIT_USAGE),
        (["ledger", "export", "--out", "x", "--format", "xml"], EXIT_USAGE),
        (["ledger", "migrate", "--url", "mysql://x"], EXIT_CONFIGURATION),
        (["ledger", "close"], EXIT_CONFIGURATION),
        (["simulate", "--speed", "-1"], EXIT_USAGE),
        (["serve", "--port", "80000"], EXIT_USAGE),
        (["serve", "--policy", "broken.yaml"], EXIT_CONFIGURATION),
        (["dance"], EXIT_USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_every_command_says_by_its_code_how_it_went(
    words: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(monkeypatch, *words) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if code in (EXIT_USAGE, EXIT_CONFIGURATION):
        assert said.out == ""
        assert said.err


@pytest.mark.parametrize(
    ("name", "value"), [("TOLLGATE_PORT", "http"), ("TOLLGATE_LOG_LEVEL", "chatty"), ("REDIS_URL", "http://x")]
)
@pytest.mark.parametrize("words", [["check"], ["explain", "hi"], ["keys", "list"], ["report"], ["ledger", "verify"]])
def test_every_command_refuses_a_setting_that_cannot_be_meant(
    words: list[str], name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert exit_of(monkeypatch, *words) == EXIT_CONFIGURATION
    assert capsys.readouterr().err.startswith(f"{name}: ")


def test_json_is_json_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["check"], ["check", "broken.yaml"], ["schema"], ["explain", "hi"], ["keys", "list"]):
        exit_of(monkeypatch, *words, "--json")
        json.loads(capsys.readouterr().out)
