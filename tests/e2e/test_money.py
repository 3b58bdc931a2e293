"""Headers, last chunks, ledger and the vendors' own bill say the same, to the nano-dollar."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from openai import OpenAI

from router.money import parse_usd

if TYPE_CHECKING:
    from tests.e2e.conftest import Running

TIERS = ("premium", "high", "balanced", "economy")
PROMPTS = (
    "What is the capital of France?",
    "Write a Python function that merges two sorted lists, and explain its complexity.",
    "A train leaves at 9:40 and arrives at 13:05. How long is the journey in minutes?",
    "Summarise the causes of the French revolution in three sentences.",
)


def bill_of(running: Running) -> list[dict[str, Any]]:
    urls = running.simulator.urls
    lines: list[dict[str, Any]] = []
    for base in (urls.anthropic, urls.gemini, urls.openai.removesuffix("/v1")):
        with urllib.request.urlopen(f"{base}/_simulator/bill") as answer:
            lines += [json.loads(line) for line in answer.read().splitlines() if line]
    return lines


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


def test_told_equals_ledger_equals_the_vendors_bill(gateway: Running) -> None:
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    with ThreadPoolExecutor(8) as pool:
        told = sum(pool.map(lambda number: ask(client, number), range(120)))
    client.close()
    gateway.stop()
    billed = sum(parse_usd(line["cost_usd"]) for line in bill_of(gateway))
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
