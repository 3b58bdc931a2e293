"""The gateway is killed under load: no billed call is missing from the ledger, none is there twice, none stays open."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from openai import OpenAI, OpenAIError

from tests.e2e.conftest import REPO, start_gateway
from tests.e2e.test_money import bill_of

if TYPE_CHECKING:
    from pathlib import Path

    from router.simulator import SimulatorProcess

KILLS = int(os.environ.get("TOLLGATE_TEST_KILLS", "3"))
LEASE_S = 2.0


def hammer(url: str, until_s: float, worker: int) -> None:
    """Ask until the time is over; a dead gateway is expected."""
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=5) as client:
        number = 0
        while time.monotonic() < until_s:
            number += 1
            messages: Any = [{"role": "user", "content": f"Count to ten, worker {worker}, time {number}."}]
            try:
                if number % 3:
                    client.chat.completions.create(model="auto:economy", messages=messages, max_tokens=50)
                else:
                    for _ in client.chat.completions.create(
                        model="llama-70b", messages=messages, max_tokens=50, stream=True
                    ):
                        pass
            except OpenAIError:
                return


def test_a_killed_gateway_loses_and_doubles_nothing(tmp_path: Path, simulator: SimulatorProcess) -> None:
    home = tmp_path / "home"
    chance = random.Random(5)
    running = None
    for _ in range(KILLS):
        running = start_gateway(home, simulator, lease_s=LEASE_S)
        alive_s = chance.uniform(0.3, 1.5)
        with ThreadPoolExecutor(6) as pool:
            until_s = time.monotonic() + alive_s + 1
            work = [pool.submit(hammer, running.url, until_s, worker) for worker in range(6)]
            time.sleep(alive_s)
            running.stop(kill=True)
            for each in work:
                each.result()
        assert running.process.stdout is not None
        running.process.stdout.close()
    assert running is not None
    time.sleep(LEASE_S + 0.5)
    closing = [sys.executable, "-m", "router.cli", "ledger", "close", "--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    subprocess.run(closing, cwd=REPO, env=environment, check=True, capture_output=True)
    checking = [sys.executable, "-m", "router.cli", "ledger", "verify", "--home", str(home), "--json"]
    verdict = subprocess.run(checking, cwd=REPO, env=environment, check=False, capture_output=True)
    assert verdict.returncode == 0, verdict.stdout.decode()
    ledger = sqlite3.connect(home / "ledger.sqlite")
    intents = [
        f"{decision_id}-{attempt}"
        for decision_id, attempt in ledger.execute(
            "SELECT decision_id, attempt FROM ledger_lines WHERE kind = 'intent'"
        )
    ]
    still_open = ledger.execute("SELECT COUNT(*) FROM open_intents").fetchone()[0]
    expired = ledger.execute("SELECT COUNT(*) FROM requests WHERE outcome = 'expired'").fetchone()[0]
    ledger.close()
    billed = [line["client_request_id"] for line in bill_of(running)]
    print(f"kills {KILLS}, billed {len(billed)}, intents {len(intents)}, expired {expired}, open {still_open}")
    assert len(billed) > 10 * KILLS
    assert set(billed) <= set(intents), "missing"
    assert len(billed) == len(set(billed)), "doubled at the vendor"
    assert len(intents) == len(set(intents)), "doubled in the ledger"
    assert still_open == 0
