"""Budgets over real wires: what SDKs make of a refusal, what is cut, downgraded, waited for, and what vendors bill."""

from __future__ import annotations

import re
import sqlite3
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import OpenAI

from benchmarks.stack import GatewayProcess, bill_of
from router.money import parse_usd
from router.simulator import SimulatorProcess
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION: Any = [{"role": "user", "content": "Tell me about the sea."}]
TIER = {"X-Quality-Tier": "premium"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    running: list[GatewayProcess] = []

    def serve(simulator: SimulatorProcess, budgets: str) -> GatewayProcess:
        gateway = GatewayProcess(tmp_path / "home", f"{policy_text(simulator)}budgets:\n{budgets}")
        gateway.start()
        running.append(gateway)
        return gateway

    yield serve
    for each in running:
        each.stop()


def client_of(gateway: GatewayProcess, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=retries)


def billed(simulator: SimulatorProcess) -> int:
    return sum(parse_usd(line["cost_usd"]) for line in bill_of(simulator))


def ask(client: OpenAI, **changes: Any) -> Any:
    fields = {"model": "auto", "messages": QUESTION, "extra_headers": TIER}
    return client.chat.completions.with_raw_response.create(**{**fields, **changes})


def test_a_refusal_names_the_budget_and_is_not_retried(served: Any, simulator: SimulatorProcess) -> None:
    gateway = served(simulator, "  - {name: company-month, scope: all, window: month, limit_usd: 0.001}\n")
    with client_of(gateway, retries=5) as client, pytest.raises(openai.APIStatusError) as caught:
        ask(client)
    error = caught.value
    assert (error.status_code, error.code) == (402, "budget_exhausted")
    assert error.response.headers["x-should-retry"] == "false"
    body: Any = error.body
    assert (body["budget"], body["scope"], body["limit_usd"], body["headroom_usd"]) == (
        "company-month", "all", "0.001000000", "0.001000000",
    )  # fmt: skip
    assert body["resets_at"] is not None
    assert "sea" not in error.response.text
    assert bill_of(simulator) == []
    receipt = gateway.read(f"/v1/decisions/{error.response.headers['x-router-decision-id']}")
    assert (receipt["outcome"], receipt["error_code"]) == ("rejected", "budget_exhausted")
    with sqlite3.connect(gateway.home / "ledger.sqlite") as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM requests").fetchone()[0] == 1, "five retries would be six requests"
    ledger.close()


def test_a_stream_is_cut_by_the_limit_that_the_vendor_was_told(served: Any, simulator: SimulatorProcess) -> None:
    gateway = served(simulator, "  - {name: company-month, scope: all, window: month, limit_usd: 0.0092}\n")
    with client_of(gateway) as client:
        raw = ask(client, stream=True)
        chunks = list(raw.parse())
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert raw.headers["x-router-budget-remaining-usd"] == "0.000000000"
    last = chunks[-1].usage
    assert last is not None
    assert last.model_extra["budget_remaining_usd"] == "0.000000000"
    assert 0 < last.completion_tokens < 300
    assert 0 < billed(simulator) <= parse_usd("0.0092")
    receipt = gateway.read(f"/v1/decisions/{last.model_extra['decision_id']}")["receipt"]
    assert receipt["budget"]["is_cut"] is True
    assert receipt["budget"]["output_tokens_max"] >= last.completion_tokens


def test_a_budget_that_downgrades_answers_with_what_fits(served: Any, simulator: SimulatorProcess) -> None:
    gateway = served(
        simulator, "  - {name: team-day, scope: team, window: day, limit_usd: 0.005, when_exhausted: downgrade}\n"
    )
    with client_of(gateway) as client:
        answer = ask(client)
        assert answer.parse().choices[0].message.content
        assert answer.headers["x-router-reason"] == "budget_downgrade"
        assert answer.headers["x-router-model"] != "claude-opus"
        assert answer.headers["x-router-promise"] == "none"
        assert answer.headers["x-router-cost-usd"] == f"0.{billed(simulator):09d}"
        with pytest.raises(openai.APIStatusError, match="budget_exhausted"):
            ask(client, model="claude-opus")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_four_at_once_at_the_edge_wait_for_what_the_others_hold(served: Any, is_streamed: bool) -> None:
    """There is room for one worst case at a time, and for what four such answers really cost."""
    with SimulatorProcess(seed=7, speed=0.05) as simulator:
        gateway = served(
            simulator, "  - {name: company-month, scope: all, window: month, limit_usd: 0.12, queue_s: 30}\n"
        )

        def one(number: int) -> int:
            with client_of(gateway) as client:
                raw = ask(client, max_tokens=4_000, stream=is_streamed)
                if is_streamed:
                    return parse_usd(list(raw.parse())[-1].usage.model_extra["cost_usd"])
                raw.parse()
                return parse_usd(raw.headers["x-router-cost-usd"])

        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(one, range(4)))
        assert sum(told) == billed(simulator) <= parse_usd("0.12")
        assert denials(gateway, "company-month") > 0, "some have waited"
        assert require_closed(gateway, sum(told)) == 0


def denials(gateway: GatewayProcess, budget: str) -> float:
    with urllib.request.urlopen(f"{gateway.url}/metrics") as answer:
        found = re.search(
            rf'^tollgate_budget_denials_total{{budget="{budget}"}} (.+)$', answer.read().decode(), re.MULTILINE
        )
    return float(found[1]) if found else 0.0


def require_closed(gateway: GatewayProcess, settled: int) -> int:
    """What is held once all settlements have reached the store, which must have been charged so much."""
    deadline_s = time.monotonic() + 10
    while True:
        with sqlite3.connect(gateway.home / "ledger.sqlite") as store:
            row = store.execute("SELECT SUM(settled_nanousd), SUM(held_nanousd) FROM budget_accounts").fetchone()
        store.close()
        if tuple(row) == (settled, 0) or time.monotonic() > deadline_s:
            assert row[0] == settled
            return int(row[1])
        time.sleep(0.05)
