"""What the gateway costs a request, beside LiteLLM's proxy and a bare ASGI proxy, in one interleaved run.

Three systems take turns under the same load, against the same mock vendor: Tollgate with everything on (virtual key,
features, quality model, decision, SQLite ledger, headers, metrics, a log line), LiteLLM's proxy with one worker, no
database and its complexity router, and a plain ASGI proxy over aiohttp that parses the body once. Both routers are
asked for `auto`. The system runs alone on core 0; vendor and load generator share core 1. Every answer is read and
checked, and a run with a wrong one fails (exit 1). Method and limits: docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Spread, judged, paired, significant, spread_of
from benchmarks.overhead_table import print_tables
from benchmarks.processes import BenchmarkError, can_pin, on_core
from benchmarks.record import header
from benchmarks.rounds import Bench, Latencies, measure_latencies, say
from benchmarks.systems import REPO, Place, packages_of, start_floor, start_litellm, start_tollgate, start_vendor
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    import argparse

    from benchmarks.systems import System

SYSTEM_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS, WARM_UP_S, LATENCY_S = 5, 4.0, 0.7, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.0
STARTS = 5
VENDOR_WAITS_MS = (0, 50)
WORKERS = 2
PARTS = (*(each.name for each in WORKLOADS), "latency", "scoring", "start", "workers")
NOT_MEASURED = ("memory after 1,000,000 requests against 10,000: `python -m benchmarks memory` does that",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rounds", type=int, help=f"rounds of each workload ({ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"seconds of each round, after a warm-up ({SECONDS:g})")
    parser.add_argument("--only", help=f"parts to run, by comma: {', '.join(PARTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second: to see that it works, no figures")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of tables")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result, as JSON, to this file too")
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=REPO / ".venv-bench" / "bin" / "python",
        metavar="PYTHON",
        help="interpreter of the environment that has litellm[proxy] (.venv-bench, which `make bench` builds)",
    )
    parser.add_argument("--without-peer", action="store_true", help="leave LiteLLM out; its ratios are left out too")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write; returns 0, 1 where a run did not hold, 2 for options that make no sense."""
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    parts = tuple(arguments.only.split(",")) if arguments.only else PARTS
    unknown = [part for part in parts if part not in PARTS]
    if unknown or rounds < 1 or seconds <= 0:
        what = (
            f"--only: no part {unknown[0]!r}; parts: {', '.join(PARTS)}" if unknown else "--rounds, --seconds: above 0"
        )
        say(what)
        return 2
    if not arguments.without_peer and not arguments.peer_python.exists():
        say(f"{arguments.peer_python} is not there: `make bench` builds it, --without-peer measures without LiteLLM")
        return 2
    peer = None if arguments.without_peer else arguments.peer_python
    try:
        result = measured(parts, rounds, seconds, peer)
    except BenchmarkError as error:
        say(f"the run does not count: {error}")
        return 1
    text = json.dumps(result, indent=1)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
        say(f"written to {arguments.out}")
    if arguments.json:
        print(text)
    else:
        print_tables(result)
    return 0


def measured(parts: tuple[str, ...], rounds: int, seconds: float, peer: Path | None) -> dict[str, object]:
    """The whole result. Raises BenchmarkError."""
    is_pinned = can_pin()
    system_core, load_core = (SYSTEM_CORE, LOAD_CORE) if is_pinned else (None, None)
    if not is_pinned:
        say("this system holds no process on a core, or has only one: figures will move more than they should")
    values: dict[str, Spread] = {}
    result = header_of(rounds, seconds, peer, is_pinned=is_pinned)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        vendor, url = start_vendor(load_core, folder)
        stack.callback(vendor.stop)
        place = Place(system_core, folder, url)
        if "start" in parts:
            result["start"] = starts_of(place, values)
        if "scoring" in parts:
            result["scoring_us"] = scoring_of(system_core, values)
        if "workers" in parts:
            result["workers"] = workers_of(folder, rounds, seconds, values)
        if {"latency", *(each.name for each in WORKLOADS)} & set(parts):
            systems = started(place, peer, stack)
            bench = Bench(vendor, url, systems, system_core, load_core, seconds, WARM_UP_S)
            measure_rates(bench, parts, rounds, result, values)
            if "latency" in parts:
                result["latency"] = latencies_of(bench, rounds, min(seconds, LATENCY_S), values)
            result["memory_mb"] = memory_of(systems, values)
    result["figures"] = judged(values)
    result["finished"] = datetime.now(tz=UTC).isoformat(timespec="seconds")
    return result


