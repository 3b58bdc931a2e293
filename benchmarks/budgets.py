"""Budgets: a million random interleavings of calls that share budgets, and what each store costs a request.

Each interleaving is a few workers that reserve, extend, are billed, settle, void, ask twice and die, in any order, with
time passing and leases running out between their steps. After each step no hard account may be past its limit; after
the last lease nothing may be held, and each account must be the sum of the ledger's charges to the nano-dollar. The
same load with check-then-act shows what that would overspend. Then reserve and settle are timed over every store.
Exit code 1 when anything is off.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.budget_costs import STORES, measured
from benchmarks.herd import herds
from benchmarks.interleavings import interleave
from benchmarks.record import write_result
from router.money import usd_of

if TYPE_CHECKING:
    import argparse

CHUNK = 2000
MUST_BE_ZERO = ("overshoots", "negative", "unclosed", "held_at_end_nanousd", "off_nanousd", "billed_over_limit")
EXIT_USAGE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--interleavings", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first interleaving; each has one of its own")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    parser.add_argument("--stores", default=",".join(STORES), help="to time; `none` for none")
    parser.add_argument("--pairs", type=int, default=300, help="reserve and settle, per store and round")
    parser.add_argument("--rounds", type=int, default=5)


def run(arguments: argparse.Namespace) -> int:
    """Interleave, time, print, write the result file."""
    names = [] if arguments.stores == "none" else arguments.stores.split(",")
    unknown = [name for name in names if name not in STORES]
    if unknown or min(arguments.interleavings, arguments.processes, arguments.pairs, arguments.rounds) < 1:
        known = f"stores are {', '.join(STORES)}" if unknown else "numbers must be above 0"
        print(f"budgets: {known}", file=sys.stderr)
        return EXIT_USAGE
    began = time.perf_counter()
    found = interleaved(arguments.interleavings, arguments.seed, arguments.processes)
    figures: dict[str, Any] = {
        "interleavings": {"count": arguments.interleavings, "seconds": round(time.perf_counter() - began, 1), **found},
        "herd": herds(),
        "stores": measured(names, pairs=arguments.pairs, rounds=arguments.rounds),
    }
    figures["ok"] = (
        not any(found[name] for name in MUST_BE_ZERO) and figures["herd"]["reserve"]["overspent_nanousd"] == 0
    )
    print_figures(figures)
    path = write_result("budgets", sys.argv[1:] or ["budgets"], figures)
    print(f"result written to {path}")
    return 0 if figures["ok"] else 1


def interleaved(count: int, seed: int, processes: int) -> dict[str, int]:
    """The sums over all interleavings; every name that must be zero is there."""
    sums: Counter[str] = Counter(dict.fromkeys(MUST_BE_ZERO, 0))
    starts = range(seed, seed + count, CHUNK)
    with ProcessPoolExecutor(processes) as pool, Progress(transient=True) as progress:
        task = progress.add_task("interleavings", total=count)
        for found in pool.map(chunk, starts, (min(CHUNK, seed + count - start) for start in starts)):
            sums.update(found)
            progress.advance(task, CHUNK)
    return dict(sorted(sums.items()))


def chunk(start: int, count: int) -> Counter[str]:
    """Some interleavings in one process; names the first seed at which something was off."""
    sums: Counter[str] = Counter()
    for seed in range(start, start + count):
        found = interleave(seed)
        if any(found[name] for name in MUST_BE_ZERO) and not any(sums[name] for name in MUST_BE_ZERO):
            print(f"seed {seed}: {dict(found)}", file=sys.stderr)
        sums.update(found)
    return sums


def print_figures(figures: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console(width=120, highlight=False)
    found = figures["interleavings"]
    table = Table(f"{found['count']} interleavings in {found['seconds']} s", "")
    for name, value in found.items():
        if name not in ("count", "seconds"):
            table.add_row(name.replace("_", " "), f"{value}{'  MUST BE 0' if value and name in MUST_BE_ZERO else ''}")
    console.print(table)
    for name, herd in figures["herd"].items():
        console.print(
            f"{herd['rounds']} herds of {herd['workers']} calls on {usd_of(herd['limit_nanousd'])} USD, {name}: spent"
            f" {herd['spent_share_median']} x the limit (most {herd['spent_share_most']} x)"
        )
    if figures["stores"]:
        columns = list(next(iter(figures["stores"].values())))
        table = Table("reserve + settle", *(column.replace("_", " ") for column in columns))
        for name, row in figures["stores"].items():
            table.add_row(name, *(f"{row[column]:g}" for column in columns))
        console.print(table)
