"""Kills: `kill -9` of gateways, Redis and PostgreSQL at random moments under load, and no dollar is lost or overspent.

Two gateways share a Redis for the budgets and a PostgreSQL for the ledger. Clients spend small hard session budgets to
their end, one session after the other, plain and streamed, through either gateway. One of the four processes is
killed again and again, and started anew after a moment. After the last lease: no billed call is missing from the
ledger, none is there twice, no attempt is open, no session was billed above its budget by the vendors' own bill,
and nothing is held any more. With `--flush` Redis also loses its memory now and then. Exit code 1 when anything is off.
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
import openai
from openai import OpenAI
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from benchmarks import invoice
from benchmarks.books import books_of, open_intents
from benchmarks.crash import figures
from benchmarks.postgres import PostgresServer
from benchmarks.record import write_result
from benchmarks.redis_server import RedisServer
from benchmarks.stack import GatewayProcess, bill_of, simulated_policy
from router.money import parse_usd, usd_of
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from router.ledger import RequestRow

SESSION_USD = "0.02"
MODELS = ("auto:balanced", "claude-haiku", "gemini-flash", "claude-sonnet")
VICTIMS = ("gateway 1", "gateway 2", "redis", "postgres")
ALIVE_S = (0.5, 2.5)
DOWN_S = (0.0, 1.5)
LEASE_S = 5.0
RETRY_S = 0.05
SESSION_REFUSALS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7, help="of the moments of the kills and of the vendors")
    parser.add_argument("--flush", action="store_true", help="Redis also loses its memory, every tenth time")


@dataclass
class Load:
    """Clients that spend one session's budget after the other until they are told to stop."""

    urls: Sequence[str]
    workers: int
    is_over: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    exhausted: set[str] = field(default_factory=set)

    def ask(self, worker: int) -> None:
        """One client: a session until its budget is exhausted, then the next, each request at the next gateway."""
        clients = [OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20) for url in self.urls]
        number = session = refusals = 0
        while not self.is_over.is_set():
            number += 1
            name = f"kills-{worker}-{session}"
            code = self._one(clients[number % len(clients)], worker, number, name)
            self.counts[code] += 1
            refusals = refusals + 1 if code == "budget_exhausted" else 0
            if refusals >= SESSION_REFUSALS:
                self.exhausted.add(name)
                session, refusals = session + 1, 0
            elif code not in ("answered", "budget_exhausted"):
                self.is_over.wait(RETRY_S)
        for client in clients:
            client.close()

    def _one(self, client: OpenAI, worker: int, number: int, session: str) -> str:
        text = f"Count to ten and name a river. Worker {worker}, time {number}."
        messages: Any = [{"role": "user", "content": text}]
        model = MODELS[(worker + number) % len(MODELS)]
        headers = {"X-Session-Id": session}
        try:
            if number % 3:
                client.chat.completions.create(model=model, messages=messages, max_tokens=200, extra_headers=headers)
            else:
                for _ in client.chat.completions.create(
                    model=model, messages=messages, max_tokens=200, extra_headers=headers, stream=True
                ):
                    pass
        except openai.APIStatusError as error:
            return str(error.code or error.status_code)
        except (openai.APIError, httpx.HTTPError):
            return "cut off"
        return "answered"


@dataclass
class House:
    """The processes under fire."""

    gateways: Sequence[GatewayProcess]
    redis: RedisServer
    postgres: PostgresServer

    def strike(self, victim: str, down_s: float) -> None:
        """Kill one, wait, start it again."""
        if victim == "flush":
            try:
                Redis.from_url(self.redis.url, socket_timeout=5).flushall()
            except RedisError:
                return
            return
        process: Any = {
            "gateway 1": self.gateways[0],
            "gateway 2": self.gateways[1],
            "redis": self.redis,
            "postgres": self.postgres,
        }[victim]
        process.kill()
        time.sleep(down_s)
        process.start()


