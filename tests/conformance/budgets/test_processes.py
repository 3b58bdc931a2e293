"""Several real processes on one store: strict together, also where one of them is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.budgets import Claim
from router.stores.budgets import open_budgets
from tests.conformance.budgets.stands import ENDLESS
from tests.lines import START_MS, StillClock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 40_000
PROCESSES = 3
# How a process reaches the store: add one, and it is held to the same.
URLS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": lambda request, folder: f"sqlite:///{folder / 'ledger.sqlite'}",
    "postgresql": lambda request, folder: request.getfixturevalue("postgres_url"),
}


def started(url: str, limit: int, seed: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        str(ROOT / "tests/conformance/budgets/hammer.py"),
        url,
        str(limit),
        str(START_MS),
        str(seed),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("is_one_killed", [False, True])
async def test_processes_never_spend_more_than_the_limit(
    name: str, is_one_killed: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = URLS[name](request, tmp_path)
    clock = StillClock()
    store = await open_budgets(url, clock=clock)
    processes = [started(url, LIMIT, seed) for seed in range(PROCESSES)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    if is_one_killed:
        processes[0].kill()
    told = []
    for process in processes:
        with process:  # its output may already lie in the reader's buffer
            told.append(process.stdout.read())
    charged = sum(int(text) for text in told[is_one_killed:])
    company, team = (
        Claim(budget, owner, LIMIT, True, (ENDLESS,)) for budget, owner in (("company", ""), ("team", "search"))
    )
    clock.time_ms += 60_000
    expired = await store.expire()
    balances = await store.balances((company, team))
    await store.aclose()
    assert balances[0][1:] == balances[1][1:]
    settled, held = balances[0][1:]
    assert held == 0
    assert settled <= LIMIT
    if is_one_killed:
        assert settled >= charged
        assert all(each.reservation_id.startswith("0-") for each in expired)
    else:
        assert (settled, expired) == (charged, ())
        assert settled >= LIMIT * 0.9, "and most of it was usable"
