"""A cascade over real wires: what is told, what the ledger holds and what the vendors bill agree to the nano-dollar."""

from __future__ import annotations

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

from benchmarks.stack import GatewayProcess, bill_of, order_faults
from router.money import parse_usd
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    from pathlib import Path

    from router.simulator import SimulatorProcess

REQUESTS = 80
CASCADE = """
cascade: {verify: [refusal, truncation, empty, schema%s, max_attempts: 3, streams: buffer}
"""
# So that every second answer of a simulated vendor, whose sureness lies between a half and one, is not sure enough.
UNSURE = ", logprobs], confidence_min: 0.75"
FAULTS = ("refusal", "truncation", "empty")
MODELS = ("claude-haiku-5-5", "gemini-3.8-flash", "meta-llama/Llama-3.3-70B-Instruct-Turbo")


def ask(client: OpenAI, number: int) -> tuple[int, str]:
    """Send one request; returns the cost that the client was told, in nano-USD, and what its header says."""
    messages: Any = [{"role": "user", "content": f"What is the capital of France? ({number})"}]
    headers = {"X-Quality-Tier": "economy"}
    if number % 4 == 0:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=messages, stream=True, extra_headers=headers
        )
        last: Any = list(raw.parse())[-1]
        return parse_usd(last.usage.model_extra["cost_usd"]), raw.headers["x-router-cascade"]
    plain = client.chat.completions.with_raw_response.create(model="auto", messages=messages, extra_headers=headers)
    assert plain.parse().choices
    return parse_usd(plain.headers["x-router-cost-usd"]), plain.headers["x-router-cascade"]


@pytest.mark.parametrize(
    ("more", "least"), [("]", REQUESTS), (", agreement]", 1.5 * REQUESTS), (UNSURE, 1.5 * REQUESTS)]
)
def test_told_equals_ledger_equals_the_bill_with_every_answer_in_it(
    tmp_path: Path, simulator: SimulatorProcess, more: str, least: float
) -> None:
    rules = [
        {"fault": fault, "rate": 0.3, "seed": seed, "models": list(MODELS)}
        for seed, fault in enumerate(FAULTS, start=1)
    ]
    order_faults(simulator, rules)
    can = "capabilities: [tools, parallel_tools, response_schema, system"
    policy = policy_text(simulator).replace(f"{can}]", f"{can}, logprobs]")
    policy = policy.replace("vendor: google, tier: standard,", f"vendor: google, tier: standard, {can}, logprobs],")
    gateway = GatewayProcess(tmp_path / "home", policy + CASCADE % more)
    gateway.start()
    try:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda number: ask(client, number), range(REQUESTS)))
        client.close()
    finally:
        gateway.stop()
    said = Counter(each.split(",")[0] for _, each in told)
    assert said["passed"] > 0
    assert {f"escalated:{fault}" for fault in FAULTS} <= set(said)
    assert (said["escalated:logprobs"] > 0) is (more == UNSURE)
    billed = [parse_usd(line["cost_usd"]) for line in bill_of(simulator)]
    with sqlite3.connect(gateway.home / "ledger.sqlite") as ledger:
        ledger.row_factory = sqlite3.Row
        rows = list(ledger.execute("SELECT * FROM requests"))
        still_open = ledger.execute("SELECT COUNT(*) FROM open_intents").fetchone()[0]
    ledger.close()
    assert (len(rows), still_open, {row["outcome"] for row in rows}) == (REQUESTS, 0, {"answered"})
    assert sum(row["attempts"] for row in rows) == len(billed) > least
    assert sum(cost for cost, _ in told) == sum(row["cost_nanousd"] for row in rows) == sum(billed)
    assert sum(row["failed_cost_nanousd"] for row in rows) > 0
