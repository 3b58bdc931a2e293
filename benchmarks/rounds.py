"""The measuring itself: systems take turns, every round of every workload, and each round is checked as it ends."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import uvloop

from benchmarks.figures import Round, Spread, percentile, spread_of
from benchmarks.load import closed_loop, open_loop
from benchmarks.processes import BenchmarkError, core_busy_s, on_core
from benchmarks.systems import CHAT
from benchmarks.workloads import WORKLOADS, check_of, requests_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load import Tally
    from benchmarks.processes import Process
    from benchmarks.systems import System
    from benchmarks.workloads import Workload

HOST = "127.0.0.1"
# Logging and settling go on for a moment after the last answer, and belong to the requests.
SETTLE_S = 0.3
# The first requests of a kind import, compile and connect; in LiteLLM's proxy that takes seconds.
FIRST_WARM_UP_S = 3.0
LATENCY_PER_S = 50.0
WIRE_PATHS = {False: CHAT, True: "/v1/messages"}

Say: TypeAlias = Callable[[str], None]


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Bench:
    """The vendor, the systems, and where the load runs."""

    vendor: Process
    vendor_url: str
    systems: Sequence[System]
    system_core: int | None
    load_core: int | None
    seconds: float
    warm_up_s: float
    rounds: list[Round] = field(default_factory=list)

    def tell_vendor(self, path: str) -> dict[str, int]:
        """One word to the vendor's own desk; returns what it answers."""
        with urllib.request.urlopen(f"{self.vendor_url}{path}", data=b"", timeout=10) as answer:
            told: dict[str, int] = json.load(answer)
        return told

    def run_workload(self, workload: Workload, number: int) -> None:
        """One round of every system that can answer the workload, in turn. Raises BenchmarkError."""
        self.tell_vendor(f"/pace/{workload.gap_ms}")
        for system in self.systems:
            if system.does(workload):
                self.rounds.append(self._round(workload, system, number))
                last = self.rounds[-1]
                others = "" if last.others_share is None else f", others on its core {last.others_share:.0%}"
                say(
                    f"  {workload.name:<7} round {number} {system.name:<9} {last.per_s:8.0f} req/s "
                    f"{last.cpu_us:8.0f} us CPU (load {last.load_share:.0%}{others})"
                )

    def _round(self, workload: Workload, system: System, number: int) -> Round:
        requests, check = system.requests(workload), check_of(workload)

        def drive(seconds: float) -> Tally:
            load = closed_loop(HOST, system.port, requests, check, connections=workload.connections, seconds=seconds)
            tally = uvloop.run(load)
            time.sleep(SETTLE_S)
            self.require_sound(tally, workload, system)
            return tally

        with on_core(self.load_core):
            is_first = not any((each.workload, each.system) == (workload.name, system.name) for each in self.rounds)
            drive(FIRST_WARM_UP_S if is_first else self.warm_up_s)
            cpu_s, load_s = system.process.cpu_s(), self._load_s()
            busy_s = core_busy_s(self.system_core) if self.system_core is not None else 0.0
            started_s = time.monotonic()
            tally = drive(self.seconds)
            wall_s = time.monotonic() - started_s
            cpu_s, load_s = system.process.cpu_s() - cpu_s, self._load_s() - load_s
        others = None
        if self.system_core is not None:
            others = max(0.0, (core_busy_s(self.system_core) - busy_s - cpu_s) / wall_s)
        return Round(
            number=number,
            workload=workload.name,
            system=system.name,
            requests=len(tally.latencies_s),
            elapsed_s=tally.elapsed_s,
            cpu_s=cpu_s,
            load_share=load_s / wall_s,
            others_share=others,
        )

    def _load_s(self) -> float:
        return self.vendor.cpu_s() + time.process_time()

    def require_sound(self, tally: Tally, workload: Workload, system: System) -> None:
        """No error, and the vendor was asked once for each answer, on the wire that the workload is about."""
        where = f"{system.name}, {workload.name}"
        if tally.errors:
            raise BenchmarkError(
                f"{where}: {len(tally.errors)} of {len(tally.errors) + len(tally.latencies_s)} answers are wrong, the "
                f"first: {tally.errors[0]}\nits log ends with:\n{system.process.last_words()}"
            )
        wanted = dict.fromkeys(WIRE_PATHS.values(), 0) | {WIRE_PATHS[workload.is_claude]: len(tally.latencies_s)}
        asked = self.tell_vendor("/counts")
        if asked != wanted:
            raise BenchmarkError(f"{where}: {wanted} requests were answered, but the vendor was asked {asked}")


@dataclass
class Latencies:
    """Milliseconds at a fixed rate, by system; ``direct`` is the vendor without anything between."""

    by_round: dict[str, list[list[float]]] = field(default_factory=dict)

    def p50(self, name: str) -> float:
        """The median of all rounds together."""
        return percentile([each for block in self.by_round[name] for each in block], 0.5)

    def p99(self, name: str) -> float:
        """The 99th percentile of all rounds together."""
        return percentile([each for block in self.by_round[name] for each in block], 0.99)

    def added(self, name: str, share: float) -> Spread:
        """What the system adds to the vendor's own latency at this percentile, per round and in the middle."""
        pairs = zip(self.by_round[name], self.by_round["direct"], strict=True)
        return spread_of(percentile(mine, share) - percentile(direct, share) for mine, direct in pairs)


def measure_latencies(bench: Bench, rounds: int, seconds: float, wait_ms: int) -> Latencies:
    """At 50 requests a second, in turns: the vendor itself, which waits before it answers, then each system.

    Raises BenchmarkError.
    """
    workload = WORKLOADS[0]
    bench.tell_vendor("/pace/0")
    bench.tell_vendor(f"/wait/{wait_ms}")
    direct_port = int(bench.vendor_url.rpartition(":")[2])
    direct = requests_of(workload, "direct", CHAT, {})
    targets = [("direct", direct_port, direct)]
    targets += [(each.name, each.port, each.requests(workload)) for each in bench.systems]
    found = Latencies()
    for number in range(rounds):
        for name, port, requests in targets:
            with on_core(bench.load_core):
                tally = uvloop.run(
                    open_loop(HOST, port, requests, check_of(workload), per_s=LATENCY_PER_S, seconds=seconds)
                )
            if tally.errors:
                raise BenchmarkError(f"{name} at {LATENCY_PER_S:g} req/s: {tally.errors[0]}")
            block = [each * 1000 for each in tally.latencies_s]
            found.by_round.setdefault(name, []).append(block)
            say(
                f"  latency (vendor {wait_ms} ms) round {number + 1} {name:<9} p50 {percentile(block, 0.5):7.2f} ms  "
                f"p99 {percentile(block, 0.99):7.2f} ms"
            )
    bench.tell_vendor("/wait/0")
    return found
