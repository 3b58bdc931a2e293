"""Two gateways on one Redis and one PostgreSQL spend one budget, also while Redis is killed, flushed and stalled."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from openai import APIError, OpenAI

from benchmarks.redis_server import RedisServer
from benchmarks.stack import GatewayProcess, bill_of
from router.money import parse_usd
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.simulator import SimulatorProcess

LIMIT = "0.05"
BUDGET = f"budgets:\n  - {{name: company, scope: all, window: total, limit_usd: {LIMIT}}}\n"
LEASES = "budget_store: {lease_share: 0.2}\n"
CLIENTS = 8


@pytest.fixture
def server() -> Iterator[RedisServer]:
    running = RedisServer()
    running.start()
    yield running
    running.close()


@pytest.fixture(params=["asked", "leased"])
def gateways(
    request: pytest.FixtureRequest, tmp_path: Path, simulator: SimulatorProcess, server: RedisServer, postgres_url: str
) -> Iterator[list[GatewayProcess]]:
    """Two that ask Redis for each call, or hold some of it ahead."""
    text = policy_text(simulator) + BUDGET + (LEASES if request.param == "leased" else "")
    running = [GatewayProcess(tmp_path / name, text, postgres_url, server.url) for name in ("one", "two")]
    (tmp_path / "two").mkdir()
    for each in running:
        each.start()
    yield running
    for each in running:
        each.stop()


def spend(gateways: list[GatewayProcess], seconds: float) -> list[str]:
    """Dear questions at both gateways until the time is over; the codes of what was refused."""
    ends_s, codes = time.monotonic() + seconds, list[str]()

    def work(index: int) -> None:
        gateway = gateways[index % len(gateways)]
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
            number = 0
            while time.monotonic() < ends_s:
                number += 1
                content = f"Question {index}-{number}: tell me at length about the sea. {'Please. ' * 30}"
                messages: Any = [{"role": "user", "content": content}]
                try:
                    client.chat.completions.create(
                        model="claude-opus",
                        messages=messages,
                        max_tokens=60,
                        extra_headers={"X-Quality-Tier": "premium"},
                    )
                except APIError as error:
                    codes.append(str(error.code))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    return codes


def billed(simulator: SimulatorProcess) -> int:
    return sum(parse_usd(line["cost_usd"]) for line in bill_of(simulator))


def stands(gateway: GatewayProcess) -> Any:
    (row,) = gateway.read("/v1/budgets")["budgets"]
    return row


def test_two_gateways_spend_one_budget_to_its_end_and_not_past_it(
    gateways: list[GatewayProcess], simulator: SimulatorProcess
) -> None:
    codes = spend(gateways, 6.0)
    assert set(codes) == {"budget_exhausted"}
    assert 0.8 * parse_usd(LIMIT) <= billed(simulator) <= parse_usd(LIMIT)
    rows = [stands(gateway) for gateway in gateways]
    assert parse_usd(rows[0]["settled_usd"]) == parse_usd(rows[1]["settled_usd"]) == billed(simulator)
    assert parse_usd(rows[0]["reserved_usd"]) == 0


@pytest.mark.parametrize("harm", ["kill", "flush", "pause"])
def test_no_budget_is_passed_while_redis_is_harmed(
    gateways: list[GatewayProcess], simulator: SimulatorProcess, server: RedisServer, harm: str
) -> None:
    def do_harm() -> None:
        time.sleep(1.0)
        if harm == "kill":
            server.kill()
            time.sleep(0.5)
            server.start()
        elif harm == "flush":
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
        else:
            server.pause()
            time.sleep(2.5)
            server.resume()

    harming = threading.Thread(target=do_harm)
    harming.start()
    codes = spend(gateways, 9.0)
    harming.join()
    assert set(codes) <= {"budget_exhausted", "budget_store_unavailable"}
    assert "budget_exhausted" in codes, "it went on afterwards, to the budget's end"
    assert billed(simulator) <= parse_usd(LIMIT)
    for gateway in gateways:
        assert gateway.is_alive()
        assert gateway.command("ledger", "verify").returncode == 0
