"""Live calibration: `tollgate calibrate --live` killed by `kill -9` again and again, and resumed.

Against the simulated vendors, at their speed. Printed, and required: no call was begun twice, every call that a vendor
billed was begun by the journal, the vendors' bill is within what the journal charges, and that within the limit. Exit
code 1 where it is not.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.invoice import billed_nanousd
from benchmarks.record import write_result
from benchmarks.stack import REPO, bill_of, clean_environment, simulated_policy
from router.money import NANO_PER_USD, usd_of
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse

RUNS_MAX = 60
WAIT_S = 120.0
PROMPT = "Clause {n}: the party of the second part gives notice within {d} days. Does it bind after the end?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--n", type=int, default=30, help="prompts")
    parser.add_argument("--limit-usd", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=7, help="of the moments of the kills and of the vendors")


def run(arguments: argparse.Namespace) -> int:
    """Kill, resume, count, print."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-live-") as folder,
        SimulatorProcess(seed=arguments.seed, speed=0.02) as simulator,
    ):
        found = killed(
            Path(folder), simulator, kills=arguments.kills, prompts=arguments.n, limit_usd=arguments.limit_usd,
            seed=arguments.seed,
        )  # fmt: skip
    table = Table("figure", "value", title="live calibration, killed and resumed", title_justify="left")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), str(value))
    Console(width=100, highlight=False).print(table)
    path = write_result("live", sys.argv[1:] or ["live"], found)
    print(f"result written to {path}")
    return 0 if found["ok"] else 1


def killed(
    folder: Path, simulator: SimulatorProcess, *, kills: int, prompts: int, limit_usd: float, seed: int
) -> dict[str, Any]:
    """Run until the end with so many kills in between, and compare journal and bill."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = Random(seed)
    asked = folder / "prompts.jsonl"
    rows = [{"prompt": PROMPT.format(n=n, d=7 + n % 80)} for n in range(prompts)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    policy = folder / "policy.yaml"
    policy.write_text(simulated_policy(simulator.urls), encoding="utf-8")
    journal = folder / "prompts.graded.jsonl.journal"
    command = [
        sys.executable, "-m", "router.cli", "calibrate", str(asked), "--live", "--json", "--n", str(prompts),
        "--limit-usd", f"{limit_usd:f}", "--output-tokens", "300", "--model", "claude-haiku", "--model", "gemini-flash",
        "--policy", str(policy), "--home", str(folder / "home"),
    ]  # fmt: skip
    done = 0
    is_ended = False
    for _ in range(RUNS_MAX):
        must_kill = done < kills
        was_killed = _once(command, journal, chance.randint(3, 20) if must_kill else None)
        done += was_killed
        if not was_killed:
            is_ended = True
            break
    return figures(journal, simulator, limit_usd) | {"kills": done, "is_ended": is_ended}


def _once(command: list[str], journal: Path, lines: int | None) -> bool:
    """Start it, and kill it when the journal has so many lines more; whether it was killed."""
    before = _count(journal)
    process = subprocess.Popen(
        command, cwd=REPO, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline_s = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        if lines is not None and _count(journal) >= before + lines:
            process.kill()
            process.wait()
            return True
        time.sleep(0.005)
    if process.poll() is None:
        process.kill()
        process.wait()
    return False


def _count(journal: Path) -> int:
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def figures(journal: Path, simulator: SimulatorProcess, limit_usd: float) -> dict[str, Any]:
    """What journal and bill say together."""
    begun: Counter[str] = Counter()
    holds: dict[str, int] = {}
    costs: dict[str, int] = {}
    for line in journal.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if "hold_nanousd" in row:
                begun[row["call"]] += 1
                holds[row["call"]] = row["hold_nanousd"]
            else:
                costs[row["call"]] = row["cost_nanousd"]
    bill = bill_of(simulator)
    charged = sum(costs.get(call, hold) for call, hold in holds.items())
    billed = sum(billed_nanousd(line) for line in bill)
    limit = int(limit_usd * NANO_PER_USD)
    cut_off = len(holds.keys() - costs.keys())
    # A call that was cut off may or may not have reached its vendor; one that ended was billed exactly once.
    is_once = max(begun.values(), default=0) == 1 and len(costs) <= len(bill) <= len(holds)
    return {
        "calls_begun": len(holds),
        "begun_twice": sum(count > 1 for count in begun.values()),
        "cut_off": cut_off,
        "calls_billed": len(bill),
        "billed_usd": usd_of(billed),
        "charged_usd": usd_of(charged),
        "limit_usd": usd_of(limit),
        "ok": is_once and billed <= charged <= limit,
    }
