"""Cap: a hard budget of one dollar under 200 concurrent dear requests, over each store, with one and four gateways.

Plain and streamed requests of four quality tiers, a fifth of all vendor calls struck by faults, so that retries and
fallbacks take part. Waves of 200 are sent until one gets no answer. The simulated vendors' own bill must not be above
the budget; how much of it could be used stands beside it. With `--peer PYTHON` the same load goes to LiteLLM's proxy
with a budget of one dollar for the vendor. Exit code 1 when the bill is above a budget of ours.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import openai
from openai import OpenAI
from rich.console import Console
from rich.table import Table

from benchmarks import invoice
from benchmarks.books import books_of, wait_settled
from benchmarks.cap_peer import peer_over
from benchmarks.postgres import PostgresServer
from benchmarks.prompts import document_block
from benchmarks.record import write_result
from benchmarks.redis_server import RedisServer
from benchmarks.stack import GatewayProcess, bill_of, order_faults, simulated_policy
from router.money import NANO_PER_USD, usd_of
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

STORES = ("memory", "sqlite", "postgres", "redis")
TIERS = ("premium", "high", "balanced", "premium")
LIMIT_NANOUSD = NANO_PER_USD
WAVES_MAX = 12
REPLICAS = 4
# A fifth of the calls, over what is billed and what is not.
FAULTS = ("429", "500", "529", "timeout_connect", "torn_stream", "malformed_json", "usage_missing", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--stores", default=",".join(STORES), help="of memory, sqlite, postgres, redis")
    parser.add_argument("--concurrent", type=int, default=200)
    parser.add_argument("--fault-rate", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--lease-share", type=float, default=0.0, help="the policy's `budget_store.lease_share` (0)")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has litellm[proxy]: run the peer too")


def run(arguments: argparse.Namespace) -> int:
    """Run each store with one gateway and with four, print, write the result file."""
    results: dict[str, dict[str, Any]] = {}
    for store in filter(None, arguments.stores.split(",")):
        for gateways in (1,) if store == "memory" else (1, REPLICAS):
            name = f"{store} x {gateways}"
            print(f"{name} ...", flush=True)
            results[name] = over(store, gateways, arguments)
    if arguments.peer:
        for workers in (1, REPLICAS):
            print(f"litellm x {workers} ...", flush=True)
            results[f"litellm x {workers}"] = peer_over(arguments, workers)
    print_results(results)
    path = write_result("cap", sys.argv[1:] or ["cap"], {"limit_usd": usd_of(LIMIT_NANOUSD), "runs": results})
    print(f"result written to {path}")
    return 0 if all(each["is_kept"] for name, each in results.items() if not name.startswith("litellm")) else 1


def faults_of(rate: float, seed: int) -> list[dict[str, object]]:
    """The faults to order from every vendor, equal shares of the rate."""
    return [{"fault": name, "rate": rate / len(FAULTS), "seed": seed + at} for at, name in enumerate(FAULTS)]


def over(store: str, gateways: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole load over one store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-cap-")))
        ledger_url, redis_url = stores_of(store, stack)
        simulator = stack.enter_context(SimulatorProcess(seed=arguments.seed, speed=0.05))
        order_faults(simulator, faults_of(arguments.fault_rate, arguments.seed))
        budget = {"name": "one-dollar", "scope": "all", "window": "total", "limit_usd": 1, "kind": "hard"}
        policy = simulated_policy(
            simulator.urls,
            budgets=[budget],
            upstream={"first_byte_timeout_s": 5.0},
            budget_store={"lease_share": arguments.lease_share},
        )
        replicas = [GatewayProcess(folder / "home", policy, ledger_url, redis_url) for _ in range(gateways)]
        for each in replicas:
            each.start()
            stack.callback(each.stop)
        started_s = time.monotonic()
        waves = waves_of([each.url for each in replicas], arguments)
        seconds = time.monotonic() - started_s
        found = figures_of(waves, simulator, seconds)
        if store != "memory":
            found |= ledger_figures(replicas[0])
        return found


def stores_of(store: str, stack: ExitStack) -> tuple[str | None, str | None]:
    """The ledger's and Redis's URLs for a store; Redis stands beside a PostgreSQL ledger, as replicas have it."""
    ledger_url = {"memory": "memory://"}.get(store)
    redis_url = None
    if store in ("postgres", "redis"):
        server = PostgresServer()
        stack.callback(server.close)
        server.start()
        ledger_url = server.create_database()
    if store == "redis":
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        redis_url = redis.url
    return ledger_url, redis_url


def prompt_of(number: int) -> list[dict[str, str]]:
    """A dear request's messages: a page to read and a question, another one each time."""
    draw = Random(number)
    page = document_block(7, number)
    return [
        {"role": "system", "content": "You weigh contracts and give reasons."},
        {"role": "user", "content": f"{page}\nWhich clause above is the riskiest, and why? Case {draw.random()}."},
    ]


