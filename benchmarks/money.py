"""Money: what clients are told = the ledger = the report = the simulated vendors' own bill, to the nano-dollar.

Starts the simulated vendors and a gateway as processes of their own, sends mixed requests over four quality tiers with
the real openai SDK while vendors fail in every way they can, and compares the four books call by call. Exit code 1
when a difference has no named explanation.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.books import books_of, wait_settled
from benchmarks.clients import Told, send_all
from benchmarks.invoice import Verdict, verdict_of
from benchmarks.money_tables import print_result
from benchmarks.postgres import PostgresServer
from benchmarks.record import write_result
from benchmarks.stack import (
    GatewayProcess,
    bill_of,
    faults_fired,
    order_faults,
    simulated_policy,
    unbilled_of,
)
from benchmarks.traffic import TIERS, Mixture
from router.money import parse_usd, usd_of
from router.simulator import FAULTS, SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from router.ledger import RequestRow

VENDORS = 3
# Short enough that a vendor's silence does not hold the run up, long enough for a slow machine.
UPSTREAM = {"first_byte_timeout_s": 10, "between_bytes_timeout_s": 5}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--streamed", type=float, default=0.3, help="share of streamed requests")
    parser.add_argument("--faults", type=float, default=0.05, help="share of vendor calls that meet a fault")
    parser.add_argument("--seed", type=int, default=7, help="equal seeds send equal requests")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--pace", type=float, default=10.0, help="how many times as fast as the trace they arrive")
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite")


def fault_rules(share: float, seed: int, requests: int) -> list[dict[str, object]]:
    """Every fault that the simulator knows, together for ``share`` of the calls; silence outlasts the timeouts.

    Where the share has room for it each fault strikes each of the three vendors once, at a drawn moment, so that none
    is left out by chance; what then remains of the share is drawn call by call.
    """
    once = share * requests >= VENDORS * len(FAULTS)
    rest = share - VENDORS * len(FAULTS) / requests if once else share
    rules: list[dict[str, object]] = []
    for at, name in enumerate(FAULTS):
        rule = {"fault": name, "hold_s": 30, "retry_after_s": 0.2}
        if once:
            rules.append({**rule, "rate": min(1.0, 10 / requests), "limit": 1, "seed": seed * 1_000 + at})
        if rest > 0:
            rules.append({**rule, "rate": rest / len(FAULTS), "seed": seed * 1_000 + 100 + at})
    return rules


def run(arguments: argparse.Namespace) -> int:
    """Run, print, write the result file."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-money-")))
        ledger_url = None
        if arguments.ledger == "postgres":
            server = PostgresServer()
            stack.callback(server.close)
            server.start()
            ledger_url = server.create_database()
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0))
        order_faults(simulator, fault_rules(arguments.faults, arguments.seed, arguments.requests))
        gateway = GatewayProcess(
            folder / "home", simulated_policy(simulator.urls, upstream=UPSTREAM), ledger_url=ledger_url
        )
        gateway.start()
        try:
            figures = measured(gateway, simulator, arguments)
        finally:
            if gateway.is_alive():
                gateway.stop()
    figures["ledger"] = arguments.ledger
    print_result(figures)
    name = "money" if arguments.ledger == "sqlite" else "money_postgres"
    print(f"result written to {write_result(name, sys.argv[1:] or ['money'], figures)}")
    return 0 if figures["ok"] else 1


def measured(gateway: GatewayProcess, simulator: SimulatorProcess, arguments: argparse.Namespace) -> dict[str, Any]:
    """Send the load and compare the books."""
    mixture = Mixture(arguments.seed, arguments.requests, arguments.streamed)
    started_s = time.monotonic()
    told = send_all(gateway.url, mixture, concurrency=arguments.concurrency, pace=arguments.pace)
    load_s = time.monotonic() - started_s
    still_open = wait_settled(gateway)
    report = gateway.read("/v1/reports/savings?group_by=model,tier")
    gateway.stop()
    printed = gateway.command("report", "--json", "--by", "model,tier", "--policy", str(gateway.policy))
    verified = gateway.command("ledger", "verify", "--json")
    rows, attempts = books_of(gateway)
    verdict = verdict_of(attempts, bill_of(simulator))
    findings = [
        *told_findings(told, rows),
        *report_findings(rows, {"HTTP": report, "tollgate report": json.loads(printed.stdout)}),
        *([f"ledger verify: {verified.stdout.decode()}"] if verified.returncode else []),
        *([f"{still_open} intents still open"] if still_open else []),
        *broken_connection_findings(verdict, unbilled_of(simulator)),
        *(f"{found['attempt']}: {found['class']} {found['cause']}" for found in verdict.unexplained),
    ]
    fired = faults_fired(simulator)
    return {
        "ok": not findings,
        "findings": findings,
        "load": {"requests": len(told), "seconds": round(load_s, 1), "origin": mixture.origin},
        "kinds": dict(Counter(each.kind for each in told)),
        "streamed": sum(each.is_streamed for each in told),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "errors_told": dict(Counter(each.error for each in told if each.error)),
        "faults_fired": fired,
        "faults_never_met": {name: 0 for name, count in fired.items() if not count},
        "tokens": {
            "input": sum(row.input_tokens for row in rows),
            "of it cache reads": sum(row.cache_read_tokens for row in rows),
            "output": sum(row.output_tokens for row in rows),
        },
        "books": books(told, rows, report),
        "vendors": verdict.shown(),
        "tiers": shares(rows),
        "premium": premium(report),
    }