def run(arguments: argparse.Namespace) -> int:
    """Run, print, write the result file."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-kills-")))
        postgres, redis = PostgresServer(), RedisServer()
        for server in (postgres, redis):
            stack.callback(server.close)
            server.start()
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0.05))
        budget = {"name": "session", "scope": "session", "window": "total", "limit_usd": float(SESSION_USD)}
        policy = simulated_policy(simulator.urls, budgets=[budget | {"queue_s": 0.5}], limits={"lease_s": LEASE_S})
        ledger_url = postgres.create_database()
        gateways = [GatewayProcess(folder / "home", policy, ledger_url, redis.url) for _ in range(2)]
        for each in gateways:
            each.start()
        result = under_fire(House(gateways, redis, postgres), simulator, arguments)
    print_result(result)
    path = write_result("kills", sys.argv[1:] or ["kills"], result)
    print(f"result written to {path}")
    return 0 if result["ok"] else 1


def under_fire(house: House, simulator: SimulatorProcess, arguments: argparse.Namespace) -> dict[str, Any]:
    """Kill under load; the figures, and ``ok``."""
    chance = Random(arguments.seed)
    load = Load([each.url for each in house.gateways], arguments.workers)
    struck: Counter[str] = Counter()
    with ThreadPoolExecutor(arguments.workers) as pool:
        asking = [pool.submit(load.ask, worker) for worker in range(arguments.workers)]
        try:
            for number in range(arguments.kills):
                time.sleep(chance.uniform(*ALIVE_S))
                is_flush = arguments.flush and number % 10 == 9  # noqa: PLR2004 - every tenth
                victim = "flush" if is_flush else chance.choice(VICTIMS)
                struck[victim] += 1
                house.strike(victim, chance.uniform(*DOWN_S))
                print(f"\r{number + 1} of {arguments.kills}: {victim}        ", end="", flush=True)
        finally:
            load.is_over.set()
        for each in asking:
            each.result()
    print()
    return {"kills": dict(struck), "clients": dict(sorted(load.counts.items())), **after_lease(house, simulator, load)}


def after_lease(house: House, simulator: SimulatorProcess, load: Load) -> dict[str, Any]:
    """Wait for the leases, compare the books, look at every session."""
    time.sleep(LEASE_S * 3)
    budgets = house.gateways[0].read("/v1/budgets")
    for each in house.gateways:
        each.stop()
    closing = house.gateways[0].command("ledger", "close", "--json")
    verified = house.gateways[0].command("ledger", "verify", "--json")
    rows, attempts = books_of(house.gateways[0])
    bill = bill_of(simulator)
    verdict = invoice.verdict_of(attempts, bill)
    found = figures(verdict, attempts, bill)
    found["open_intents"] = open_intents(house.gateways[0])
    found["verify_exit"] = verified.returncode
    found |= sessions_of(rows, bill, load)
    found["held_usd"] = usd_of(sum(parse_usd(each["reserved_usd"]) for each in budgets["budgets"]))
    zero = ("missing", "doubled", "open_intents", "verify_exit", "reported_unequal", "sessions_overspent")
    is_sound = closing.returncode == 0 and not verdict.unexplained and not any(found[name] for name in zero)
    found["ok"] = is_sound and parse_usd(found["held_usd"]) == 0
    return {**found, "vendors": verdict.shown()}


def sessions_of(rows: Sequence[RequestRow], bill: Sequence[Mapping[str, Any]], load: Load) -> dict[str, Any]:
    """Each session's bill against its budget."""
    session_of = {row.decision_id: row.session_id for row in rows}
    billed: Counter[str] = Counter()
    for line in bill:
        decision_id = str(line["client_request_id"]).rpartition("-")[0]
        billed[session_of.get(decision_id) or "unknown"] += invoice.billed_nanousd(line)
    limit = parse_usd(SESSION_USD)
    spent = sorted(billed[name] / limit for name in load.exhausted)
    return {
        "sessions": len(billed),
        "sessions_exhausted": len(load.exhausted),
        "sessions_overspent": sum(amount > limit for amount in billed.values()),
        "dearest_session_usd": usd_of(max(billed.values(), default=0)),
        "median_share_used_when_exhausted": round(spent[len(spent) // 2], 3) if spent else None,
    }


def print_result(result: Mapping[str, Any]) -> None:
    """One row a figure."""
    table = Table("figure", "value", title="gateways, Redis and PostgreSQL killed under load", title_justify="left")
    for name, value in result.items():
        if name != "vendors":
            table.add_row(name.replace("_", " "), str(value))
    console = Console(width=120, highlight=False)
    console.print(table)
    for found in result["vendors"]["unexplained"]:
        console.print(f"UNEXPLAINED {found}")
