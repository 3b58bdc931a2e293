"""Runaways and legitimate traffic replayed on a virtual clock: what each guard lets through, in dollars.

Agents loop, call themselves, fan out, retry and poll at claude-opus-5-5's prices; each request is shown to the guards
as the gateway shows it. Beside Tollgate's default policy the same replays run without any guard, under 60 requests a
minute for each key, and (with --peer) under LiteLLM's own handlers for max_iterations 50 and 5 USD a session, which
need a session id. With --shared they are also played to two and four gateways in turn, over a real Redis, PostgreSQL
and SQLite, which share what their guards saw. The bound is the least that any guard lets through: nothing tells a
runaway from work before the call at which it leaves what legitimate traffic looks like. Exit code 1 where a runaway
leaks more than 1.5 times its bound (twice, where gateways are killed meanwhile), the weekend loop more than 5 USD, or
where legitimate work is refused.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.leak_agents import HOUR_MS
from benchmarks.leak_gates import NoGate, PeerGate, RateGate
from benchmarks.leak_legitimate import coding_agent, eval_harness, launch_day, map_reduce, recorded
from benchmarks.leak_loops import barren, compacted, cron, fresh_ids, hourly, nested_chinese, pictures, talk
from benchmarks.leak_picture import draw
from benchmarks.leak_play import Player, load_sessions
from benchmarks.leak_scenarios import fan_out, recursion, retry_storm, tool_loop, weekend_loop
from benchmarks.leak_shared import SharedGate, Sites
from benchmarks.leak_work import (
    completions,
    few_shot,
    file_lines,
    handed_on,
    in_system,
    patient,
    sensors,
    spoken,
    support_desk,
    tickets,
)
from benchmarks.record import REPO, write_result
from evals.dataset import shared_data_path
from router.money import usd_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmarks.leak_agents import Scenario
    from benchmarks.leak_play import Gate, Played

RATIO_MAX = 1.5
# What a dying gateway had not told yet is counted anew: the bound knows of no deaths.
KILLED_RATIO_MAX = 2.0
S1_MAX_NANOUSD = 5_000_000_000
RATE = 60
# A replay without guards is cut here: the weekend would be 400,000 calls.
UNGUARDED_HOURS = 1.0
RECORDED = "tau_airline_sessions.jsonl.gz"
SHARED = (
    ("memory", 1), ("redis", 1), ("redis", 2), ("redis", 4), ("postgresql", 1), ("postgresql", 2), ("postgresql", 4),
    ("sqlite", 1), ("sqlite", 2), ("sqlite", 4),
)  # fmt: skip

RUNAWAYS: dict[str, Callable[[int], Scenario]] = {
    "S1 weekend loop": weekend_loop,
    "S1 four keys": lambda seed: weekend_loop(seed, keys=4, hours=1),
    "S1 counter, time in the middle": lambda seed: weekend_loop(seed, counter=True, where="middle", hours=1),
    "S1 session rotates": lambda seed: weekend_loop(seed, session="rotate", where="start", hours=1),
    "S1 every 20 s, 200k tokens": lambda seed: weekend_loop(seed, per_s=0.05, input_tokens=200_000, hours=4),
    "S2 recursion, session kept": recursion,
    "S2 recursion, session dropped": lambda seed: recursion(seed, session="dropped"),
    "S2 recursion, session rotated": lambda seed: recursion(seed, session="rotated", shape="grown"),
    "S2 recursion, session lies": lambda seed: recursion(seed, session="lying", shape="nested"),
    "S2 recursion, ticket": lambda seed: recursion(seed, shape="nested", ticket=True),
    "S4 fan-out, tickets": fan_out,
    "S4 fan-out, no tickets": lambda seed: fan_out(seed, ticket=False),
    "S4 fan-out, nine each": lambda seed: fan_out(seed, branching=9, depth=3, turns=4),
    "S5 retry storm": retry_storm,
    "S5 nothing answers": lambda seed: retry_storm(seed, all_fail=True),
    "S7 tool loop": tool_loop,
    "S7 errors, one tool": lambda seed: tool_loop(seed, errors=True, tools=1),
    "S7 times in the results": lambda seed: tool_loop(seed, stamp="iso", tools=4),
}
# Of the same kinds, as different as real life makes them; played to one gateway.
OTHER_RUNAWAYS: dict[str, Callable[[int], Scenario]] = {
    "S10 a fresh id in the prompt": fresh_ids,
    "S10 a fresh id behind forty that stay": lambda seed: fresh_ids(seed, where="trace"),
    "S10 a fresh id in the system prompt": lambda seed: fresh_ids(seed, where="system"),
    "S11 once a minute, Chinese": cron,
    "S11 once a minute, Arabic digits": lambda seed: cron(seed, time="arabic"),
    "S11 once a minute, German": lambda seed: cron(seed, time="german"),
    "S11 once an hour, a dollar each": hourly,
    "S12 two agents talk": talk,
    "S12 two agents, 25 s an answer": lambda seed: talk(seed, wrap="The reviewer says: {}", latency_ms=25_000),
    "S12 three in a ring": lambda seed: talk(seed, agents=3),
    "S12 two agents, Chinese": lambda seed: talk(seed, is_chinese=True),
    "S13 the last answer kept": compacted,
    "S13 the last five answers kept": lambda seed: compacted(seed, kept=5),
    "S13 recursion, Chinese": nested_chinese,
    "S14 empty pages": barren,
    "S14 errors with other numbers": lambda seed: barren(seed, kind="errors"),
    "S14 bad guesses": lambda seed: barren(seed, kind="guesses"),
    "S15 a picture and a time": pictures,
    "S15 a picture, signed anew": lambda seed: pictures(seed, is_signed=True),
}
# Played to several gateways alone, of which one is killed about every so many calls.
KILLED: dict[str, tuple[Callable[[int], Scenario], int]] = {
    "S9 fan-out, gateways killed": (fan_out, 100),
    "S9 tool loop, gateways killed": (tool_loop, 10),
    "S9 recursion, gateways killed": (recursion, 25),
}
LEGITIMATE: dict[str, Callable[[int], Scenario]] = {
    "N1 map-reduce": lambda seed: map_reduce(seed, calls=3_000),
    "N1 rows of figures": lambda seed: map_reduce(seed, calls=1_500, numbers=True),
    "N2 coding agent": coding_agent,
    "N2 five at once": lambda seed: coding_agent(seed, sessions=5, turns=80),
    "N3 eval harness": eval_harness,
    "N3 pass after pass": lambda seed: eval_harness(seed, at_once=False),
    "N4 launch day": lambda seed: launch_day(seed, sessions=700),
    "N4 a button": lambda seed: launch_day(seed, sessions=1_000, popular=0.3),
}
OTHER_LEGITIMATE: dict[str, Callable[[int], Scenario]] = {
    "N5 document in the system prompt": in_system,
    "N5 few-shot turns": few_shot,
    "N6 lines of a file": file_lines,
    "N6 rows that get the same JSON": sensors,
    "N7 support desk": support_desk,
    "N7 support desk, canned answer": lambda seed: support_desk(seed, people=600, over_ms=2 * HOUR_MS, is_canned=True),
    "N8 voice": spoken,
    "N8 game": lambda seed: spoken(seed, is_game=True),
    "N9 summary handed on": handed_on,
    "N9 completions": completions,
    "N10 a job's progress": patient,
    "N10 days without events": lambda seed: patient(seed, kind="days"),
    "N10 pages of a log of errors": lambda seed: patient(seed, kind="logs"),
    "N10 row by row": lambda seed: patient(seed, kind="rows"),
    "N10 errors mended one by one": lambda seed: patient(seed, kind="errors"),
    "N11 an agent for each ticket": tickets,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--seeds", type=int, default=3, help="each scenario is played with so many seeds")
    parser.add_argument("--only", default="", help="scenarios whose names hold this")
    parser.add_argument("--peer", help="a Python that has litellm[proxy]: also replay under LiteLLM's own guards")
    parser.add_argument(
        "--shared", action="store_true", help="also with two and four gateways, over each store: some minutes more"
    )
    parser.add_argument("--picture", action="store_true", help="draw docs/images/leak.svg")


def run(arguments: argparse.Namespace) -> int:
    """Play, print, write the result file."""
    runaways = {name: make for name, make in RUNAWAYS.items() if arguments.only in name}
    works = {name: make for name, make in {**LEGITIMATE, **_recorded()}.items() if arguments.only in name}
    others_of = {**OTHER_RUNAWAYS, **OTHER_LEGITIMATE}
    further = {name: make for name, make in others_of.items() if arguments.only in name}
    if (not runaways and not works and not further and not arguments.shared) or arguments.seeds < 1:
        print(f"leak: nothing is called {arguments.only!r}, or no seeds", file=sys.stderr)
        return 2
    seeds = range(1, arguments.seeds + 1)
    with Progress(transient=True, console=Console(stderr=True)) as progress, ExitStack() as stack:
        others: dict[str, Callable[[], Gate]] = {"nothing": NoGate, f"{RATE}/min a key": lambda: RateGate(RATE)}
        if arguments.peer:
            others["LiteLLM"] = lambda: stack.enter_context(PeerGate(arguments.peer))
        task = progress.add_task("replays", total=len(runaways) + len(works) + len(further))
        rows = []
        for name, make in {**runaways, **works, **further}.items():
            progress.update(task, description=name)
            rows.append(_row(name, make, seeds, others))
            progress.advance(task)
    killed = {name: make for name, (make, _) in KILLED.items() if arguments.only in name}
    shared = _shared({**runaways, **killed, **works}) if arguments.shared else []
    figures = {
        "ratio_max": RATIO_MAX,
        "rows": rows,
        "shared": shared,
        "ok": all(row["ok"] for row in rows) and all(row["ok"] for row in shared),
    }
    _print(rows, list(others))
    _print_shared(shared)
    path = write_result("leak", sys.argv[1:] or ["leak"], figures)
    print(f"result written to {path}")
    if arguments.picture:
        draw([row for row in rows if row["scenario"] not in others_of], REPO / "docs" / "images" / "leak.svg")
    return 0 if figures["ok"] else 1


def _recorded() -> dict[str, Callable[[int], Scenario]]:
    path = shared_data_path() / "traffic" / RECORDED
    if not path.exists():
        print("leak: the recorded sessions are not at hand (TOLLGATE_SHARED_DATA): N-real is left out", file=sys.stderr)
        return {}
    sessions = load_sessions(path)
    return {
        "N-real recorded agents": lambda _: recorded(sessions),
        "N-real three times over": lambda _: recorded(sessions, times=3),
    }


def _row(
    name: str, make: Callable[[int], Scenario], seeds: range, others: dict[str, Callable[[], Gate]]
) -> dict[str, Any]:
    played = [Player(make(seed)).play() for seed in seeds]
    worst = max(played, key=lambda each: each.ratio or 0.0)
    is_runaway = make(1).is_runaway
    ratio = worst.ratio
    ok = all(each.refused == 0 for each in played)
    if is_runaway:
        ok = ratio is not None and ratio <= RATIO_MAX
        if name.startswith("S1 "):
            ok = ok and max(each.spent for each in played) < S1_MAX_NANOUSD
    return {
        "scenario": name,
        "is_runaway": is_runaway,
        "seeds": len(seeds),
        "leaked_usd": usd_of(worst.spent) if is_runaway else None,
        # None: it was stopped before the call at which it is told from work.
        "bound_usd": None if worst.bound is None or not is_runaway else usd_of(worst.bound),
        "ratio_worst": None if ratio is None else round(ratio, 3),
        "calls": worst.calls,
        "stopped_s": None if worst.stopped_ms is None else round(worst.stopped_ms / 1000, 1),
        "by": sorted({each.split(":")[0] for one in played for each in one.by}),
        "refused_wrongly_usd": None if is_runaway else usd_of(max(each.refused_nanousd for each in played)),
        "others_usd": {other: _compared(name, make, gate()) for other, gate in others.items()},
        "ok": ok,
    }


def _shared(scenarios: dict[str, Callable[[int], Scenario]]) -> list[dict[str, Any]]:
    """Each scenario with one seed over each store, by number of gateways.

    Gateways share what each of them saw, so that the bound is the same for any number of them.
    """
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-leak-") as folder,
        Sites(Path(folder)) as sites,
        Progress(transient=True, console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("shared", total=len(scenarios) * len(SHARED))
        for name, make in scenarios.items():
            found: dict[str, dict[str, object]] = {}
            for store, gateways in SHARED:
                if name in KILLED and store == "memory":
                    continue  # it dies with its process, as it says
                progress.update(task, description=f"{name}, {store} x{gateways}")
                every = KILLED[name][1] if name in KILLED else None
                found[f"{store} x{gateways}"] = _over(make(1), sites, store, gateways, every)
                progress.advance(task)
            rows.append({"scenario": name, "ok": all(each["ok"] for each in found.values()), "over": found})
    return rows


def _over(
    scenario: Scenario, sites: Sites, store: str, gateways: int, killed_every: int | None = None
) -> dict[str, object]:
    player = Player(scenario)
    player.gate = gate = SharedGate(sites, store, gateways, player.played.trips.append, killed_every)
    try:
        played = player.play()
    finally:
        gate.close()
    if not scenario.is_runaway:
        return {"refused_wrongly_usd": usd_of(played.refused_nanousd), "ok": played.refused == 0}
    ratio, most = played.ratio, RATIO_MAX if killed_every is None else KILLED_RATIO_MAX
    return {
        "leaked_usd": usd_of(played.spent),
        "ratio": None if ratio is None else round(ratio, 3),
        "ok": ratio is not None and ratio <= most,
        **({} if killed_every is None else {"kills": gate.kills}),
    }


def _print_shared(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = [f"{store} x{gateways}" for store, gateways in SHARED]
    title = "leak over its bound with several gateways; refused of legitimate work in USD"
    table = Table("scenario", *names, "ok", title=title, title_justify="left")
    for row in rows:
        cells = [_cell(row["over"][name]) if name in row["over"] else "" for name in names]
        table.add_row(row["scenario"], *cells, "yes" if row["ok"] else "NO")
    Console(width=190, highlight=False).print(table)


def _cell(found: dict[str, Any]) -> str:
    wrongly = found.get("refused_wrongly_usd")
    if wrongly is not None:
        return f"refused {float(wrongly):.2f}"
    return "-" if found["ratio"] is None else f"{found['ratio']:.2f}"


def _compared(name: str, make: Callable[[int], Scenario], gate: Gate) -> str:
    """Dollars let through of a runaway, or refused of legitimate work; the weekend is one hour at full pace."""
    scenario = make(1)
    if name == "S1 weekend loop":
        scenario = weekend_loop(1, hours=UNGUARDED_HOURS, dense=10**6)
    found: Played = Player(_without_end(scenario), gate=gate).play()
    return usd_of(found.spent if scenario.is_runaway else found.refused_nanousd)


def _without_end(scenario: Scenario) -> Scenario:
    """Played to its end, however often it is refused; at most an hour of a loop that knows none."""
    end_ms = min(scenario.end_ms, HOUR_MS) if scenario.name in ("S1", "S7") else scenario.end_ms
    return replace(scenario, end_ms=end_ms, stop_after_refusals=10**9)


def _print(rows: list[dict[str, Any]], others: list[str]) -> None:
    table = Table(
        "scenario", "leaked", "bound", "worst ratio", "calls", "stopped s", "by", *others, "ok",
        title="dollars let through of runaways, refused of legitimate work", title_justify="left",
    )  # fmt: skip
    for row in rows:
        amounts = [f"{float(row['others_usd'][other]):,.2f}" for other in others]
        is_runaway = row["is_runaway"]
        table.add_row(
            row["scenario"],
            f"{float(row['leaked_usd']):.2f}" if is_runaway else f"refused {float(row['refused_wrongly_usd']):.2f}",
            "" if row["bound_usd"] is None else f"{float(row['bound_usd']):.2f}",
            "" if row["ratio_worst"] is None else f"{row['ratio_worst']:.2f}",
            str(row["calls"]),
            "" if row["stopped_s"] is None else f"{row['stopped_s']:g}",
            ", ".join(row["by"]),
            *amounts,
            "yes" if row["ok"] else "NO",
        )
    Console(width=190, highlight=False).print(table)
    print("others: dollars let through of a runaway (S1 and S7: within one hour), refused of legitimate work")
