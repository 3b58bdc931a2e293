from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from router.cli.ledger import app
from router.errors import ConfigError
from router.stores import open_ledger
from tests.lines import LEASE_MS, START_MS, StillClock, intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

FAR_MS = 32_503_680_000_000  # the year 3000: a lease that no test outlives


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_LEDGER_URL", "TOLLGATE_HOME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)

    async def fill() -> None:
        ledger = await open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite", home=tmp_path, clock=StillClock())
        await ledger.append(intent_line("a"), settlement_line("a"))
        await ledger.append(intent_line("open", lease_ms=FAR_MS - START_MS))
        await ledger.append(rejection_line("late", time_ms=START_MS + LEASE_MS))
        await ledger.aclose()

    asyncio.run(fill())
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--home", str(home)])


def damage(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        connection.execute(statement)
        connection.commit()


def test_sound_ledger_is_said_to_be_sound(home: Path) -> None:
    done = run(home, "verify")
    assert done.exit_code == 0, done.output
    assert "4 lines, 3 requests, 1 open within their lease, 0.001234567 USD: sound" in done.output
    assert done.stderr == "", "no terminal, no progress: a cron job mails what stands there"


def test_an_empty_ledger_is_called_empty_and_not_sound(home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()

    async def make() -> None:
        await (await open_ledger(f"sqlite:///{empty}/ledger.sqlite", home=empty, clock=StillClock())).aclose()

    asyncio.run(make())
    done = run(empty, "verify")
    assert done.exit_code == 1
    assert "0 lines, 0 requests" in done.output
    assert "empty" in done.output
    assert "sound" not in done.output
    told = json.loads(run(empty, "verify", "--json").output)
    assert (told["ok"], told["empty"], told["findings"]) == (False, True, [])
    told = json.loads(run(home, "verify", "--json").output)
    assert (told["ok"], told["empty"]) == (True, False)


def test_findings_exit_with_1_and_say_where(home: Path) -> None:
    damage(home, "UPDATE requests SET cost_nanousd = 7 WHERE decision_id = 'a'")
    done = run(home, "verify")
    assert done.exit_code == 1
    assert "projection_differs: request a is not what its lines add up to: cost_nanousd" in done.output
    assert "2 findings" in done.output


def test_verify_as_json(home: Path) -> None:
    found = json.loads(run(home, "verify", "--json").stdout)
    assert (found["ok"], found["lines"], found["cost_usd"], found["findings"]) == (True, 4, "0.001234567", [])
    assert found["heads"]["sqlite"]["position"] == 4
    damage(home, "DELETE FROM open_intents")
    done = run(home, "verify", "--json")
    assert done.exit_code == 1
    assert [each["code"] for each in json.loads(done.stdout)["findings"]] == ["open_intents_differ"]


def test_rebuild_heals_the_projection(home: Path) -> None:
    damage(home, "DELETE FROM requests")
    done = run(home, "migrate", "--rebuild", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"ok": True, "rebuilt": 3})
    assert run(home, "verify").exit_code == 0
    assert "the schema is this version's" in run(home, "migrate").output


def test_close_ends_what_is_past_its_lease(home: Path) -> None:
    assert json.loads(run(home, "close", "--json").stdout) == {"closed": 0}
    damage(home, "UPDATE open_intents SET lease_expires_ms = 1")
    assert "1 intents closed" in run(home, "close").output


def test_export_to_a_file_and_to_standard_output(home: Path) -> None:
    out = home / "out.jsonl"
    done = run(home, "export", "--out", str(out), "--json")
    assert json.loads(done.stdout) == {"requests": 3, "out": str(out)}
    assert [json.loads(line)["decision_id"] for line in out.read_text().splitlines()] == ["a", "open", "late"]
    done = run(home, "export", "--out", "-", "--since", "2026-10-26T07:40:00Z")
    assert [json.loads(line)["decision_id"] for line in done.stdout.splitlines()] == ["late"]
    assert "3 requests written" in run(home, "export", "--out", str(home / "out"), "--format", "csv").output


@pytest.mark.parametrize("name", ["out.csv", "OUT.CSV", "out.jsonl", "out.parquet"])
def test_export_writes_what_the_files_name_says(home: Path, name: str) -> None:
    out = home / name
    assert run(home, "export", "--out", str(out)).exit_code == 0
    first = out.read_bytes().splitlines()[0]
    ending = out.suffix.lower()
    assert first.startswith(b"PAR1") is (ending == ".parquet")
    assert first.startswith(b"{") is (ending == ".jsonl")
    assert (b",decision_id," in b"," + first) is (ending == ".csv")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "x.csv", "--format", "jsonl"), "jsonl would be written into a file called .csv"),
        (("--out", "x.xlsx"), "must end in .jsonl, .csv or .parquet, or say --format"),
        (("--out", "x"), "must end in .jsonl, .csv or .parquet, or say --format"),
    ],
)
def test_export_refuses_a_name_that_says_something_else(home: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run(home, "export", *arguments)
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "x", "--format", "xml"),
        ("--out", "-", "--format", "parquet"),
        ("--out", "x.csv", "--since", "soon"),
        (),
    ],
)
def test_wrong_usage_exits_with_2(home: Path, arguments: tuple[str, ...]) -> None:
    assert run(home, "export", *arguments).exit_code == 2


@pytest.mark.parametrize("command", ["verify", "migrate", "close"])
def test_missing_ledger_is_a_configuration_error(tmp_path: Path, command: str) -> None:
    done = run(tmp_path / "nowhere", command)
    assert isinstance(done.exception, ConfigError)
    assert "there is no ledger" in done.exception.message
    assert not (tmp_path / "nowhere").exists()


def test_memory_has_nothing_to_look_at(tmp_path: Path) -> None:
    done = run(tmp_path, "verify", "--url", "memory://")
    assert isinstance(done.exception, ConfigError)


def test_file_that_cannot_be_created_is_named(home: Path) -> None:
    done = run(home, "export", "--out", str(home / "no" / "out.jsonl"))
    assert isinstance(done.exception, ConfigError)
    assert "out.jsonl: cannot be written" in done.exception.message