def waves_of(urls: list[str], arguments: argparse.Namespace) -> list[Counter[str]]:
    """Send waves until one gets no answer; what each came back with."""
    numbers = itertools.count()
    clients = [OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=120) for url in urls]
    found: list[Counter[str]] = []
    with ThreadPoolExecutor(arguments.concurrent) as pool:
        while len(found) < WAVES_MAX:
            some = list(itertools.islice(numbers, arguments.concurrent))
            wave = Counter(pool.map(lambda number: ask(clients[number % len(clients)], number), some))
            found.append(wave)
            if not wave["answered"]:
                break
    for client in clients:
        client.close()
    return found


def ask(client: OpenAI, number: int, model: str = "auto") -> str:
    """One request to its end; ``answered``, or the error's code."""
    messages: Any = prompt_of(number)
    headers = {"X-Quality-Tier": TIERS[number % len(TIERS)], "X-Session-Id": f"cap-{number}"}
    try:
        if number % 2:
            for _ in client.chat.completions.create(
                model=model, messages=messages, max_tokens=600, stream=True, extra_headers=headers
            ):
                pass
        else:
            client.chat.completions.create(model=model, messages=messages, max_tokens=600, extra_headers=headers)
    except openai.APIStatusError as error:
        return str(error.code or error.status_code)
    except (openai.APIError, httpx.HTTPError) as error:
        return str(getattr(error, "code", None) or type(error).__name__)
    return "answered"


def figures_of(waves: list[Counter[str]], simulator: SimulatorProcess, seconds: float) -> dict[str, Any]:
    """What the vendors billed, and how the clients fared."""
    bill = bill_of(simulator)
    billed = sum(invoice.billed_nanousd(line) for line in bill)
    total: Counter[str] = sum(waves, Counter())
    return {
        "billed_usd": usd_of(billed),
        "share_of_limit": round(billed / LIMIT_NANOUSD, 4),
        "is_kept": billed <= LIMIT_NANOUSD,
        "calls_billed": len(bill),
        "waves": len(waves),
        "answered_first_wave": waves[0]["answered"],
        "outcomes": dict(sorted(total.items())),
        "seconds": round(seconds, 1),
    }


def ledger_figures(gateway: GatewayProcess) -> dict[str, Any]:
    """What the ledger says beside the bill."""
    still_open = wait_settled(gateway)
    _, attempts = books_of(gateway)
    return {"ledger_usd": usd_of(sum(each.cost_nanousd for each in attempts)), "open_intents": still_open}


def rows_of(results: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """One row a run."""
    for name, each in results.items():
        codes = ", ".join(f"{code} {count}" for code, count in each["outcomes"].items())
        yield (
            name,
            each["billed_usd"],
            "yes" if each["is_kept"] else "NO",
            f"{each['share_of_limit']:.1%}",
            each.get("ledger_usd", ""),
            str(each["calls_billed"]),
            codes,
        )


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """The table."""
    table = Table(title="a hard budget of 1 USD, 200 concurrent requests", title_justify="left")
    for name in ("store x gateways", "vendors billed USD", "kept", "of the limit", "ledger USD", "calls", "outcomes"):
        table.add_column(name)
    for row in rows_of(results):
        table.add_row(*row)
    Console(width=160, highlight=False).print(table)
