"""Headers, last chunks, ledger and the vendors' own bill say the same, to the nano-dollar."""

from __future__ import annotations

import argparse
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from openai import OpenAI

from benchmarks.money import add_arguments, fault_rules, measured
from benchmarks.stack import GatewayProcess, bill_of, order_faults, simulated_policy
from router.money import parse_usd
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

TIERS = ("premium", "high", "balanced", "economy")
PROMPTS = (
    "What is the capital of France?",
    "Write a Python function that merges two sorted lists, and explain its complexity.",
    "A train leaves at 9:40 and arrives at 13:05. How long is the journey in minutes?",
    "Summarise the causes of the French revolution in three sentences.",
)


def ask(client: OpenAI, number: int) -> int:
    """Send one request; returns the cost that the client was told, in nano-USD."""
    tier = TIERS[number % 4]
    messages: Any = [{"role": "user", "content": f"{PROMPTS[number % len(PROMPTS)]} ({number})"}]
    headers = {"X-Quality-Tier": tier}
    if number % 10 < 3:
        last = None
        for chunk in client.chat.completions.create(
            model="auto", messages=messages, stream=True, extra_headers=headers, max_tokens=300
        ):
            last = chunk
        assert last is not None
        assert last.usage is not None
        return parse_usd(last.usage.model_extra["cost_usd"])
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=messages, extra_headers=headers, max_tokens=300
    )
    assert raw.parse().choices[0].finish_reason in ("stop", "length")
    return parse_usd(raw.headers["x-router-cost-usd"])


def test_told_equals_ledger_equals_the_vendors_bill(gateway: GatewayProcess, simulator: SimulatorProcess) -> None:
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    with ThreadPoolExecutor(8) as pool:
        told = sum(pool.map(lambda number: ask(client, number), range(120)))
    client.close()
    gateway.stop()
    billed = sum(parse_usd(line["cost_usd"]) for line in bill_of(simulator))
    with sqlite3.connect(gateway.home / "ledger.sqlite") as ledger:
        ledger.row_factory = sqlite3.Row
        rows = list(ledger.execute("SELECT * FROM requests"))
        still_open = ledger.execute("SELECT COUNT(*) FROM open_intents").fetchone()[0]
    ledger.close()
    assert len(rows) == 120
    assert still_open == 0
    assert {row["outcome"] for row in rows} == {"answered"}
    assert told == sum(row["cost_nanousd"] for row in rows) == billed
    assert {row["model"] for row in rows if row["quality_tier"] == "premium"} == {"claude-opus"}


def test_every_difference_that_failing_vendors_make_is_explained(tmp_path: Path) -> None:
    """The money benchmark in small: every fault, all four tiers, the shipped policy."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["--requests", "120", "--pace", "1000", "--seed", "11"])
    with SimulatorProcess(seed=11, speed=0) as simulator:
        order_faults(simulator, fault_rules(0.35, 11, 120))
        upstream = {"first_byte_timeout_s": 2, "between_bytes_timeout_s": 1, "cooldown_failures": 1000}
        gateway = GatewayProcess(tmp_path / "home", simulated_policy(simulator.urls, upstream=upstream))
        gateway.start()
        try:
            figures = measured(gateway, simulator, arguments)
        finally:
            if gateway.is_alive():
                gateway.stop()
    assert figures["findings"] == []
    books = figures["books"]
    assert books["told_nanousd"] == books["ledger_answered_nanousd"] > 0
    assert books["ledger_everything_nanousd"] == books["report_nanousd"] > books["told_nanousd"]
    assert sum(figures["faults_fired"].values()) > 20
    assert figures["vendors"]["classes"]["estimated and marked, usage never arrived"]["attempts"] > 0
