"""Crash: `kill -9` of the gateway at random moments under load, restart, and the books still hold.

Eight clients ask without a pause, plain and streamed, while the gateway is killed and started again on the same ledger.
After the last lease: no billed call is missing from the ledger, none is there twice, no intent is open, and
`tollgate ledger verify` finds nothing. Calls that the kills cut off are charged at their hold and marked; how much
that is above the vendors' bill is printed. Runs over SQLite and over PostgreSQL. Exit code 1 when anything is off.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
from openai import OpenAI, OpenAIError
from rich.console import Console
from rich.table import Table

from benchmarks import invoice
from benchmarks.books import books_of, open_intents
from benchmarks.postgres import PostgresServer
from benchmarks.record import write_result
from benchmarks.stack import GatewayProcess, bill_of, simulated_policy
from router.money import usd_of
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

STORES = ("sqlite", "postgres")
MODELS = ("auto:economy", "auto:balanced", "claude-haiku", "gemini-flash", "llama-70b")
ALIVE_S = (0.3, 2.5)
LEASE_S = 5.0
RETRY_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7, help="of the moments of the kills and of the vendors")
    parser.add_argument("--ledger", choices=(*STORES, "both"), default="both")


@dataclass
class Load:
    """Clients that ask until they are told to stop; a dead gateway is asked again."""

    url: str
    workers: int
    is_over: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)

    def ask(self, worker: int) -> None:
        """One client's requests: each third one streamed, a model of its own each time."""
        number = 0
        with OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0, timeout=20) as client:
            while not self.is_over.is_set():
                number += 1
                text = f"Count to ten and name a river. Worker {worker}, time {number}."
                messages: Any = [{"role": "user", "content": text}]
                model = MODELS[(worker + number) % len(MODELS)]
                try:
                    if number % 3:
                        client.chat.completions.create(model=model, messages=messages, max_tokens=200)
                    else:
                        for _ in client.chat.completions.create(
                            model=model, messages=messages, max_tokens=200, stream=True
                        ):
                            pass
                    self.counts["answered"] += 1
                except (OpenAIError, httpx.HTTPError):  # the SDK lets a cut stream through as it is
                    self.counts["cut off or refused"] += 1
                    self.is_over.wait(RETRY_S)


def run(arguments: argparse.Namespace) -> int:
    """Run over each store, print, write the result file."""
    stores = STORES if arguments.ledger == "both" else (arguments.ledger,)
    results = {store: over(store, arguments) for store in stores}
    print_results(results)
    path = write_result("crash", sys.argv[1:] or ["crash"], {"stores": results})
    print(f"result written to {path}")
    return 0 if all(result["ok"] for result in results.values()) else 1


def over(store: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark over one store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-crash-")))
        ledger_url = None
        if store == "postgres":
            server = PostgresServer()
            stack.callback(server.close)
            server.start()
            ledger_url = server.create_database()
        # Slow enough that a kill finds calls on their way, fast enough for many of them.
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0.05))
        policy = simulated_policy(simulator.urls, limits={"lease_s": LEASE_S})
        gateway = GatewayProcess(folder / "home", policy, ledger_url=ledger_url)
        return killed(gateway, simulator, kills=arguments.kills, workers=arguments.workers, seed=arguments.seed)


def killed(
    gateway: GatewayProcess, simulator: SimulatorProcess, *, kills: int, workers: int, seed: int
) -> dict[str, Any]:
    """Kill the gateway again and again under load; the figures, and ``ok``."""
    chance = Random(seed)
    load = Load(gateway.url, workers)
    gateway.start()
    moments = []
    with ThreadPoolExecutor(workers) as pool:
        asking = [pool.submit(load.ask, worker) for worker in range(workers)]
        try:
            for _ in range(kills):
                moments.append(round(chance.uniform(*ALIVE_S), 3))
                time.sleep(moments[-1])
                gateway.kill()
                gateway.start()
        finally:
            load.is_over.set()
        for each in asking:
            each.result()
    return {"kills": kills, "alive_s": moments, "clients": dict(load.counts), **after_lease(gateway, simulator)}


def after_lease(gateway: GatewayProcess, simulator: SimulatorProcess) -> dict[str, Any]:
    """Wait for the leases, stop, and compare the books."""
    time.sleep(LEASE_S + 0.5)
    gateway.stop()
    closing = gateway.command("ledger", "close", "--json")
    verified = gateway.command("ledger", "verify", "--json")
    _, attempts = books_of(gateway)
    bill = bill_of(simulator)
    verdict = invoice.verdict_of(attempts, bill)
    found = figures(verdict, attempts, bill)
    found["open_intents"] = open_intents(gateway)
    found["verify_exit"] = verified.returncode
    found["verify_says"] = verified.stdout.decode()[-2000:] if verified.returncode else "sound"
    must_be_zero = ("missing", "doubled", "open_intents", "verify_exit", "reported_unequal")
    found["ok"] = closing.returncode == 0 and not verdict.unexplained and not any(found[name] for name in must_be_zero)
    return {**found, "vendors": verdict.shown()}


def figures(
    verdict: invoice.Verdict, attempts: Sequence[invoice.Attempt], bill: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What a reader wants to know of the verdict; over-charging is the holds' excess over the bill, in USD."""
    expired = (invoice.EXPIRED, invoice.EXPIRED_UNBILLED)
    charged = sum(verdict.charged_nanousd[name] for name in expired)
    billed = sum(verdict.billed_nanousd[name] for name in expired)
    return {
        "attempts": len(attempts),
        "billed_calls": len(bill),
        "missing": verdict.attempts[invoice.MISSING],
        "doubled": verdict.attempts[invoice.DOUBLED_BILL] + verdict.attempts[invoice.DOUBLED_LINE],
        "reported_unequal": verdict.attempts[invoice.DIFFERENT],
        "closed_by_lease": sum(verdict.attempts[name] for name in expired),
        "closed_by_lease_unbilled": verdict.attempts[invoice.EXPIRED_UNBILLED],
        "charged_by_lease_usd": usd_of(charged),
        "billed_of_those_usd": usd_of(billed),
        "overcharged_by_lease_usd": usd_of(charged - billed),
        "ledger_usd": usd_of(sum(attempt.cost_nanousd for attempt in attempts)),
        "bill_usd": usd_of(sum(invoice.billed_nanousd(line) for line in bill)),
    }


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """One column a store."""
    console = Console(width=120, highlight=False)
    table = Table("figure", *results, title="gateway killed under load", title_justify="left")
    names = [name for name, value in next(iter(results.values())).items() if not isinstance(value, list | dict)]
    for name in names:
        table.add_row(name.replace("_", " "), *(str(result[name]) for result in results.values()))
    console.print(table)
    for store, result in results.items():
        for found in result["vendors"]["unexplained"]:
            console.print(f"UNEXPLAINED {store} {found}")