def told_findings(told: Sequence[Told], rows: Sequence[RequestRow]) -> list[str]:
    """Where a client's bill and the ledger's row differ, or one has no counterpart."""
    by_id = {row.decision_id: row for row in rows}
    found = []
    for each in told:
        row = by_id.get(each.decision_id or "")
        if row is None:
            found.append(f"request {each.number}: decision {each.decision_id} is not in the ledger ({each.error})")
        elif each.cost_nanousd is None and row.outcome == "answered":
            found.append(f"request {each.number}: answered in the ledger, the client was told {each.error}")
        elif each.cost_nanousd is not None and (row.outcome, row.cost_nanousd) != ("answered", each.cost_nanousd):
            found.append(f"request {each.number}: told {each.cost_nanousd}, ledger {row.outcome} {row.cost_nanousd}")
    if len(rows) != len(told):
        found.append(f"{len(told)} requests sent, {len(rows)} in the ledger")
    return found


def report_findings(rows: Sequence[RequestRow], reports: dict[str, dict[str, Any]]) -> list[str]:
    """Where a report's sums differ from the ledger's rows."""
    found = []
    total = sum(row.cost_nanousd for row in rows)
    for name, report in reports.items():
        whole = parse_usd(report["totals"]["realized_cost_usd"])
        grouped = sum(parse_usd(group["realized_cost_usd"]) for group in report["groups"])
        steps = sum(parse_usd(step["usd"]) for step in report["waterfall"])
        savings = parse_usd(report["totals"]["savings_usd"]["point"])
        if not whole == grouped == total:
            found.append(f"{name}: total {usd_of(whole)}, groups {usd_of(grouped)}, ledger {usd_of(total)}")
        if steps != savings:
            found.append(f"{name}: waterfall {usd_of(steps)}, savings {usd_of(savings)}")
    return found


def broken_connection_findings(verdict: Verdict, unbilled: dict[str, int]) -> list[str]:
    """Estimates for calls that nobody billed are founded only on connections that really broke."""
    estimated = sum(count for name, count in verdict.attempts.items() if "did not bill" in name)
    broken = unbilled.get("timeout_connect", 0)
    return [] if estimated <= broken else [f"{estimated} unbilled estimates, {broken} connections broken"]


def books(told: Sequence[Told], rows: Sequence[RequestRow], report: dict[str, Any]) -> dict[str, int]:
    """The sums of the four books, in nano-USD."""
    return {
        "told_nanousd": sum(each.cost_nanousd or 0 for each in told),
        "ledger_answered_nanousd": sum(row.cost_nanousd for row in rows if row.outcome == "answered"),
        "ledger_everything_nanousd": sum(row.cost_nanousd for row in rows),
        "report_nanousd": parse_usd(report["totals"]["realized_cost_usd"]),
    }


def shares(rows: Sequence[RequestRow]) -> dict[str, dict[str, int]]:
    """Answered requests of each model by tier."""
    found: dict[str, Counter[str]] = {tier: Counter() for tier in TIERS}
    for row in rows:
        if row.outcome == "answered" and row.quality_tier in found and row.model is not None:
            found[row.quality_tier][row.model] += 1
    return {tier: dict(counts.most_common()) for tier, counts in found.items()}


def premium(report: dict[str, Any]) -> dict[str, Any]:
    """Realised cost beside always-premium's, whole and by tier."""
    names = ("requests", "realized_cost_usd", "premium_cost_usd", "savings_usd", "savings_share")
    by_tier: dict[str, Counter[str]] = {tier: Counter() for tier in TIERS}
    for group in report["groups"]:
        counts = by_tier.setdefault(group["tier"] or "none", Counter())
        counts["requests"] += group["requests"]
        counts["realized_nanousd"] += parse_usd(group["realized_cost_usd"])
        for end, amount in group["premium_cost_usd"].items():
            counts[f"premium_{end}_nanousd"] += parse_usd(amount)
    return {**{name: report["totals"][name] for name in names}, "tiers": {tier: dict(c) for tier, c in by_tier.items()}}