def header_of(rounds: int, seconds: float, peer: Path | None, *, is_pinned: bool) -> dict[str, object]:
    """What must stand beside any figure."""
    return {
        **header(),
        "packages": {"tollgate": packages_of(Path(sys.executable)), **({"litellm": packages_of(peer)} if peer else {})},
        "method": {
            "rounds": rounds,
            "seconds": seconds,
            "warm_up_s": WARM_UP_S,
            "cores": "system 0, vendor and load 1" if is_pinned else "not held on cores",
            "connections": {each.name: each.connections for each in WORKLOADS},
        },
        "not_measured": list(NOT_MEASURED),
    }


def started(place: Place, peer: Path | None, stack: contextlib.ExitStack) -> list[System]:
    """The systems in the order in which they take turns."""
    found = []
    for start in (start_tollgate, start_floor):
        found.append(start(place))
        stack.callback(found[-1].process.stop)
    if peer is not None:
        found.append(start_litellm(place, peer))
        stack.callback(found[-1].process.stop)
    for each in found:
        say(f"  {each.name} ready after {each.ready_s:.2f} s with {each.rss_at_ready_mb:.0f} MB")
    return found


def starts_of(place: Place, values: dict[str, Spread]) -> dict[str, object]:
    """Seconds until the gateway is ready, and its memory then, over a few starts; the first one fills the caches."""
    ready, memory = [], []
    for number in range(STARTS + 1):
        system = start_tollgate(place)
        system.process.stop()
        if number:
            ready.append(system.ready_s)
            memory.append(system.rss_at_ready_mb)
    values["ready_s"] = spread_of(ready)
    say(f"  tollgate ready after {values['ready_s'].median:.2f} s (of {STARTS} starts)")
    return {"ready_s": spread_of(ready).as_dict(), "rss_mb": spread_of(memory).as_dict(), "starts": STARTS}


def workers_of(folder: Path, rounds: int, seconds: float, values: dict[str, Spread]) -> dict[str, object]:
    """One process and two workers in turns, held on no core; vendor and load run beside them."""
    place_of = folder / "workers"
    place_of.mkdir()
    with contextlib.ExitStack() as stack:
        vendor, url = start_vendor(None, place_of)
        stack.callback(vendor.stop)
        place = Place(None, place_of, url)
        systems = [start_tollgate(place), start_tollgate(place, WORKERS)]
        for each in systems:
            stack.callback(each.process.stop)
        bench = Bench(vendor, url, systems, None, None, seconds, WARM_UP_S)
        for number in range(1, rounds + 1):
            bench.run_workload(WORKLOADS[0], number)
    one, several = (each.name for each in systems)
    cpu = paired(bench.rounds, WORKLOADS[0].name, one, several, "cpu_us")
    rate = paired(bench.rounds, WORKLOADS[0].name, several, one, "per_s")
    assert cpu is not None
    assert rate is not None
    values["workers"] = cpu
    return {
        "workers": WORKERS,
        "per_core_second_over_one": cpu.as_dict(),
        "per_s_over_one": rate.as_dict(),
        "load_share_max": significant(max(each.load_share for each in bench.rounds), 2),
    }


