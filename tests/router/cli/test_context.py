"""``tollgate report --context`` over a real ledger: table, JSON, CSV, pictures, nothing to explain, bad arguments."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.clock import SystemClock
from router.stores import open_ledger
from tests.lines import context_line, intent_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

HOUR_MS = 3_600_000


def fill(home: Path, count: int = 3) -> None:
    async def write() -> None:
        clock = SystemClock()
        ledger = await open_ledger(None, home=home, clock=clock)
        for index in range(count):
            name, time_ms = f"d{index}", clock.now_ms() - HOUR_MS
            team = ("search", "legal", None)[index]
            await ledger.append(intent_line(name, team=team, time_ms=time_ms), settlement_line(name))
            await ledger.append(context_line(name, time_ms, team=team, lost_nanousd=54_000_000 >> index))
        await ledger.append(intent_line("short", time_ms=clock.now_ms() - 1), settlement_line("short"))
        await ledger.aclose()

    asyncio.run(write())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "TOLLGATE_LEDGER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", "--context", "--home", str(home), *arguments])


def done(home: Path, *arguments: str) -> str:
    result = run(home, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_says_what_inputs_are_made_of_and_what_breaks_caches(home: Path) -> None:
    fill(home)
    text = done(home, "--by", "team")
    assert "3 of 4 requests" in text
    assert all(word in text for word in ("system", "retrieved", "75.0%", "search", "legal", "cache breaks USD / 30 d"))
    assert "a time in the system prompt" in text
    assert "character 26" in text
    lines = [line for line in text.splitlines() if line.strip()]
    assert next(line for line in lines if line.startswith("all")).split()[1] == "3"


def test_json_csv_and_pictures_tell_the_same(home: Path, tmp_path: Path) -> None:
    fill(home)
    report: Any = json.loads(done(home, "--by", "team", "--json"))
    rows = list(csv.DictReader(io.StringIO(done(home, "--by", "team", "--format", "csv"))))
    assert [row["row"] for row in rows] == ["group"] * 3 + ["totals"] + ["cache_break"] * 3
    assert rows[3]["input_cost_usd"] == report["totals"]["input_cost_usd"]
    png, svg = tmp_path / "c.png", tmp_path / "c.svg"
    done(home, "--by", "team", "--out", str(png))
    done(home, "--out", str(svg))
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    drawn = svg.read_text(encoding="utf-8")
    assert "Input cost" in drawn or "<svg" in drawn
    done(home, "--out", str(tmp_path / "again.svg"))
    assert (tmp_path / "again.svg").read_bytes() == svg.read_bytes(), "the same report gives the same file"


def test_where_no_input_was_long_it_says_so(home: Path, tmp_path: Path) -> None:
    fill(home, 0)
    assert "Nothing to explain" in done(home)
    done(home, "--out", str(tmp_path / "empty.png"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--by", "tier"), "--by"), (("--format", "png"), "--out"), (("--chargeback",), "--context")],
)
def test_what_it_cannot_be_is_a_usage_error(home: Path, arguments: tuple[str, ...], named: str) -> None:
    fill(home)
    result = run(home, *arguments)
    assert result.exit_code == 2, result.output
    assert named in result.output
