"""``tollgate budgets`` and ``tollgate report --chargeback`` over a real ledger and a real store."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from router.budgets import Budget, Claim
from router.budgets.windows import windows_around
from router.cli import app
from router.clock import SystemClock
from router.errors import ConfigError
from router.money import NANO_PER_USD, parse_usd
from router.stores import open_ledger
from router.stores.budgets import open_budgets
from tests.lines import intent_line, settlement_line

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

POLICY = """version: 1
name: money
models:
  claude-opus: {provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium}
routing: {premium: claude-opus, quality_tiers: {premium: 0.0}, default_tier: premium}
budgets:
  - {name: team-day, scope: team, window: day, limit_usd: 4}
"""
SPENT = 3 * NANO_PER_USD


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "TOLLGATE_LEDGER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "money.yaml").write_text(POLICY)
    monkeypatch.setenv("TOLLGATE_POLICY", str(tmp_path / "money.yaml"))
    asyncio.run(spend(tmp_path))
    return tmp_path


async def spend(home: Path) -> None:
    """Three dollars of a team, and one request of nobody's."""
    clock = SystemClock()
    ledger = await open_ledger(None, home=home, clock=clock)
    store = await open_budgets(None, home=home)
    budget = Budget("team-day", "team", "day", 4 * NANO_PER_USD)
    claim = Claim(budget.name, "search", budget.limit_nanousd, True, windows_around("day", "UTC", clock.now_ms()))
    grant: Any = await store.reserve("a-1", (claim,), least_nanousd=SPENT, most_nanousd=SPENT, lease_ms=60_000)
    await store.settle("a-1", SPENT)
    now_ms = clock.now_ms() - 1
    await ledger.append(
        intent_line("a", time_ms=now_ms, accounts=grant.accounts), settlement_line("a", cost_nanousd=SPENT)
    )
    await ledger.append(intent_line("b", time_ms=now_ms, team=None, project=None, key_id=None, tags={}))
    await ledger.append(settlement_line("b", cost_nanousd=5))
    await store.aclose()
    await ledger.aclose()


def run(home: Path, *arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, "--home", str(home)])


def test_budgets_as_a_table_json_and_csv_say_the_same(home: Path) -> None:
    table = run(home, "budgets")
    assert table.exit_code == 0, table.output
    (line,) = [each for each in table.output.splitlines() if each.lstrip().startswith("team-day")]
    assert "search" in line
    assert "3.000000000" in line
    assert "1.000000000" in line
    assert "75.0%" in line
    (row,) = json.loads(run(home, "budgets", "--json").output)["budgets"]
    assert (row["owner"], row["settled_usd"], row["remaining_usd"]) == ("search", "3.000000000", "1.000000000")
    out = home / "budgets.csv"
    assert run(home, "budgets", "--out", str(out)).exit_code == 0
    (cells,) = list(csv.DictReader(io.StringIO(out.read_text())))
    assert cells["settled_usd"] == row["settled_usd"]


def test_an_account_that_is_spent_is_exhausted_now_and_not_at_the_time_of_asking(home: Path) -> None:
    (home / "money.yaml").write_text(POLICY.replace("limit_usd: 4", "limit_usd: 2.5"))
    table = run(home, "budgets").output
    (line,) = [each for each in table.splitlines() if each.lstrip().startswith("team-day")]
    assert line.split()[-1] == "now"


def test_without_budgets_it_says_how_to_set_one(home: Path) -> None:
    (home / "money.yaml").write_text(POLICY.split("budgets:", maxsplit=1)[0])
    done = run(home, "budgets")
    assert done.exit_code == 0
    assert "`budgets:` in the policy" in done.output
    assert run(home, "budgets", "--format", "png").exit_code == 2


@pytest.mark.parametrize("policy", [POLICY, POLICY.split("budgets:", maxsplit=1)[0]], ids=["budgets", "none"])
def test_a_store_that_is_away_is_one_line_and_an_exit_code(home: Path, policy: str) -> None:
    (home / "money.yaml").write_text(policy)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}/0"
        done = subprocess.run(
            [sys.executable, "-m", "router.cli", "budgets", "--home", str(home)],
            env={**os.environ, "REDIS_URL": url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Redis at 127.0.0.1:")
    assert "does not answer" in line


def test_no_ledger_is_a_configuration_error(home: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere", "budgets")
    assert isinstance(done.exception, ConfigError)
    assert "there is no ledger" in done.exception.message


def test_a_chargeback_sums_to_the_ledger_and_has_a_row_for_nobody(home: Path) -> None:
    report = json.loads(run(home, "report", "--chargeback", "--json").output)
    assert [(each["owner"]["team"], each["cost_usd"]) for each in report["owners"]] == [("search", "3.000000000")]
    assert report["unallocated"]["cost_usd"] == "0.000000005"
    assert parse_usd(report["totals"]["cost_usd"]) == SPENT + 5
    table = run(home, "report", "--chargeback", "--by", "team,key")
    assert "unallocated" in table.output
    rows = list(csv.DictReader(io.StringIO(run(home, "report", "--chargeback", "--format", "csv").output)))
    assert [row["row"] for row in rows] == ["owner", "unallocated"]


@pytest.mark.parametrize(
    "arguments", [("--by", "model"), ("--format", "png"), ("--until", "soon"), ("--until", "2020-01-01")]
)
def test_what_a_chargeback_cannot_be_is_a_usage_error(home: Path, arguments: tuple[str, ...]) -> None:
    done = run(home, "report", "--chargeback", *arguments)
    assert done.exit_code == 2, done.output
    assert arguments[0] in done.output
