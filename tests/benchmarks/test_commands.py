"""The command line of the benchmarks: what it offers, and what it refuses before it measures anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import available, main

if TYPE_CHECKING:
    from pathlib import Path


def test_only_commands_that_are_here_are_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "overhead" in available()
    assert all(name in told for name in available())


def test_without_a_command_the_list_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "overhead" in capsys.readouterr().err


def test_a_command_explains_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["overhead", "--help"])

    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "--rounds" in told
    assert "LiteLLM" in told


def test_an_unknown_part_is_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overhead", "--only", "plain,speed"]) == 2

    told = capsys.readouterr().err
    assert "'speed'" in told
    assert "latency" in told


def test_a_missing_peer_is_told_with_its_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["overhead", "--peer-python", str(tmp_path / "python")]) == 2

    assert "--without-peer" in capsys.readouterr().err


def test_rounds_must_be_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overhead", "--rounds", "-1", "--without-peer"]) == 2

    assert "above 0" in capsys.readouterr().err