def scoring_of(core: int | None, values: dict[str, Spread]) -> dict[str, object]:
    """Features and quality model at each length, timed in a process of their own."""
    with on_core(core):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scoring"],
            capture_output=True,
            check=False,
            cwd=REPO,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    if done.returncode:
        raise BenchmarkError(f"benchmarks.scoring: {done.stderr.decode()[-2000:]}")
    found: dict[str, object] = {}
    for tokens, timed in json.loads(done.stdout).items():
        values[f"score_{tokens}_us"] = spread_of(timed)
        found[tokens] = spread_of(timed).as_dict()
        say(f"  scoring {tokens} tokens {spread_of(timed).median:.0f} us")
    return found


def measure_rates(
    bench: Bench, parts: tuple[str, ...], rounds: int, result: dict[str, object], values: dict[str, Spread]
) -> None:
    """Every workload, round by round, and the ratios of the systems within each round."""
    for number in range(1, rounds + 1):
        for workload in WORKLOADS:
            if workload.name in parts:
                bench.run_workload(workload, number)
    rates: dict[str, object] = {}
    for workload in WORKLOADS:
        by_system = {}
        for system in bench.systems:
            mine = [each for each in bench.rounds if (each.workload, each.system) == (workload.name, system.name)]
            if not mine:
                continue
            by_system[system.name] = {
                "per_s": spread_of(each.per_s for each in mine).as_dict(),
                "cpu_us": spread_of(each.cpu_us for each in mine).as_dict(),
                "requests": sum(each.requests for each in mine),
                "load_share_max": significant(max(each.load_share for each in mine), 2),
                "others_share_max": significant(max(each.others_share or 0.0 for each in mine), 2),
            }
        if not by_system:
            continue
        rate = paired(bench.rounds, workload.name, "tollgate", "litellm", "per_s")
        cpu = paired(bench.rounds, workload.name, "litellm", "tollgate", "cpu_us")
        over_floor = paired(bench.rounds, workload.name, "tollgate", "floor", "cpu_us")
        named = {"per_s_tollgate_over_litellm": rate, "cpu_litellm_over_tollgate": cpu, "cpu_over_floor": over_floor}
        ratios = {name: found.as_dict() for name, found in named.items() if found is not None}
        rates[workload.name] = {"shows": workload.shows, "systems": by_system, "ratios": ratios}
        if cpu is not None:
            values[f"rate_{workload.name}"] = cpu
        if over_floor is not None and workload.name == "plain":
            values["cpu_over_floor"] = over_floor
    if rates:
        result["workloads"] = rates


def latencies_of(bench: Bench, rounds: int, seconds: float, values: dict[str, Spread]) -> dict[str, object]:
    """Percentiles over all rounds and what is added round by round, by how long the vendor waits before it answers.

    The bars are read where it does not wait: nothing that the gateway does can hide behind it there.
    """
    found: dict[str, object] = {}
    for wait_ms in VENDOR_WAITS_MS:
        latencies = measure_latencies(bench, rounds, seconds, wait_ms)
        found[str(wait_ms)] = latency_figures(latencies)
        if wait_ms == 0:
            values["added_p50_ms"] = latencies.added("tollgate", 0.5)
            values["added_p99_ms"] = latencies.added("tollgate", 0.99)
    return found


def latency_figures(latencies: Latencies) -> dict[str, object]:
    """Each system's percentiles, and what it adds to the vendor's own."""
    found: dict[str, object] = {}
    for name in latencies.by_round:
        figures: dict[str, object] = {
            "p50_ms": significant(latencies.p50(name)),
            "p99_ms": significant(latencies.p99(name)),
        }
        if name != "direct":
            figures["added_p50_ms"] = latencies.added(name, 0.5).as_dict()
            figures["added_p99_ms"] = latencies.added(name, 0.99).as_dict()
        found[name] = figures
    return found


def memory_of(systems: list[System], values: dict[str, Spread]) -> dict[str, object]:
    """Resident memory when ready and now, after the load."""
    after = {each.name: each.process.rss_mb() for each in systems}
    values["rss_mb"] = spread_of([after["tollgate"]])
    return {
        each.name: {
            "ready_s": significant(each.ready_s, 3),
            "at_ready": significant(each.rss_at_ready_mb),
            "after_load": significant(after[each.name]),
        }
        for each in systems
    }
