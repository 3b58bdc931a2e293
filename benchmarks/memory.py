"""What a gateway's memory does over a million requests, and what of it the guards' tables are.

The gateway of ``overhead`` (key, rule, guards, SQLite ledger, metrics, a log line) answers its chat load, every request
with a question of its own, and its resident memory is read on the way, a moment after the last answer of each stretch.
Every answer is read and checked, and the vendor must have been asked once for each. Before that, the guards' tables are
filled to their bounds in this process and weighed, table by table, with ``tracemalloc``. Exit code 1 where an answer is
wrong or a bar is missed; a million requests take about half an hour. Method and limits: docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.figures import judged, significant, spread_of
from benchmarks.load import closed_loop
from benchmarks.memory_tables import weighed
from benchmarks.overhead import LOAD_CORE, SYSTEM_CORE
from benchmarks.overhead_table import bars_table
from benchmarks.processes import BenchmarkError, can_pin, on_core
from benchmarks.record import header
from benchmarks.rounds import HOST, SETTLE_S, Bench, say
from benchmarks.systems import Place, packages_of, start_tollgate, start_vendor
from benchmarks.workloads import WORKLOADS, check_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from benchmarks.systems import System

REQUESTS = 1_000_000
# Where memory is read; what it is at the end is compared with what it was at ``BASE``.
BASE = 10_000
MARKS = (1_000, 2_000, 5_000, BASE, 20_000, 50_000, 100_000, 200_000, 500_000)
# A line of progress after so many at most.
STRETCH = 20_000
PLAIN = WORKLOADS[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--requests", type=int, default=REQUESTS, help=f"requests in all, above {BASE:,} ({REQUESTS:,})"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result, as JSON, to this file too")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write; returns 0, 1 where an answer is wrong or a bar is missed, 2 for too few requests."""
    if arguments.requests <= BASE:
        say(f"--requests: above {BASE:,}, since memory is compared with what it was then")
        return 2
    try:
        result = measured(arguments.requests)
    except BenchmarkError as error:
        say(f"the run does not count: {error}")
        return 1
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        say(f"written to {arguments.out}")
    print_result(result)
    return 1 if any(each["verdict"] == "not met" for each in result["figures"]) else 0


def measured(requests: int) -> dict[str, Any]:
    """The whole result. Raises BenchmarkError."""
    is_pinned = can_pin()
    system_core, load_core = (SYSTEM_CORE, LOAD_CORE) if is_pinned else (None, None)
    say("filling the guards' tables")
    result: dict[str, Any] = {
        **header(),
        "packages": packages_of(Path(sys.executable)),
        "method": {"cores": "system 0, vendor and load 1" if is_pinned else "not held on cores"},
        "requests": requests,
        "guards_tables": weighed(),
    }
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        vendor, url = start_vendor(load_core, folder)
        stack.callback(vendor.stop)
        system = start_tollgate(Place(system_core, folder, url))
        stack.callback(system.process.stop)
        bench = Bench(vendor, url, [system], system_core, load_core, seconds=0.0, warm_up_s=0.0)
        result["at_ready_mb"] = significant(system.rss_at_ready_mb)
        samples = list(samples_of(bench, system, requests))
        ledger_bytes = sum(path.stat().st_size for path in folder.glob("tollgate-*/ledger.sqlite*"))
    result["samples"] = samples
    result["ledger_bytes_per_request"] = round(ledger_bytes / requests)
    megabytes = {int(each["requests"]): each["rss_mb"] for each in samples}
    growth = megabytes[requests] / megabytes[BASE]
    result["figures"] = judged(
        {"rss_mb": spread_of([max(megabytes.values())]), "memory_growth": spread_of([growth])},
    )
    return result


def stretches(requests: int) -> Iterator[tuple[int, int]]:
    """From where to where the load runs without a look at the memory: between the marks, and not too long."""
    edges = {0, requests, *(each for each in MARKS if each < requests), *range(STRETCH, requests, STRETCH)}
    return pairwise(sorted(edges))


def samples_of(bench: Bench, system: System, requests: int) -> Iterator[dict[str, float]]:
    """Resident memory, rate and the load's share of its core after each mark. Raises BenchmarkError."""
    asked, started_s = system.requests(PLAIN), time.monotonic()
    for start, end in stretches(requests):
        load = closed_loop(
            HOST, system.port, islice(asked, end - start), check_of(PLAIN), connections=PLAIN.connections,
            seconds=math.inf,
        )  # fmt: skip
        with on_core(bench.load_core):
            tally = uvloop.run(load)
        time.sleep(SETTLE_S)
        bench.require_sound(tally, PLAIN, system)
        memory_mb, per_s = system.process.rss_mb(), (end - start) / tally.elapsed_s
        say(f"  {end:>9,} of {requests:,} requests: {memory_mb:6.1f} MB, {per_s:5.0f} req/s")
        if end in MARKS or end == requests:
            elapsed_s = round(time.monotonic() - started_s, 1)
            yield {"requests": end, "rss_mb": round(memory_mb, 1), "elapsed_s": elapsed_s, "per_s": round(per_s)}


def print_result(result: dict[str, Any]) -> None:
    """Memory by requests, the tables, the bars."""
    console = Console(width=130)
    table = Table("requests", "MB", "req/s", title="resident memory of the gateway", title_justify="left")
    for each in result["samples"]:
        table.add_row(f"{each['requests']:,}", f"{each['rss_mb']:.1f}", f"{each['per_s']:.0f}")
    console.print(table)
    for kind, tables in result["guards_tables"].items():
        table = Table("table", "records", "MB", "bytes each", title=f"guards, {kind}", title_justify="left")
        for name, each in tables["tables"].items():
            table.add_row(name, f"{each['records']:,}", f"{each['mb']:.2f}", str(each["bytes_each"]))
        table.add_row("in all", "", f"{tables['mb']:.1f}", "")
        console.print(table)
    console.print(bars_table(result["figures"]))
    console.print(
        f"ready with {result['at_ready_mb']:.0f} MB; ledger {result['ledger_bytes_per_request']} bytes a request"
    )
