"""``tollgate report`` over a real ledger: table, JSON, CSV, pictures, nothing to report, and bad arguments."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from typer.testing import CliRunner

from router.cli import app
from router.cli.picture import draw_moments, moments_of
from router.cli.report import moment_of, parse_format
from router.clock import SystemClock
from router.errors import ConfigError
from router.stores import open_ledger
from tests.lines import failure_line, intent_line, rejection_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

HOUR_MS = 3_600_000
COST, LOW, POINT, HIGH = 1_234_567, 4_000_000, 5_000_000, 6_000_000


def fill(home: Path, *, empty: bool = False) -> None:
    """Two answered requests of a team, one failed of nobody's, three hours apart."""

    async def write() -> None:
        clock = SystemClock()
        ledger = await open_ledger(None, home=home, clock=clock)
        now_ms = clock.now_ms()
        for hours, (name, team) in enumerate((("a", "search"), ("b", "search"), ("c", None))):
            if empty:
                break
            end = failure_line(name, cost_nanousd=3) if team is None else settlement_line(name)
            await ledger.append(intent_line(name, team=team, time_ms=now_ms - 3 * hours * HOUR_MS - 1), end)
        await ledger.aclose()

    asyncio.run(write())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "TOLLGATE_LEDGER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    fill(tmp_path)
    return tmp_path


def run(home: Path, *arguments: str, width: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["report", "--home", str(home), *arguments])


def done(home: Path, *arguments: str, width: int = 80) -> str:
    result = run(home, *arguments, width=width)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_holds_every_digit_of_every_amount(home: Path) -> None:
    narrow = done(home, "--by", "team")
    rows = {line.split()[0]: line.split()[1:] for line in narrow.splitlines() if line[1:2].isalpha()}
    assert rows["search"] == ["2", "2", "0.002469134", "0.010000000", "0.007530866", "75.3%"]
    assert rows["unallocated"] == ["1", "0", "0.000000003", "0.000000000", "-0.000000003"]
    assert rows["all"] == ["3", "2", "0.002469137", "0.010000000", "0.007530863", "75.3%"]
    assert "savings low .. high: 0.005530863 .. 0.009530863" in narrow
    assert "modelled, not measured" in narrow
    wide = done(home, "--by", "team", width=160)
    assert "0.008000000 .. 0.012000000" in next(line for line in wide.splitlines() if "search" in line)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_cut_however_many_groups_there_are_and_however_narrow_the_terminal(home: Path, width: int) -> None:
    names = ("team", "project", "key", "model")
    found = json.loads(done(home, "--by", ",".join(names), "--json"))
    said = done(home, "--by", ",".join(names), width=width)
    lines = said.splitlines()
    assert "\u2026" not in said
    for row in found["groups"]:
        cells = [*(str(row[name]) for name in names if row[name] is not None), row["realized_cost_usd"]]
        assert any(all(cell in line.split() for cell in cells) for line in lines), row
    assert found["method"] in lines
    head = next(line for line in lines if line.startswith("team"))
    assert head.split()[:6] == ["team", "project", "key", "model", "requests", "answered"]


def test_a_request_that_no_model_answered_is_told_so_and_one_of_no_team_is_unallocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOLLGATE_LEDGER_URL", raising=False)

    async def write() -> None:
        clock = SystemClock()
        ledger = await open_ledger(None, home=tmp_path, clock=clock)
        await ledger.append(rejection_line("r", time_ms=clock.now_ms() - 1, team=None))
        await ledger.aclose()

    asyncio.run(write())
    for name, word in (("model", "no model"), ("team", "unallocated")):
        (row,) = [line for line in done(tmp_path, "--by", name).splitlines() if line.startswith(word)]
        assert row.removeprefix(word).split()[:2] == ["1", "0"]


def test_json_is_the_report_and_csv_its_groups(home: Path) -> None:
    found = json.loads(done(home, "--by", "team,model", "--json"))
    assert found["totals"]["savings_usd"] == {"low": "0.005530863", "point": "0.007530863", "high": "0.009530863"}
    rows = list(csv.DictReader(io.StringIO(done(home, "--by", "team,model", "--format", "csv"))))
    assert [row["realized_cost_usd"] for row in rows] == [each["realized_cost_usd"] for each in found["groups"]]
    assert [row["team"] for row in rows] == ["search", ""]


