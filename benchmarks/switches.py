"""What money and guards cost a request: the gateway with everything on, and with parts of it off, in turns.

All have the same policy, key, features, quality model, decision, headers, metrics and log line. With everything on
there are three hard budgets (of company, team and key) over the SQLite file, guards, and the ledger in SQLite. Beside
it: without budgets, without guards, and with neither and the ledger in memory. The gateway runs alone on core 0, vendor
and load generator share core 1; what counts is the ratio within a round. Every answer is read and checked, and a run
with a wrong one fails (exit 1).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.figures import paired, significant, spread_of
from benchmarks.overhead_table import spread_text
from benchmarks.processes import BenchmarkError, can_pin
from benchmarks.record import write_result
from benchmarks.rounds import Bench, say
from benchmarks.systems import Place, Switches, start_tollgate, start_vendor
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    import argparse

    from benchmarks.figures import Round

SYSTEM_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS, WARM_UP_S = 7, 3.0, 0.7
LOADS = ("plain", "stream")
BUDGETS = """budgets:
  - {name: company-month, scope: all, window: month, limit_usd: 100000}
  - {name: team-day, scope: team, window: day, limit_usd: 10000}
  - {name: key-hour, scope: key, window: hour, limit_usd: 1000}
"""
NO_GUARDS = "guards: {loop: {enabled: false}}\n"
ON = "tollgate"
VARIANTS = {
    ON: Switches(more=BUDGETS),
    "tollgate, no budgets": Switches(),
    "tollgate, no guards": Switches(more=BUDGETS + NO_GUARDS),
    "tollgate, all off": Switches(more=NO_GUARDS, ledger="memory://"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each load ({ROUNDS})")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"seconds of each, after a warm-up ({SECONDS:g})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 where the run does not count, 2 for options that make no sense."""
    if arguments.rounds < 1 or arguments.seconds <= 0:
        say("--rounds, --seconds: above 0")
        return 2
    try:
        rounds = measured(arguments.rounds, arguments.seconds)
    except BenchmarkError as error:
        say(f"the run does not count: {error}")
        return 1
    loads = {load: compared(rounds, load) for load in LOADS}
    print_table(loads)
    cores = "system 0, vendor and load 1" if can_pin() else "not held on cores"
    method = {"rounds": arguments.rounds, "seconds": arguments.seconds, "warm_up_s": WARM_UP_S, "cores": cores}
    path = write_result("switches", sys.argv[1:] or ["switches"], {"method": method, "loads": loads})
    say(f"result written to {path}")
    return 0


def measured(count: int, seconds: float) -> list[Round]:
    """Every round of every variant under both loads. Raises BenchmarkError."""
    system_core, load_core = (SYSTEM_CORE, LOAD_CORE) if can_pin() else (None, None)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name, contextlib.ExitStack() as stack:
        vendor, url = start_vendor(load_core, Path(name))
        stack.callback(vendor.stop)
        systems = []
        for variant, switches in VARIANTS.items():
            system = start_tollgate(Place(system_core, Path(name), url), name=variant, switches=switches)
            stack.callback(system.process.stop)
            systems.append(system)
        bench = Bench(vendor, url, systems, system_core, load_core, seconds, WARM_UP_S)
        for number in range(1, count + 1):
            for workload in WORKLOADS:
                if workload.name in LOADS:
                    bench.run_workload(workload, number)
    return bench.rounds


def compared(rounds: list[Round], load: str) -> dict[str, dict[str, object]]:
    """By variant: requests a second, processor time a request, and both with everything on over it, round by round."""
    found: dict[str, dict[str, object]] = {}
    for variant in VARIANTS:
        mine = [each for each in rounds if (each.workload, each.system) == (load, variant)]
        found[variant] = {
            "per_s": spread_of(each.per_s for each in mine).as_dict(),
            "cpu_us": spread_of(each.cpu_us for each in mine).as_dict(),
            "others_share_max": significant(max(each.others_share or 0.0 for each in mine), 2),
        }
        for name, figure in (("on_per_s_over", "per_s"), ("on_cpu_over", "cpu_us")):
            ratio = paired(rounds, load, ON, variant, figure)
            assert ratio is not None
            found[variant][name] = ratio.as_dict()
    return found


def print_table(loads: dict[str, dict[str, dict[str, object]]]) -> None:
    """The figures for people."""
    table = Table(title="one core for the gateway; median (least..greatest) of the rounds", title_justify="left")
    for name in ("load", "gateway"):
        table.add_column(name)
    for name in ("req/s", "CPU us a request", "req/s: all on / this", "CPU: all on / this"):
        table.add_column(name, justify="right")
    for load, found in loads.items():
        for variant, figures in found.items():
            spreads = [figures[name] for name in ("per_s", "cpu_us", "on_per_s_over", "on_cpu_over")]
            texts = [spread_text(each, 0 if at < 2 else 2) for at, each in enumerate(spreads)]  # type: ignore[arg-type]  # noqa: PLR2004  # ratios last
            table.add_row(load, variant, *texts)
    Console(width=120, highlight=False).print(table)