@pytest.mark.parametrize("name", ["r.json", "r.csv"])
def test_a_file_says_what_the_terminal_says(home: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert done(home, "--since", "2020-01-01", "--out", str(path)) == ""
    printed = done(home, "--since", "2020-01-01", "--format", path.suffix[1:])
    if name == "r.csv":
        assert path.read_text() == printed.replace("\n", "\r\n") or path.read_text() == printed
    else:
        assert json.loads(path.read_text())["totals"] == json.loads(printed)["totals"]


def test_a_picture_is_drawn_by_its_files_name(home: Path, tmp_path: Path) -> None:
    png, svg = tmp_path / "r.png", tmp_path / "r.svg"
    done(home, "--by", "team", "--out", str(png))
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    done(home, "--by", "team", "--since", "1d", "--out", str(svg))
    assert ET.fromstring(svg.read_bytes()).tag == "{http://www.w3.org/2000/svg}svg"
    text = svg.read_text()
    assert "<!-- Saved 0.007530863 USD (0.005530863 to 0.009530863) -->" in text
    assert "<!-- Savings by hour (UTC), USD, low to high -->" in text
    assert {f"<!-- {name} -->" in text for name in ("search", "unallocated", "75.3% saved")} == {True}


def test_nothing_to_report_is_said_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLLGATE_LEDGER_URL", raising=False)
    fill(tmp_path, empty=True)
    assert "No requests in this span." in done(tmp_path, "--by", "team", "--since", "99999w")
    found = json.loads(done(tmp_path, "--json"))
    assert (found["totals"]["requests"], found["totals"]["savings_share"], found["groups"]) == (0, None, [])
    assert done(tmp_path, "--by", "team", "--format", "csv").count("\n") == 1
    svg = tmp_path / "empty.svg"
    done(tmp_path, "--out", str(svg))
    assert "no requests in this span" in svg.read_text()


def test_a_report_makes_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLLGATE_LEDGER_URL", raising=False)
    result = run(tmp_path / "none")
    assert isinstance(result.exception, ConfigError)
    told = "there is no ledger: start the gateway with `tollgate serve`, or name its --home"
    assert result.exception.message == f"{tmp_path}/none/ledger.sqlite: {told}"
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("TOLLGATE_LEDGER_URL", "memory://")
    assert "memory://" in str(run(tmp_path).exception)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--format", "gif"), "--format: must be table, json, csv, png or svg"),
        (("--format", "png"), "--out: png needs a file"),
        (("--format", "table", "--out", "x"), "--out: a table goes to the terminal"),
        (("--out", "report.pdf"), "--out: a table goes to the terminal"),
        (("--since", "yesterday"), "--since: must be a span such as 7d, 12h or 2w"),
        (("--since", "999999d"), "--since: must be"),
        (("--since", "2999-01-01"), "--since: is in the future"),
        (("--by", "colour"), "--by: team, project, key, model"),
        (("--by", "team,team"), "--by: at most 4 different names"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_and_exits_with_2(
    home: Path, arguments: tuple[str, ...], told: str
) -> None:
    result = run(home, *arguments, width=200)
    assert result.exit_code == 2
    assert told in result.output


def test_a_file_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    result = run(home, "--out", str(tmp_path / "no" / "r.json"))
    assert isinstance(result.exception, ConfigError)
    assert result.exception.message == f"{tmp_path}/no/r.json: cannot be written: No such file or directory"


def test_every_day_of_the_span_is_drawn_and_one_without_a_request_as_nothing_saved() -> None:
    amount = {"low": "1.000000000", "point": "2.000000000", "high": "3.000000000"}
    groups: list[dict[str, Any]] = [{"day": day, "savings_usd": amount} for day in ("2026-11-01", "2026-11-03")]
    span = {"group_by": ["day"], "from": "2026-10-31T14:30:00.000Z", "to": "2026-11-04T14:30:00.001Z"}
    found = moments_of({**span, "groups": groups})
    some, none = (1.0, 2.0, 3.0), (0.0, 0.0, 0.0)
    assert [(moment.day, amounts) for moment, amounts in found] == [
        (31, none),
        (1, some),
        (2, none),
        (3, some),
        (4, none),
    ]
    assert moments_of({**span, "groups": []}) == []


@pytest.mark.parametrize("count", [1, 7])
def test_the_axis_holds_the_span_and_no_more(count: int) -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    days = [(first + timedelta(days=day), (1.0, 2.0, 3.0)) for day in range(count)]
    axes = Figure().subplots()
    draw_moments(axes, days, {"group_by": ["day"]})
    low, high = (num2date(edge) for edge in axes.get_xlim())
    assert (low, high) == (first - timedelta(hours=12), days[-1][0] + timedelta(hours=12))
    # The band of a lone moment has no width: a bar shows it.
    assert len(axes.containers) == (count == 1)


@pytest.mark.parametrize(("hours", "moment"), [(1, "minute"), (2, "minute"), (3, "hour"), (48, "hour"), (49, "day")])
def test_time_is_told_as_finely_as_the_span_asks(hours: int, moment: str) -> None:
    assert moment_of(hours * HOUR_MS) == moment


def test_what_was_asked_for_wins_over_the_files_name() -> None:
    assert parse_format("json", "report.txt") == "json"
    assert parse_format(None, "REPORT.SVG") == "svg"
    assert parse_format(None, None) == "table"


def test_help_says_what_each_option_takes_and_a_table_needs_no_drawing(home: Path) -> None:
    text = done(home, "--help")
    assert all(word in text for word in ("--by", "--since", "--format", "--out", "png", "svg", "7d"))
    code = (
        "import sys; from router.cli import app\n"
        f"try: app(['report', '--home', {str(home)!r}])\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
